"""States of alarms and what happened to them, in the database of the metrics. What is due is kept until it is done.

A crash between a change of state and its actions loses neither: `History.pending` gives them again, by the same name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from assay.errors import UsageError
from assay.watch.alarms.model import Alarm
from assay.watch.alarms.states import EvaluationState, State
from assay.watch.database import Database, Row, Transaction
from assay.watch.instants import microseconds, moment

KEPT = timedelta(days=14)
"""How long CloudWatch keeps an alarm's history."""

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS alarm (
      name TEXT PRIMARY KEY,
      state TEXT NOT NULL,
      evaluation TEXT NOT NULL,
      reason TEXT NOT NULL,
      since BIGINT NOT NULL,
      updated BIGINT NOT NULL,
      announced TEXT NOT NULL,
      suppressed_by TEXT NOT NULL,
      released BIGINT
    )""",
    """CREATE TABLE IF NOT EXISTS alarm_history (
      position SERIAL,
      alarm TEXT NOT NULL,
      time BIGINT NOT NULL,
      old TEXT NOT NULL,
      new TEXT NOT NULL,
      reason TEXT NOT NULL,
      suppressed_by TEXT NOT NULL,
      actions TEXT NOT NULL,
      details TEXT NOT NULL,
      pending BIGINT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS alarm_history_pending ON alarm_history (pending, position)",
    "CREATE INDEX IF NOT EXISTS alarm_history_alarm ON alarm_history (alarm, position)",
)

_STANDING = "SELECT name, state, reason, since, updated, evaluation, announced, suppressed_by, released FROM alarm"
_EVENT = "position, alarm, time, old, new, reason, suppressed_by, actions, details FROM alarm_history"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an alarm stands."""

    name: str
    state: State
    reason: str
    since: datetime
    """UTC: when it went into this state."""
    updated: datetime
    """UTC: when it was last evaluated."""
    evaluation: EvaluationState = EvaluationState.FINE
    announced: State = State.INSUFFICIENT_DATA
    """The last state whose actions were due: with a suppressor it may lag behind `state`."""
    suppressed_by: str = ""
    """``Alarm``, ``WaitPeriod`` or ``ExtensionPeriod`` while actions wait."""
    released: datetime | None = None
    """UTC: when the suppressor left ALARM."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state, or actions of an earlier one that had to wait."""

    position: int
    """Names it for good: whoever performs the actions does so once for each position."""
    alarm: str
    time: datetime
    old: State
    new: State
    reason: str
    actions: tuple[str, ...] = ()
    """What is due now; nothing while actions are suppressed or switched off."""
    suppressed_by: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    """What it rests on, JSON-like."""

    @property
    def id(self) -> str:
        """For actions that must not be done twice."""
        return f"{self.alarm}#{self.position}"


class History:
    """States and transitions in a database. Raises what the database raises."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.prepare(SCHEMA)

    def standings(self) -> tuple[Standing, ...]:
        """How all alarms that were ever evaluated stand, by name."""
        with self._database.reading() as go:
            return tuple(sorted((_standing(row) for row in go.rows(_STANDING)), key=lambda found: found.name))

    def pending(self) -> tuple[Transition, ...]:
        """Transitions whose actions were not yet reported done, oldest first: after a crash, what is left to do."""
        with self._database.reading() as go:
            rows = go.rows(f"SELECT {_EVENT} WHERE pending = 1 ORDER BY position")
        return tuple(_transition(row) for row in rows)

    def done(self, transition: Transition) -> None:
        """The transition's actions were performed, or handed to somebody who answers for it."""
        with self._database.transaction() as go:
            go.change("UPDATE alarm_history SET pending = 0 WHERE position = ?", (transition.position,))

    def events(self, name: str | None = None, *, since: datetime | None = None) -> tuple[Transition, ...]:
        """What happened to an alarm, or to all, oldest first."""
        first = 0 if since is None else microseconds(since)
        where, parameters = ("", (first,)) if name is None else (" AND alarm = ?", (first, name))
        sql = f"SELECT {_EVENT} WHERE time >= ?{where} ORDER BY position"
        with self._database.reading() as go:
            return tuple(_transition(row) for row in go.rows(sql, parameters))

    def set_state(self, alarm: Alarm, state: State, reason: str, now: datetime) -> Transition:
        """SetAlarmState: put an alarm into a state until its next evaluation, to see what its actions do."""
        if not 1 <= len(reason) <= 1023 or not reason.isprintable():
            raise UsageError("a reason for setting an alarm's state is 1 to 1,023 printable characters")
        with self._database.transaction() as go:
            old = standing(go, alarm.name, now)
            keep(go, replace(old, state=state, reason=reason, since=now, updated=now, announced=state))
            actions = alarm.actions.on(state) if state is not old.state else ()
            return record(go, Transition(0, alarm.name, now, old.state, state, reason, actions))

    def forget(self, before: datetime) -> int:
        """Delete history older than that, except what is still to be done; states stay. Returns how many."""
        with self._database.transaction() as go:
            return go.change("DELETE FROM alarm_history WHERE time < ? AND pending = 0", (microseconds(before),))


def standing(go: Transaction, name: str, now: datetime) -> Standing:
    """How an alarm stands; a new one is in INSUFFICIENT_DATA, and nothing of it is kept yet."""
    rows = go.rows(f"{_STANDING} WHERE name = ?", (name,))
    return _standing(rows[0]) if rows else Standing(name, State.INSUFFICIENT_DATA, "it is new", now, now)


def keep(go: Transaction, standing: Standing) -> None:
    """Remember how an alarm stands."""
    released = None if standing.released is None else microseconds(standing.released)
    go.change(
        "INSERT INTO alarm (name, state, evaluation, reason, since, updated, announced, suppressed_by, released)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state,"
        " evaluation = excluded.evaluation, reason = excluded.reason, since = excluded.since,"
        " updated = excluded.updated, announced = excluded.announced, suppressed_by = excluded.suppressed_by,"
        " released = excluded.released",
        (
            standing.name,
            standing.state.value,
            standing.evaluation.value,
            standing.reason,
            microseconds(standing.since),
            microseconds(standing.updated),
            standing.announced.value,
            standing.suppressed_by,
            released,
        ),
    )


def record(go: Transaction, transition: Transition) -> Transition:
    """Remember a transition; its actions are due. Returns it with its position."""
    rows = go.rows(
        "INSERT INTO alarm_history (alarm, time, old, new, reason, suppressed_by, actions, details, pending)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING position",
        (
            transition.alarm,
            microseconds(transition.time),
            transition.old.value,
            transition.new.value,
            transition.reason,
            transition.suppressed_by,
            json.dumps(transition.actions),
            json.dumps(transition.details),
            int(bool(transition.actions)),
        ),
    )
    return replace(transition, position=rows[0][0])


def _standing(row: Row) -> Standing:
    name, state, reason, since, updated, evaluation, announced, suppressed_by, released = row
    return Standing(
        name,
        State(state),
        reason,
        moment(since),
        moment(updated),
        EvaluationState(evaluation),
        State(announced),
        suppressed_by,
        None if released is None else moment(released),
    )


def _transition(row: Row) -> Transition:
    position, alarm, time, old, new, reason, suppressed_by, actions, details = row
    return Transition(
        position,
        alarm,
        moment(time),
        State(old),
        State(new),
        reason,
        tuple(json.loads(actions)),
        suppressed_by,
        json.loads(details),
    )
