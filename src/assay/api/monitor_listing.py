"""What is known of the monitors of a file: last runs, open suspicions, recent actions, and how the alarms stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.watch import settings as files
from assay.watch.schedule.expressions import parse

if TYPE_CHECKING:
    from assay.watch.actions.ledger import Entry
    from assay.watch.alarms.history import Standing, Transition
    from assay.watch.schedule.ledger import Run
    from assay.watch.suspicion.ledger import Entry as Suspicion


@dataclass(frozen=True, slots=True)
class Watched:
    """One monitor."""

    name: str
    schedule: str | None
    following: datetime | None
    """When it is due next, UTC."""
    runs: tuple[Run, ...]
    """Newest first."""


@dataclass(frozen=True, slots=True)
class Listed:
    """All of it."""

    monitors: tuple[Watched, ...]
    suspicions: tuple[Suspicion, ...]
    """Open ones."""
    actions: tuple[Entry, ...]
    """Newest first."""


def listed(monitors: files.Monitors, *, runs: int = 10, now: datetime | None = None) -> Listed:
    """Look it up. Raises `StoreError`."""
    from assay.watch.actions.ledger import Ledger as Actions
    from assay.watch.schedule.ledger import Ledger as Runs
    from assay.watch.suspicion.ledger import Ledger as Suspicions

    place, moment = monitors.path(monitors.store), now or datetime.now(UTC)
    ledger = Runs(place)
    made = []
    for one in monitors.monitors:
        following = parse(one.schedule).next(moment) if one.schedule is not None else None
        made.append(Watched(one.name, one.schedule, following, tuple(ledger.runs(one.name, runs))))
    return Listed(tuple(made), tuple(Suspicions(place).standing()), tuple(Actions(place).recent(20)))


def standings(monitors: files.Monitors, name: str | None = None) -> tuple[tuple[Standing, ...], tuple[Transition, ...]]:
    """How the file's alarms stand and what happened to them. Raises `UsageError` for a name that is not there."""
    from assay.api.tending import alarms, named
    from assay.watch.alarms.history import History, Standing
    from assay.watch.alarms.states import State
    from assay.watch.metrics.store import open_store

    if name is not None:
        named(monitors, name)
    names = {one.name for one, _ in alarms(monitors)} if name is None else {name}
    history = History(open_store(monitors.path(monitors.store)).database)
    # Of an alarm that was never asked, nothing is known yet, as of one that saw too little.
    now = datetime.now(UTC)
    new = {name: Standing(name, State.INSUFFICIENT_DATA, "it was never asked", now, now) for name in names}
    known = {one.name: one for one in history.standings() if one.name in names}
    return (
        tuple({**new, **known}[name] for name in sorted(names)),
        tuple(event for event in history.events(name) if event.alarm in names),
    )


def listed_json(found: Listed) -> dict[str, Any]:
    """For machines."""
    return {
        "monitors": [
            {
                "name": one.name,
                "schedule": one.schedule,
                "next": _time(one.following),
                "runs": [
                    {
                        "due": _time(run.due),
                        "state": run.state.value,
                        "said": run.said,
                        "entry": run.entry,
                        "owner": run.owner,
                        "tries": run.tries,
                    }
                    for run in one.runs
                ],
            }
            for one in found.monitors
        ],
        "suspicions": [
            {"monitor": one.monitor, "due": _time(one.due), "pattern": one.pattern, "said": one.said}
            for one in found.suspicions
        ],
        "actions": [
            {
                "key": one.key,
                "action": one.action,
                "state": one.state.value,
                "alarm": one.event.alarm,
                "attempts": one.attempts,
                "said": one.said,
            }
            for one in found.actions
        ],
    }


def standings_json(standing: Sequence[Standing], events: Sequence[Transition]) -> dict[str, Any]:
    """For machines."""
    return {
        "alarms": [
            {"name": one.name, "state": one.state.value, "since": _time(one.since), "reason": one.reason}
            for one in standing
        ],
        "history": [
            {
                "alarm": one.alarm,
                "time": _time(one.time),
                "old": one.old.value,
                "new": one.new.value,
                "reason": one.reason,
            }
            for one in events
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment is not None else None
