"""Counters of all processes of a machine, in a mapped file: exact, and quotas outlive the gateway. No lock of it can be
kept by a killed process, and no stranger can push a count out.

Each key has its place in one set of `file.WAYS` slots, chosen by a keyed hash; a set belongs to one of the locks. A
place is remembered by each process, so that a request costs a dictionary's look and a few words under the lock. A full
set gives up the first slot that is back at zero, else the one with the least, whose count the newcomer takes over
(`local` says why). Quotas and requests under way are never given up: where there is no room, the answer is no.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from math import inf

from assay.guard.gateway.limits import file as layout
from assay.guard.gateway.limits.file import CountersFile, Shape, locked
from assay.guard.gateway.limits.local import KEPT, UNIT
from assay.guard.gateway.limits.periods import end_of, start_of
from assay.guard.gateway.limits.stripes import STRIPES, let_go
from assay.guard.gateway.limits.table import NOWHERE, Table

FIRST = 6
"""Word of a window's slot where its sub-buckets begin."""
LATEST_FULL = (1 << 63) - 1
"""A rate's bucket that is never full again: what fits a word."""
_PID = (1 << 22) - 1
_EMPTY_WINDOW = memoryview(bytes(8 * (layout.WINDOW - 2))).cast("q")
_NOBODY = memoryview(bytes(8 * (layout.INSIDE - 2))).cast("q")


