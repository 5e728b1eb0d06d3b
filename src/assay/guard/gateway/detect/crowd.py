"""Near-duplicates over all callers: many who ask around one point, however few queries each of them has.

A search along a line, HopSkipJump, noisy copies of one person: they show in where queries lie, whoever sends them. Only
callers who have asked little are looked at, the others have a memory of their own that tells. An equal query teaches
nobody anything, and one caller alone is never a crowd, so that whoever polls, or asks again after a time-out, is none.
Memory is bounded; a place that only one caller asked about goes first.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from assay.guard.gateway.detect.calibration import Crowded
from assay.guard.gateway.detect.near import NOWHERE

FRESH = 32
"""Queries of a caller that are looked at: its first."""
PLACES = 1024
"""Places that are remembered."""
LASTS = 16_384
"""Queries after which a place begins anew: sooner or later honest callers have been everywhere."""
MOST = 200
"""Members of a place who are known by name, the earliest goes first; where honest crowds are half as large, nothing is
called a crowd.
"""
SPARED = 8
"""Places with several callers that are passed over, at most, when one has to go."""
SHARE = 1 / 3
"""Of what somebody has asked, at least so much is where crowds are, or it is no part of one: who has asked for
something else as well only came by.
"""

LIKELY = 0.01
"""Share of honest queries that come to a place of other callers, when all places are taken: what is a place's size."""
CALLERS = 50
"""Honest callers, below which crowds are not looked at."""
PAIRS = 5
"""Pairs of honest queries that must lie as close as that, or nothing is known of them."""
ROWS = 4096
"""Honest queries whose distances are looked at."""
ALIKE = 10
"""Callers around one point, below which it is never a crowd."""
DIVIDED = 3
"""The same for those who were told the rarer of two answers there."""
BEYOND = 2
"""How much larger than the largest honest one a crowd is."""


@dataclass(slots=True)
class Place:
    """Where somebody has asked, and who else did: as soon as there is somebody else."""

    label: int
    """Of the first query; -1: not known."""
    members: dict[str, int]
    """Callers, and the group that each belongs to."""
    digests: set[int]
    """Of the queries."""
    size: int = 1
    """Groups of members."""
    others: int = 0
    """Groups that came with another label."""
    why: str = ""
    """``near`` or ``flip``, once it is a crowd."""
    told: set[str] = field(default_factory=set)
    """Members for whom it has been an alarm, and what they share."""

    @property
    def divided(self) -> int:
        """Groups that were told the rarer answer."""
        return min(self.others, self.size - self.others)

    def join(self, caller: str, group: int, label: int, digest: int) -> bool:
        """One more query; whether it is another one."""
        if digest in self.digests:
            return False
        if len(self.digests) < MOST:
            self.digests.add(digest)
        if caller not in self.members:
            if group not in self.members.values():
                self.size += 1
                self.others += label >= 0 and self.label >= 0 and label != self.label
            if len(self.members) == MOST:
                first = next(iter(self.members))
                del self.members[first]
                self.told.discard(first)
            self.members[caller] = group
        return True


