"""Windows that earlier runs kept, after somebody or something damaged them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assay.errors import StoreError
from assay.watch.database import Database
from assay.watch.windows import Windows

DUE = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    ["state = 'no base64!'", "state = 'AAAA'", "state = substr(state, 1, 40)", "looks = '{'"],
)
def test_a_damaged_window_is_told_and_not_half_believed(tmp_path, change):
    place = str(tmp_path / "m.db")
    windows = Windows(place)
    windows.keep("credit", DUE, [{"topic": "drift"}], bytes(range(256)))
    assert windows.last("credit", 1)[0].state == bytes(range(256))
    with Database(place, ()).transaction() as go:
        assert go.change(f"UPDATE monitor_window SET {change}") == 1
    with pytest.raises(StoreError, match="'credit'.*2026-11-22T10:00:00Z is damaged"):
        windows.last("credit", 1)
