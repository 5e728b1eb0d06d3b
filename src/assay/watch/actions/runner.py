"""Carrying actions out: once for each event, within limits, tried again when they fail, held back when blocked.

The order is the argument: wanted and written down; blocked or limited; claimed; done; written down. A crash between two
of these repeats nothing that the receiver would not know again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from assay.errors import AssayError
from assay.watch.actions.interface import Action, ActionError, Event
from assay.watch.actions.ledger import LEASE, Entry, Ledger, State
from assay.watch.actions.settings import AnyAction, RetrainAction
from assay.watch.claims import renewing

_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=1)


class Runner:
    """See the module."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Sequence[AnyAction],
        actions: Mapping[str, Action],
        blocked: Callable[[Event], str | None],
    ) -> None:
        """``actions`` are what ``settings`` name. ``blocked`` says why retraining on an event's data must wait."""
        self._ledger = ledger
        self._settings = {one.name: one for one in settings}
        self._actions = actions
        self._blocked = blocked

    def want(self, names: Sequence[str], event: Event, now: datetime) -> None:
        """Note that these actions are wanted for an event. Asking again changes nothing."""
        for place, name in enumerate(names):
            # They are carried out in the order of the alarm's list.
            self._ledger.ask(name, event, now + timedelta(microseconds=place))

    def rehearse(self, names: Sequence[str], event: Event) -> list[str]:
        """What would be done, a sentence each; nothing is done and nothing noted."""
        said = []
        for name in names:
            why = self._blocked(event) if isinstance(self._settings.get(name), RetrainAction) else None
            action = self._actions.get(name)
            if action is None:
                said.append(f"{name}: no action of the configuration has this name")
            else:
                said.append(f"{name}: blocked, {why}" if why else f"{name}: {action.rehearse(event)}")
        return said

    def carry_out(self, clock: Callable[[], datetime]) -> Iterator[Entry]:
        """Do what is due; gives each entry as it stands afterwards, if it has ended or changed."""
        self._recover(clock())
        for entry in self._ledger.due(clock()):
            if (after := self._one(entry, clock)) is not None:
                yield after

    def untold(self, now: datetime) -> list[Entry]:
        """Ended or stopped entries that nobody made evidence of: a scheduler died in between."""
        return self._ledger.untold(now)

    def told(self, entry: Entry) -> None:
        """There is evidence of it."""
        self._ledger.told(entry)

    def release(self, now: datetime, of: Callable[[Event], bool]) -> int:
        """Let blocked actions go on whose event ``of`` accepts; how many."""
        return sum(
            self._ledger.move(entry.key, State.BLOCKED, State.PENDING, now, "released")
            for entry in self._ledger.blocked()
            if of(entry.event)
        )

    def retry(self, key: str, now: datetime) -> bool:
        """A person wants one carried out again that failed, was limited or was cut off."""
        return any(
            self._ledger.move(key, state, State.PENDING, now, "tried again by hand")
            for state in (State.FAILED, State.LIMITED, State.UNKNOWN)
        )

    def _recover(self, now: datetime) -> None:
        for entry in self._ledger.cut_off(now):
            action = self._actions.get(entry.action)
            if action is not None and action.repeatable:
                self._ledger.move(entry.key, State.RUNNING, State.PENDING, now, "was cut off, is repeated")
            else:
                said = "was cut off: whether it was carried out is not known"
                self._ledger.move(entry.key, State.RUNNING, State.UNKNOWN, now, said)

    def _one(self, entry: Entry, clock: Callable[[], datetime]) -> Entry | None:
        settings, action, now = self._settings.get(entry.action), self._actions.get(entry.action), clock()
        if settings is None or action is None:
            return self._end(entry, State.PENDING, State.FAILED, now, "no action of the configuration has this name")
        if isinstance(settings, RetrainAction) and (why := self._blocked(entry.event)) is not None:
            return self._end(entry, State.PENDING, State.BLOCKED, now, why)
        limit = settings.limit()
        if limit is not None and self._ledger.performed(entry.action, now - limit[1]) >= limit[0]:
            return self._end(entry, State.PENDING, State.LIMITED, now, f"it is carried out {settings.at_most} at most")
        if not self._ledger.claim(entry.key, now):
            return None
        try:
            with renewing(lambda: self._ledger.renew(entry.key, clock()), LEASE):
                said = action.perform(entry.event, entry.key)
        except ActionError as error:
            return self._failed(entry, error, settings.attempts, clock())
        except AssayError as error:
            return self._end(entry, State.RUNNING, State.FAILED, clock(), error.message)
        return self._end(entry, State.RUNNING, State.DONE, clock(), said)

    def _failed(self, entry: Entry, error: ActionError, attempts: int, now: datetime) -> Entry:
        if entry.attempts + 1 >= attempts:
            return self._end(entry, State.RUNNING, State.FAILED, now, error.message)
        wait = min(_FIRST_WAIT * 2**entry.attempts, _LONGEST_WAIT)
        self._ledger.move(entry.key, State.RUNNING, State.PENDING, now, error.message, now + wait)
        return _as(entry, State.PENDING, now, error.message, entry.attempts + 1)

    def _end(self, entry: Entry, before: State, after: State, now: datetime, said: str) -> Entry:
        self._ledger.move(entry.key, before, after, now, said)
        return _as(entry, after, now, said, entry.attempts + (before is State.RUNNING))


def _as(entry: Entry, state: State, now: datetime, said: str, attempts: int) -> Entry:
    return Entry(entry.key, entry.action, entry.event, state, attempts, now, now, said)
