from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.build import Built, profile
from assay.collect.profile.interface import Categories, Custom, Kind, Numeric
from assay.collect.profile.partial import decode
from assay.collect.profile.sources.frames import Table
from assay.collect.profile.sources.interface import ROWS, Reading
from assay.collect.profile.sources.opening import open_source
from assay.errors import ChangedError, DocumentError, RejectedError, UndecidedError, UsageError


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(1e6, 1.0, rows)
    frame = pl.DataFrame({"x": x, "n": rng.integers(0, 50, rows), "s": rng.choice(["a", "b", "c"], rows)})
    return frame.with_columns(pl.when(pl.col("n") == 7).then(None).otherwise(pl.col("x")).alias("y"))


def number(built: Built, name: str) -> Numeric:
    column = decode(built.state).columns[name]
    assert isinstance(column, Numeric)
    return column


def test_the_numbers_are_those_of_the_table() -> None:
    frame = table(10_000)
    built = profile(Table(frame))
    found = decode(built.state, labels=1)
    assert found.rows == 10_000
    assert number(built, "x").mean == pytest.approx(frame["x"].mean(), rel=1e-14)
    assert number(built, "y").missing == frame["y"].null_count()
    categories = found.columns["s"]
    assert isinstance(categories, Categories)
    counts = {
        categories.labels[h]: c for h, c in zip(categories.hashes.tolist(), categories.counts.tolist(), strict=True)
    }
    assert counts == dict(frame["s"].value_counts().iter_rows())
    assert built.notes.rows == 10_000
    assert built.origin.kind == "frame"


def test_workers_and_formats_make_no_difference(tmp_path: Path) -> None:
    frame = table(2 * ROWS + 1000)
    baseline = profile(Table(frame.head(10_000)))
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=50_000)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_ndjson(tmp_path / "a.jsonl")
    states = {profile(open_source(str(tmp_path / "a.parquet")), baseline.spec, workers=n).state for n in (1, 2, 5)}
    states |= {profile(open_source(str(tmp_path / name)), baseline.spec).state for name in ("a.csv", "a.jsonl")}
    halves = [frame.head(ROWS - 7), frame.slice(ROWS - 7)]
    states.add(profile(Table(halves), baseline.spec).state)
    assert len(states) == 1


