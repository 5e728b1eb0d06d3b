"""Which runs were taken up, by whom, and how they ended: one row for each monitor and moment.

A row is claimed before the run starts and the claim is renewed while it goes on; a scheduler that dies leaves a claim
that runs out, and another takes the run up. Two schedulers can never hold the same claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from assay.watch.database import Database
from assay.watch.instants import microseconds, moment

LEASE = timedelta(minutes=5)
"""How long a claim lasts without being renewed."""

TRIES = 3
"""So often a run is taken up again after its scheduler died; then it has failed."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS monitor_run (
  monitor TEXT NOT NULL,
  due BIGINT NOT NULL,
  state TEXT NOT NULL,
  owner TEXT NOT NULL,
  lease BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  started BIGINT NOT NULL,
  ended BIGINT NOT NULL,
  said TEXT NOT NULL,
  entry TEXT NOT NULL,
  PRIMARY KEY (monitor, due))""",
)

_RUNS = "SELECT monitor, due, state, owner, tries, started, ended, said, entry FROM monitor_run "


class State(StrEnum):
    """SageMaker's execution states, and `MISSED`."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    COMPLETED_WITH_VIOLATIONS = "CompletedWithViolations"
    UNDECIDED = "Undecided"
    """It ran and saw too little to say anything."""
    FAILED = "Failed"
    MISSED = "Missed"
    """Nobody ran it when it was due, and it was not caught up."""


@dataclass(frozen=True, slots=True)
class Run:
    """One row."""

    monitor: str
    due: datetime
    """UTC; the end of the window that it looks at."""
    state: State
    owner: str
    """Which scheduler has it, for people."""
    tries: int
    started: datetime
    ended: datetime | None
    said: str
    """How it ended, in words."""
    entry: str
    """Digest under which the store keeps its evidence; empty without."""


class Ledger:
    """See the module. Times are UTC and passed in."""

    def __init__(self, place: str) -> None:
        """``place`` as `Database` takes it. Raises `StoreError`."""
        self._database = Database(place, _SCHEMA)

    def claim(self, monitor: str, due: datetime, owner: str, now: datetime, *, again: bool = False) -> bool:
        """Take a run up: True for exactly one caller while its claim lasts, False if it is done or somebody has it.

        With ``again`` one that ended without an answer is taken up as well: a person asks for it.
        """
        lease = microseconds(now + LEASE)
        with self._database.transaction() as go:
            if again:
                go.change(
                    "DELETE FROM monitor_run WHERE monitor = ? AND due = ? AND state IN (?, ?, ?)",
                    (monitor, microseconds(due), State.FAILED, State.MISSED, State.UNDECIDED),
                )
            if go.change(
                "INSERT INTO monitor_run VALUES (?, ?, ?, ?, ?, 1, ?, 0, '', '') ON CONFLICT DO NOTHING",
                (monitor, microseconds(due), State.IN_PROGRESS, owner, lease, microseconds(now)),
            ):
                return True
            go.change(
                "UPDATE monitor_run SET state = ?, ended = ?, said = ? "
                "WHERE monitor = ? AND due = ? AND state = ? AND lease < ? AND tries >= ?",
                (
                    State.FAILED,
                    microseconds(now),
                    f"its scheduler died {TRIES} times",
                    monitor,
                    microseconds(due),
                    State.IN_PROGRESS,
                    microseconds(now),
                    TRIES,
                ),
            )
            return bool(
                go.change(
                    "UPDATE monitor_run SET owner = ?, lease = ?, tries = tries + 1 "
                    "WHERE monitor = ? AND due = ? AND state = ? AND lease < ?",
                    (owner, lease, monitor, microseconds(due), State.IN_PROGRESS, microseconds(now)),
                )
            )

    def renew(self, monitor: str, due: datetime, owner: str, now: datetime) -> bool:
        """Keep a claim; False when it was lost, and the run must stop without acting."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "UPDATE monitor_run SET lease = ? WHERE monitor = ? AND due = ? AND owner = ? AND state = ?",
                    (microseconds(now + LEASE), monitor, microseconds(due), owner, State.IN_PROGRESS),
                )
            )

    def finish(
        self, monitor: str, due: datetime, owner: str, state: State, now: datetime, *, said: str = "", entry: str = ""
    ) -> bool:
        """Say how a run ended; False when the claim was lost, and another's word counts."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "UPDATE monitor_run SET state = ?, ended = ?, said = ?, entry = ? "
                    "WHERE monitor = ? AND due = ? AND owner = ? AND state = ?",
                    (
                        state,
                        microseconds(now),
                        said[:2000],
                        entry,
                        monitor,
                        microseconds(due),
                        owner,
                        State.IN_PROGRESS,
                    ),
                )
            )

    def miss(self, monitor: str, due: datetime, now: datetime) -> bool:
        """Record that nobody ran it; True the first time."""
        with self._database.transaction() as go:
            return bool(
                go.change(
                    "INSERT INTO monitor_run VALUES (?, ?, ?, '', 0, 0, ?, ?, '', '') ON CONFLICT DO NOTHING",
                    (monitor, microseconds(due), State.MISSED, microseconds(now), microseconds(now)),
                )
            )

    def last(self, monitor: str) -> datetime | None:
        """When the newest run of a monitor was due, whatever became of it."""
        with self._database.reading() as go:
            found = go.rows("SELECT MAX(due) FROM monitor_run WHERE monitor = ?", (monitor,))
        return moment(found[0][0]) if found and found[0][0] is not None else None

    def abandoned(self, monitor: str, now: datetime) -> list[datetime]:
        """Runs whose scheduler died: due times, oldest first."""
        with self._database.reading() as go:
            found = go.rows(
                "SELECT due FROM monitor_run WHERE monitor = ? AND state = ? AND lease < ? ORDER BY due",
                (monitor, State.IN_PROGRESS, microseconds(now)),
            )
        return [moment(row[0]) for row in found]

    def runs(self, monitor: str | None = None, limit: int = 100) -> list[Run]:
        """The newest runs, newest first."""
        which, parameters = ("WHERE monitor = ? ", (monitor,)) if monitor is not None else ("", ())
        with self._database.reading() as go:
            found = go.rows(f"{_RUNS}{which}ORDER BY due DESC, monitor LIMIT ?", (*parameters, limit))
        return [
            Run(
                row[0],
                moment(row[1]),
                State(row[2]),
                row[3],
                row[4],
                moment(row[5]),
                moment(row[6]) if row[6] else None,
                row[7],
                row[8],
            )
            for row in found
        ]
