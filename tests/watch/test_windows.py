"""What earlier runs saw: kept once a window, given back in order, bounded in number and in size."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.errors import StoreError
from assay.watch import windows
from assay.watch.windows import Windows

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(number: int) -> datetime:
    return START + timedelta(hours=number)


def test_windows_come_back_in_order_and_each_once(tmp_path: Path) -> None:
    kept = Windows(str(tmp_path / "m.db"))
    for number in (3, 1, 2):
        kept.keep("a", at(number), [{"topic": "drift"}], bytes([number]))
    kept.keep("b", at(9), [], b"other")
    kept.keep("a", at(2), [{"topic": "bias"}], b"again")
    found = Windows(str(tmp_path / "m.db")).last("a", 10)
    assert [(one.due, one.state) for one in found] == [(at(1), b"\1"), (at(2), b"again"), (at(3), b"\3")]
    assert found[1].looks == ({"topic": "bias"},)
    assert [one.due for one in kept.last("a", 10, at(3))] == [at(1), at(2)]  # never the window itself
    assert [one.due for one in kept.last("a", 1)] == [at(3)]
    assert kept.last("c", 10) == []


def test_only_the_newest_are_kept_of_each_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "KEPT", 3)
    kept = Windows(str(tmp_path / "m.db"))
    for number in range(6):
        for name in ("a", "b"):
            kept.keep(name, at(number), [], b"x")
    for name in ("a", "b"):
        assert [one.due for one in kept.last(name, 10)] == [at(3), at(4), at(5)]


def test_a_state_is_kept_as_it_is_and_packed(tmp_path: Path) -> None:
    kept = Windows(str(tmp_path / "m.db"))
    whole = os.urandom(1000) + bytes(100_000)
    kept.keep("a", at(0), [], whole)
    assert kept.last("a", 1)[0].state == whole
    assert (tmp_path / "m.db").stat().st_size < 100_000


def test_a_state_that_is_too_large_is_neither_kept_nor_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stops: a row that was packed by somebody else and fills the memory."""
    kept = Windows(str(tmp_path / "m.db"))
    kept.keep("a", at(0), [], bytes(1_000_000))
    monkeypatch.setattr(windows, "MAX_STATE", 1000)
    with pytest.raises(StoreError, match="1,000 at most are kept"):
        kept.keep("a", at(1), [], bytes(1_000_000))
    with pytest.raises(StoreError, match="is damaged: it is cut off, or too large"):
        kept.last("a", 5)
