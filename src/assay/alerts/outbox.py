"""The outbox: which findings are open, and which alerts still have to reach which sink.

A transition of a finding and its deliveries are written in one transaction, so that an alert exists exactly once
however often, and by however many processes at once, the same thing is found. Nothing
undelivered is deleted before somebody has seen it. It holds sinks by name only, never an address or a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from assay.alerts.database import connect, speaking, transaction
from assay.alerts.finding import MAX_NAME, Alert, Finding, State, bounded, identifier, text

if TYPE_CHECKING:
    from assay.alerts.settings import AnySink

LONGEST_WAIT = timedelta(hours=6)
"""Between two attempts."""

CLAIM = timedelta(minutes=5)
"""How long one deliverer has a sink for itself. When it dies, another one may go on after this time."""

KEEP_DELIVERED = timedelta(days=90)
"""How long delivered alerts stay listed."""


class DeliveryState(StrEnum):
    """Where an alert is on its way to a sink."""

    PENDING = "pending"
    """Not there yet; it is tried again."""
    DELIVERED = "delivered"
    """The sink has it."""
    GIVEN_UP = "given-up"
    """Not tried any more. It stays listed until somebody retries or dismisses it."""
    DISMISSED = "dismissed"
    """Somebody has seen that it was given up."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert on its way to one sink."""

    alert: Alert
    sink: str
    """The sink's name."""
    owner: str
    """Whose sink: `settings.Settings.owner`."""
    state: DeliveryState
    attempts: int
    """So far."""
    next_attempt: datetime
    """Not before this time."""
    last_error: str
    """What the sink said last; empty while nothing went wrong."""


