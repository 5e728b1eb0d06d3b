"""Send what is due: each sink by a thread of its own, so that one that hangs delays no other.

At least once: an alert counts as delivered when the sink has confirmed it, and a crash in between sends it again under
the same id. A failure waits longer each time; after a week it is given up, which is said and stays listed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from assay.alerts.outbox import LONGEST_WAIT, Delivery, Outbox
from assay.alerts.sinks import make
from assay.alerts.sinks.interface import Sink
from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.alerts.settings import AnySink

FIRST_WAIT = timedelta(minutes=1)
"""After the first failure; it doubles with each further one."""

GIVE_UP_AFTER = timedelta(days=7)
"""An alert that is older when it fails once more is given up."""

FAILURES_IN_A_ROW = 3
"""After these the sink is left alone for this time."""


@dataclass(slots=True)
class Delivered:
    """What one call of `deliver` did."""

    sent: int = 0
    failed: int = 0
    """Attempts that failed and will be repeated."""
    given_up: int = 0
    problems: list[str] = field(default_factory=list)
    """A sentence for each sink that failed, and for what else went wrong."""


def deliver(outbox: Outbox, sinks: Sequence[AnySink], now: datetime, deadline_seconds: float) -> Delivered:
    """Send what is due to ``sinks``; returns at the deadline at the latest. Raises `StoreError`.

    A sink that is still busy at the deadline goes on in its (daemon) thread and is not waited for.
    """
    result, guard, start = Delivered(), threading.Lock(), time.monotonic()
    result.given_up += outbox.abandon([sink.name for sink in sinks], now - GIVE_UP_AFTER)
    threads = []
    for settings in sinks:
        worker = _Worker(outbox, settings, now, start, deadline_seconds, result, guard)
        thread = threading.Thread(target=worker.run, name=f"alerts-{settings.name}", daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(max(0.0, start + deadline_seconds - time.monotonic()))
    outbox.prune(now)
    with guard:
        return Delivered(result.sent, result.failed, result.given_up, list(result.problems))


def backoff(attempts: int, jitter: float) -> timedelta:
    """The wait after ``attempts`` failures: 1, 2, 4, … minutes up to six hours; ``jitter`` (0 to 1) takes up to half.

    The jitter keeps many machines that failed together from coming back together ("equal jitter", AWS Architecture
    Blog, Exponential Backoff And Jitter, 2015).
    """
    whole = min(LONGEST_WAIT, FIRST_WAIT * (1 << min(max(attempts, 1) - 1, 20)))
    return whole * (1 - jitter / 2)


class _Worker:
    """Sends to one sink."""

    def __init__(
        self,
        outbox: Outbox,
        settings: AnySink,
        now: datetime,
        start: float,
        deadline: float,
        result: Delivered,
        guard: threading.Lock,
    ) -> None:
        self._path, self._owner = outbox.path, outbox.owner
        self._settings, self._now, self._start, self._deadline = settings, now, start, deadline
        self._result, self._guard = result, guard

    def run(self) -> None:
        try:
            with Outbox(self._path, self._owner) as outbox:  # a connection belongs to its thread
                self._all(outbox, make(self._settings))
        except AssayError as error:
            with self._guard:
                self._result.problems.append(error.message)

    def _all(self, outbox: Outbox, sink: Sink) -> None:
        failures = 0
        while failures < FAILURES_IN_A_ROW and time.monotonic() < self._start + self._deadline:
            delivery = outbox.claim(sink.name, self._clock())
            if delivery is None:
                return
            problem = _send(sink, delivery)
            if problem is None:
                outbox.sent(delivery)
                failures = 0
                with self._guard:
                    self._result.sent += 1
            else:
                self._failed(outbox, delivery, problem)
                failures += 1

    def _failed(self, outbox: Outbox, delivery: Delivery, problem: str) -> None:
        now = self._clock()
        hopeless = now - delivery.alert.time > GIVE_UP_AFTER
        wait = backoff(delivery.attempts, random.random())  # noqa: S311 - spreads load, hides nothing
        outbox.failed(delivery, problem, None if hopeless else now + wait)
        sentence = f"sink {delivery.sink!r}: {problem}"
        with self._guard:
            self._result.given_up += hopeless
            self._result.failed += not hopeless
            if sentence not in self._result.problems:
                self._result.problems.append(sentence)

    def _clock(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._start)


def _send(sink: Sink, delivery: Delivery) -> str | None:
    """None, or what went wrong."""
    try:
        sink.send(delivery.alert)
    except AssayError as error:
        return error.message
    except Exception as error:  # a defect in one sink or its library must not stop the others; its text may hold a URL
        return f"unexpected {type(error).__name__}"
    return None
