"""Bands: seasons are learned, incidents are not, and too little to learn from gives no band."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import pytest

from assay.watch.alarms.bands import ENOUGH_TOTAL, learn
from assay.watch.alarms.model import Actions, Band, Comparison, MetricAlarm, Query
from assay.watch.alarms.run import datapoints, evaluate_all
from assay.watch.alarms.states import State
from assay.watch.interface import Metric, Window
from assay.watch.metrics.interface import Point, Series
from assay.watch.metrics.statistics import Statistic
from assay.watch.metrics.store import open_store

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def daily(index: int) -> float:
    return 100 + 50 * math.sin(index % 24 / 24 * 2 * math.pi)


def hours(count: int, seed: int = 0, noise: float = 2.0) -> list[Point]:
    chance = random.Random(seed)
    return [Point(MONDAY + index * HOUR, daily(index) + chance.gauss(0, noise), 1) for index in range(count)]


def test_a_day_is_learned_in_two_weeks() -> None:
    learned = learn(Band(width=4), hours(14 * 24))
    assert learned is not None
    for index in range(14 * 24, 15 * 24):
        low, high = learned.at(MONDAY + index * HOUR)
        assert low < daily(index) < high
        assert high - low < 40  # and not as wide as the day's swing, which is 100


@pytest.mark.parametrize(("width", "nature"), [(2, 0.0455), (3, 0.0027)])
@pytest.mark.parametrize(("step", "past", "new"), [(1, 336, 48), (24, 14, 14), (1, 12, 6)])
def test_normal_values_are_outside_as_often_as_the_width_says(
    width: float, nature: float, step: int, past: int, new: int
) -> None:
    """Series without change: hourly for two weeks, daily for two weeks, hourly for half a day."""
    outside = total = 0
    for seed in range(3000 // new):
        chance = random.Random(seed)
        points = [Point(MONDAY + index * step * HOUR, chance.gauss(0, 1), 1) for index in range(past + new)]
        learned = learn(Band(width=width), points[:past])
        assert learned is not None
        for point in points[past:]:
            low, high = learned.at(point.time)
            outside += not low <= point.value <= high
            total += 1
    assert nature / 4 < outside / total < nature * 3.5


def test_an_incident_does_not_move_the_band() -> None:
    calm = hours(14 * 24)
    stormy = [Point(point.time, 10_000.0, 1) if 100 <= index < 124 else point for index, point in enumerate(calm)]
    before, after = learn(Band(), calm), learn(Band(), stormy)
    assert before is not None
    assert after is not None
    for index in range(24):
        low, high = after.at(MONDAY + index * HOUR)
        assert before.at(MONDAY + index * HOUR) == (pytest.approx(low, abs=8), pytest.approx(high, abs=8))


def test_excluded_times_teach_nothing() -> None:
    points = hours(48, noise=0.0)
    wrong = [Point(point.time, 7.0, 1) for point in points[:24]] + points[24:]
    excluded = Band(excluded=(Window(MONDAY, MONDAY + 24 * HOUR),))
    assert learn(excluded, wrong) == learn(Band(), points[24:])


def test_hour_of_week_with_enough_of_each() -> None:
    """Ten values in each hour: a week with a different weekend is told apart from the other days."""
    points = []
    for index in range(14 * 24 * 10):
        time = MONDAY + index * HOUR / 10
        points.append(Point(time, (10.0 if time.weekday() >= 5 else 100.0) + index % 3, 1))
    learned = learn(Band(), points)
    assert learned is not None
    assert learned.at(MONDAY + 12 * HOUR)[0] > 90
    assert learned.at(MONDAY + (5 * 24 + 12) * HOUR)[1] < 20


def test_too_little_gives_no_band() -> None:
    assert learn(Band(), hours(ENOUGH_TOTAL - 1)) is None
    assert learn(Band(), []) is None
    assert learn(Band(), hours(ENOUGH_TOTAL)) is not None


def test_constant_series_alarm_on_the_first_change() -> None:
    learned = learn(Band(), [Point(MONDAY + index * HOUR, 5.0, 1) for index in range(100)])
    assert learned is not None
    assert learned.at(MONDAY) == (5.0, 5.0)


def test_alarm_on_a_band_over_a_store(tmp_path: object) -> None:
    store = open_store(f"{tmp_path}/metrics.db")
    alarm = MetricAlarm(
        "calls",
        {"metric": Query(Series("calls"), Statistic.parse("Average"))},
        3600,
        Comparison.OUTSIDE,
        band=Band(width=5),
        evaluation_periods=2,
        datapoints_to_alarm=2,
        evaluation_range=4,
        actions=Actions(("page",)),
    )
    now = MONDAY + 5 * HOUR
    store.put([Metric("calls", point.time, point.value) for point in hours(6)], "start")
    assert evaluate_all(store, [alarm], now) == ()  # nothing learned: not OK
    store.put([Metric("calls", point.time, point.value) for point in hours(14 * 24)], "weeks")
    now = MONDAY + (14 * 24 - 1) * HOUR
    assert [change.new for change in evaluate_all(store, [alarm], now)] == [State.OK]
    for _ in range(2):
        now += HOUR
        store.put([Metric("calls", now, 1000.0)], "attack")
        changes = evaluate_all(store, [alarm], now)
    assert [change.new for change in changes] == [State.ALARM]
    assert "outside of the band" in changes[0].reason
    points, _ = datapoints(store, alarm, now)
    assert all(point.upper is not None and point.upper < 500 for point in points)  # what is judged teaches nothing