class Outbox:
    """An open outbox, of one thread. Every method raises `StoreError` when the file cannot be used."""

    def __init__(self, path: str, owner: str = "") -> None:
        self.path = os.path.abspath(path)
        self.owner = text(owner, MAX_NAME * 10)
        """Whose scopes and sinks are meant: `settings.Settings.owner`."""
        self._connection = connect(self.path)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def record(self, scope: str, findings: Iterable[Finding], now: datetime, sinks: Sequence[AnySink]) -> list[Alert]:
        """Compare ``findings``, all that are there now, with those of ``scope`` that are open, and write what changed.

        A finding is new when it is not open, or open with less severity than now; an open one that is not among
        ``findings`` is resolved. Two findings with one key count as the more severe one.
        """
        scope = identifier(scope)
        found: dict[str, Finding] = {}
        for finding in map(bounded, findings):
            before = found.get(finding.key)
            if before is None or before.severity.rank < finding.severity.rank:
                found[finding.key] = finding
        with transaction(self._connection, self.path):
            rows = self._connection.execute(
                "SELECT o.key, a.finding FROM open_finding o JOIN alert a ON a.seq = o.alert"
                " WHERE o.owner = ? AND o.scope = ?",
                (self.owner, scope),
            )
            known = {key: _finding(data) for key, data in rows}
            alerts = [
                self._announce(State.NEW, scope, finding, now, sinks)
                for key, finding in found.items()
                if key not in known or known[key].severity.rank < finding.severity.rank
            ]
            alerts += [
                self._announce(State.RESOLVED, scope, finding, now, sinks)
                for key, finding in known.items()
                if key not in found
            ]
        return alerts

    def _announce(self, state: State, scope: str, finding: Finding, now: datetime, sinks: Sequence[AnySink]) -> Alert:
        alert = Alert(str(uuid.uuid4()), state, now, scope, finding)
        place = (self.owner, scope, finding.key)
        number = self._connection.execute(
            "INSERT INTO alert (id, owner, scope, key, state, time, finding) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (alert.id, *place, state, _number(now), msgspec.json.encode(finding)),
        ).lastrowid
        if state is State.NEW:
            self._connection.execute("INSERT OR REPLACE INTO open_finding VALUES (?, ?, ?, ?)", (*place, number))
        else:
            self._connection.execute("DELETE FROM open_finding WHERE owner = ? AND scope = ? AND key = ?", place)
        self._connection.executemany(
            "INSERT INTO delivery (alert, sink, owner, scope, key, next_attempt) VALUES (?, ?, ?, ?, ?, ?)",
            [(number, sink.name, *place, _number(now)) for sink in sinks if sink.wants(alert)],
        )
        return alert

    def claim(self, sink: str, now: datetime) -> Delivery | None:
        """The next alert that is due at a sink, for the caller alone, or None.

        None too while another process sends to this sink: each sink has one deliverer at a time. The attempt counts
        from here, so that an alert that kills its deliverer does not stay first in the queue. The alerts of one
        finding keep their order.
        """
        moment, wait, claim = _number(now), _milliseconds(LONGEST_WAIT), _milliseconds(CLAIM)
        with transaction(self._connection, self.path):
            # A time further ahead than any wait was written while the clock was wrong: it does not count.
            if self._connection.execute(
                "SELECT 1 FROM delivery WHERE owner = ?1 AND sink = ?2 AND state = 'pending'"
                " AND claimed_until > ?3 AND claimed_until <= ?3 + ?4",
                (self.owner, sink, moment, claim),
            ).fetchone():
                return None
            row = self._connection.execute(
                "SELECT d.alert FROM delivery d WHERE d.owner = ?1 AND d.sink = ?2 AND d.state = 'pending'"
                " AND (d.next_attempt <= ?3 OR d.next_attempt > ?3 + ?4)"
                " AND NOT EXISTS (SELECT 1 FROM delivery e WHERE e.owner = ?1 AND e.sink = ?2 AND e.state = 'pending'"
                "   AND e.scope = d.scope AND e.key = d.key AND e.alert < d.alert)"
                " ORDER BY d.attempts, d.alert LIMIT 1",
                (self.owner, sink, moment, wait),
            ).fetchone()
            if row is None:
                return None
            self._connection.execute(
                "UPDATE delivery SET attempts = attempts + 1, claimed_until = ?1, next_attempt = ?1"
                " WHERE alert = ?2 AND sink = ?3",
                (moment + claim, row[0], sink),
            )
            return self._list("d.alert = ? AND d.sink = ?", (row[0], sink))[0]

    def sent(self, delivery: Delivery) -> None:
        """The sink has the alert."""
        with transaction(self._connection, self.path):
            self._connection.execute(
                "UPDATE delivery SET state = 'delivered', claimed_until = 0, last_error = ''"
                " WHERE sink = ? AND alert = (SELECT seq FROM alert WHERE id = ?)",
                (delivery.sink, delivery.alert.id),
            )

    def failed(self, delivery: Delivery, error: str, retry_at: datetime | None) -> None:
        """The sink has not; try again at ``retry_at``, or never."""
        state = DeliveryState.GIVEN_UP if retry_at is None else DeliveryState.PENDING
        which = (delivery.sink, delivery.alert.id)
        with transaction(self._connection, self.path):
            self._connection.execute(
                "UPDATE delivery SET state = ?, claimed_until = 0, last_error = ?, next_attempt = ?"
                " WHERE sink = ? AND state = 'pending' AND alert = (SELECT seq FROM alert WHERE id = ?)",
                (state, text(error, MAX_NAME * 2), _number(retry_at or delivery.next_attempt), *which),
            )

    def abandon(self, sinks: Sequence[str], before: datetime) -> int:
        """Give up what was recorded before a time for sinks that are not among ``sinks`` any more. Returns how many."""
        with transaction(self._connection, self.path):
            return self._connection.execute(
                "UPDATE delivery SET state = 'given-up', last_error = 'no sink of this name is configured any more'"
                " WHERE owner = ? AND state = 'pending' AND sink NOT IN (SELECT value FROM json_each(?))"
                " AND (SELECT time FROM alert WHERE seq = delivery.alert) < ?",
                (self.owner, json.dumps(sinks), _number(before)),
            ).rowcount

    def retry(self, now: datetime, *, given_up: bool) -> None:
        """Make everything pending due at once; with ``given_up`` also what was given up."""
        with transaction(self._connection, self.path):
            self._connection.execute(
                "UPDATE delivery SET next_attempt = ?, state = 'pending' WHERE owner = ? AND claimed_until <= ?"
                " AND (state = 'pending' OR (? AND state IN ('given-up', 'dismissed')))",
                (_number(now), self.owner, _number(now), given_up),
            )

    def dismiss(self) -> int:
        """Mark what was given up, whoever's it is, as seen. Returns how many."""
        with transaction(self._connection, self.path):
            return self._connection.execute("UPDATE delivery SET state = 'dismissed' WHERE state = 'given-up'").rowcount

    def prune(self, now: datetime) -> None:
        """Forget old alerts that every sink has and whose finding is not open because of them."""
        with transaction(self._connection, self.path):
            old = "SELECT seq FROM alert WHERE time < ?1"
            kept = (
                "SELECT alert FROM open_finding UNION SELECT alert FROM delivery WHERE state IN ('pending', 'given-up')"
            )
            for table, column in (("delivery", "alert"), ("alert", "seq")):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE {column} IN ({old}) AND {column} NOT IN ({kept})",  # noqa: S608 - our text
                    (_number(now - KEEP_DELIVERED),),
                )

    def next_due(self, sinks: Sequence[str]) -> datetime | None:
        """When the first pending delivery to one of these sinks is due; None without any."""
        marks = ",".join("?" * len(sinks))
        with speaking(self.path):
            row = self._connection.execute(
                f"SELECT min(next_attempt) FROM delivery WHERE state = 'pending' AND owner = ? AND sink IN ({marks})",  # noqa: S608 - question marks only
                (self.owner, *sinks),
            ).fetchone()
        return None if row[0] is None else _time(row[0])

    def deliveries(self, *states: DeliveryState) -> list[Delivery]:
        """All in these states, of every owner, oldest first."""
        with speaking(self.path):
            return self._list("d.state IN (SELECT value FROM json_each(?))", (json.dumps(states),))

    def open_findings(self) -> list[Alert]:
        """Open findings of every owner and scope, as the alerts that announced them, oldest first."""
        with speaking(self.path):
            rows = self._connection.execute(
                "SELECT a.id, a.state, a.time, a.scope, a.finding FROM open_finding o"
                " JOIN alert a ON a.seq = o.alert ORDER BY a.seq"
            )
            return [_alert(*row) for row in rows]

    def _list(self, where: str, values: tuple[object, ...]) -> list[Delivery]:
        rows = self._connection.execute(
            "SELECT d.sink, d.owner, d.state, d.attempts, d.next_attempt, d.last_error,"  # noqa: S608 - our own text
            " a.id, a.state, a.time, a.scope, a.finding FROM delivery d JOIN alert a ON a.seq = d.alert"
            f" WHERE {where} ORDER BY a.seq, d.sink",
            values,
        )
        return [
            Delivery(_alert(*alert), sink, owner, DeliveryState(state), attempts, _time(due), error)
            for sink, owner, state, attempts, due, error, *alert in rows
        ]


def _alert(identity: str, state: str, time: int, scope: str, finding: bytes) -> Alert:
    return Alert(identity, State(state), _time(time), scope, _finding(finding))


_decode: Callable[[bytes], Finding] = msgspec.json.Decoder(Finding).decode


def _finding(data: bytes) -> Finding:
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise sqlite3.DatabaseError(f"a finding in it cannot be read ({error})") from None


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _number(time: datetime) -> int:
    return _milliseconds(time - datetime(1970, 1, 1, tzinfo=UTC))


def _time(number: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)
