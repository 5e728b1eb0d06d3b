"""What one machine tells the others of its counters, and what it takes in from them. No network here.

Only own use is told, as what was added since it was told last, so that nothing comes back to whom it came from. What
comes in counts as of now, which is never earlier than it was used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from assay.guard.gateway.limits import file as layout
from assay.guard.gateway.limits.local import KEPT, UNIT
from assay.guard.gateway.limits.periods import end_of, start_of
from assay.guard.gateway.limits.shared import FIRST, LATEST_FULL, Shared
from assay.guard.gateway.limits.stripes import let_go
from assay.guard.gateway.limits.table import NOWHERE, Table

MOST = 5000
"""Entries of each kind that are told at once; the others follow next time."""

Digest: TypeAlias = tuple[int, int]
Total: TypeAlias = tuple[int, int, int, float]
"""A quota's digest, its period, all that this machine itself has used in it."""


_TELLING = {"windows": (0, 5), "rates": (0, 3), "quotas": (0, 2, 3)}
"""Words of a slot that change when there is something to tell."""


Word = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""What fits a word of the file."""


class News(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What was added on one machine."""

    windows: list[tuple[Word, Word, int, Word]] = []
    """Digest (two words), the window's seconds, hits."""
    rates: list[tuple[Word, Word, Word]] = []
    """Digest, what was taken, in `local.UNIT`."""
    quotas: list[tuple[Word, Word, Word, float]] = []
    """Digest, period, amount."""

    reread: bool = False
    """Whether the totals of the machine that tells it have to be read anew: it has come, or come back."""

    def __bool__(self) -> bool:
        return bool(self.windows or self.rates or self.quotas or self.reread)


