"""Instants as the database keeps them: microseconds since 1970 UTC, exactly, in every table.

A time without zone is refused: Python would take it for one of this machine's own zone, and two machines share a
database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from assay.errors import DocumentError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Since 1970 UTC, exactly. Raises `DocumentError` for a time without zone."""
    if time.tzinfo is None:
        raise DocumentError(f"the time {time.isoformat()} has no zone")
    return (time - _EPOCH) // _TICK


def moment(ticks: int) -> datetime:
    """The time that many microseconds after 1970 UTC."""
    return _EPOCH + ticks * _TICK
