"""CloudWatch's documented tables: every cell, as it is printed there.

"Configuring how CloudWatch alarms treat missing data": 5 datapoints are fetched for N = 3, oldest first; 0 is within
the threshold, X breaches, - is missing. K is "retain current state".
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from assay.watch.alarms.evaluate import evaluate
from assay.watch.alarms.model import Comparison, Datapoint, MetricAlarm, Missing, Query
from assay.watch.alarms.states import State
from assay.watch.metrics.interface import Series
from assay.watch.metrics.statistics import Statistic

START = datetime(2026, 11, 22, tzinfo=UTC)
QUERIES = {"metric": Query(Series("drift"), Statistic.parse("Average"))}
TREATMENTS = (Missing.MISSING, Missing.IGNORE, Missing.BREACHING, Missing.NOT_BREACHING)
I, K, A, O = State.INSUFFICIENT_DATA, None, State.ALARM, State.OK  # noqa: E741 - as in the tables

THREE_OF_THREE = {
    "0-X-X": (O, O, O, O),
    "0----": (O, O, O, O),
    "----0": (O, O, O, O),
    "-----": (I, K, A, O),
    "0XX-X": (A, A, A, A),
    "--X--": (A, K, A, O),  # "premature alarm state": old enough, and nothing newer contradicts
    "X----": (A, K, A, O),
    "----X": (I, K, A, O),
}
TWO_OF_THREE = {
    "0-X-X": (A, A, A, A),
    "00X0X": (A, A, A, A),
    "0-X--": (O, O, A, O),
    "----0": (O, O, A, O),
    "---X-": (A, K, A, O),
    "----X": (I, K, A, O),
}
CELLS = [
    (pattern, needed, treatment, expected)
    for needed, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for pattern, row in table.items()
    for treatment, expected in zip(TREATMENTS, row, strict=True)
]


def alarm(needed: int, treatment: Missing, periods: int = 3, fetched: int = 5) -> MetricAlarm:
    return MetricAlarm(
        "a",
        QUERIES,
        300,
        Comparison.ABOVE,
        threshold=1.0,
        evaluation_periods=periods,
        datapoints_to_alarm=needed,
        missing=treatment,
        evaluation_range=fetched,
    )


def points(pattern: str) -> list[Datapoint]:
    values = {"0": 1.0, "X": 1.5, "-": None}
    times = itertools.count(1)
    return [Datapoint(START + timedelta(minutes=5 * next(times)), values[mark], mark != "-") for mark in pattern]


@pytest.mark.parametrize(("pattern", "needed", "treatment", "expected"), CELLS)
@pytest.mark.parametrize("before", list(State))
def test_every_cell(pattern: str, needed: int, treatment: Missing, expected: State | None, before: State) -> None:
    found = evaluate(alarm(needed, treatment), points(pattern), before)
    assert found.state is (before if expected is None else expected)


def test_premature_transitions_are_avoided() -> None:
    """The documentation's examples in words: ``- - - - X`` and ``- - - X -`` do not alarm at once for 3 of 3."""
    for pattern in ("----X", "---X-"):
        for before in (State.OK, State.INSUFFICIENT_DATA):
            assert evaluate(alarm(3, Missing.MISSING), points(pattern), before).state is not State.ALARM


def test_setting_is_ignored_when_real_datapoints_are_enough() -> None:
    """All patterns of five with at least three real ones: the four treatments agree."""
    for marks in itertools.product("0X-", repeat=5):
        if marks.count("-") > 2:
            continue
        states = {evaluate(alarm(2, treatment), points("".join(marks)), State.OK).state for treatment in TREATMENTS}
        real = [mark for mark in marks if mark != "-"][-3:]
        assert states == {State.ALARM if real.count("X") >= 2 else State.OK}, marks


def test_silence_is_never_good_unless_said() -> None:
    for needed in (1, 2, 3):
        assert evaluate(alarm(needed, Missing.MISSING), points("-----"), State.OK).state is State.INSUFFICIENT_DATA
        assert evaluate(alarm(needed, Missing.MISSING), [], State.OK).state is State.INSUFFICIENT_DATA


def test_a_good_value_is_never_overruled_by_the_premature_rule() -> None:
    """No pattern in which the evaluated real datapoints hold a good one alarms with fewer than M bad ones."""
    for marks in itertools.product("0X-", repeat=5):
        found = evaluate(alarm(3, Missing.MISSING), points("".join(marks)), State.OK)
        bad = sum(point.value == 1.5 for point in found.used)
        if found.state is State.ALARM and bad < 3:
            assert all(point.value == 1.5 for point in found.used), marks


def test_reason_tells_the_numbers() -> None:
    found = evaluate(alarm(2, Missing.MISSING), points("00X0X"), State.OK)
    assert found.reason == (
        "2 of 3 datapoints are above 1 (2 needed for ALARM); last: 1.5 at 2026-11-22T00:15:00Z,"
        " 1 at 2026-11-22T00:20:00Z, 1.5 at 2026-11-22T00:25:00Z"
    )