class Crowd:
    """Places, by the queries with which they were found. Not for several threads at once."""

    def __init__(self, components: int, known: Crowded) -> None:
        self._known = known
        self._radius = known.radius
        self._rows = np.zeros((PLACES, components + 1), np.float32)
        self._rows[:, -1] = NOWHERE
        self._scores = np.zeros(PLACES, np.float32)
        # Of the query with which each place was found: turn, caller, group, label, digest. Most places stay at that.
        self._began = array("q", bytes(8 * PLACES))
        self._callers = [""] * PLACES
        self._groups = array("q", bytes(8 * PLACES))
        self._labels = array("i", bytes(4 * PLACES))
        self._digests = array("q", bytes(8 * PLACES))
        self._places: dict[int, Place] = {}
        self._next = 0
        self._turn = 0

    def see(self, caller: str, group: int, query: np.ndarray, length: float, label: int, digest: int) -> Place | None:
        """One query: the place that it came to where another group has asked something else; None where there is none.
        ``group``: callers of one group are no crowd. ``query`` is float32, its coordinates with a 1 behind them, and
        ``length`` their square.
        """
        self._turn += 1
        at = int(self._rows.dot(query, out=self._scores).argmax())
        if length - 2.0 * float(self._scores[at]) > self._radius:
            at = self._free()
            self._rows[at] = query
            self._rows[at, -1] = -0.5 * length
        elif self._turn - self._began[at] <= LASTS:
            return self._come(at, caller, group, label, digest)
        self._places.pop(at, None)
        self._began[at], self._callers[at], self._groups[at] = self._turn, caller, group
        self._labels[at], self._digests[at] = label, digest
        return None

    def _free(self) -> int:
        """Where a new place goes: to that of one that a single group asked about, or of the oldest."""
        at = self._next
        for _ in range(SPARED):
            if at not in self._places or self._turn - self._began[at] > LASTS:
                break
            at = (at + 1) % PLACES
        self._next = (at + 1) % PLACES
        return at

    def _come(self, at: int, caller: str, group: int, label: int, digest: int) -> Place | None:
        place = self._places.get(at)
        if place is None:
            if group == self._groups[at] or digest == self._digests[at]:
                return None
            first = {self._callers[at]: self._groups[at]}
            place = self._places[at] = Place(self._labels[at], first, {self._digests[at]})
        if not place.join(caller, group, label, digest):
            return None
        if not place.why:
            if place.divided >= self._known.divided:
                place.why = "flip"
            elif place.size >= self._known.alike:
                place.why = "near"
        return place


def calibrate(
    coordinates: Sequence[np.ndarray], labels: Sequence[np.ndarray], digests: Sequence[np.ndarray], seed: int
) -> Crowded | None:
    """From the queries of honest callers, one array each. None where there are too few of them, or where they come
    together so much that a crowd tells nothing.
    """
    radius = _radius(coordinates, seed) if len(coordinates) >= CALLERS else 0.0
    if radius <= 0.0:
        return None
    crowd = Crowd(coordinates[0].shape[1], Crowded(radius=radius, alike=MOST + 1, divided=MOST + 1))
    queries = [np.column_stack([rows, np.ones(len(rows))]).astype(np.float32) for rows in coordinates]
    lengths = [np.einsum("ij,ij->i", rows, rows).tolist() for rows in coordinates]
    alike = divided = turns = 0
    for begin in range(0, max(map(len, coordinates)), FRESH):
        for i in range(begin, begin + FRESH):
            for caller, rows in enumerate(queries):
                if i >= len(rows):
                    continue
                # Each begins anew after `FRESH` queries, as if it were another of the same kind.
                label, digest = int(labels[caller][i]), int(digests[caller][i])
                place = crowd.see(f"{caller}-{begin}", caller, rows[i], lengths[caller][i], label, digest)
                turns += 1
                if place is not None:
                    alike, divided = max(alike, place.size), max(divided, place.divided)
        if turns > LASTS:
            break
    alike, divided = max(ALIKE, BEYOND * alike), max(DIVIDED, BEYOND * divided + 1)
    return Crowded(radius=radius, alike=alike, divided=divided) if max(alike, divided) <= MOST else None


def _radius(coordinates: Sequence[np.ndarray], seed: int) -> float:
    """Squared distance that so few pairs of different callers are within that `PLACES` others leave `LIKELY`."""
    draw = np.random.default_rng(seed)
    each = max(1, ROWS // len(coordinates))
    some = [rows[draw.permutation(len(rows))[:each]] for rows in coordinates]
    callers = np.repeat(np.arange(len(some)), [len(rows) for rows in some])
    rows, first = np.unique(np.concatenate(some).astype(np.float32), axis=0, return_index=True)
    callers = callers[first]
    wanted = int(LIKELY / PLACES * len(rows) ** 2)  # each pair comes twice
    if wanted < 2 * PAIRS:
        return 0.0
    half = 0.5 * np.einsum("ij,ij->i", rows, rows)
    nearest = np.zeros(0, np.float32)
    for begin in range(0, len(rows), 256):
        part = slice(begin, begin + 256)
        apart = 2.0 * (half[part, None] + half[None, :] - rows[part] @ rows.T)
        apart[callers[part, None] == callers[None, :]] = np.inf
        both = np.concatenate([nearest, apart.ravel()])
        nearest = np.partition(both, wanted)[:wanted]
    return max(float(nearest.max()), 0.0)
