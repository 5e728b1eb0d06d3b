"""Everybody who is remembered, within bounds: callers in full, those not seen for longest as their sums alone.

Whoever fills the memory with strangers gains nothing: sums and counts go to a second, ten times larger memory before
they are forgotten, and come back with the caller. Flags are not kept here, and outlive both.
"""

from __future__ import annotations

import struct
from array import array
from collections import OrderedDict

from assay.guard.gateway.detect import cusum
from assay.guard.gateway.detect.budgets import Used
from assay.guard.gateway.detect.caller import State
from assay.guard.gateway.detect.cusum import BETS, SIGNALS
from assay.guard.gateway.detect.near import Bands
from assay.guard.gateway.detect.pooled import Window

DORMANT = 10
"""Callers of whom only sums are kept, for each that is remembered in full."""
SLIGHT = 1.0
"""Nats below which a sum is as good as none over a restart."""
_SUMS = BETS * len(SIGNALS)
_PACKED = struct.Struct(f"<{_SUMS + 8}d")


class Entry:
    """One caller, or one pool of callers."""

    __slots__ = (
        "bands",
        "belongs",
        "crowded",
        "flips",
        "fresh",
        "group",
        "looked",
        "nears",
        "odd",
        "risen",
        "seen",
        "state",
        "stray",
        "takers",
        "used",
        "window",
    )

    def __init__(self) -> None:
        self.state: State | None = None
        """What queries of a known form add up to; made with the first."""
        self.bands: Bands | None = None
        """The same for queries that no calibration is for."""
        self.used = Used()
        self.nears = 0.0
        self.flips = 0.0
        """Scores of `budgets.NEAR` and `budgets.FLIPS`."""
        self.odd = 0.0
        """Share of its latest queries that are unusual: an exponential average over about three."""
        self.seen = 0
        """Queries that were looked at."""
        self.group = 0
        """Whom it belongs to: the same number for all callers of one owner, or without one of one network."""
        self.belongs: tuple[str, str] | None = None
        """Owner and network, as `members` names them."""
        self.looked = 0
        """Queries that were looked at together with everybody else's: its first."""
        self.crowded = 0
        """Those of them that came to a place where others were."""
        self.fresh = 0
        """Those of them that were news."""
        self.stray = 0
        """Those of these that were far from all training data."""
        self.risen = 0.0
        """Nats that it has added to the sums of its network's pool, less what it took away; never below 0."""
        self.window: Window | None = None
        """Of a pool."""
        self.takers: dict[str, None] | None = None
        """Of a network's pool: callers who added to its sums since these were last nothing."""


class Memory:
    """Entries by key, the one seen last at the end."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self._dormant: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str, components: int) -> Entry:
        """The entry of ``key``, made or woken where there is none; it is then the latest."""
        entry = self.entries.get(key)
        if entry is not None:
            self.entries.move_to_end(key)
            return entry
        entry = self.entries[key] = Entry()
        packed = self._dormant.pop(key, None)
        if packed is not None:
            _wake(entry, packed, components)
        if len(self.entries) > self.most:
            oldest, gone = self.entries.popitem(last=False)
            if gone.seen or gone.used.rejected or gone.used.life:
                self._sleep(oldest, _packed(gone))
        return entry

    def forget(self, key: str) -> None:
        """As if nobody had seen it."""
        self.entries.pop(key, None)
        self._dormant.pop(key, None)

    def __len__(self) -> int:
        return len(self.entries)

    def export(self, *, counts: bool) -> dict[str, bytes]:
        """Sums of everybody who has some, those seen last at the end; with ``counts`` of everybody who asked. It is
        written every few seconds, so who would lose nothing is left out.
        """
        found = dict(self._dormant) | {key: _packed(entry) for key, entry in self.entries.items()}
        return {key: packed for key, packed in found.items() if counts or _matters(packed)}

    def restore(self, state: dict[str, bytes], *, sums: bool) -> None:
        """What `export` gave: all are dormant until they ask again. Without ``sums`` only counts: they were made by
        another measure. Raises `ValueError` where it is nothing like it.
        """
        for key, packed in state.items():
            if len(packed) != _PACKED.size:
                raise ValueError("a caller's sums do not have their length")
            numbers = _PACKED.unpack(packed)
            if any(not 0.0 <= number < 1e300 for number in numbers):  # NaN is no such number either
                raise ValueError("a caller's sums are no sums")
            self._sleep(key, packed if sums else bytes(8 * _SUMS) + packed[8 * _SUMS :])

    def _sleep(self, key: str, packed: bytes) -> None:
        self._dormant[key] = packed
        self._dormant.move_to_end(key)
        if len(self._dormant) > DORMANT * self.most:
            self._dormant.popitem(last=False)


def _packed(entry: Entry) -> bytes:
    sums = entry.state.sums if entry.state is not None else cusum.fresh()
    return _PACKED.pack(*sums, *entry.used.state(), entry.nears, entry.flips)


def _matters(packed: bytes) -> bool:
    """Whether somebody is on the way to an alarm."""
    numbers = _PACKED.unpack(packed)
    return bool(max(numbers[:_SUMS]) > SLIGHT or max(numbers[-3:]) > 0.0)  # rejections, near-duplicates and flips


def _wake(entry: Entry, packed: bytes, components: int) -> None:
    numbers = list(_PACKED.unpack(packed))
    entry.used = Used.of(numbers[_SUMS:-2])
    entry.nears, entry.flips = numbers[-2:]
    if components and any(numbers[:_SUMS]):
        entry.state = State(components)
        entry.state.sums = array("d", numbers[:_SUMS])
