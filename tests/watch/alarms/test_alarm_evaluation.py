"""Operators, bands at their edges, percentiles of few samples."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from assay.watch.alarms.evaluate import breaches, evaluate
from assay.watch.alarms.model import Comparison, Datapoint, MetricAlarm, Query
from assay.watch.alarms.states import State
from assay.watch.metrics.interface import Series
from assay.watch.metrics.statistics import Statistic

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALARM = MetricAlarm(
    "a", {"metric": Query(Series("m"), Statistic.parse("Average"))}, 60, Comparison.ABOVE, 5.0, evaluation_range=3
)


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        (Comparison.AT_LEAST, False, True, True),
        (Comparison.ABOVE, False, False, True),
        (Comparison.BELOW, True, False, False),
        (Comparison.AT_MOST, True, True, False),
    ],
)
def test_threshold(comparison: Comparison, below: bool, equal: bool, above: bool) -> None:
    alarm = replace(ALARM, comparison=comparison)
    assert [breaches(alarm, Datapoint(NOW, value)) for value in (4.0, 5.0, 6.0)] == [below, equal, above]
    assert not breaches(alarm, Datapoint(NOW, None))


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        (Comparison.OUTSIDE, [True, False, False, False, True]),
        (Comparison.UNDER, [True, False, False, False, False]),
        (Comparison.OVER, [False, False, False, False, True]),
    ],
)
def test_band(comparison: Comparison, expected: list[bool]) -> None:
    alarm = replace(ALARM, comparison=comparison, threshold=None)
    values = (0.9, 1.0, 1.5, 2.0, 2.1)
    assert [breaches(alarm, Datapoint(NOW, value, 1, 1.0, 2.0)) for value in values] == expected


def test_a_value_without_band_is_no_good_value() -> None:
    alarm = replace(ALARM, comparison=Comparison.OUTSIDE, threshold=None)
    found = evaluate(alarm, [Datapoint(NOW, 1.0, 1)] * 3, State.OK)
    assert found.state is State.INSUFFICIENT_DATA
    assert "the band could not be learned yet" in found.reason


@pytest.mark.parametrize(("statistic", "needed"), [("p99", 1000), ("p50", 20), ("p10", 100), ("p99.9", 10_000)])
def test_percentile_of_few_samples_leaves_the_state(statistic: str, needed: int) -> None:
    """10/(1-p) samples from one half up, 10/p below."""
    alarm = replace(
        ALARM,
        queries={"metric": Query(Series("m"), Statistic.parse(statistic))},
        ignore_low_samples=True,
        evaluation_periods=2,
        datapoints_to_alarm=2,
    )
    few, enough = (
        [Datapoint(NOW + timedelta(minutes=i), 9.0, samples) for i in range(2)]
        for samples in ((needed - 1) / 2, needed / 2)
    )
    for state in State:
        assert evaluate(alarm, few, state).state is state
        assert evaluate(replace(alarm, ignore_low_samples=False), few, state).state is State.ALARM
        assert evaluate(alarm, enough, state).state is State.ALARM


def test_few_samples_do_not_hide_silence() -> None:
    alarm = replace(ALARM, queries={"metric": Query(Series("m"), Statistic.parse("p99"))}, ignore_low_samples=True)
    assert evaluate(alarm, [Datapoint(NOW, None)] * 3, State.OK).state is State.INSUFFICIENT_DATA
