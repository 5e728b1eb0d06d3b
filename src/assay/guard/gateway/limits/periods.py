"""Calendar periods of quotas as integers that sort by time, in UTC. Pure.

A period is its first second times eight, plus which unit it is, so that a table of quotas can tell by the number alone
whether a period is over. A week is the ISO 8601 week, which begins on Monday.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

UNITS = ("hour", "day", "week", "month", "life")
FOREVER = 1 << 52
"""When a life ends: later than any clock says."""
_MONDAY = 345_600
"""1970-01-05, the first Monday of UNIX time."""


def period_of(now: float, unit: str) -> int:
    """The period of ``unit`` that the UNIX time ``now`` lies in."""
    which = UNITS.index(unit)
    seconds = int(now)
    if which == 0:
        start = seconds - seconds % 3600
    elif which == 1:
        start = seconds - seconds % 86400
    elif which == 2:
        start = seconds - (seconds - _MONDAY) % 604_800
    elif which == 3:
        moment = datetime.fromtimestamp(seconds, UTC)
        start = int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())
    else:
        start = 0
    return start * 8 + which


def start_of(period: int) -> int:
    """First second of a period."""
    return period >> 3


@lru_cache(256)
def end_of(period: int) -> int:
    """First second after a period. Raises `ValueError` where the number names no period."""
    start, which = period >> 3, period & 7
    if which >= len(UNITS) or period < 0 or start >= FOREVER:
        raise ValueError(period)
    if which == 3:
        moment = datetime.fromtimestamp(start, UTC)
        year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
        return int(datetime(year, month, 1, tzinfo=UTC).timestamp())
    return FOREVER if which == 4 else start + (3600, 86400, 604_800)[which]
