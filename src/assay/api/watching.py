"""A monitors file at work: a run looks, keeps numbers, evidence and windows; then alarms are asked and actions follow.

The order is what makes a crash harmless: every step can be done again and then changes nothing (numbers are known by
their run, windows by their due time, actions by their event), and nothing is forgotten that was not done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from assay.api.baselines import Data
from assay.api.drifting import slow
from assay.api.looking import Question, Signers, see
from assay.api.monitoring import attested, exit_code, look_json
from assay.api.rows import ALWAYS
from assay.api.signers import signer
from assay.api.tending import DIMENSION, NOBODY, Signing, Tended, about, alarmed, target_of, tend, utc_now
from assay.errors import AssayError, UndecidedError
from assay.watch import settings as files
from assay.watch.interface import Check, Look, Metric, Outcome, Topic, Window
from assay.watch.schedule.expressions import parse
from assay.watch.schedule.ledger import Ledger, State
from assay.watch.schedule.service import Ended, Job, Run, take, tick
from assay.watch.schedule.service import serve as loop

if TYPE_CHECKING:
    from assay.watch.windows import Kept

EARLIER = 50
"""Windows before that a window is compared with, to find a batch that comes twice."""

_TICK = timedelta(microseconds=1)


def jobs(monitors: files.Monitors) -> list[Job]:
    """The monitors that have a schedule."""
    return [
        Job(one.name, parse(one.schedule), delay=one.waiting(), missed=one.missed)
        for one in monitors.monitors
        if one.schedule is not None
    ]


def run(
    monitors: files.Monitors,
    name: str,
    due: datetime,
    holds: Callable[[], bool] = lambda: True,
    *,
    signing: Signing = NOBODY,
    now: datetime | None = None,
) -> Ended:
    """Run a monitor for the window that ends at ``due`` (UTC). Raises `AssayError`.

    ``holds`` says whether the run is still ours: it is asked before anything is kept.
    """
    from assay.collect.profile.partial import decode
    from assay.watch.metrics.store import open_store
    from assay.watch.windows import Windows

    monitor = monitors.monitor(name)
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    config = signing.settled()
    # A key that is missing is told before the data are read.
    secret, _ = signer(signing.choice, config) if monitor.target is not None else (None, None)
    place = monitors.path(monitors.store)
    windows = Windows(place)
    question = _question(monitors, monitor, due, signing)
    before = windows.last(name, EARLIER, due)
    seen = see(question, earlier=[decode(one.state) for one in before], history=_history(before))
    sums, found = b"", list(seen.looks)
    for at, look in enumerate(found):
        if look.topic is Topic.DRIFT:
            found[at], sums = slow(
                look, seen.drifts, seen.baseline, seen.constraints, question.drift, seen.state, before
            )
    looks = tuple(_named(look, name, due) for look in found)
    if not holds():
        raise UndecidedError(f"the run of {name} was taken over by another scheduler")
    store = open_store(place)
    store.put([*(metric for look in looks for metric in look.metrics), *_counts(looks, name)], _run_id(name, due))
    _suspect(monitors, monitor, due, looks)
    windows.keep(name, due, [look_json(look) for look in looks], seen.state, sums)
    entry = ""
    if monitor.target is not None:
        made = attested(
            looks,
            target_of(monitors, monitor.target),
            secret,
            signing.directory,
            signing.options,
            {"monitor": name, **signing.labels, **monitor.labels},
            config,
            signing.identify,
            moment,
            alarm=alarmed(monitors, store, name),
        )
        entry = made[0].entry or "" if made else ""
    return Ended(_state(looks), _said(looks), entry)


def run_claimed(
    monitors: files.Monitors,
    name: str,
    due: datetime,
    owner: str,
    *,
    signing: Signing = NOBODY,
    clock: Callable[[], datetime] = utc_now,
) -> Ended | None:
    """`run` as the scheduler does it: None where somebody else runs it, or it has an answer. An error fails it."""
    ledger = Ledger(monitors.path(monitors.store))
    return take(name, due, ledger, _runs(monitors, signing, clock), owner, clock, again=True)


def due(
    monitors: files.Monitors,
    owner: str,
    *,
    signing: Signing = NOBODY,
    clock: Callable[[], datetime] = utc_now,
) -> list[tuple[str, Ended]]:
    """Run all that is due now, each once: for cron, systemd, Airflow or a Kubernetes CronJob. Raises `StoreError`."""
    ledger = Ledger(monitors.path(monitors.store))
    return tick(jobs(monitors), ledger, _runs(monitors, signing, clock), owner, clock)


def serve(
    monitors: files.Monitors,
    owner: str,
    *,
    stop: threading.Event,
    signing: Signing = NOBODY,
    clock: Callable[[], datetime] = utc_now,
    told: Callable[[str, Ended], None] = lambda _name, _ended: None,
    tended: Callable[[Tended], None] = lambda _tended: None,
) -> None:
    """Run what is due and ask the alarms, until ``stop`` is set."""

    def after() -> None:
        try:
            tended(tend(monitors, signing=signing, clock=clock))
        except AssayError as error:
            # The next turn asks again; a scheduler that ends because a database was busy watches nothing.
            trouble(error)

    def trouble(error: AssayError) -> None:
        tended(Tended(warnings=(error.message,)))

    ledger = Ledger(monitors.path(monitors.store))
    runs = _runs(monitors, signing, clock)
    loop(jobs(monitors), ledger, runs, owner, clock=clock, stop=stop, told=told, after=after, trouble=trouble)


def _runs(monitors: files.Monitors, signing: Signing, clock: Callable[[], datetime]) -> Run:
    return lambda name, moment, holds: run(monitors, name, moment, holds, signing=signing, now=clock())


def _question(monitors: files.Monitors, monitor: files.Monitor, due: datetime, signing: Signing) -> Question:
    quality = monitor.quality
    return Question(
        monitors.path(monitor.baseline),
        data_of(monitors, monitor.data),
        _window(monitor, due),
        monitor.data.time,
        monitors.path(monitor.constraints) if monitor.constraints is not None else None,
        monitor.topics,
        monitor.least,
        monitor.drift,
        data_of(monitors, monitor.reference) if monitor.reference is not None else None,
        monitor.label,
        monitor.source,
        quality=quality,
        truth=data_of(monitors, quality.truth) if quality is not None and quality.truth is not None else None,
        before=data_of(monitors, quality.reference) if quality is not None and quality.reference is not None else None,
        bias=monitor.bias,
        signers=Signers(tuple(map(monitors.path, monitor.baseline_keys)), signing.directory, signing.settled())
        if monitor.baseline_keys
        else None,
    )


def data_of(monitors: files.Monitors, data: files.Data) -> Data:
    """A place of the monitors file, as it is read."""
    from assay.collect.profile.sources.interface import Reading

    reading = Reading(header=not data.columns, columns=data.columns, outputs=data.outputs)
    kind = None if data.format == "sql" else data.format
    scheme = "sqlite:///" if data.place.startswith("sqlite:///") else ""
    return Data(scheme + monitors.path(data.place), kind, data.query, reading)


def _window(monitor: files.Monitor, due: datetime) -> Window:
    """What a run at ``due`` looks at: so much time as the file says, else since the moment before."""
    span = monitor.span()
    if span is not None:
        return Window(due - span, due)
    before = parse(monitor.schedule).previous(due - _TICK) if monitor.schedule is not None else None
    return Window(before, due) if before is not None else ALWAYS


def _history(before: Sequence[Kept]) -> list[float]:
    """The rates of contradicted labels of earlier windows, oldest first."""
    rates = []
    for one in before:
        for look in one.looks:
            found = [check["observed"] for check in look["checks"] if check["check"] == "poisoning:labels"]
            rates += [rate for rate in found if isinstance(rate, int | float)]
    return rates


def _run_id(name: str, due: datetime) -> str:
    return f"{name}@{due:%Y-%m-%dT%H:%M:%SZ}"


def _named(look: Look, name: str, due: datetime) -> Look:
    """A look whose numbers say which monitor they come from, and are of this run where it looked at all there is."""
    from assay.watch.metrics.checking import fitting

    window = Window(due, due) if look.window == ALWAYS else look.window
    metrics = tuple(
        replace(one, time=min(one.time, window.end), dimensions={DIMENSION: name, **one.dimensions})
        for one in map(fitting, look.metrics)
    )
    return replace(look, window=window, metrics=metrics)


def _counts(looks: Sequence[Look], name: str) -> Iterator[Metric]:
    """What simple alarms look at: rows and violations of each topic."""
    for look in looks:
        stem = look.topic.value.replace("-", "_")
        wrong = sum(check.severity == "error" for check in look.violations)
        yield Metric(f"{stem}_rows", look.window.end, float(look.samples), dimensions={DIMENSION: name})
        if look.outcome is not Outcome.UNDECIDED:
            yield Metric(f"{stem}_violations", look.window.end, float(wrong), dimensions={DIMENSION: name})


def _suspect(monitors: files.Monitors, monitor: files.Monitor, due: datetime, looks: Sequence[Look]) -> None:
    from assay.watch.suspicion.ledger import Ledger as Suspicions

    for look in looks:
        # What nobody could judge waits for a person, too: an attacker would send windows that are too small.
        if look.topic is Topic.POISONING and look.outcome is not Outcome.HOLDS:
            first = look.checks[0]
            suspicions = Suspicions(monitors.path(monitors.store))
            suspicions.open(monitor.name, due, about(monitors, monitor.name), str(first.observed), first.message)


def _state(looks: Sequence[Look]) -> State:
    return {0: State.COMPLETED, 1: State.COMPLETED_WITH_VIOLATIONS, 3: State.UNDECIDED}[exit_code(looks)]


def _said(looks: Sequence[Look]) -> str:
    from assay.watch.columns import shown

    words = []
    for look in looks:
        wrong = [shown(_named_after(look, check)) for check in look.violations if check.severity == "error"]
        if look.outcome is Outcome.UNDECIDED:
            wrong = [check.message for check in look.checks if check.message][:1]
        found = f": {', '.join(list(dict.fromkeys(wrong))[:5])}" if wrong else ""
        words.append(f"{look.topic.value} {look.outcome.value}{found}")
    return "; ".join(words)


def _named_after(look: Look, check: Check) -> str:
    """What a violation is known by: its column, the pattern of a suspicion, or its own name."""
    return check.feature or (str(check.observed) if look.topic is Topic.POISONING else check.check)
