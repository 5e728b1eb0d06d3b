"""The machine's clock jumps ahead by hours, and comes back: nobody is locked out for as long, and nobody let in."""

from __future__ import annotations

import time

import pytest

from assay.guard.gateway.core import Core
from assay.guard.gateway.interface import Context, Level, Standing
from guard.gateway.test_standing import core

HOURS = 5 * 3600.0
ROUTES = [{"protocol": "json", "path": "/predict"}]


class Steady:
    """The clock that never jumps, in the test's hands: a busy machine would let seconds pass between two requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("assay.guard.gateway.core.clock_gettime", lambda _clock: self.now)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> Steady:
    return Steady(monkeypatch)


def asked(one: Core, at: float) -> int:
    context = Context("POST", b"/predict", {}, "192.0.2.7", at)
    one.decide(context)
    one.finish(context)
    return context.decision.status


@pytest.mark.parametrize("plan", [{"rate": "200/s", "burst": 1}])
def test_a_rate_goes_on_when_the_clock_has_come_back(tmp_path, plan, steady):
    one, now = core({}, tmp_path, routes=ROUTES, plans={"default": plan}), time.time()
    assert asked(one, now) == 200
    steady.now += 0.01
    assert asked(one, now + HOURS) == 200
    assert asked(one, now + HOURS) == 429
    steady.now += 0.01
    assert asked(one, now) == 200, "the bucket has filled"


def test_a_window_is_neither_emptied_nor_stopped(tmp_path, steady):
    rule = {"id": "flood", "priority": 1, "action": "block", "rate": {"limit": 2, "window": 1, "by": "address"}}
    one, now = core({}, tmp_path, routes=ROUTES, rules=[rule]), time.time()
    assert [asked(one, now), asked(one, now), asked(one, now + HOURS)] == [200, 200, 403]
    steady.now += 1.2
    assert [asked(one, now), asked(one, now), asked(one, now)] == [200, 200, 403]


def test_a_block_is_not_over_before_its_time(tmp_path):
    now = time.time()
    standings = {"address:192.0.2.7": Standing(Level.BLOCK, now + 3600, "by hand: a test", True)}
    one = core(standings, tmp_path, routes=ROUTES)
    assert asked(one, now + HOURS) == 403, "whoever minds standings takes it away when it is over"
