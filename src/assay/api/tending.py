"""Alarms and what they set off, for a monitors file: asked, acted upon, set by hand, released by a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.api.signers import SignWith
from assay.config import Config, load
from assay.errors import AssayError, DocumentError, UsageError
from assay.targets.interface import Options
from assay.watch import settings as files

if TYPE_CHECKING:
    from assay.watch.actions.interface import Event
    from assay.watch.actions.ledger import Entry
    from assay.watch.actions.runner import Runner
    from assay.watch.alarms.history import Transition
    from assay.watch.alarms.model import Alarm
    from assay.watch.metrics.interface import MetricStore
    from assay.watch.suspicion.ledger import Entry as Suspicion

DIMENSION = "Monitor"
"""Every number of a monitor has its name in this dimension."""


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs what the monitors find, and where it is kept."""

    choice: SignWith = field(default_factory=SignWith)
    directory: str | None = None
    config: Config | None = None
    identify: bool = False
    options: Options = field(default_factory=Options)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that the evidence carries."""

    def settled(self) -> Config:
        """The configuration."""
        return self.config if self.config is not None else load(None)


NOBODY = Signing()
"""The defaults of the command line: `assay.yaml`, the default key."""


def utc_now() -> datetime:
    """The clock, where nobody hands in another."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Tended:
    """What came of asking the alarms and carrying out actions."""

    transitions: tuple[Transition, ...] = ()
    actions: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()
    """Sentences to show: sinks that could not be told, exports that wait."""


def ready(monitors: files.Monitors, signing: Signing = NOBODY) -> None:
    """Raise `AssayError` for whatever would fail later: alarms, actions or exports that cannot be read, no signer."""
    from assay.api.signers import signer
    from assay.watch.metrics.export.settings import parse
    from assay.watch.metrics.store import open_store

    alarms(monitors)
    _acting(monitors, signing)
    parse(monitors.exports, monitors.directory, open_store(monitors.path(monitors.store)))
    if any(one.target is not None for one in monitors.monitors):
        signer(signing.choice, signing.settled())


def tend(monitors: files.Monitors, *, signing: Signing = NOBODY, clock: Callable[[], datetime] = utc_now) -> Tended:
    """Ask the alarms, carry out what they set off, and send numbers on. Raises `AssayError`."""
    from assay.watch.alarms import history as histories
    from assay.watch.alarms.history import History
    from assay.watch.alarms.run import evaluate_all
    from assay.watch.metrics import interface as metrics
    from assay.watch.metrics.store import open_store

    store = open_store(monitors.path(monitors.store))
    history, now = History(store.database), clock()
    store.forget(now - metrics.KEPT)
    history.forget(now - histories.KEPT)
    changed = evaluate_all(store, tuple(one for one, _ in alarms(monitors)), clock())
    return replace(act(monitors, signing=signing, clock=clock), transitions=tuple(changed))


def act(monitors: files.Monitors, *, signing: Signing = NOBODY, clock: Callable[[], datetime] = utc_now) -> Tended:
    """Carry out what changes of state have set off, without asking the alarms anew. Raises `AssayError`."""
    from assay.watch.alarms.history import History
    from assay.watch.metrics.store import open_store

    store = open_store(monitors.path(monitors.store))
    history, acting = History(store.database), _acting(monitors, signing)
    about = {one.name: monitor for one, monitor in alarms(monitors)}
    for transition in history.pending():
        # Wanted first, done afterwards: a crash in between asks for the same actions again, which changes nothing.
        acting.want(transition.actions, _event(monitors, transition, about.get(transition.alarm, "")), clock())
        history.done(transition)
    done = tuple(acting.carry_out(clock))
    warnings = [*_exported(monitors, store, clock()), *_attest_actions(monitors, signing, acting, done, clock())]
    return Tended((), done, tuple(warnings))


