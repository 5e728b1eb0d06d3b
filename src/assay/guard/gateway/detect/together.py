"""Several callers watched together: those of one owner, of one network, and all, so that splitting an attack over many
keys does not help much.

Whoever took part is flagged by its own key, beside what they share. Who only shares an owner's or a network's name with
them is not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from assay.guard.gateway.detect.alarms import Alarms
from assay.guard.gateway.detect.calibration import Calibration
from assay.guard.gateway.detect.caller import Eye, Looks, State
from assay.guard.gateway.detect.crowd import FRESH, MOST, SHARE, Crowd, Place
from assay.guard.gateway.detect.memory import Entry, Memory
from assay.guard.gateway.detect.pooled import NEWS, WINDOW, Pools, Window
from assay.guard.gateway.detect.strays import Strays
from assay.guard.gateway.interface import Level, Sample

POOLED = 2.0
"""How much more evidence a pool needs than a caller: one attacker is flagged alone, before its neighbours are."""
TOOK_PART = 12.0
"""Nats, over all bets, that somebody has added to a pool's sums and not taken away again, to be part of its alarm: as
much as one very unusual query adds.
"""
RATE = 4.0
"""And for each query that it has ever asked: honest callers take away more than they add. With these two one in a
hundred is taken for a part of an attack that makes up half of what comes from its network.
"""
TAKERS = 64
"""Callers of a pool of whom that is remembered; the earliest goes first."""
TENTH = WINDOW // 10
"""Queries of one group in the window of all."""
SHARED = 3
"""Members of a crowd who make what they share, an owner or a network, a part of it."""

Several = Sequence[tuple[str, Entry]]
"""Pools by name."""


class Together:
    """Pools, windows, crowds and strays. It is shown each query right after its caller was."""

    def __init__(self, eye: Eye, calibration: Calibration, callers: Memory, pools: Memory, alarms: Alarms) -> None:
        self._eye = eye
        self._callers = callers
        self._pools = pools
        self._alarms = alarms
        self._size = eye.space.components
        self._windows = None if calibration.pooled is None else Pools(calibration.pooled, self._size)
        self._crowd: Crowd | None = None
        if calibration.crowded is not None and alarms.wanted("pooled", "pooled:near", "pooled:flip"):
            self._crowd = Crowd(self._size, calibration.crowded)
        self._strays: Strays | None = None
        if calibration.strays is not None and alarms.wanted("pooled", "pooled:outlying"):
            self._strays = Strays(calibration.strays)
        self._all = Window()
        self.draw = random.Random(0).getrandbits  # noqa: S311
        """The window of all takes one query in four (two bits that are 0), or it would cost more than it tells."""
        self._turns: dict[int, int] = {}
        """How many queries of the window of all each group has had."""

    def one(
        self, key: str, entry: Entry, several: Several, sample: Sample, label: int, drawn: bool, *, alarmed: bool
    ) -> None:
        """The query that the eye has looked at last. ``drawn``: for the window of all. ``alarmed``: it was an alarm of
        its caller already, and is no reason to treat its neighbours otherwise.
        """
        eye = self._eye
        news = eye.news > NEWS
        if several and not alarmed:
            for name, pool in several:
                state = self._state(pool)
                before = sum(state.sums)
                found = eye.show(state, sample.id, POOLED)
                self._shown(name, pool, state, key, entry, before, found is not None, sample)
        if self._windows is not None and (drawn or several):
            self._mix(key, entry, several, eye.coordinates, news and eye.depth > 1, drawn, sample)
        if entry.looked < FRESH:
            entry.looked += 1
            if self._crowd is not None:
                self._meet(self._crowd, key, entry, eye.query, eye.length, label, eye.digest, sample)
            if news and self._strays is not None:
                self._strays.turn += 1
                entry.fresh += 1
                if eye.depth or entry.stray:
                    self._stray(self._strays, key, entry, eye.depth, sample)

    def many(
        self,
        key: str,
        entry: Entry,
        several: Several,
        sample: Sample,
        looks: Looks,
        depths: np.ndarray,
        *,
        alarmed: bool,
    ) -> None:
        """The same for several queries of one request. ``depths``: how far out each is."""
        news = self._eye.many_news > NEWS
        if not alarmed:
            for name, pool in several:
                state = self._state(pool)
                before = sum(state.sums)
                found = self._eye.show_many(state, looks, sample.id, POOLED)
                self._shown(name, pool, state, key, entry, before, found is not None, sample)
        for coordinates, tail in zip(looks.coordinates, (news & (depths > 1)).tolist(), strict=True):
            drawn = not self.draw(2)
            if self._windows is not None and (drawn or several):
                self._mix(key, entry, several, coordinates, tail, drawn, sample)
        for i in range(min(len(looks.labels), FRESH - entry.looked)):
            entry.looked += 1
            if self._crowd is not None:
                query = np.append(looks.coordinates[i], np.float32(1.0))
                length, label, digest = float(looks.lengths[i]), int(looks.labels[i]), int(looks.digests[i])
                self._meet(self._crowd, key, entry, query, length, label, digest, sample)
            if news[i] and self._strays is not None:
                self._strays.turn += 1
                entry.fresh += 1
                self._stray(self._strays, key, entry, int(depths[i]), sample)

    def _state(self, pool: Entry) -> State:
        if pool.state is None:
            pool.state = State(self._size)
        return pool.state

    def _shown(
        self, name: str, pool: Entry, state: State, key: str, entry: Entry, before: float, alarm: bool, sample: Sample
    ) -> None:
        """A pool was shown a query of ``key``; its sums were ``before`` in all. Who took part in an alarm of a network
        is flagged itself: the network's standing is for those there who prove nothing.
        """
        if name.startswith("net:"):
            rise = sum(state.sums) - before
            if pool.takers is None or not before:
                pool.takers = {}
            if alarm:
                for taker in pool.takers:
                    other = self._callers.entries.get(taker)
                    if other is not None and other.risen > max(TOOK_PART, RATE * other.seen):
                        self._alarm(taker, other, "pooled:net", sample)
                pool.takers.clear()
            elif rise or entry.risen:
                entry.risen = max(0.0, entry.risen + rise)
                if rise > 0.0 and key not in pool.takers:
                    if len(pool.takers) >= TAKERS:
                        del pool.takers[next(iter(pool.takers))]
                    pool.takers[key] = None
        if alarm:
            self._alarm(name, pool, _why(name), sample)

    def _mix(
        self,
        key: str,
        entry: Entry,
        several: Several,
        coordinates: np.ndarray,
        tail: bool,
        drawn: bool,
        sample: Sample,
    ) -> None:
        """Windows of pools and of all. No group has more than a tenth of the window of all."""
        windows = []
        for name, pool in several:
            if pool.window is None:
                pool.window = Window(name)
            windows.append(pool.window)
        if drawn and (turns := self._turns.get(entry.group, 0)) < TENTH:
            self._turns[entry.group] = turns + 1
            windows.append(self._all)
        if not windows or self._windows is None:
            return
        for full in self._windows.add(tuple(windows), coordinates, tail, hash(key)):
            if not full.name:
                self._turns.clear()
                if full.unlike:
                    self._alarms.drifted(sample, "pooled:all", full.share)
            elif full.unlike and (known := self._pools.entries.get(full.name)) is not None:
                self._alarm(full.name, known, _why(full.name), sample)

    def _meet(
        self,
        crowd: Crowd,
        key: str,
        entry: Entry,
        query: np.ndarray,
        length: float,
        label: int,
        digest: int,
        sample: Sample,
    ) -> None:
        """A query of somebody who has not asked much yet: who else asks around there."""
        place = crowd.see(key, entry.group, query, length, label, digest)
        if place is None:
            return
        entry.crowded += 1
        if place.why and not place.told.issuperset(place.members):
            self._crowded(place, sample)

    def _crowded(self, place: Place, sample: Sample) -> None:
        """All members of a crowd for whom it has not been an alarm yet, and what enough of them share."""
        part = []
        for member in place.members:
            entry = self._callers.entries.get(member)
            if member not in place.told and (entry is None or max(entry.crowded, 1) >= SHARE * entry.looked):
                part.append(member)
        if not part:
            return
        known = [self._callers.entries.get(member) for member in place.told.union(part)]
        names = Counter(name for entry in known if entry is not None for name in entry.belongs or () if name)
        part += [name for name, times in names.items() if times >= SHARED and name not in place.told]
        if len(place.told) > 2 * MOST:
            place.told.intersection_update(place.members)  # without what members share, who are others by now
        place.told.update(part)
        for name in part:
            entry = self._callers.entries.get(name) or self._pools.entries.get(name)
            self._alarm(name, entry, f"pooled:{place.why}", sample, f"{place.size} callers ask around one point")

    def _stray(self, strays: Strays, key: str, entry: Entry, depth: int, sample: Sample) -> None:
        """A query of somebody who has not asked much yet, unlike its own before: who else is that far out."""
        entry.stray += depth > 0
        if 2 * entry.stray <= entry.fresh:
            strays.clear(key, entry.group)
            return
        names, note = strays.see(key, entry.group, depth) if depth else ((), "")
        for name in names:
            # One question is little evidence against one key: it is told less, and never blocked for it.
            known = self._callers.entries.get(name)
            self._alarms.say(name, known, "pooled:outlying", sample, most=Level.HARDEN, note=note)

    def _alarm(self, key: str, entry: Entry | None, why: str, sample: Sample, note: str = "") -> None:
        if self._alarms.wanted("pooled", why):
            self._alarms.say(key, entry, why, sample, note=note)


def _why(name: str) -> str:
    return "pooled:owner" if name.startswith("owner:") else "pooled:net"
