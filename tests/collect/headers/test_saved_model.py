"""TensorFlow's SavedModel: a sample that TensorFlow wrote, tables built by the specification, and hostile ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.headers.interface import ModelFile
from assay.collect.headers.saved_model import SavedModelReader
from assay.collect.headers.sstable import MAGIC, Table
from assay.errors import DocumentError

SAMPLE = Path(__file__).parents[2] / "data/models/saved_model"
GRAPHS = SAMPLE / "saved_model.pb"
INDEX = SAMPLE / "variables/variables.index"


def read(data: bytes, path: str) -> ModelFile:
    return SavedModelReader().read(path, io.BytesIO(data), len(data))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(entries: Sequence[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    data = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    return data + struct.pack("<II", 0, 1) + bytes([kind]) + b"crc "


def table(blocks: Sequence[bytes], *, back: bool = False) -> bytes:
    data, handles = b"", []
    for content in blocks:
        handles.append((b"k", varint(len(data)) + varint(len(content) - 5)))
        data += content
    if back:
        handles *= 3
    index = block(handles)
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer.ljust(40, b"\0") + MAGIC


def entry(dtype: int, *shape: int) -> bytes:
    dimensions = b"".join(b"\x12" + bytes([1 + len(varint(n))]) + b"\x08" + varint(n) for n in shape)
    return b"\x08" + bytes([dtype]) + b"\x12" + varint(len(dimensions)) + dimensions


def test_graphs_that_tensorflow_wrote() -> None:
    data = GRAPHS.read_bytes()
    assert SavedModelReader().recognises("x/saved_model.pb", data[:4096])
    assert not SavedModelReader().recognises("x/frozen.pb", data[:4096])
    found = read(data, "saved_model.pb")
    ops = found.metadata.pop("ops")
    assert found.metadata == {
        "schema_version": "1",
        "graphs": "1",
        "tags": "serve",
        "signatures": "serving_default(x: f32) -> y: f32",
        "tensorflow_version": "2.21.0",
        "producer": "2474",
        "functions": "4",
        "nodes": "72",
    }
    assert ops.startswith("Identity: 18, ReadVariableOp: 10, ")
    assert "MatMul: 1" in ops
    assert not found.warnings


def test_variables_that_tensorflow_wrote() -> None:
    data = INDEX.read_bytes()
    assert SavedModelReader().recognises("x/variables.index", data[:4096])
    found = read(data, "variables.index")
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in found.tensors] == [
        ("b", "f32", (3,)),
        ("h", "bf16", (2, 2)),
        ("steps", "i64", ()),
        ("w", "f32", (4, 3)),
    ]
    assert found.parameters == 20
    assert found.metadata == {"shards": "1", "other_entries": "string: 1", "training_state": "0"}
    assert not found.warnings


def test_training_state_partitions_and_many_blocks() -> None:
    suffix = b"/.ATTRIBUTES/VARIABLE_VALUE"
    first = [(b"", b"\x08\x02"), (b"\0slice", entry(1, 5, 5)), (b"w" + suffix, entry(1, 10, 5))]
    second = [(b"w/.OPTIMIZER_SLOT/adam/m" + suffix, entry(1, 10, 5)), (b"z" + suffix, entry(14, 7))]
    found = read(table([block(first), block(second)]), "variables.index")
    assert [tensor.name for tensor in found.tensors] == ["w", "w/.OPTIMIZER_SLOT/adam/m", "z"]
    assert found.parameters == 57
    assert found.metadata["shards"] == "2"
    assert found.metadata["training_state"] == "1"


def test_compressed_blocks_are_told_of_and_nothing_is_counted() -> None:
    found = read(table([block([(b"w", entry(1, 3))]), block([(b"x", b"?")], kind=1)]), "variables.index")
    assert [tensor.name for tensor in found.tensors] == ["w"]
    assert found.parameters is None
    assert "1 compressed blocks were not read" in found.warnings[0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "too short"),
        (bytes(48), "magic number"),
        (table([block([(b"w", entry(1, 3))])], back=True), "overlap"),
        (b"\xff" * 40 + MAGIC, "cut off or too long"),
        ((varint(0) * 2 + varint(1 << 40) + varint(9)).ljust(40, b"\0") + MAGIC, "beyond the file"),
        (table([struct.pack("<I", 1 << 30) + b"\0crc "]), "restart points"),
        (table([b"\x07\0\0" + struct.pack("<II", 0, 1) + b"\0crc "]), "beyond its block"),
        (table([b"\0\x01" + varint(1 << 50) + b"k" + struct.pack("<II", 0, 1) + b"\0crc "]), "beyond its block"),
        (table([block([(b"w", b"\x08\x01\x12\x0d\x12\x0b\x08" + b"\xff" * 9 + b"\x01")])]), "non-negative"),
    ],
)
def test_hostile_tables(data: bytes, says: str) -> None:
    assert says in read(data, "variables.index").warnings[0]


def test_entries_are_limited() -> None:
    data = table([block([(b"%03d" % i, b"") for i in range(100)])])
    with pytest.raises(DocumentError, match="too many entries"):
        list(Table(io.BytesIO(data), len(data), entries=50).entries())


def test_broken_graphs() -> None:
    data = GRAPHS.read_bytes()
    assert "what follows was not read" in read(data[:5000], "saved_model.pb").warnings[0]
    assert "holds no graph" in read(b"\x08\x01", "saved_model.pb").warnings[0]


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_change_of_bytes_is_a_traceback(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([GRAPHS, INDEX]))
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(1, len(changed)))])
    SavedModelReader().recognises(path.name, cut[:4096])
    assert read(cut, path.name).path == path.name