def set_state(monitors: files.Monitors, name: str, state: str, reason: str, now: datetime | None = None) -> None:
    """Put an alarm into a state until it is next asked; `act` then does what that sets off. Raises `UsageError`."""
    from assay.watch.alarms.history import History
    from assay.watch.alarms.states import State
    from assay.watch.metrics.store import open_store

    history = History(open_store(monitors.path(monitors.store)).database)
    history.set_state(named(monitors, name)[0], State(state), reason, now or datetime.now(UTC))


def release(
    monitors: files.Monitors,
    name: str,
    due: datetime | None,
    by: str,
    reason: str,
    *,
    signing: Signing = NOBODY,
    clock: Callable[[], datetime] = utc_now,
) -> tuple[list[Suspicion], Tended]:
    """A person says that suspect data are right: the suspicions that were closed, and what went on because of it."""
    from assay.watch.suspicion.ledger import Ledger

    monitor = monitors.monitor(name)
    ledger = Ledger(monitors.path(monitors.store))
    released = ledger.release(monitor.name, due, by, reason, clock())
    if not released:
        return released, Tended()
    # Whatever is blocked is looked at again; what another suspicion still blocks stays so.
    _acting(monitors, signing).release(clock(), lambda _event: True)
    return released, act(monitors, signing=signing, clock=clock)


def retry(
    monitors: files.Monitors,
    key: str,
    *,
    signing: Signing = NOBODY,
    clock: Callable[[], datetime] = utc_now,
) -> Tended:
    """Carry an action out again that failed, was limited or was cut off; ``key`` may be its beginning.

    Raises `UsageError` where there is no such action, or several.
    """
    from assay.watch.actions.ledger import Ledger

    found = [one for one in Ledger(monitors.path(monitors.store)).recent(10_000) if one.key.startswith(key)]
    if len(found) != 1 or not key:
        raise UsageError(f"{len(found) if key else 'no'} action(s) begin with {key!r}", hint="see: assay monitor list")
    if not _acting(monitors, signing).retry(found[0].key, clock()):
        raise UsageError(f"the action is {found[0].state}: only failed, limited and unknown ones are tried again")
    return act(monitors, signing=signing, clock=clock)


def alarms(monitors: files.Monitors) -> list[tuple[Alarm, str]]:
    """The file's alarms, each with the monitor that it names (or an empty text).

    ``monitor: NAME`` in an alarm stands for the dimension that its numbers have. Raises `DocumentError`.
    """
    from assay.watch.alarms.reading import alarm, check_together

    made = []
    for entry in monitors.alarms:
        raw = dict(entry)
        name = raw.pop("monitor", "")
        if name:
            monitors.monitor(name)
            if "metric" in raw or "MetricName" in raw:
                raw.setdefault("dimensions", {DIMENSION: name})
        try:
            made.append((alarm(raw), str(name)))
        except DocumentError as error:
            raise DocumentError(f"alarms: {str(raw.get('name'))[:100]!r}: {error.message}", hint=error.hint) from None
    check_together(tuple(one for one, _ in made))
    actions = {str(one.get("name")) for one in monitors.actions}
    for one, _ in made:
        wanted = {*one.actions.alarm, *one.actions.ok, *one.actions.insufficient_data}
        if unknown := sorted(wanted - actions):
            raise DocumentError(f"alarms: {one.name[:100]!r}: there is no action {unknown[0]!r}")
    return made


def rehearse(monitors: files.Monitors, name: str, state: str, *, signing: Signing = NOBODY) -> list[str]:
    """What the alarm ``name`` going into ``state`` would set off, a sentence each; nothing is done.

    Raises `UsageError` for an alarm that is not there.
    """
    from assay.watch.actions.interface import Event
    from assay.watch.alarms.states import State as AlarmState

    one, monitor = named(monitors, name)
    event = Event(name, state, "OK", datetime.now(UTC), "a rehearsal", about(monitors, monitor), monitor=monitor)
    return _acting(monitors, signing).rehearse(one.actions.on(AlarmState(state)), event)


def named(monitors: files.Monitors, name: str) -> tuple[Alarm, str]:
    """The alarm of this name, and its monitor. Raises `UsageError`."""
    listed = alarms(monitors)
    for one in listed:
        if one[0].name == name:
            return one
    raise UsageError(f"there is no alarm {name!r}", hint=f"there are: {', '.join(one.name for one, _ in listed)}")