class Shared:
    """`interface.Counters` over a file that any number of processes open, or inherit by fork."""

    def __init__(self, path: str, shape: Shape | None = None, *, synced: bool = False) -> None:
        """``synced``: several machines count together (`redis.Synced`), so what is used here is kept apart. Raises
        `StoreError`.
        """
        self.file = file = CountersFile(path, shape or Shape())
        quotas, windows, rates, inside, _ = file.shape.starts()
        self.quotas = Table(file, quotas, layout.QUOTA, file.shape.quotas)
        self.windows = Table(file, windows, layout.WINDOW, file.shape.windows)
        self.rates = Table(file, rates, layout.RATE, file.shape.rates)
        self.inside = Table(file, inside, layout.INSIDE, file.shape.inside)
        self.synced = synced
        self._words, self._reals = file.words, file.reals
        self._wait = file.stripes.wait
        self._latest = self._words[layout.LATEST] / 1e9
        self._saved = self._latest
        self._each: dict[float, int] = {}
        self._column = -1
        self._looked = 0.0
        self._finish = weakref.finalize(self, _finish, file)
        os.register_at_fork(after_in_child=_forgetting(weakref.ref(self)))

    @property
    def refusing(self) -> bool:
        """Whether nothing may be let through, because other machines are out of reach and that was configured."""
        after = self._words[layout.REFUSE_AFTER]
        return after != 0 and time.time_ns() > after

    def sync(self) -> None:
        """Make quotas durable; call it once a second from where it may block."""
        self.file.sync()

    def close(self) -> None:
        """Make quotas durable and let go of the file; in a gateway's supervisor, after its workers have ended."""
        if self._finish.alive and self._column >= 0:
            self._words[layout.PROCESS + self._column] = 0
        self._finish()

    def window(self, key: bytes, now: float, seconds: int, hits: int = 1) -> int:
        """As `interface.Counters.window`. A key always has the same ``seconds``."""
        words = self._words
        slot, digest, acquire, release, stripe = self.windows.places.get(key) or self.windows.find(key)
        if not acquire(False):
            self._wait(stripe)
        try:
            if words[slot] != digest or not digest:
                slot = self.windows.remember(key, self.window_of(*self.windows.digest(key), now, seconds))
            tick = int(now * 12 / seconds)
            known = words[slot + 3]
            if known < tick:
                self.advance(slot, known, tick, now)
            else:
                tick = known  # the same, or the clock stepped back: it stands still
            if self.synced:
                words[slot + 5] += hits
            part = slot + FIRST + tick % KEPT
            words[part] += hits
            words[slot + 4] = total = words[slot + 4] + hits
            return total
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as the rest
                release()
            except ValueError:
                pass  # somebody took us for dead and let it go

    def window_of(self, high: int, low: int, now: float, seconds: int) -> int:
        """Under the lock: the slot of a digest's window, which begins now where it is new."""
        words = self._words

        def weight(slot: int) -> float:
            return 0 if int(now * 12 / words[slot + 2]) - words[slot + 3] >= KEPT else words[slot + 4]

        slot, taken = self.windows.take(high, low, weight)
        if taken >= 0:
            tick = int(now * 12 / seconds)
            words[slot + 2 : slot + layout.WINDOW] = _EMPTY_WINDOW
            words[slot + 2], words[slot + 3] = seconds, tick
            words[slot + 4] = words[slot + FIRST + tick % KEPT] = taken
            words[slot] = high
        return slot

    def advance(self, slot: int, known: int, tick: int, now: float) -> None:
        """Under the lock: move a window from one sub-bucket to a later one."""
        words = self._words
        first = slot + FIRST
        if tick - known >= KEPT:
            words[first : first + KEPT] = _EMPTY_WINDOW[:KEPT]
        else:
            for gone in range(known + 1, tick + 1):
                words[first + gone % KEPT] = 0
        words[slot + 4] = sum(words[first : first + KEPT].tolist())
        words[slot + 3] = tick
        self._save(now)

    def rate(self, key: bytes, now: float, interval: float, burst: int, cost: int = 1) -> float:
        """As `interface.Counters.rate`, exact in `local.UNIT` parts of a second."""
        if now < self._latest:
            now = self._latest
        else:
            self._latest = now
        words = self._words
        slot, digest, acquire, release, stripe = self.rates.places.get(key) or self.rates.find(key)
        at = int(now * UNIT)
        each = self._each.get(interval) or self._units(interval)
        if not acquire(False):
            self._wait(stripe)
        try:
            if words[slot] != digest or not digest:
                most = at + burst * each
                slot = self.rates.remember(key, self.rate_of(*self.rates.digest(key), at, most))
            full = words[slot + 2]
            if full < at:
                full = at
            taken = cost * each
            full += taken
            wait = full - burst * each - at
            if wait > 0:
                return wait / UNIT if cost <= burst else inf
            words[slot + 2] = full if full < LATEST_FULL else LATEST_FULL
            if self.synced:
                words[slot + 3] = min(words[slot + 3] + taken, LATEST_FULL)
            return 0.0
        finally:
            try:  # noqa: SIM105
                release()
            except ValueError:
                pass

    def _units(self, interval: float) -> int:
        """Remembered, because it costs as much as the rest; intervals come from settings, so there are few."""
        each = self._each[interval] = max(1, round(interval * UNIT))
        return each

    def rate_of(self, high: int, low: int, at: int, most: int) -> int:
        """Under the lock: the slot of a digest's rate, which takes over at most ``most`` where it is new."""
        words = self._words
        slot, taken = self.rates.take(high, low, lambda slot: max(0, words[slot + 2] - at))
        if taken >= 0:
            words[slot + 2] = min(at + taken, most, LATEST_FULL)
            words[slot + 3] = 0
            words[slot] = high
        self._save(at / UNIT)
        return slot

    def spend(self, key: bytes, period: int, amount: float, limit: float) -> float:
        """As `interface.Counters.spend`; refuses where there is no room because no quota's period is over."""
        words, reals = self._words, self._reals
        slot, digest, acquire, release, stripe = self.quotas.places.get(key) or self.quotas.find(key)
        if not acquire(False):
            self._wait(stripe)
        try:
            if words[slot] != digest or not digest:
                slot = self.quotas.remember(key, self.quota_of(*self.quotas.digest(key), period))
                if slot == NOWHERE:
                    return -1.0
            known = words[slot + 2]
            if known < period:  # use first: whoever is killed in between leaves no old use in a new period
                reals[slot + 3] = reals[slot + 4] = 0.0
                words[slot + 2] = period
            elif known > period and amount < 0.0:
                amount = 0.0  # what was reserved in a period that is over frees nothing in the next
            own, others = reals[slot + 3], reals[slot + 4]
            used = own + others + amount
            if used > limit and amount > 0:
                return -1.0
            own += amount
            reals[slot + 3] = own if own > 0.0 else 0.0
            return limit - used if used < limit else 0.0
        finally:
            try:  # noqa: SIM105
                release()
            except ValueError:
                pass

    def quota_of(self, high: int, low: int, period: int) -> int:
        """Under the lock: the slot of a digest's quota, or `NOWHERE`."""
        words, start = self._words, start_of(period)
        slot, taken = self.quotas.take(high, low, lambda slot: 0 if end_of(words[slot + 2]) <= start else inf)
        if slot != NOWHERE and taken >= 0:
            self._reals[slot + 3] = self._reals[slot + 4] = 0.0
            words[slot + 2] = period
            words[slot] = high
        return slot

    def concurrent(self, key: bytes, change: int, limit: int) -> bool:
        """As `interface.Counters.concurrent`; a process that died is noticed within a second of a refusal."""
        if self._column < 0:
            self._column = self._attach()
        if self._enter(key, change, limit):
            return True
        now = time.monotonic()
        if now - self._looked < 1.0:
            return False
        self._looked = now
        return self.let_go_of_dead() > 0 and self._enter(key, change, limit)

    def _enter(self, key: bytes, change: int, limit: int) -> bool:
        words = self._words
        slot, digest, acquire, release, stripe = self.inside.places.get(key) or self.inside.find(key)
        if not acquire(False):
            self._wait(stripe)
        try:
            if words[slot] != digest or not digest:
                high, low = self.inside.digest(key)
                slot, taken = self.inside.take(high, low, lambda slot: inf if words[slot + 2] else 0)
                if slot == NOWHERE:
                    return change < 0
                if taken >= 0:
                    words[slot + 2 : slot + layout.INSIDE] = _NOBODY
                    words[slot] = high
                self.inside.remember(key, slot)
            total = words[slot + 2] + change
            own = words[slot + 3 + self._column] + change
            if change > 0 and total > limit:
                return False
            if own >= 0:
                words[slot + 3 + self._column] = own
                words[slot + 2] = total
            return True
        finally:
            try:  # noqa: SIM105
                release()
            except ValueError:
                pass

    def let_go_of_dead(self) -> int:
        """Requests under way in processes that have died are over. Returns how many processes that were."""
        dead = 0
        with locked(self.file.turn):
            for column in range(layout.PROCESSES):
                process = self._words[layout.PROCESS + column]
                if process and not _alive(process):
                    self._clear(column)
                    self._words[layout.PROCESS + column] = 0
                    dead += 1
        return dead

    def _attach(self) -> int:
        """A column of one's own, of the first process that is not there or no more."""
        with locked(self.file.turn):
            for column in range(layout.PROCESSES):
                process = self._words[layout.PROCESS + column]
                if not process or not _alive(process):
                    self._clear(column)
                    self._words[layout.PROCESS + column] = _name(os.getpid())
                    return column
        return layout.PROCESSES - 1  # more processes than columns: the last ones are let go together

    def _clear(self, column: int) -> None:
        words = self._words
        start, end = self.file.shape.starts()[3:]
        for number, digest in enumerate(words[start : end : layout.INSIDE].tolist()):
            slot = start + number * layout.INSIDE
            if digest and words[slot + 3 + column]:
                stripe = number // layout.WAYS % STRIPES
                self._wait(stripe)
                try:
                    words[slot + 3 + column] = 0
                    words[slot + 2] = sum(words[slot + 3 : slot + layout.INSIDE].tolist())
                finally:
                    let_go(self.file.stripes.release[stripe])

    def _save(self, now: float) -> None:
        """Now and then: for processes that come later, so that their clock stands still too."""
        if now > self._saved + 1.0:
            self._saved = now
            at = int(now * 1e9)
            if at > self._words[layout.LATEST]:
                self._words[layout.LATEST] = at

    def forget_process(self) -> None:
        """In a forked child: it has a column of its own, from when it needs one."""
        self._column = -1


def _finish(file: CountersFile) -> None:
    """At the latest when the interpreter ends."""
    file.sync()
    file.close()


def _forgetting(counters: weakref.ref[Shared]) -> Callable[[], None]:
    def forget() -> None:
        if (mine := counters()) is not None:
            mine.forget_process()

    return forget


def _alive(process: int) -> bool:
    return _name(process & _PID) == process


def _name(pid: int) -> int:
    """A process id and when it began (proc_pid_stat(5), fields 3 and 22), which no later one shares; 0: over."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19]) << 22 | pid
