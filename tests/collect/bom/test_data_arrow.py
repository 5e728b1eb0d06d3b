"""Parquet and Arrow, written by pyarrow, and broken ones."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.bom.data.arrow import ArrowReader
from assay.collect.bom.data.parquet import ParquetReader
from assay.collect.bom.interface import DataFile

TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5], pa.int64()),
        "text": ["a", "b", None, "d", "e"],
        "kind": pa.array(["x", "y", "x", "x", "y"]).dictionary_encode(),
        "nested": [{"a": [1.5]}] * 5,
    }
)
TYPES = {
    "id": "int64",
    "text": "string",
    "kind": "dictionary<values=string, indices=int32, ordered=0>",
    "nested": "struct<a: list<element: double>>",
}


def types(found: DataFile) -> dict[str, str]:
    return {column.name: column.type for column in found.columns}


def parquet_bytes(**options: object) -> bytes:
    memory = io.BytesIO()
    pq.write_table(TABLE, memory, **options)
    return memory.getvalue()


def file_bytes(compression: str | None = None) -> bytes:
    memory = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(memory, TABLE.schema, options=options) as writer:
        writer.write_table(TABLE, max_chunksize=2)
    return memory.getvalue()


def stream_bytes() -> bytes:
    memory = io.BytesIO()
    with pa.ipc.new_stream(memory, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=2)
    return memory.getvalue()


PARQUET, FILE, STREAM = parquet_bytes(), file_bytes(), stream_bytes()


def parquet(data: bytes) -> DataFile:
    return ParquetReader().read("data.parquet", io.BytesIO(data), len(data))


def arrow(data: bytes) -> DataFile:
    return ArrowReader().read("data.arrow", io.BytesIO(data), len(data))


def test_parquet() -> None:
    found = parquet(parquet_bytes(row_group_size=2, compression="zstd"))
    assert (found.format, found.rows, found.warnings) == ("parquet", 5, ())
    assert types(found) == TYPES
    assert found.metadata["row_groups"] == "3"
    assert found.metadata["created_by"].startswith("parquet-cpp-arrow")


def test_parquet_reads_the_footer_alone() -> None:
    data = parquet_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    blank = data[:4] + bytes(len(data) - 4 - footer) + data[-footer:]
    assert parquet(blank).rows == 5


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is none"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is none"),
        (parquet_bytes()[:-20], "does not end with a footer"),
        (b"PAR1" + bytes(20) + b"\xff\xff\xff\xffPAR1", "does not end with a footer"),
        (b"PAR1" + bytes(20) + b"\x08\0\0\0PAR1", "cannot be read"),
        (b"PAR1" + bytes(20) + b"\x08\0\0\0PARE", "encrypted"),
    ],
)
def test_broken_parquet(data: bytes, says: str) -> None:
    assert says in parquet(data).warnings[0]


def test_no_single_byte_of_the_footer_ends_the_process() -> None:
    # Found by such a change: asking pyarrow for the name of an unknown codec aborts the process.
    start = len(PARQUET) - int.from_bytes(PARQUET[-8:-4], "little") - 8
    for position in range(start, len(PARQUET) - 8):
        changed = PARQUET[:position] + b"\x7f" + PARQUET[position + 1 :]
        assert parquet(changed).format == "parquet"


def nested_schema(depth: int) -> bytes:
    """A Parquet file whose schema is one group within another, in Thrift's compact protocol."""
    group = b"\x35\x02\x18\x01g\x15\x02\0"  # repetition optional, name, one child
    leaf = b"\x15\x02\x25\x02\x18\x01x\0"
    count, length = bytearray(), depth + 1
    while length > 0x7F:
        count.append(length & 0x7F | 0x80)
        length >>= 7
    schema = b"\x19\xfc" + bytes([*count, length]) + group * depth + leaf
    footer = b"\x15\x02" + schema + b"\x16\x0e\x19\x0c\0"  # version, schema, seven rows, no row groups
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def test_a_deeply_nested_schema() -> None:
    assert types(parquet(nested_schema(20)))["g"].startswith("struct<g: struct<g: ")
    assert "too deeply nested" in parquet(nested_schema(100_000)).warnings[0]


def test_arrow_file_and_feather(tmp_path: Path) -> None:
    for compression in (None, "lz4", "zstd"):
        found = arrow(file_bytes(compression))
        assert (found.format, found.rows, found.metadata, found.warnings) == ("arrow", 5, {"batches": "3"}, ())
        assert types(found).keys() == TYPES.keys()
    pyarrow.feather.write_feather(TABLE, str(tmp_path / "data.feather"))
    assert arrow((tmp_path / "data.feather").read_bytes()).rows == 5


def test_arrow_stream() -> None:
    found = arrow(stream_bytes())
    assert (found.format, found.rows, found.metadata, found.warnings) == ("arrow-stream", 5, {"batches": "3"}, ())
    assert types(found)["nested"] == "struct<a: list<item: double>>"
    unended = stream_bytes()[:-8]  # what a writer that was never closed leaves
    assert arrow(unended).rows == 5


def test_broken_arrow() -> None:
    assert "is none" in arrow(b"a,b\n1,2\n").warnings[0]
    assert "Feather version 1" in arrow(b"FEA1" + bytes(40)).warnings[0]
    cut = arrow(file_bytes()[:-30])
    assert cut.rows is None
    assert "does not end with a footer" in cut.warnings[0]
    stream = arrow(stream_bytes()[:-100])
    assert stream.rows is None
    assert "its rows were not counted" in stream.warnings[0]
    assert types(stream).keys() == TYPES.keys()
    endless = b"\xff\xff\xff\xff" + struct.pack("<I", 1 << 30)
    assert "reaches beyond the file" in arrow(endless + bytes(100)).warnings[0]


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    assert parquet(PARQUET).warnings == ("data.parquet: the schema of Parquet needs the extra 'data'",)
    found = arrow(STREAM)
    assert (found.rows, found.columns) == (5, ())
    assert found.warnings == ("data.arrow: the schema of Arrow needs the extra 'data'",)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_of_bytes_is_a_traceback(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["parquet", "file", "stream"]))
    changed = bytearray({"parquet": PARQUET, "file": FILE, "stream": STREAM}[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    if kind == "parquet":
        assert parquet(bytes(changed)).format == "parquet"
    else:
        assert arrow(bytes(changed)).path == "data.arrow"
