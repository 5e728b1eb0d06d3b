from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources import blocks as blocks_module
from assay.collect.profile.sources.blocks import blocks
from assay.collect.profile.sources.interface import Reading
from assay.collect.profile.sources.opening import open_source
from assay.errors import ChangedError, DocumentError, UsageError
from collect.profile.reading import read


def csv(folder: Path, text: str | bytes, name: str = "a.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few bytes, so that small files have many."""
    monkeypatch.setattr(blocks_module, "SIZE", 64)


def test_types_are_those_of_the_values(tmp_path: Path) -> None:
    text = "i,f,b,t,s,zip,none\n1,1.5,true,2024-01-01T00:00:00Z,x,01234,\n2,2,False,2024-01-02T00:00:00Z,y,99999,\n"
    found = read(open_source(csv(tmp_path, text)))
    assert dict(found.schema) == {
        "i": pl.Int64,
        "f": pl.Float64,
        "b": pl.Boolean,
        "t": pl.Datetime("us", "UTC"),
        "s": pl.String,
        "zip": pl.String,
        "none": pl.String,
    }
    assert found["none"].null_count() == 2
    assert found["zip"].to_list() == ["01234", "99999"]


@pytest.mark.usefixtures("small")
def test_blocks_make_no_difference(tmp_path: Path) -> None:
    lines = "".join(f'{i},"a, ""{i}""\nsecond",{i / 4}\n' for i in range(500))
    found = read(open_source(csv(tmp_path, "n,text,x\n" + lines)))
    assert found["n"].to_list() == list(range(500))
    assert found["text"][7] == 'a, "7"\nsecond'
    assert found["x"].to_list() == [i / 4 for i in range(500)]


@pytest.mark.usefixtures("small")
def test_a_value_that_is_no_number_is_never_a_missing_one(tmp_path: Path) -> None:
    lines = "".join(f"{i},{i}.5\n" for i in range(100)) + "oops,n/a\n" + "".join(f"{i},{i}.5\n" for i in range(50))
    source = open_source(csv(tmp_path, "a,b\n" + lines))
    frames = list(source.frames())
    assert all(frame["a"].null_count() == 0 and frame["b"].null_count() == 0 for frame in frames)
    assert frames[0].schema["a"] == pl.Int64
    strange = [frame for frame in frames if frame.schema["a"] == pl.String]
    assert [frame.rows() for frame in strange] == [[("oops", "n/a")]]
    assert source.notes.rows == 151
    assert source.notes.dropped == 0


def test_a_column_with_a_few_strange_values_from_the_start_keeps_them(tmp_path: Path) -> None:
    lines = "".join(f"{i}\n" for i in range(99)) + "unknown\n"
    numbers, strange = open_source(csv(tmp_path, "a\n" + lines)).frames()
    assert numbers["a"].to_list() == list(range(99))
    assert strange["a"].to_list() == ["unknown"]


def test_odd_values_of_several_columns_are_each_told_apart(tmp_path: Path) -> None:
    source = open_source(csv(tmp_path, "a,b\n" + "1,2\n" * 50 + "x,3\n4,y\nx,y\n,y\n" + "5,6\n" * 50))
    frames = list(source.frames())
    assert [frame.rows() for frame in frames[1:]] == [[(4, "y"), (None, "y")], [("x", 3)], [("x", "y")]]
    assert frames[0].height == 100


def test_what_the_baseline_says_is_how_columns_are_read(tmp_path: Path) -> None:
    source = open_source(csv(tmp_path, "a,b,c\n1,2,x\n3,4,y\n"))
    source.expect({"a": Kind.STRING, "b": Kind.FRACTIONAL, "c": Kind.INTEGRAL})
    found = read(source)
    assert found.schema == {"a": pl.String, "b": pl.Float64, "c": pl.String}
    assert found["c"].to_list() == ["x", "y"]


def test_infinity_nan_and_missing_are_three_things(tmp_path: Path) -> None:
    found = read(open_source(csv(tmp_path, "x,y\nNaN,1\ninf,1\n-inf,1\n,1\n1e400,1\n2.5,1\n")))["x"]
    assert found.null_count() == 1
    assert found.is_nan().sum() == 1
    assert found.is_infinite().sum() == 3


def test_zones_are_turned_into_utc(tmp_path: Path) -> None:
    text = "t,x\n2024-01-01T05:00:00+02:00,1\n2024-01-01T00:00:00-03:00,1\n"
    found = read(open_source(csv(tmp_path, text)))["t"]
    assert [str(value) for value in found.dt.strftime("%H:%M")] == ["03:00", "03:00"]


def test_nothing_and_nothing_but_names(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is empty"):
        read(open_source(csv(tmp_path, "")))
    with pytest.raises(DocumentError, match="no column names"):
        read(open_source(csv(tmp_path, "\n")))
    (frame,) = open_source(csv(tmp_path, "a,b\n")).frames()
    assert frame.columns == ["a", "b"]
    assert frame.height == 0


def test_one_row_and_no_newline(tmp_path: Path) -> None:
    source = open_source(csv(tmp_path, "a,b\n1,x"))
    assert read(source).rows() == [(1, "x")]
    assert source.notes.remarks == [f"{source.name}: the last line has no newline; it was taken as complete"]


def test_lines_with_too_many_fields_are_left_out_and_told(tmp_path: Path) -> None:
    source = open_source(csv(tmp_path, "a,b\n1,2\n1,2,3\n5\n7,8\n"))
    assert read(source).rows() == [(1, 2), (5, None), (7, 8)]
    assert source.notes.dropped == 1
    assert source.notes.examples == [f"{source.name}, line 3: 3 fields instead of 2"]


def test_lines_that_are_not_utf8_are_left_out_and_told(tmp_path: Path) -> None:
    source = open_source(csv(tmp_path, b"a,b\n1,x\n2,\xff\xfe\n3,z\n"))
    assert read(source).rows() == [(1, "x"), (3, "z")]
    assert source.notes.examples == [f"{source.name}, line 3: is not UTF-8"]


def test_a_file_without_one_good_line_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no line from 2 on"):
        read(open_source(csv(tmp_path, "a\n1,2\n3,4\n")))


@pytest.mark.parametrize("quoted", ['"x"', "x"])
def test_blank_lines_are_no_rows(tmp_path: Path, quoted: str) -> None:
    assert read(open_source(csv(tmp_path, f"a,b\n\n1,{quoted}\n\r\n\n2,{quoted}\n\n"))).height == 2
    assert read(open_source(csv(tmp_path, "a\n1\n\n2\n"))).rows() == [(1,), (None,), (2,)]


def test_names_and_marks_that_only_the_user_knows(tmp_path: Path) -> None:
    path = csv(tmp_path, "1;-\n2;x\n")
    found = read(open_source(path, reading=Reading(header=False, separator=";", missing=("-",))))
    assert found.rows() == [(1, None), (2, "x")]
    assert found.columns == ["_c0", "_c1"]
    named = open_source(path, reading=Reading(header=False, separator=";", columns=("p", "q")))
    assert read(named).columns == ["p", "q"]
    tabs = csv(tmp_path, "a\tb\n1\t2\n", "t.tsv")
    assert read(open_source(tabs)).rows() == [(1, 2)]


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="two columns named 'a'"):
        read(open_source(csv(tmp_path, "a,a\n1,2\n")))


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read(open_source(csv(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n"))).columns == ["a", "b"]


def test_packed_files_are_the_same_file(tmp_path: Path) -> None:
    text = b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(10_000))
    plain = read(open_source(csv(tmp_path, text)))
    for name, packed in (("b.csv.gz", gzip.compress(text)), ("c.csv.zst", zstandard.compress(text))):
        assert read(open_source(csv(tmp_path, packed, name))).equals(plain)
        with pytest.raises(DocumentError, match="cannot be unpacked"):
            read(open_source(csv(tmp_path, packed[: len(packed) // 2], "cut." + name)))


def test_a_file_that_grows_while_it_is_read_gives_no_result(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b\n" + "1,2\n" * 6_000_000)
    frames = open_source(path).frames()
    next(frames)
    with open(path, "a") as file:
        file.write("3,4\n")
    with pytest.raises(ChangedError):
        list(frames)


def test_strings_of_a_megabyte(tmp_path: Path) -> None:
    text = "n,s\n" + "".join(f'{i},"{"x" * (1 << 20)}"\n' for i in range(80))
    source = open_source(csv(tmp_path, text))
    found = read(source)
    assert found["n"].to_list() == list(range(80))
    assert set(found["s"].str.len_bytes()) == {1 << 20}


def test_a_record_without_end_is_an_error_and_not_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "LONGEST", 1 << 20)
    monkeypatch.setattr(blocks_module, "SIZE", 1 << 16)
    with pytest.raises(DocumentError, match="line 2: a record of more than 1 MiB"):
        read(open_source(csv(tmp_path, 'a,b\n1,"' + "x\n" * (1 << 20))))


def test_parquet_under_gzip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is packed"):
        open_source(csv(tmp_path, gzip.compress(b"PAR1"), "a.parquet.gz"))


CELLS = st.text(st.sampled_from('ab1",\n\r é'), max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=30), size=st.integers(16, 200))
def test_any_cells_come_back(rows: list[tuple[str, str]], size: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Quotes, commas and newlines inside cells, whatever the block size is."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [("p", "q"), *rows]]
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    kept = blocks_module.SIZE
    blocks_module.SIZE = size
    try:
        source = open_source(str(path))
        source.expect({"p": Kind.STRING, "q": Kind.STRING})
        found = read(source)
        whole = b"".join(block.data for block in blocks(str(path), quote=b'"'))
    finally:
        blocks_module.SIZE = kept
    assert whole == path.read_bytes()
    assert found.rows() == [tuple(cell or None for cell in row) for row in rows]


def test_other_readers_keep_their_limit(tmp_path):
    """Python's limit of a field is one for the whole process: reading a table must not lift it for others."""
    import csv

    before = csv.field_size_limit()
    (tmp_path / "long.csv").write_bytes(b"a,b\n1," + b"x" * 300_000 + b"\n2,\xff\n3,y\n")
    assert sum(frame.height for frame in open_source(str(tmp_path / "long.csv")).frames()) >= 2
    assert csv.field_size_limit() == before
