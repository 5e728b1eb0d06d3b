from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.profile.sources import blocks as blocks_module
from assay.collect.profile.sources.opening import open_source
from assay.errors import ChangedError, DocumentError
from collect.profile.reading import mixed, read


def lines(folder: Path, *rows: Any, end: str = "\n", name: str = "a.jsonl") -> str:
    path = folder / name
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text + end if rows else "")
    return str(path)


def test_types_are_those_of_the_values(tmp_path: Path) -> None:
    row = {"i": 1, "f": 1.5, "b": True, "s": "x", "v": [1, 2.5], "o": {"a": {"b": 2}}, "n": None}
    found = read(open_source(lines(tmp_path, row, row)))
    assert found.height == 2
    assert found.schema["i"] == pl.Int64
    assert found.schema["f"] == pl.Float64
    assert found.schema["b"] == pl.Boolean
    assert found.schema["v"] == pl.List(pl.Float64)
    assert found["o.a.b"].to_list() == [2, 2]
    assert found["n"].null_count() == 2


def test_values_of_other_types_come_in_frames_of_their_own(tmp_path: Path) -> None:
    values = [1, "x", 2.5, True, {"k": 1}, [1, "a"], None, "12"]
    source = open_source(lines(tmp_path, *({"a": value, "b": 1} for value in values)))
    frames = list(source.frames())
    assert sum(frame["b"].sum() for frame in frames) == len(values)
    found = [frame["a"].drop_nulls().to_list() for frame in frames if "a" in frame.columns]
    assert sorted(filter(None, found), key=str) == [["x", "12", '[1, "a"]'], [1.0, 2.5], [True]]
    assert mixed(source, "a.k") == [1]


@pytest.mark.parametrize("name", ["a", "ä", "a b", 'q"', "b.c", "x\\"])
def test_a_number_is_never_made_text_of_without_a_word(tmp_path: Path, name: str) -> None:
    """polars reads a column of both as text."""
    source = open_source(lines(tmp_path, {name: 1}, {name: "x"}, {name: 2}))
    assert sorted(map(repr, mixed(source, name))) == ["'x'", "1", "2"]
    nested = open_source(lines(tmp_path, {"o": {name: 1}}, {"o": {name: "x"}}, {"o": {name: 2}}))
    assert sorted(map(repr, mixed(nested, f"o.{name}"))) == ["'x'", "1", "2"]


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    path = lines(tmp_path, '{"x": NaN}', '{"x": Infinity}', '{"x": -Infinity}', '{"x": null}', '{"x": 1}')
    found = read(open_source(path))["x"]
    assert found.null_count() == 1
    assert found.is_nan().sum() == 1
    assert found.is_infinite().sum() == 2


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, 10**400])
def test_integers_beyond_64_bits_are_numbers_or_text_but_there(tmp_path: Path, number: int) -> None:
    assert len(mixed(open_source(lines(tmp_path, {"x": number}, {"x": 1}, {"x": "a", "y": 1})), "x")) == 3
    alone = read(open_source(lines(tmp_path, {"x": number}, {"x": 1})))["x"]
    assert alone.null_count() == 0
    assert number >= 10**308 or alone.dtype.is_numeric()


def test_lines_that_are_no_objects_are_left_out_and_told(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path, {"a": 1}, "nonsense", "[1]", "", {"a": 2}))
    assert read(source)["a"].to_list() == [1, 2]
    assert source.notes.dropped == 2
    assert source.notes.examples[0].startswith(f"{source.name}, line 2: is not JSON")
    assert source.notes.examples[1] == f"{source.name}, line 3: is no JSON object"


def test_the_beginning_of_a_last_line_is_left_out_and_told(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path, {"a": 1}, '{"a": 2', end=""))
    assert read(source)["a"].to_list() == [1]
    assert source.notes.examples == [f"{source.name}, line 2: the last line is not complete"]
    whole = open_source(lines(tmp_path, {"a": 1}, {"a": 2}, end="", name="b.jsonl"))
    assert read(whole)["a"].to_list() == [1, 2]
    assert whole.notes.dropped == 0


def test_no_rows_and_no_sense(tmp_path: Path) -> None:
    source = open_source(lines(tmp_path))
    assert list(source.frames()) == []
    assert source.schema() == {}
    with pytest.raises(DocumentError, match="no line that is a JSON object"):
        read(open_source(lines(tmp_path, "a,b", "1,2")))


def test_of_a_name_that_occurs_twice_the_first_counts_on_every_path(tmp_path: Path) -> None:
    twice = '{"a": 1, "a": 2}'
    quick = read(open_source(lines(tmp_path, twice)))
    by_hand = read(open_source(lines(tmp_path, twice, '{"b": NaN}', name="b.jsonl")))
    assert quick["a"].to_list() == [1]
    assert by_hand["a"].to_list() == [1, None]


def test_a_lone_surrogate_is_no_traceback(tmp_path: Path) -> None:
    path = lines(tmp_path, '{"a": "\\ud800", "b": NaN}', '{"a": "x"}')
    assert read(open_source(path))["a"].null_count() == 0


def test_nesting_without_end_is_no_traceback(tmp_path: Path) -> None:
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
    source = open_source(lines(tmp_path, {"a": 1}, deep))
    assert read(source)["a"].to_list()[0] == 1


def test_a_file_that_grows_while_it_is_read_gives_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "SIZE", 1 << 16)
    path = lines(tmp_path, *({"a": i} for i in range(300_000)))
    frames = open_source(path).frames()
    next(frames)
    with open(path, "a") as file:
        file.write('{"a": 1}\n')
    with pytest.raises(ChangedError):
        list(frames)


def test_packed_and_without_a_telling_name(tmp_path: Path) -> None:
    (tmp_path / "data.gz").write_bytes(gzip.compress(b'{"a": 1}\n'))
    assert read(open_source(str(tmp_path / "data.gz"))).rows() == [(1,)]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.lists(st.integers())
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), min_size=1, max_size=20))
def test_every_value_is_there_whatever_it_is(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = lines(tmp_path_factory.mktemp("jsonl"), *rows)
    source = open_source(path)
    for name in "abc":
        assert len(mixed(source, name)) == sum(row.get(name) is not None for row in rows)
