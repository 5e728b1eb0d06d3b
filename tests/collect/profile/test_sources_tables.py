"""Arrow files and tables in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from assay.collect.profile.sources.frames import Table
from assay.collect.profile.sources.interface import ROWS
from assay.collect.profile.sources.opening import open_source
from assay.errors import DocumentError, UsageError
from collect.profile.reading import mixed, read

TABLE = pa.table({"n": range(1000), "s": [f"v{i % 3}" for i in range(1000)], "x": [i / 8 for i in range(1000)]})
FRAME = pl.DataFrame(TABLE)


def ipc(path: Path, table: pa.Table, *, stream: bool, rows: int = 100) -> str:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return str(path)


@pytest.mark.parametrize("stream", [False, True])
def test_record_batches_are_rows(tmp_path: Path, stream: bool) -> None:
    source = open_source(ipc(tmp_path / "a.arrow", TABLE, stream=stream))
    assert read(source).equals(FRAME)
    assert len(list(source.frames())) == 1
    empty = open_source(ipc(tmp_path / "b.arrow", TABLE.slice(0, 0), stream=stream))
    (frame,) = empty.frames()
    assert frame.columns == ["n", "s", "x"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_or_damaged_file_is_a_sentence(tmp_path: Path, stream: bool) -> None:
    path = Path(ipc(tmp_path / "a.arrow", TABLE, stream=stream))
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"\xff" * 100, whole[:-200] + b"\xff" * 190 + whole[-10:]):
        path.write_bytes(data)
        if not stream or data[-10:] != whole[-10:]:
            with pytest.raises(DocumentError, match=r"a\.arrow"):
                read(open_source(str(path)))


@pytest.mark.parametrize("stream", [False, True])
def test_offsets_that_point_outside_are_found(tmp_path: Path, stream: bool) -> None:
    table = pa.table({"s": ["aaaa", "bbbb", "cccc"]})
    path = Path(ipc(tmp_path / "a.arrow", table, stream=stream))
    offsets = b"".join(i.to_bytes(4, "little") for i in (0, 4, 8, 12))
    assert path.read_bytes().count(offsets) == 1
    wild = b"".join(i.to_bytes(4, "little") for i in (0, 4, 1 << 30, 12))
    path.write_bytes(path.read_bytes().replace(offsets, wild))
    with pytest.raises(DocumentError, match=r"a\.arrow"):
        read(open_source(str(path)))


def test_dictionaries_and_decimals_are_plain(tmp_path: Path) -> None:
    table = pa.table({"d": pa.array(["a", "b", "a"]).dictionary_encode(), "b": [b"\x00", None, b"z"]})
    found = read(open_source(ipc(tmp_path / "a.feather", table, stream=False)))
    assert found.rows() == [("a", "00"), ("b", None), ("a", "7a")]


class Streaming:
    """A table of a library that nobody has heard of."""

    def __arrow_c_stream__(self, requested: object = None) -> Any:
        return TABLE.__arrow_c_stream__(requested)


@pytest.mark.parametrize(
    "what",
    [
        FRAME,
        FRAME.lazy(),
        TABLE,
        TABLE.to_batches(max_chunksize=10),
        TABLE.to_batches()[0],
        TABLE.to_pandas(),
        Streaming(),
        pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches()),
        [FRAME.head(400), FRAME.slice(400)],
    ],
    ids=lambda what: type(what).__name__,
)
def test_every_kind_of_table_is_the_same_rows(what: object) -> None:
    assert read(open_source(what)).equals(FRAME)


def test_how_many_rows_is_known_where_it_is_known() -> None:
    assert open_source(FRAME).rows == open_source(TABLE).rows == open_source(TABLE.to_pandas()).rows == 1000
    assert open_source(FRAME.lazy()).rows is None


def test_large_tables_come_in_slices() -> None:
    assert [f.height for f in open_source(pl.DataFrame({"a": range(2 * ROWS + 1)})).frames()] == [ROWS, ROWS, 1]


def test_pandas_columns_of_anything() -> None:
    frame = pd.DataFrame(
        {
            "mixed": pd.Series([1, "x", None], dtype=object),
            "numbers": pd.Series([1, 2.5, float("nan")], dtype=object),
            "float": [1.0, float("nan"), float("inf")],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "category": pd.Categorical(["a", None, "b"]),
            "zoned": pd.to_datetime(["2024-01-01 00:00", "2024-06-01 00:00", None]).tz_localize("Europe/Berlin"),
            "period": pd.period_range("2024-01", periods=3, freq="M"),
            "text": pd.array(["a", None, "c"], dtype="string"),
            7: [True, False, True],
        }
    )
    found = read(open_source(frame))
    assert sorted(map(repr, mixed(open_source(frame), "mixed"))) == ["'x'", "1"]
    order = [0, 2, 1]  # rows of one mixture come first
    found = found[[order.index(i) for i in range(3)]]
    assert found["numbers"].to_list() == [1.0, 2.5, None]
    assert found["float"].to_list() == [1.0, None, float("inf")]
    assert found["nullable"].to_list() == [1, None, 3]
    assert found["category"].to_list() == ["a", None, "b"]
    assert found["zoned"][0].astimezone(UTC) == datetime(2023, 12, 31, 23, tzinfo=UTC)
    assert found["period"].to_list() == ["2024-01", "2024-02", "2024-03"]
    assert found["text"].null_count() == 1
    assert found["7"].to_list() == [True, False, True]


def test_pandas_index_and_numpy_values_do_not_matter() -> None:
    frame = pd.DataFrame(
        {"a": np.arange(3, dtype="float16"), "o": pd.Series([np.float32(1), np.int8(2), None], dtype=object)}
    )
    frame.index = pd.Index([9, 9, 1])
    found = read(open_source(frame))
    assert found.rows() == [(0.0, 1.0), (1.0, 2.0), (2.0, None)]


def test_two_columns_of_one_name_are_refused() -> None:
    for table in (pd.DataFrame([[1, 2]], columns=["a", "a"]), pa.Table.from_arrays([[1], [2]], names=["a", "a"])):
        with pytest.raises(DocumentError, match="two columns named 'a'"):
            read(open_source(table))


def test_a_table_without_rows_or_columns() -> None:
    (frame,) = open_source(pd.DataFrame({"a": pd.Series([], dtype=float)})).frames()
    assert frame.columns == ["a"]
    assert read(open_source(pl.DataFrame())).height == 0


@pytest.mark.parametrize("what", [7, None, [1, 2], object(), []])
def test_what_is_no_table_is_said(what: object) -> None:
    with pytest.raises(UsageError, match="is not a table"):
        open_source(what)


def test_a_lazy_table_that_fails_is_a_sentence() -> None:
    with pytest.raises(DocumentError, match="the table cannot be read"):
        read(Table(FRAME.lazy().select(pl.col("none"))))


def test_a_pandas_table_without_rows_and_with_object_columns_still_has_its_columns() -> None:
    """As partitions of Dask are that a filter has emptied."""
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", 2], "c": ["u", "v"]}).astype({"c": "category"})
    (empty,) = Table(frame[:0]).frames()
    assert empty.columns == ["a", "b", "c"]
    assert empty.height == 0
