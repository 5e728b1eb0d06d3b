"""Quotas where a period ends, while requests are under way and clocks step: nobody gets a period twice."""

from pathlib import Path

import pytest

from assay.guard.gateway.interface import Counters
from assay.guard.gateway.limits.file import Shape
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.periods import UNITS, end_of, period_of
from assay.guard.gateway.limits.shared import Shared

SMALL = Shape(quotas=64, windows=64, rates=64, inside=64)
DAY = 86400
NOON = 1_790_000_000 // DAY * DAY + DAY // 2


@pytest.fixture(params=["local", "shared"])
def counters(request: pytest.FixtureRequest, tmp_path: Path) -> Counters:
    return Local() if request.param == "local" else Shared(str(tmp_path / "counters"), SMALL)


def test_what_was_reserved_yesterday_frees_nothing_today(counters: Counters) -> None:
    yesterday, today = period_of(NOON, "day"), period_of(NOON + DAY, "day")
    assert counters.spend(b"q", yesterday, 100, 100) == 0
    assert counters.spend(b"q", today, 60, 100) == 40
    counters.spend(b"q", yesterday, -100, float("inf"))  # a long request of yesterday's ends, and used nothing
    assert counters.spend(b"q", today, 50, 100) == -1


def test_what_began_yesterday_and_grew_is_paid_today(counters: Counters) -> None:
    yesterday, today = period_of(NOON, "day"), period_of(NOON + DAY, "day")
    counters.spend(b"q", yesterday, 10, 100)
    counters.spend(b"q", today, 0, 100)
    counters.spend(b"q", yesterday, 90, float("inf"))
    assert counters.spend(b"q", today, 20, 100) == -1


@pytest.mark.parametrize("unit", UNITS)
def test_a_clock_that_steps_back_gives_no_period_back(counters: Counters, unit: str) -> None:
    now, before = period_of(NOON, unit), period_of(NOON - 40 * DAY, unit)
    assert counters.spend(b"q", now, 100, 100) == 0
    assert counters.spend(b"q", before, 1, 100) == -1
    assert counters.spend(b"q", now, 1, 100) == -1


def test_the_first_second_of_the_next_period_is_another(counters: Counters) -> None:
    for unit in UNITS[:-1]:
        period = period_of(NOON, unit)
        end = end_of(period)
        assert period_of(end - 0.001, unit) == period and period_of(end, unit) != period
        assert counters.spend(unit.encode(), period, 100, 100) == 0
        assert counters.spend(unit.encode(), period_of(end - 0.001, unit), 1, 100) == -1
        assert counters.spend(unit.encode(), period_of(end, unit), 100, 100) == 0
