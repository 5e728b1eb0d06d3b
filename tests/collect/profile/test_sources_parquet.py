from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.collect.profile.sources.interface import ROWS
from assay.collect.profile.sources.opening import open_source
from assay.errors import ChangedError, DocumentError, UsageError
from collect.profile.reading import read


def write(path: Path, table: pa.Table, **options: object) -> str:
    pq.write_table(table, path, **options)
    return str(path)


def test_rows_types_and_counts_are_the_files(tmp_path: Path) -> None:
    table = pa.table({"n": range(1000), "x": [i / 7 for i in range(1000)], "s": [f"v{i % 5}" for i in range(1000)]})
    source = open_source(write(tmp_path / "a.parquet", table, row_group_size=100))
    assert source.rows == 1000
    assert dict(source.schema()) == {"n": pl.Int64, "x": pl.Float64, "s": pl.String}
    assert read(source).equals(pl.from_arrow(table))
    assert source.origin.files == (str(tmp_path / "a.parquet"),)
    assert source.notes.files == 1


def test_frames_are_bounded_whatever_the_row_groups_are(tmp_path: Path) -> None:
    table = pa.table({"n": range(3 * ROWS + 5)})
    source = open_source(write(tmp_path / "a.parquet", table, row_group_size=10**9))
    heights = [frame.height for frame in source.frames()]
    assert max(heights) <= ROWS
    assert sum(heights) == 3 * ROWS + 5
    many = open_source(write(tmp_path / "b.parquet", table.slice(0, 10_000), row_group_size=10))
    assert [frame.height for frame in many.frames()] == [10_000]


def test_long_strings_are_split_by_their_size(tmp_path: Path) -> None:
    table = pa.table({"s": ["x" * (1 << 20)] * 150})
    source = open_source(write(tmp_path / "a.parquet", table))
    heights = [frame.height for frame in source.frames()]
    assert sum(heights) == 150
    assert max(heights) <= 65


def test_no_row_and_one_row_and_all_missing(tmp_path: Path) -> None:
    empty = open_source(write(tmp_path / "a.parquet", pa.table({"x": pa.array([], pa.float64())})))
    (frame,) = empty.frames()
    assert frame.height == 0
    assert frame.columns == ["x"]
    assert read(open_source(write(tmp_path / "b.parquet", pa.table({"x": [1.5]})))).to_dicts() == [{"x": 1.5}]
    gone = read(open_source(write(tmp_path / "c.parquet", pa.table({"x": pa.nulls(3), "y": [None, None, 1]}))))
    assert gone["x"].null_count() == 3


def test_numbers_that_are_none_stay_what_they_are(tmp_path: Path) -> None:
    table = pa.table({"x": [float("nan"), float("inf"), float("-inf"), None, -0.0]})
    found = read(open_source(write(tmp_path / "a.parquet", table)))["x"]
    assert found.null_count() == 1
    assert found.is_nan().sum() == 1
    assert found.is_infinite().sum() == 2


def test_time_zones_are_kept_as_instants(tmp_path: Path) -> None:
    moment = datetime(2024, 6, 1, 12, tzinfo=UTC)
    table = pa.table({"t": pa.array([moment], pa.timestamp("us", "America/New_York"))})
    found = read(open_source(write(tmp_path / "a.parquet", table)))
    assert found["t"].dt.timestamp("us").to_list() == [int(moment.timestamp() * 1e6)]


def test_nested_columns_get_dotted_names_and_lists_of_text_are_text(tmp_path: Path) -> None:
    rows = [{"a": {"b": {"c": 1}, "d": "x"}, "v": [1.0, 2.0], "tags": ["p", "q"], "raw": b"\x01\xff"}]
    table = pa.Table.from_pylist(rows)
    found = read(open_source(write(tmp_path / "a.parquet", table)))
    assert found.columns == ["a.b.c", "a.d", "v", "tags", "raw"]
    assert found.schema["v"] == pl.List(pl.Float64)
    assert found.row(0) == (1, "x", [1.0, 2.0], '["p","q"]', "01ff")


def test_a_missing_list_is_missing(tmp_path: Path) -> None:
    table = pa.table({"tags": [["p"], None, []], "v": [[1.5], None, []]})
    found = read(open_source(write(tmp_path / "a.parquet", table)))
    assert found["tags"].to_list() == ['["p"]', None, "[]"]
    assert found["v"].to_list() == [[1.5], None, []]


def test_a_nested_name_cannot_pose_as_another_column(tmp_path: Path) -> None:
    table = pa.table({"a.b": [1], "a": [{"b": 2}]})
    with pytest.raises(DocumentError, match=r"two columns named 'a\.b'"):
        read(open_source(write(tmp_path / "a.parquet", table)))


def test_only_some_columns_are_read_if_that_is_enough(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.parquet", pa.table({"x": [1], "y": [2], "z": [{"w": 3, "v": 4}]})))
    (frame,) = source.frames({"y", "z.w"})
    assert frame.columns == ["y", "z.w", "z.v"]


def test_a_file_without_its_footer_is_still_being_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"x": range(10_000)}))
    whole = Path(path).read_bytes()
    for length in (4, 100, len(whole) - 1, len(whole) - 8):
        Path(path).write_bytes(whole[:length])
        with pytest.raises(DocumentError, match="footer: it is not complete"):
            read(open_source(path))


def test_damage_is_a_sentence_that_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"x": range(10_000)}))
    whole = bytearray(Path(path).read_bytes())
    Path(path).write_bytes(b"PAR1" + b"\xff" * (len(whole) - 8) + b"PAR1")
    with pytest.raises(DocumentError, match=r"a\.parquet"):
        read(open_source(path))
    Path(path).write_bytes(b"")
    with pytest.raises(DocumentError, match="is not a Parquet file"):
        read(open_source(path))
    Path(path).write_bytes(b"PARE" + b"\0" * 20 + b"PARE")
    with pytest.raises(DocumentError, match="encrypted"):
        read(open_source(path))


def test_a_file_that_changes_while_it_is_read_gives_no_result(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"x": range(3 * ROWS)}), row_group_size=ROWS)
    frames = open_source(path).frames()
    next(frames)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(ChangedError, match="changed while it was read"):
        list(frames)


def test_a_file_that_is_cut_while_it_is_read_is_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"x": [i / 7 for i in range(4 * ROWS)]}), row_group_size=ROWS)
    frames = open_source(path).frames()
    next(frames)
    os.truncate(path, 1000)
    with pytest.raises(ChangedError, match="changed while it was read"):
        list(frames)


def test_a_file_that_is_replaced_by_an_equal_one_is_another_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"x": range(3 * ROWS)}), row_group_size=ROWS)
    frames = open_source(path).frames()
    next(frames)
    before = os.stat(path)
    (tmp_path / "b").write_bytes(Path(path).read_bytes())
    os.utime(tmp_path / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(tmp_path / "b", path)
    with pytest.raises(ChangedError):
        list(frames)


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        open_source(str(tmp_path / "none.parquet"))
    os.mkfifo(tmp_path / "pipe.parquet")
    with pytest.raises(UsageError, match="no regular file"):
        open_source(str(tmp_path / "pipe.parquet"))


def test_a_name_with_a_pattern_in_it_is_one_file(tmp_path: Path) -> None:
    write(tmp_path / "a1.parquet", pa.table({"x": [1, 2, 3]}))
    path = write(tmp_path / "a[1].parquet", pa.table({"x": [1]}))
    assert read(open_source(path)).height == 1
