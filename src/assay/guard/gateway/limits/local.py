"""Counters of one process, in bounded dictionaries. They must never let a caller forget itself.

Windows are 12 sub-buckets and the current one, which together always cover the window and at most 13/12 of it: never
fewer hits than there were, and none older than 1.09 windows. Rates are GCRA (ITU-T I.371) in whole numbers.
Where a dictionary is full, the oldest of a few that is back at zero goes; where none is, the one with the least goes,
and whoever comes takes over its count (as Space-Saving does, Metwally 2005). So nobody is rid of a count by having
strangers push it out: on coming back it takes over a count that is at least as large.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import inf
from typing import TypeVar

from assay.guard.gateway.limits.periods import end_of, start_of

PARTS = 12
"""Sub-buckets of a window."""
KEPT = PARTS + 1
"""And the current one."""
FIRST = 3
"""Where the sub-buckets begin in a window's state."""
LOOKED_AT = 8
"""Entries that are considered for eviction."""

UNIT = float(1 << 30)
"""Parts of a second that rates are counted in: about a nanosecond, and a power of two, by which no float is rounded."""

S = TypeVar("S")


class Local:
    """`interface.Counters` for one thread of one process; its quotas end with it (`shared.Shared` keeps them)."""

    refusing = False
    """Nothing that could be gone."""

    def __init__(self, slots: int = 65536) -> None:
        """``slots``: most keys of each kind."""
        self._slots = slots
        self._latest = 0.0
        self._each: dict[float, int] = {}
        self._windows: dict[bytes, list[int]] = {}
        """Number of the current sub-bucket, the sum, the window's seconds, the sub-buckets by number modulo `KEPT`."""
        self._rates: dict[bytes, int] = {}
        """When the bucket is full again, in `UNIT`: GCRA's theoretical arrival time."""
        self._spent: dict[bytes, tuple[int, float]] = {}
        self._inside: dict[bytes, int] = {}

    def window(self, key: bytes, now: float, seconds: int, hits: int = 1) -> int:
        """As `interface.Counters.window`. A key always has the same ``seconds``."""
        tick = int(now * 12 / seconds)
        state = self._windows.get(key)
        if state is None:
            state = self._newcomer(key, now, tick, seconds)
        elif state[0] < tick:
            advance(state, tick)
        elif state[0] > tick:
            tick = state[0]  # the clock stepped back: it stands still
        state[1] = total = state[1] + hits
        state[FIRST + tick % KEPT] += hits
        return total

    def _newcomer(self, key: bytes, now: float, tick: int, seconds: int) -> list[int]:
        def weight(state: list[int]) -> int:
            return 0 if int(now * 12 / state[2]) - state[0] >= KEPT else state[1]

        state = [tick, 0, seconds, *([0] * KEPT)]
        if len(self._windows) >= self._slots:
            # What is taken over counts as of now: sub-buckets of windows of another length would not fit.
            state[1] = state[FIRST + tick % KEPT] = weight(make_room(self._windows, weight))
        self._windows[key] = state
        return state

    def rate(self, key: bytes, now: float, interval: float, burst: int, cost: int = 1) -> float:
        """As `interface.Counters.rate`, exact in `UNIT` parts of a second."""
        if now < self._latest:
            now = self._latest
        else:
            self._latest = now
        at = int(now * UNIT)
        each = self._each.get(interval) or self._units(interval)
        full = self._rates.get(key)
        if full is None:
            full = self._admit(key, at, at + burst * each)
        if full < at:
            full = at
        full += cost * each
        wait = full - burst * each - at
        if wait > 0:
            return wait / UNIT if cost <= burst else inf
        self._rates[key] = full
        return 0.0

    def _units(self, interval: float) -> int:
        """Remembered, because it costs as much as the rest; intervals come from settings, so there are few."""
        each = self._each[interval] = max(1, round(interval * UNIT))
        return each

    def _admit(self, key: bytes, at: int, most: int) -> int:
        if len(self._rates) < self._slots:
            return at
        taken = make_room(self._rates, lambda full: max(0, full - at))
        full = self._rates[key] = min(max(taken, at), most)  # kept although the newcomer may be refused
        return full

    def spend(self, key: bytes, period: int, amount: float, limit: float) -> float:
        """As `interface.Counters.spend`; refuses where the dictionary is full of periods that are not over."""
        known = self._spent.get(key)
        if known is None:
            if len(self._spent) >= self._slots:
                start = start_of(period)
                over = [old for old, (its, _) in self._spent.items() if end_of(its) <= start]
                for old in over:
                    del self._spent[old]
                if not over:
                    return -1.0
            used = 0.0
        elif known[0] < period:
            used = 0.0
        else:
            if period < known[0] and amount < 0.0:
                amount = 0.0  # what was reserved in a period that is over frees nothing in the next
            period, used = known
        used += amount
        if used > limit and amount > 0:
            return -1.0
        self._spent[key] = period, used if used > 0.0 else 0.0
        return limit - used if used < limit else 0.0

    def concurrent(self, key: bytes, change: int, limit: int) -> bool:
        """As `interface.Counters.concurrent`; refuses where the dictionary is full."""
        inside = self._inside.get(key, 0) + change
        if change > 0 and (inside > limit or (inside == change and len(self._inside) >= self._slots)):
            return False
        if inside > 0:
            self._inside[key] = inside
        else:
            self._inside.pop(key, None)
        return True


def advance(state: list[int], tick: int) -> None:
    """Move a window to a later sub-bucket: what it no longer covers is gone."""
    if tick - state[0] >= KEPT:
        state[FIRST:] = [0] * KEPT
    else:
        for gone in range(state[0] + 1, tick + 1):
            state[FIRST + gone % KEPT] = 0
    state[0] = tick
    state[1] = sum(islice(state, FIRST, None))


def make_room(states: dict[bytes, S], weight: Callable[[S], int]) -> S:
    """Remove and return the first of the oldest whose ``weight`` is zero, else the lightest. Those that stay are looked
    at again last.
    """
    seen = list(islice(states, LOOKED_AT))
    chosen = next((key for key in seen if not weight(states[key])), None)
    if chosen is None:
        chosen = min(seen, key=lambda key: weight(states[key]))
    for key in seen:
        if key == chosen:
            taken = states.pop(key)
            if not weight(taken):
                break
        else:
            states[key] = states.pop(key)
    return taken
