"""CSV and TSV, held against Python's own csv module."""

from __future__ import annotations

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.bom.data import delimited
from assay.collect.bom.data.delimited import DelimitedReader
from assay.collect.bom.interface import DataFile


def read(data: bytes, path: str = "data.csv") -> DataFile:
    return DelimitedReader().read(path, io.BytesIO(data), len(data))


def types(found: DataFile) -> dict[str, str]:
    return {column.name: column.type for column in found.columns}


def reference(data: bytes, delimiter: str = ",") -> int:
    text = io.TextIOWrapper(io.BytesIO(data), "latin-1", newline="")
    return sum(1 for row in csv.reader(text, delimiter=delimiter) if row)


def test_header_types_and_rows() -> None:
    found = read(
        b"id,price,when,ok,name,none,mixed,stamp\n"
        b"1,2.5,2024-01-02,true,a,,1,2024-01-02T03:04:05Z\n"
        b"2,3,2024-01-03,false,b,NA,x,2024-01-02\n"
    )
    assert found.format == "csv"
    assert found.rows == 2
    assert types(found) == {
        "id": "int64",
        "price": "double",
        "when": "date",
        "ok": "bool",
        "name": "string",
        "none": "null",
        "mixed": "string",
        "stamp": "timestamp",
    }
    assert found.metadata == {"delimiter": ",", "header": "true", "encoding": "utf-8"}
    assert not found.warnings


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(delimiter: str) -> None:
    rows = ["a", "b", "c"], ["1,5", "x;y", "t|u"], ["2", "z", "w"]
    memory = io.StringIO(newline="")
    csv.writer(memory, delimiter=delimiter).writerows(rows)
    found = read(memory.getvalue().encode())
    assert found.metadata["delimiter"] == delimiter
    assert [column.name for column in found.columns] == ["a", "b", "c"]
    assert found.rows == 2


def test_tabs_by_name_and_no_header() -> None:
    found = read(b"1\tx, y\n2\tz\n", "data.tsv")
    assert (found.format, found.rows, found.metadata["header"]) == ("tsv", 2, "false")
    assert types(found) == {"column_0": "int64", "column_1": "string"}


def test_the_index_that_pandas_writes() -> None:
    found = read(b",a,b\n0,1,2\n")
    assert (found.rows, found.metadata["header"]) == (1, "true")


def test_one_column_and_nothing() -> None:
    assert read(b"name\nanna\nberta\n").rows == 2
    empty = read(b"")
    assert (empty.rows, empty.columns, empty.warnings) == (0, (), ())


def test_gzip() -> None:
    found = read(gzip.compress(b"a,b\n1,2\n"), "data.csv.gz")
    assert (found.rows, found.metadata["compression"]) == (1, "gzip")
    broken = read(gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)[:-30], "data.csv.gz")
    assert broken.rows is None
    assert "cannot be unpacked" in broken.warnings[0]


def test_what_unpacks_too_far_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.collect.bom.data.facts.Unpacked.__init__.__defaults__", (1 << 20,))
    found = read(gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000), "data.csv.gz")
    assert found.rows is None
    assert "unpacks to too many bytes" in found.warnings[0]
    assert len(found.columns) == 2


def test_encodings() -> None:
    assert types(read("naïve,b\n1,2\n".encode("utf-8-sig"))) == {"naïve": "int64", "b": "int64"}
    latin = read("naïve,b\n1,2\n".encode("latin-1"))
    assert latin.metadata["encoding"] == "unknown"
    assert "not UTF-8" in latin.warnings[0]
    wide = read("a,b\n1,2\n".encode("utf-16"))
    assert wide.rows is None
    assert "no UTF-8 text" in wide.warnings[0]


@pytest.mark.parametrize(
    "data",
    [
        b'a,b\n"x\ny",1\n"p ""q""\n\nr",2\n',
        b"a,b\r\n1,2\r\n\r\n\r\n3,4\r\n",
        b"\n\n\na,b\n\n1,2\n\n\n\n3,4",
        b"a,b\r1,2\r3,4\r",
        b'a,b\n5" pipe,1\n6",2\n7,8\n',
        b'a,b\n"never closed,1\n2,3\n',
        b'a,b\n1,"x"\n2,"y"',
        b'a,b\n"",""\n"","\n"\n',
        b"a,b\n1,2\n\r",
    ],
)
def test_rows_as_the_csv_module_counts_them(data: bytes) -> None:
    assert read(data).rows == reference(data) - 1


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_rows_of_any_table_in_chunks_of_any_size(chunk: int, data: st.DataObject) -> None:
    cell = st.text("ab1 ,\"\n\r'", max_size=6)
    rows = data.draw(st.lists(st.lists(cell, min_size=1, max_size=3), max_size=8))
    memory = io.StringIO(newline="")
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    csv.writer(memory, lineterminator=ending).writerows(rows)
    written = memory.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_CHUNK", chunk)
        assert delimited._count(io.BytesIO(written), ",") == reference(written)


def test_lines_and_fields_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_MAX_LINE", 1 << 20)
    before = csv.field_size_limit()
    long_line = read(b"a,b\n" + b"x" * (3 << 20))
    assert long_line.rows is None
    assert "longer than" in long_line.warnings[0]
    long_field = read(b'a,b\n"' + b"x\n" * (1 << 20))
    assert long_field.rows is None
    assert "field larger than" in long_field.warnings[0]
    assert csv.field_size_limit() == before


def test_columns_are_limited() -> None:
    found = read(b",".join(b"c%d" % i for i in range(20_000)) + b"\n" + b"1\n" * 2000)
    assert len(found.columns) == 10_000
    assert "more than 10000 columns" in found.warnings[0]
    assert found.rows == 2000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.tsv", "x.csv.gz"]))
def test_no_bytes_are_a_traceback(data: bytes, path: str) -> None:
    assert read(data, path).path == path
