"""Columns at the edge of what there is go through every file and check without a traceback, and mean the same after."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta

import jsonschema
import polars as pl
import pytest

from assay.collect.profile.partial import decode, partial, publish
from assay.collect.profile.spec import specify
from assay.watch import integrity
from assay.watch.constraints import baseline, reading
from assay.watch.constraints.check import check
from assay.watch.constraints.suggest import suggest
from assay.watch.interface import Outcome
from assay.watch.sagemaker import constraints as constraint_files
from assay.watch.sagemaker import statistics
from watch.sagemaker.schemas import CONSTRAINTS, STATISTICS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 120
COLUMNS = {
    "largest": [1.7e308, -1.7e308, 0.0, 5e-324],
    "infinite": [math.inf, -math.inf, 1.0, 2.0],
    "nan": [math.nan],
    "huge integers": [2**63 - 1, -(2**63), 0, 1],
    "one value": [3],
    "nothing": [None],
    "long": ["x" * 100_000, "y"],
    "control": ["\x1b[2J", "\x00", "a\nb", "\u202e"],
    "numbers as text": ["1", "2.5", "x", ""],
    "text": [f"a sentence of several words, number {i}, which is read and not looked up" for i in range(ROWS)],
    "instants": [NOW + timedelta(hours=i) for i in range(ROWS)],
    "days": [date(1950, 1, 1) + timedelta(days=i * 100) for i in range(ROWS)],
    "durations": [timedelta(seconds=i) for i in range(ROWS)],
    "flags": [True, False, None],
    "vectors": [[0.5, 1.5], [2.5, 3.5]],
    "": [1, 2],
    "a.b: [c] #d": ["yes", "no", "null", "~", "1e5"],
}


def _frame() -> pl.DataFrame:
    return pl.DataFrame(
        [pl.Series(name, [values[i % len(values)] for i in range(ROWS)]) for name, values in COLUMNS.items()]
    )


@pytest.fixture(scope="module")
def state():
    frame = _frame()
    return partial(frame, specify(frame))


def test_a_table_meets_what_it_suggests(state):
    profile = decode(state, labels=None)
    found = (*check(suggest(profile), profile, baseline=profile), *integrity.check(profile, profile))
    assert [item for item in found if item.outcome is Outcome.VIOLATED] == []
    assert all(math.isfinite(number) for item in found for number in item.measures.values())


def test_constraints_are_read_as_they_were_written(state):
    made = suggest(decode(state, labels=None))
    assert reading.loads(reading.dumps(made), "c") == made


def test_the_baseline_file_is_read_as_it_was_written(state):
    shown = publish(state)
    profile = decode(shown)
    data = baseline.dumps(baseline.Baseline(shown, profile, suggest(profile), NOW))
    assert baseline.loads(data, "b").state == shown


def test_sagemakers_files_are_valid_and_read_again(state):
    profile = decode(publish(state))
    data = statistics.dumps(profile)
    jsonschema.validate(json.loads(data), STATISTICS)
    assert statistics.loads(data).rows == ROWS
    written = constraint_files.dumps(suggest(profile))
    jsonschema.validate(json.loads(written), CONSTRAINTS)
    assert list(constraint_files.loads(written).columns) == list(profile.columns)


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_a_few_rows_of_it_decide_nothing(state, rows):
    profile = decode(state)
    current = decode(partial(_frame().head(rows), profile.spec), labels=None)
    found = check(suggest(profile), current, baseline=profile)
    assert {item.outcome for item in found} == {Outcome.UNDECIDED}