def test_odd_values_are_counted_where_numbers_were_expected(tmp_path: Path) -> None:
    spec = profile(Table(pl.DataFrame({"a": range(100), "b": ["x"] * 100}))).spec
    (tmp_path / "a.csv").write_text("a,b\n" + "1,x\n" * 50 + "oops,x\n" + ",x\n" + "2.5,7\n")
    found = number(profile(open_source(str(tmp_path / "a.csv")), spec), "a")
    assert (found.count, found.odd, found.missing) == (51, 1, 1)
    rows = [{"a": 1, "b": "x"}] * 50 + [{"a": "1", "b": "x"}, {"b": "x"}, {"a": 2.5, "b": 7}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    built = profile(open_source(str(tmp_path / "a.jsonl")), spec)
    found = number(built, "a")
    assert (found.count, found.odd, found.missing) == (51, 1, 1)
    assert decode(built.state).columns["b"].odd == 1


def test_columns_that_are_new_or_gone_are_told() -> None:
    spec = profile(Table(pl.DataFrame({"a": [1, 2], "b": [1.5, 2.5]}))).spec
    found = decode(profile(Table(pl.DataFrame({"a": [1], "new": ["x"]})), spec).state)
    assert dict(found.extra) == {"new": Kind.STRING}
    assert found.absent == {"b"}


def test_an_empty_window_has_a_profile_and_an_empty_baseline_has_none(tmp_path: Path) -> None:
    spec = profile(Table(pl.DataFrame({"a": [1, 2]}))).spec
    empty = pl.DataFrame({"a": []}, schema={"a": pl.Int64})
    assert decode(profile(Table(empty), spec).state).rows == 0
    (tmp_path / "a.jsonl").write_text("")
    assert decode(profile(open_source(str(tmp_path / "a.jsonl")), spec).state).rows == 0
    for source in (Table(empty), open_source(str(tmp_path / "a.jsonl"))):
        with pytest.raises(UndecidedError, match="no rows to learn from"):
            profile(source)


def test_one_row_and_nothing_but_missing_values() -> None:
    assert number(profile(Table(pl.DataFrame({"a": [3.5]}))), "a").count == 1
    found = decode(profile(Table(pl.DataFrame({"a": [None, None]}))).state)
    assert found.rows == 2
    assert found.columns["a"].missing == 2


def captured(path: Path) -> str:
    event = {"captureData": {"endpointInput": {"data": "5,x", "encoding": "CSV", "observedContentType": "text/csv"}}}
    lines = [event | {"eventMetadata": {"eventId": str(i), "inferenceTime": "2024-01-01T00:00:00Z"}} for i in range(20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    return str(path)


def test_ids_are_not_profiled_unless_asked_for(tmp_path: Path) -> None:
    path = captured(tmp_path / "a.jsonl")
    built = profile(open_source(path, reading=Reading(columns=("age", "kind"))))
    assert list(decode(built.state).columns) == ["age", "kind"]
    assert built.notes.dropped == 1
    assert (
        dict(decode(profile(open_source(path, reading=Reading(columns=("age", "kind"))), built.spec).state).extra) == {}
    )
    asked = profile(open_source(path), columns=["eventId", "_c0"])
    assert list(decode(asked.state).columns) == ["eventId", "_c0"]


def test_some_columns_only(tmp_path: Path) -> None:
    table(1000).write_parquet(tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"))
    built = profile(source, columns=["s", "x"], customs=[Custom("double", sql="n * 2")])
    assert list(decode(built.state).columns) == ["s", "x", "double"]
    with pytest.raises(UsageError, match="no column 'none'"):
        profile(source, columns=["none"])
    with pytest.raises(UsageError, match="belong to the baseline"):
        profile(source, built.spec, columns=["s"])


def test_kinds_decide_how_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,x\n" + "12345,1\n" * 10)
    built = profile(open_source(str(tmp_path / "a.csv")), kinds={"zip": Kind.STRING})
    column = decode(built.state).columns["zip"]
    assert isinstance(column, Categories)
    assert (column.count, column.odd) == (10, 0)


def test_statistics_of_the_users_own_merge_like_columns() -> None:
    frame = table(ROWS + 5000)
    customs = [Custom("sum", sql="x + n"), Custom("kind", sql="case when n < 10 then 'few' else 'many' end")]
    built = profile(Table(frame), customs=customs, workers=2)
    assert number(built, "sum").mean == pytest.approx((frame["x"] + frame["n"]).mean(), rel=1e-13)
    again = profile(Table([frame.tail(5000), frame.head(ROWS)]), built.spec, workers=1)
    assert again.state == built.state


def test_a_baseline_cannot_make_its_function_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack: a baseline from somebody else names a function; profiling a window with it must not call it."""
    (tmp_path / "function_of_a_baseline.py").write_text("def f(frame):\n    return frame['a'] * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = Table(pl.DataFrame({"a": [1, 2, 3]}))
    named = Custom("c", function="function_of_a_baseline:f")
    built = profile(source, customs=[named])
    assert number(built, "c").mean == 4
    with pytest.raises(RejectedError, match="asks to run the function"):
        profile(source, built.spec)
    assert profile(source, built.spec, customs=[named]).state == built.state


class Failing:
    """A source that breaks after some frames, in whichever thread asks for the next one."""

    name = "the source"
    keys: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    rows = None

    def __init__(self, error: Exception) -> None:
        whole = Table(table(10))
        self.origin, self.notes, self._error = whole.origin, whole.notes, error

    def expect(self, kinds: object) -> None:
        """Nothing to know."""

    def schema(self) -> pl.Schema:
        return table(1).schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        for i in range(5):
            yield table(1000, i)
        raise self._error


@pytest.mark.parametrize("error", [ChangedError("it changed"), DocumentError("it is broken")])
def test_a_source_that_breaks_gives_its_sentence_and_no_profile(error: Exception) -> None:
    before = set(threading.enumerate())
    with pytest.raises(type(error), match="it "):
        profile(Failing(error), workers=4)
    assert set(threading.enumerate()) <= before


def test_progress_is_told(tmp_path: Path) -> None:
    table(ROWS + 10).write_parquet(tmp_path / "a.parquet")
    told: list[tuple[int, int | None]] = []
    profile(
        open_source(str(tmp_path / "a.parquet")), progress=lambda done, total: told.append((done, total)), workers=2
    )
    assert [total for _, total in told] == [ROWS + 10] * 2
    assert told[-1][0] == ROWS + 10
