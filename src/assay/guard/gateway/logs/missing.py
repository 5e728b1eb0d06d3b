"""Which lines are not in the access log, told by those that are: a core numbers its requests one by one, so whoever
takes lines out of the middle leaves a hole. It cannot see what was cut off before the first or after the last line of a
core, nor that somebody has given lines other ids.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

STRETCHES = 50_000
"""Most stretches that are told apart, of all cores; what is scattered wider is not followed."""

SETTLED = 5.0
"""Seconds that a line may be written later than another one that ended later: processes write in turns."""

_ID = re.compile(r"([0-9a-f]{20})([0-9a-f]{12})")
"""Of `core.Core`: random, the same for all of its requests, and a number that rises by one."""


@dataclass(slots=True)
class _Stretch:
    """Ids that follow on each other, all there."""

    first: int
    last: int
    early: float
    """UNIX seconds of the earliest of its requests."""
    late: float


@dataclass(slots=True)
class _Run:
    """The requests of one core, which is one process between two reloads."""

    stretches: list[_Stretch] = field(default_factory=list)
    """In order."""
    logs: set[str] = field(default_factory=set)
    """Which have lines of it."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids that are in no line."""

    after: str
    """The last id before it."""
    before: str
    """The first id behind it."""
    count: int


@dataclass(slots=True)
class Ids:
    """All ids of some logs."""

    followed: int = 0
    """Lines with an id."""
    _runs: dict[str, _Run] = field(default_factory=dict)
    _began: dict[str, float] = field(default_factory=dict)
    """When the earliest line of a log was written."""
    _stretches: int = 0

    def take(self, identity: str, at: float, ended: float, log: str) -> bool | None:
        """One line of the file ``log``: a request that began ``at`` and ``ended`` (UNIX seconds). False: its id was
        there before; None: it has none that can be followed.
        """
        found = _ID.fullmatch(identity)
        if found is None:
            return None
        if ended < self._began.get(log, math.inf):
            self._began[log] = ended
        run = self._runs.get(found[1])
        if run is None:
            if self._stretches >= STRETCHES:
                return None
            run = self._runs[found[1]] = _Run()
        new = self._place(run, int(found[2], 16), at)
        if new is not None:
            self.followed += 1
            run.logs.add(log)
        return new

    def _place(self, run: _Run, number: int, at: float) -> bool | None:
        stretches = run.stretches
        place = bisect_right(stretches, number, key=attrgetter("first"))  # of the first stretch behind it
        before = stretches[place - 1] if place else None
        if before is not None and number <= before.last:
            return False
        behind = stretches[place] if place < len(stretches) else None
        joins = before is not None and number == before.last + 1
        if behind is not None and number == behind.first - 1:
            behind.first = number
            behind.early, behind.late = min(behind.early, at), max(behind.late, at)
            if joins and before is not None:
                before.last = behind.last
                before.early, before.late = min(before.early, behind.early), max(before.late, behind.late)
                del stretches[place]
                self._stretches -= 1
        elif joins and before is not None:
            before.last = number
            before.early, before.late = min(before.early, at), max(before.late, at)
        elif self._stretches < STRETCHES:
            stretches.insert(place, _Stretch(number, number, at, at))
            self._stretches += 1
        else:
            return None
        return True

    @property
    def alone(self) -> int:
        """Lines that are the only one of their core: they say nothing, and digests of ids look like them."""
        return sum(
            1
            for run in self._runs.values()
            if len(run.stretches) == 1 and run.stretches[0].first == run.stretches[0].last
        )

    def holes(self, start: float, end: float) -> Iterator[Hole]:
        """Those whose requests began from ``start`` to before ``end`` (UNIX seconds), as far as can be told: a time
        that does not rise with the ids, because a clock stepped back or somebody wrote another, counts too often.
        """
        for prefix, run in self._runs.items():
            # Requests that ended before may be in a file that is deleted for its age.
            known = min(self._began[log] for log in run.logs) + SETTLED
            earliest = [math.inf]
            for stretch in reversed(run.stretches):
                earliest.append(min(earliest[-1], stretch.early))
            latest = -math.inf
            for number, (one, other) in enumerate(zip(run.stretches, run.stretches[1:], strict=False)):
                latest, soonest = max(latest, one.late), earliest[len(run.stretches) - 1 - number]
                if latest >= known and soonest < end and max(latest, soonest) >= start:
                    yield Hole(f"{prefix}{one.last:012x}", f"{prefix}{other.first:012x}", other.first - one.last - 1)