def _event(monitors: files.Monitors, transition: Transition, monitor: str) -> Event:
    from assay.watch.actions.interface import Event

    return Event(
        transition.alarm,
        transition.new.value,
        transition.old.value,
        transition.time,
        transition.reason,
        about(monitors, monitor),
        monitor,
        transition.details,
    )


def alarmed(monitors: files.Monitors, store: MetricStore, name: str) -> bool:
    """Whether an alarm on a monitor's numbers stands."""
    from assay.watch.alarms.history import History
    from assay.watch.alarms.states import State as AlarmState

    mine = {one.name for one, monitor in alarms(monitors) if monitor == name}
    return any(one.name in mine and one.state is AlarmState.ALARM for one in History(store.database).standings())


def _acting(monitors: files.Monitors, signing: Signing) -> Runner:
    from assay.watch.actions import settings as reading
    from assay.watch.actions.kinds import make
    from assay.watch.actions.ledger import Ledger as Actions
    from assay.watch.actions.runner import Runner
    from assay.watch.suspicion.ledger import Ledger as Suspicions

    place = monitors.path(monitors.store)
    chosen = reading.parse(monitors.actions, "the monitors file")
    suspicions = Suspicions(place)

    def blocked(event: Event) -> str | None:
        # Only data that are surely about something else may be poisoned: where a target is not named, any may be meant.
        standing = [
            one
            for one in suspicions.standing()
            if one.monitor == event.monitor or not (one.target and event.target) or one.target == event.target
        ]
        if not standing:
            return None
        first = standing[0]
        return f"a suspicion is open since {first.due:%Y-%m-%dT%H:%MZ}: {first.pattern}, seen by {first.monitor}"

    from assay.api.acting import retrain, tell

    made = make(
        chosen,
        monitors.directory,
        lambda event, severity: tell(event, severity, signing.settled()),
        lambda action, event: retrain(action, event, monitors.directory, signing),
    )
    return Runner(Actions(place), chosen, made, blocked)


def _exported(monitors: files.Monitors, store: MetricStore, now: datetime) -> Iterator[str]:
    """Send numbers on; an export that fails is told, and has what it missed the next time."""
    from assay.watch.metrics.export.interface import bring_up_to_date
    from assay.watch.metrics.export.settings import parse

    for sink in parse(monitors.exports, monitors.directory, store):
        try:
            sent = bring_up_to_date(store, sink, now)
        except AssayError as error:
            yield f"export {sink.name}: {error.message}"
            continue
        yield from (f"export {sink.name}: {text}" for text in sent.refused)


def _attest_actions(
    monitors: files.Monitors, signing: Signing, acting: Runner, done: Sequence[Entry], now: datetime
) -> Iterator[str]:
    """What was done about a target is evidence about it, also where whoever did it was killed before it said so."""
    from assay.api.acting import state_action
    from assay.watch.actions.ledger import State

    kinds = {str(one.get("name")): str(one.get("type")) for one in monitors.actions}
    ended = {one.key: one for one in (*acting.untold(now), *done) if one.state is not State.PENDING}
    for entry in ended.values():
        if entry.event.target:
            try:
                state_action(entry, kinds.get(entry.action, "unknown"), signing, now)
            except AssayError as error:
                yield f"the action {entry.action} has no evidence: {error.message}"
                continue
        acting.told(entry)


def target_of(monitors: files.Monitors, target: str) -> str:
    """A plain path is relative to the monitors file; anything with a scheme is as it is."""
    scheme, colon, rest = target.partition(":")
    if scheme in ("dir", "file"):
        target, colon = rest, ""  # however it is written, it is the same folder
    return target if colon and scheme.isalpha() else monitors.path(target)


def about(monitors: files.Monitors, monitor: str) -> str:
    """The target of a monitor, as events and suspicions name it."""
    found = next((one.target for one in monitors.monitors if one.name == monitor), None)
    return target_of(monitors, found) if found is not None else ""
