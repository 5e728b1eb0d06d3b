"""What became of each action: one row per action and event, written before anything is done.

A row that stands at ``running`` when its claim has run out was cut off by a crash: whether it was carried out is not
known. It is repeated only where repeating does no harm; otherwise it waits for a person.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from assay.watch.actions.interface import Event
from assay.watch.database import Database, Row
from assay.watch.instants import microseconds, moment

LEASE = timedelta(minutes=5)
"""How long a claim lasts without being renewed."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS action_run (
  id TEXT PRIMARY KEY,
  action TEXT NOT NULL,
  event TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  changed BIGINT NOT NULL,
  said TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS action_told (
  id TEXT NOT NULL,
  state TEXT NOT NULL,
  changed BIGINT NOT NULL,
  PRIMARY KEY (id, state, changed))""",
    "CREATE INDEX IF NOT EXISTS action_run_state ON action_run (state, next_at)",
    "CREATE INDEX IF NOT EXISTS action_run_action ON action_run (action, changed)",
)
_COLUMNS = "SELECT id, action, event, state, attempts, next_at, changed, said FROM action_run "


class State(StrEnum):
    """Where an action stands."""

    PENDING = "pending"
    """To be carried out, or tried again."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Given up after its last attempt."""
    LIMITED = "limited"
    """Not carried out: it was at its limit."""
    BLOCKED = "blocked"
    """Not carried out: a suspicion is open. Goes on when that is released."""
    UNKNOWN = "unknown"
    """Cut off in the middle; a person decides."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row."""

    key: str
    action: str
    event: Event
    state: State
    attempts: int
    next_at: datetime
    changed: datetime
    said: str
    """How it went, in words."""


class Ledger:
    """See the module. Times are UTC and passed in."""

    def __init__(self, place: str) -> None:
        """``place`` as `Database` takes it. Raises `StoreError`."""
        self._database = Database(place, _SCHEMA)

    def ask(self, action: str, event: Event, now: datetime) -> bool:
        """Note that an action is wanted; False when it was wanted for this event before."""
        text = json.dumps({**asdict(event), "time": event.time.isoformat()}, sort_keys=True, default=str)
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "INSERT INTO action_run VALUES (?, ?, ?, ?, 0, ?, ?, '') ON CONFLICT DO NOTHING",
                    (event.key(action), action, text, State.PENDING, microseconds(now), microseconds(now)),
                )
            )

    def claim(self, key: str, now: datetime) -> bool:
        """Take a pending one up: True for exactly one caller."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "UPDATE action_run SET state = ?, attempts = attempts + 1, next_at = ?, changed = ? "
                    "WHERE id = ? AND state = ? AND next_at <= ?",
                    (
                        State.RUNNING,
                        microseconds(now + LEASE),
                        microseconds(now),
                        key,
                        State.PENDING,
                        microseconds(now),
                    ),
                )
            )

    def renew(self, key: str, now: datetime) -> bool:
        """Keep a claim; False when it was lost."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "UPDATE action_run SET next_at = ? WHERE id = ? AND state = ?",
                    (microseconds(now + LEASE), key, State.RUNNING),
                )
            )

    def move(
        self, key: str, before: State, after: State, now: datetime, said: str = "", next_at: datetime | None = None
    ) -> bool:
        """Change a state, if it is still the one before."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "UPDATE action_run SET state = ?, said = ?, next_at = ?, changed = ? WHERE id = ? AND state = ?",
                    (after, said[:2000], microseconds(next_at or now), microseconds(now), key, before),
                )
            )

    def due(self, now: datetime) -> list[Entry]:
        """Pending ones whose time has come, oldest first."""
        return self._entries(
            "WHERE state = ? AND next_at <= ? ORDER BY changed, id", (State.PENDING, microseconds(now))
        )

    def cut_off(self, now: datetime) -> list[Entry]:
        """Those that were running when their process died."""
        return self._entries("WHERE state = ? AND next_at < ? ORDER BY changed, id", (State.RUNNING, microseconds(now)))

    def blocked(self) -> list[Entry]:
        """Those that wait for a release."""
        return self._entries("WHERE state = ? ORDER BY changed, id", (State.BLOCKED,))

    def untold(self, now: datetime) -> list[Entry]:
        """Those that have come to an end, or to a stop, and whoever brought them there made no evidence of it."""
        return self._entries(
            "WHERE state NOT IN (?, ?) AND changed < ? AND NOT EXISTS (SELECT 1 FROM action_told t WHERE "
            "t.id = action_run.id AND t.state = action_run.state AND t.changed = action_run.changed) "
            "ORDER BY changed, id",
            (State.PENDING, State.RUNNING, microseconds(now - LEASE)),
        )

    def told(self, entry: Entry) -> None:
        """There is evidence of how this one stands."""
        with self._database.transaction() as go:
            go.change(
                "INSERT INTO action_told VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (entry.key, entry.state, microseconds(entry.changed)),
            )

    def recent(self, limit: int = 100) -> list[Entry]:
        """The newest ones, newest first."""
        return self._entries("ORDER BY changed DESC, id LIMIT ?", (limit,))

    def performed(self, action: str, since: datetime) -> int:
        """How often an action was carried out or is being, since then."""
        with self._database.reading() as go:
            found = go.rows(
                "SELECT COUNT(*) FROM action_run WHERE action = ? AND changed > ? AND state IN (?, ?, ?)",
                (action, microseconds(since), State.DONE, State.RUNNING, State.UNKNOWN),
            )
        return int(found[0][0])

    def _entries(self, where: str, parameters: tuple[object, ...]) -> list[Entry]:
        with self._database.reading() as go:
            return [_entry(row) for row in go.rows(_COLUMNS + where, parameters)]


def _entry(row: Row) -> Entry:
    document = json.loads(row[2])
    event = Event(**{**document, "time": datetime.fromisoformat(document["time"])})
    return Entry(row[0], row[1], event, State(row[3]), row[4], moment(row[5]), moment(row[6]), row[7])
