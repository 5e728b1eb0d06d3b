"""Suspicions that are open, and who released them why. Retraining waits while one about its data is open.

A suspicion is opened by a monitor and closed by a person only: the next clean window does not close it, since an
attacker may simply stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from assay.errors import UsageError
from assay.watch.database import Database, Row
from assay.watch.instants import microseconds, moment

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS suspicion (
  monitor TEXT NOT NULL,
  due BIGINT NOT NULL,
  target TEXT NOT NULL,
  pattern TEXT NOT NULL,
  said TEXT NOT NULL,
  released BIGINT NOT NULL,
  released_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (monitor, due))""",
)
_COLUMNS = "SELECT monitor, due, target, pattern, said, released, released_by, reason FROM suspicion "


@dataclass(frozen=True, slots=True)
class Entry:
    """One suspicion."""

    monitor: str
    due: datetime
    """UTC: the end of the window that it is about."""
    target: str
    pattern: str
    said: str
    released: datetime | None
    """None while it is open."""
    by: str
    """Who released it."""
    reason: str
    """Why."""


class Ledger:
    """See the module. Times are UTC and passed in."""

    def __init__(self, place: str) -> None:
        """``place`` as `Database` takes it. Raises `StoreError`."""
        self._database = Database(place, _SCHEMA)

    def open(self, monitor: str, due: datetime, target: str, pattern: str, said: str) -> bool:
        """Note a suspicion; False when it was noted before, released or not."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "INSERT INTO suspicion VALUES (?, ?, ?, ?, ?, 0, '', '') ON CONFLICT DO NOTHING",
                    (monitor, microseconds(due), target, pattern, said[:4000]),
                )
            )

    def release(self, monitor: str, due: datetime | None, by: str, reason: str, now: datetime) -> list[Entry]:
        """Close the open suspicions of a monitor (or the one of a window); those that were closed.

        Raises `UsageError` without a name and a reason: somebody answers for it.
        """
        if not by.strip() or not reason.strip():
            raise UsageError("a release needs somebody's name and a reason", hint="--by NAME --reason TEXT")
        which, parameters = (" AND due = ?", (microseconds(due),)) if due is not None else ("", ())
        with self._database.transaction() as go:
            where = f"WHERE monitor = ? AND released = 0{which}"
            listed = go.rows(_COLUMNS + where, (monitor, *parameters))
            for row in listed:
                go.change(
                    "UPDATE suspicion SET released = ?, released_by = ?, reason = ? WHERE monitor = ? AND due = ?",
                    (microseconds(now), by.strip()[:200], reason.strip()[:2000], row[0], row[1]),
                )
        return [_entry(row) for row in listed]

    def standing(self, *, monitor: str | None = None, target: str | None = None) -> list[Entry]:
        """Open suspicions, oldest first: about a monitor or a target, or all of them."""
        with self._database.reading() as go:
            listed = [_entry(row) for row in go.rows(_COLUMNS + "WHERE released = 0 ORDER BY due, monitor")]
        if monitor is None and target is None:
            return listed
        return [one for one in listed if (monitor and one.monitor == monitor) or (target and one.target == target)]

    def recent(self, limit: int = 100) -> list[Entry]:
        """The newest, newest first, released or not."""
        with self._database.reading() as go:
            return [_entry(row) for row in go.rows(_COLUMNS + "ORDER BY due DESC, monitor LIMIT ?", (limit,))]


def _entry(row: Row) -> Entry:
    released = moment(row[5]) if row[5] else None
    return Entry(row[0], moment(row[1]), row[2], row[3], row[4], released, row[6], row[7])
