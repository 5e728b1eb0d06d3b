"""Clocks that are far ahead, here or on another machine, and come back: no quota stays used up for as long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from assay.guard.gateway.limits.periods import UNITS, period_of
from assay.guard.gateway.limits.shared import Shared
from guard.gateway.limits.test_redis import SMALL, Server, machine, rounds, server, spend, used

assert server  # the fixture
AHEAD = {"hour": 5 * 3600, "day": 3 * 86400, "week": 60 * 86400, "month": 400 * 86400}


@pytest.mark.parametrize(("unit", "ahead"), AHEAD.items())
def test_a_restart_ends_a_period_that_has_not_begun(tmp_path: Path, unit: str, ahead: int) -> None:
    now = time.time()
    counters = Shared(str(tmp_path / "c"), SMALL)
    assert counters.spend(b"q", period_of(now + ahead, unit), 10, 10) == 0
    counters.close()
    counters = Shared(str(tmp_path / "c"), SMALL)
    assert counters.spend(b"q", period_of(now, unit), 1, 10) == -1, "what was used is used"
    assert counters.spend(b"q", period_of(now + ahead // 2, unit), 1, 10) == 9, "a new period is one"
    counters.close()


@pytest.mark.parametrize(("unit", "ahead"), AHEAD.items())
def test_a_clock_that_comes_back_ends_it_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, ahead: int
) -> None:
    now = time.time()
    counters = Shared(str(tmp_path / "c"), SMALL)
    counters.sync()
    monkeypatch.setattr(time, "time", lambda: now + ahead)
    counters.sync()
    assert counters.spend(b"q", period_of(now + ahead, unit), 10, 10) == 0
    assert counters.spend(b"q", period_of(now + ahead, unit), 1, 10) == -1
    monkeypatch.setattr(time, "time", lambda: now)
    counters.sync()
    assert counters.spend(b"q", period_of(now, unit), 1, 10) == -1, "what was used is used"
    assert counters.spend(b"q", period_of(now + ahead // 2, unit), 1, 10) == 9, "a new period is one"
    counters.close()


def test_what_was_reserved_while_a_clock_was_ahead_is_put_back_when_it_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ahead = time.time(), period_of(time.time() + 400 * 86400, "month")
    counters = Shared(str(tmp_path / "c"), SMALL)
    monkeypatch.setattr(time, "time", lambda: now + 400 * 86400)
    counters.sync()
    assert counters.spend(b"q", ahead, 5, 10) == 5
    monkeypatch.setattr(time, "time", lambda: now)
    counters.sync()
    assert counters.spend(b"q", ahead, 3, 10) >= 0, "of a request that took long"
    counters.sync()
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    counters.sync()
    assert counters.spend(b"q", period_of(now + 40 * 86400, "month"), 10, 10) == 0
    counters.close()


def test_a_clock_that_is_corrected_by_little_moves_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's clock may be that much ahead: its use of tomorrow is tomorrow's."""
    now = time.time()
    counters = Shared(str(tmp_path / "c"), SMALL)
    counters.sync()
    tomorrow = period_of(now + 86400, "day")
    midnight = (tomorrow >> 3) - 20.0
    monkeypatch.setattr(time, "time", lambda: midnight + 5)
    counters.sync()
    assert counters.spend(b"q", tomorrow, 10, 10) == 0
    monkeypatch.setattr(time, "time", lambda: midnight)
    counters.sync()
    assert counters.spend(b"q", tomorrow, 1, 10) == -1
    counters.close()


def test_a_machine_whose_clock_is_ahead_takes_nobody_along(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (a, sa), machine(tmp_path, "b", server.url) as (b, sb):
        rounds(sa, sb)
        spend(b, 100)
        rounds(sa, sb)
        ahead = period_of(time.time() + 400 * 86400, "month")
        assert a.spend(b"q", ahead, 5, 1e6) >= 0
        rounds(sa, sb)
        assert used(b) == 100
        spend(b, 1)
        assert used(b) == 101
        rounds(sa, sb)
    with machine(tmp_path, "c", server.url) as (c, sc):  # it comes later, and reads what everybody has used
        rounds(sc)
        assert used(c) == 101


def test_a_clock_that_comes_back_finds_what_others_have_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with machine(tmp_path, "a", server.url) as (a, sa), machine(tmp_path, "b", server.url) as (b, sb):
        rounds(sa, sb)
        spend(b, 100)
        rounds(sa, sb)
        monkeypatch.setattr(time, "time", lambda: now + 40 * 86400)
        assert sa.sync()
        spend(a, 5)
        monkeypatch.setattr(time, "time", lambda: now)
        rounds(sa, sb)
        assert used(a) == used(b) == 105


def test_totals_of_periods_that_have_not_begun_hide_nothing(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (a, sa):
        rounds(sa)
        spend(a, 100)
        rounds(sa)
        (name,) = sa._client.hkeys(f"assay:quotas:{a.file.identity}")
        now = time.time()
        sa._client.sadd("assay:machines", "stranger")
        for unit in UNITS[:4]:
            sa._client.hset("assay:quotas:stranger", name, f"{period_of(now + 2e9, unit)}:5.0")
            with machine(tmp_path, f"b-{unit}", server.url) as (b, sb):
                rounds(sb)
                assert used(b) == 100
