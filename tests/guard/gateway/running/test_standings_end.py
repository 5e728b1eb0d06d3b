"""How long standings last: as long as was said, whatever the machine's clock does meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from assay.guard.gateway.interface import Level, Standing
from assay.guard.gateway.running import rooms
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import convert


def test_a_clock_that_jumps_ahead_and_back_ends_no_standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = convert({"assay-gateway": 1, "detect": {"mode": "enforce"}}, "gateway.yaml", str(tmp_path))
    told: list[object] = []
    real, begun = time.clock_gettime, time.time()
    one = rooms.observation(settings, State(settings).prepare(), told.extend, pytest.fail)
    one.set("key:thief", Standing(Level.BLOCK, begun + 3600, "by hand: a test", True))
    one.set("key:other", Standing(Level.SLOW, begun + 60, "near"))

    def at(passed: float, ahead: float) -> set[str]:
        monkeypatch.setattr(time, "time", lambda: begun + passed + ahead)
        monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + passed)
        one.tick(begun + passed + ahead)
        return set(one.standings)

    assert at(1, 18000) == {"key:thief", "key:other"}
    assert at(70, 18000) == {"key:thief"}
    assert at(100, 0) == {"key:thief"}
    assert at(3500, 0) == {"key:thief"}
    assert at(3700, 0) == set()
    assert told[-1] == ("key:thief", None)
    one.close()
