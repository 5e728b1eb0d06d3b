"""The scheduler: what is due now, each run taken up once, and a loop that sleeps until the next one.

`tick` is one turn of the loop and all that cron, systemd or a Kubernetes CronJob need; `serve` is the loop. It must
never act on a run whose claim it has lost, and never forget a run because it was late.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from assay.errors import AssayError
from assay.watch.claims import renewing
from assay.watch.schedule.expressions import Expression
from assay.watch.schedule.ledger import LEASE, Ledger, State

Missed: TypeAlias = Literal["all", "last"]
"""Which of the runs that nobody ran are caught up; the others are recorded as missed. ``last`` is the newest moment:
it is on time until the next one comes.
"""

MOST = 1000
"""Runs of one monitor that are caught up or recorded in one turn: a year of hours comes in nine turns."""


@dataclass(frozen=True, slots=True)
class Job:
    """A monitor's place in time."""

    name: str
    expression: Expression
    since: datetime | None = None
    """UTC. Nothing up to it is due. None: the newest moment before the first turn is the first that is."""
    delay: timedelta = timedelta(0)
    """How long after a window's end its data is complete; the run waits so long."""
    missed: Missed = "last"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    state: State
    said: str = ""
    entry: str = ""


Run: TypeAlias = Callable[[str, datetime, Callable[[], bool]], Ended]
"""The work: a monitor's name, when it was due, and a question whether the claim still holds. Asked before it acts."""


def due(job: Job, ledger: Ledger, now: datetime) -> tuple[list[datetime], list[datetime]]:
    """What is to be run and what is to be recorded as missed, oldest first."""
    known = [moment for moment in (ledger.last(job.name), job.since) if moment is not None]
    newest = job.expression.previous(now - job.delay)
    if newest is None:
        return [], []
    start = max(known) if known else newest - timedelta(microseconds=1)
    moments = _first(job.expression.between(start, now - job.delay), MOST)
    again = ledger.abandoned(job.name, now)
    if not moments:
        return again, []
    following = job.expression.next(moments[-1])
    # The newest moment is on time while the next one has not come: only those before it were missed.
    on_time = moments[-1:] if following is None or following > now - job.delay else []
    late = moments[: len(moments) - len(on_time)]
    caught = late if job.missed == "all" else []
    return [*again, *caught, *on_time], [moment for moment in late if moment not in caught]


def tick(
    jobs: Sequence[Job], ledger: Ledger, run: Run, owner: str, clock: Callable[[], datetime]
) -> list[tuple[str, Ended]]:
    """Run all that is due now; names and how they ended. What one monitor does wrong harms no other."""
    ended: list[tuple[str, Ended]] = []
    for job in jobs:
        wanted, missed = due(job, ledger, clock())
        for moment in missed:
            ledger.miss(job.name, moment, clock())
        ended.extend(
            (job.name, taken)
            for moment in wanted
            if (taken := take(job.name, moment, ledger, run, owner, clock)) is not None
        )
    return ended


def take(
    name: str,
    moment: datetime,
    ledger: Ledger,
    run: Run,
    owner: str,
    clock: Callable[[], datetime],
    *,
    again: bool = False,
) -> Ended | None:
    """Run one if nobody else does; None when somebody does or did. ``again`` as for `Ledger.claim`."""
    if not ledger.claim(name, moment, owner, clock(), again=again):
        return None
    with renewing(lambda: ledger.renew(name, moment, owner, clock()), LEASE) as holds:
        try:
            ended = run(name, moment, holds)
        except AssayError as error:
            ended = Ended(State.FAILED, error.message)
        except (OSError, MemoryError, RecursionError) as error:
            # A full disk or too large a table is this run's trouble, and not the end of all the others.
            ended = Ended(State.FAILED, getattr(error, "strerror", None) or str(error) or type(error).__name__)
    ledger.finish(name, moment, owner, ended.state, clock(), said=ended.said, entry=ended.entry)
    return ended


def serve(
    jobs: Sequence[Job],
    ledger: Ledger,
    run: Run,
    owner: str,
    *,
    clock: Callable[[], datetime],
    stop: threading.Event,
    told: Callable[[str, Ended], None] = lambda _name, _ended: None,
    after: Callable[[], None] = lambda: None,
    trouble: Callable[[AssayError], None] = lambda _error: None,
) -> None:
    """Run what is due until ``stop`` is set; a run that has begun is finished. ``after`` is called once a turn.

    ``trouble`` is told of a ledger that cannot be used; the next turn tries again, or nobody would watch any more.
    """
    while not stop.is_set():
        try:
            for name, ended in tick(jobs, ledger, run, owner, clock):
                told(name, ended)
        except AssayError as error:
            trouble(error)
        after()
        now = clock()
        nexts = [moment + job.delay for job in jobs if (moment := job.expression.next(now - job.delay)) is not None]
        # Once a minute at least: a claim of a scheduler that died runs out, and clocks are set.
        wait = min([(moment - now).total_seconds() for moment in nexts] + [60.0])
        stop.wait(max(wait, 0.05))


def _first(moments: Iterator[datetime], count: int) -> list[datetime]:
    return [moment for moment, _ in zip(moments, range(count), strict=False)]