class Exchange:
    """Of one machine. For one thread."""

    def __init__(self, counters: Shared) -> None:
        import numpy

        self._counters = counters
        self._words = counters.file.words
        self._reals = counters.file.reals
        self._start = dict(zip(("quotas", "windows", "rates"), counters.file.shape.starts(), strict=False))
        shape = counters.file.shape
        self._views = {
            name: numpy.frombuffer(counters.file.memory, numpy.int64, slots * width, 8 * self._start[name]).reshape(
                slots, width
            )
            for name, slots, width in (
                ("quotas", shape.quotas, layout.QUOTA),
                ("windows", shape.windows, layout.WINDOW),
                ("rates", shape.rates, layout.RATE),
            )
        }
        self._told: dict[str, dict[int, tuple[int, int, float]]] = {name: {} for name in self._views}
        """By slot: its key (first word), period (quotas), what of its own use was told."""
        self._seen = {
            name: [self._views[name][:, column] * 0 for column in columns] for name, columns in _TELLING.items()
        }
        """The words that tell a change, as they were looked at last."""

    def close(self) -> None:
        """Let go of the file."""
        self._views.clear()

    def news(self, steady: float) -> tuple[News, list[Total]]:
        """What is new, at most `MOST` of each kind, and totals of the quotas in it. It counts as told."""
        news = News()
        totals: list[Total] = []
        for slot in self._changed("windows"):
            base = self._start["windows"] + slot * layout.WINDOW
            self._under_lock("windows", slot, partial(self._tell_window, news, base, slot))
        for slot in self._changed("rates"):
            base = self._start["rates"] + slot * layout.RATE
            self._under_lock("rates", slot, partial(self._tell_rate, news, base, slot, steady))
        for slot in self._changed("quotas"):
            base = self._start["quotas"] + slot * layout.QUOTA
            self._under_lock("quotas", slot, partial(self._tell_quota, news, totals, base, slot))
        return news, totals

    def all_quotas(self) -> list[Total]:
        """Own use of all quotas, for those who have not heard, and as told from now on."""
        totals: list[Total] = []
        view = self._views["quotas"]
        for slot in view[:, 0].nonzero()[0].tolist():
            base = self._start["quotas"] + slot * layout.QUOTA
            high, low, period = self._words[base : base + 3].tolist()
            own = self._reals[base + 3]
            self._told["quotas"][slot] = (high, period, own)
            totals.append((high, low, period, own))
        return totals

    def absorb(self, news: News, now: float, steady: float, *, quotas: bool) -> None:
        """Count what another machine tells, quotas by UNIX time and others by `Context.steady`; ``quotas``: also its
        quotas, where `set_others` does not know them yet.
        """
        for high, low, seconds, hits in news.windows:
            if 1 <= seconds <= 86400 and hits > 0 and high:
                self._window(high, low, seconds, min(hits, 1 << 40), steady)
        for high, low, taken in news.rates:
            if high:
                self._rate(high, low, taken, int(steady * UNIT))
        if quotas:
            for high, low, period, amount in news.quotas:
                if high and isfinite(amount):
                    self._quota(high, low, period, amount.__add__, now)

    def set_others(self, used: dict[Digest, tuple[int, float]], now: float) -> None:
        """What all other machines together have used, by period."""
        for (high, low), (period, amount) in used.items():
            if high and isfinite(amount):
                self._quota(high, low, period, partial(_instead, amount), now)

    def _changed(self, name: str) -> list[int]:
        """Slots whose words are not what they were; they are taken as seen before they are read."""
        table, seen = self._views[name], self._seen[name]
        current = [table[:, column].copy() for column in _TELLING[name]]
        changed = current[0] != seen[0]
        for now, before in zip(current[1:], seen[1:], strict=True):
            changed |= now != before
        slots = changed.nonzero()[0][:MOST]
        for now, before in zip(current, seen, strict=True):
            before[slots] = now[slots]
        return [int(slot) for slot in slots if current[0][slot]]

    def _tell_window(self, news: News, base: int, slot: int) -> None:
        high, low, seconds, _, total, hits = self._words[base : base + 6].tolist()
        known = self._told["windows"].get(slot)
        added = hits - (int(known[2]) if known is not None and known[0] == high else 0)
        self._told["windows"][slot] = (high, 0, hits)
        if high and added > 0 and total > 0:
            news.windows.append((high, low, seconds, min(added, total)))  # after an outage: not what is long over

    def _tell_rate(self, news: News, base: int, slot: int, steady: float) -> None:
        high, low, full, taken = self._words[base : base + 4].tolist()
        known = self._told["rates"].get(slot)
        added = taken - (int(known[2]) if known is not None and known[0] == high else 0)
        self._told["rates"][slot] = (high, 0, taken)
        owed = min(added, max(0, full - int(steady * UNIT)))
        if high and owed:
            news.rates.append((high, low, owed))

    def _tell_quota(self, news: News, totals: list[Total], base: int, slot: int) -> None:
        high, low, period = self._words[base : base + 3].tolist()
        own = self._reals[base + 3]
        known = self._told["quotas"].get(slot)
        added = own - (known[2] if known is not None and known[:2] == (high, period) else 0.0)
        self._told["quotas"][slot] = (high, period, own)
        if high and added:
            news.quotas.append((high, low, period, added))
            totals.append((high, low, period, own))

    def _under_lock(self, name: str, slot: int, do: Callable[[], None]) -> None:
        stripe = slot // layout.WAYS % len(self._counters.file.stripes.acquire)
        self._locked(stripe, do)

    def _locked(self, stripe: int, do: Callable[[], None]) -> None:
        stripes = self._counters.file.stripes
        if not stripes.acquire[stripe](False):
            stripes.wait(stripe)
        try:
            do()
        finally:
            let_go(stripes.release[stripe])

    def _at_home(self, table: Table, high: int, low: int, do: Callable[[], None]) -> None:
        self._locked(table.home(high, low)[1], do)

    def _window(self, high: int, low: int, seconds: int, hits: int, steady: float) -> None:
        words, counters = self._words, self._counters

        def count() -> None:
            slot = counters.window_of(high, low, steady, seconds)
            if words[slot + 2] != seconds:
                return  # its sub-buckets have other numbers, which would stop the clock of ours
            tick = max(int(steady * 12 / seconds), words[slot + 3])
            if words[slot + 3] < tick:
                counters.advance(slot, words[slot + 3], tick, steady)
            words[slot + FIRST + tick % KEPT] += hits
            words[slot + 4] += hits

        self._at_home(counters.windows, high, low, count)

    def _rate(self, high: int, low: int, taken: int, at: int) -> None:
        words, counters = self._words, self._counters

        def count() -> None:
            slot = counters.rate_of(high, low, at, LATEST_FULL)
            full = max(words[slot + 2], at) + taken
            words[slot + 2] = min(max(full, 0), LATEST_FULL)

        self._at_home(counters.rates, high, low, count)

    def _quota(self, high: int, low: int, period: int, others: Callable[[float], float], now: float) -> None:
        words, reals, table = self._words, self._reals, self._counters.quotas
        try:
            end_of(period)
        except (ValueError, OverflowError, OSError):
            return
        if start_of(period) > now + layout.SKEW:
            return  # a clock that is far ahead would end the period for everybody

        def count() -> None:
            slot = self._counters.quota_of(high, low, period)
            if slot == NOWHERE or words[slot + 2] > period:
                return
            if words[slot + 2] < period:
                reals[slot + 3] = reals[slot + 4] = 0.0
                words[slot + 2] = period
            reals[slot + 4] = max(0.0, others(reals[slot + 4]))

        self._at_home(table, high, low, count)


def _instead(amount: float, _: float) -> float:
    return amount
