"""Windows of many callers' queries: by owner, by network, and of all, against honest windows.

An attacker with many keys is one of few in its network and owner, and moves only that window. Where all callers move,
the world has changed: that is drift, said once and enforced on nobody.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.guard.gateway.detect.calibration import RANDOM, Pooled

WINDOW = 2000
"""Queries of a window."""
TENTH = WINDOW // 10
"""Queries of one group in the window of all."""
PENDING = 256
"""Queries whose features are found together."""
FACTOR = 1.25
"""Above the worst honest window."""
NEWS = 0.5
"""How much news a query must be to count as one in the tail: who polls an unusual entity says it once."""
FEW, SOME, MANY = 2, 10, 50
"""Callers of the honest windows: so few, as many as the window of all has at least, and so many that each asked little.
"""
BUCKETS = 64
"""In which queries are counted by caller, to say how mixed a window is."""


class Random:
    """Random Fourier features (Rahimi and Recht, 2007), whose means are compared: a maximum mean discrepancy."""

    def __init__(self, components: int, seed: int, width: float) -> None:
        draw = np.random.default_rng(seed)
        self.directions = (draw.normal(size=(components, RANDOM)) / max(width, 1e-9)).astype(np.float32)
        self.phases = draw.uniform(0, 2 * math.pi, RANDOM).astype(np.float32)

    def of(self, coordinates: np.ndarray) -> np.ndarray:
        """Queries by features, each within [-1, 1]."""
        found: np.ndarray = np.cos(coordinates @ self.directions + self.phases)
        return found


def calibrate(coordinates: Sequence[np.ndarray], tails: Sequence[np.ndarray], seed: int) -> Pooled:
    """Honest windows: of two callers (the least mixed that says anything of several), of some, and of many."""
    draw = np.random.default_rng(seed)
    sample = np.concatenate([one[:: max(1, len(one) // 20)] for one in coordinates])[:4000]
    pairs = sample[draw.integers(len(sample), size=(1000, 2))].astype(np.float64)
    width = float(np.median(np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1))) or 1.0
    random = Random(coordinates[0].shape[1], seed, width)
    found = [random.of(one).astype(np.float64) for one in coordinates]
    mean = np.mean([one.mean(axis=0) for one in found], axis=0)
    few, some, many = (
        [_window(found, tails, draw, callers, mean) for _ in range(200)] for callers in (FEW, SOME, MANY)
    )
    return Pooled(
        tail=min(1.0, FACTOR * max(max(t for _, t in few), 0.002)),
        mean=tuple(mean.tolist()),
        distance=FACTOR * max(d for d, _ in few),
        distance_some=FACTOR * max(max(d for d, _ in some), max(d for d, _ in many) * MANY / SOME),
        seed=seed,
        width=width,
    )


def _window(
    found: Sequence[np.ndarray], tails: Sequence[np.ndarray], draw: np.random.Generator, callers: int, mean: np.ndarray
) -> tuple[float, float]:
    """Distance and share in the tail. A stretch of each caller: one who walks slowly is further off in a short one."""
    chosen = draw.choice(len(found), size=min(callers, len(found)), replace=False)
    each = np.arange(WINDOW // len(chosen))
    picks = [(draw.integers(len(found[i])) + each) % len(found[i]) for i in chosen]
    average = np.mean([found[i][p].mean(axis=0) for i, p in zip(chosen, picks, strict=True)], axis=0)
    tail = float(np.mean([tails[i][p].mean() for i, p in zip(chosen, picks, strict=True)]))
    return distance(average, mean), tail


def distance(average: np.ndarray, mean: np.ndarray) -> float:
    """Squared distance of two means of random features."""
    return float(((average - mean) ** 2).sum())


class Window:
    """One pool's window, as sums."""

    __slots__ = ("callers", "count", "name", "sums", "tail")

    def __init__(self, name: str = "") -> None:
        self.name = name
        """The pool's key; empty for all."""
        self.count = 0
        self.tail = 0
        self.sums = np.zeros(RANDOM)
        self.callers = array("H", bytes(2 * BUCKETS))
        """Queries by whose they are: never more mixed than it is, where two share a bucket."""

    def clear(self) -> None:
        """Begin anew."""
        self.count = self.tail = 0
        self.sums[:] = 0.0
        self.callers = array("H", bytes(2 * BUCKETS))

    def mixed(self) -> float:
        """How many callers, with as much each, would be as mixed."""
        return self.count**2 / max(sum(n * n for n in self.callers), 1)


@dataclass(frozen=True, slots=True)
class Full:
    """A window that was full."""

    name: str
    share: float
    """Of queries in the tail."""
    unlike: bool
    """Whether no honest window is like it."""


class Pools:
    """Windows of all pools. Queries are kept until there are enough to look at together; memory is bounded by whoever
    names pools.
    """

    def __init__(self, calibration: Pooled, components: int) -> None:
        self._calibration = calibration
        self._random = Random(components, calibration.seed, calibration.width)
        self._mean = np.array(calibration.mean)
        self._rows = np.zeros((PENDING, components), np.float32)
        self._pending: list[tuple[tuple[Window, ...], bool, int]] = []

    def add(self, windows: tuple[Window, ...], coordinates: np.ndarray, tail: bool, whose: int) -> Sequence[Full]:
        """One query of these pools; windows that are full now, and begin anew."""
        self._rows[len(self._pending)] = coordinates
        self._pending.append((windows, tail, whose % BUCKETS))
        return self._look() if len(self._pending) == PENDING else ()

    def _look(self) -> list[Full]:
        found = self._random.of(self._rows[: len(self._pending)])
        groups: dict[int, tuple[Window, list[int]]] = {}
        for i, (windows, tail, bucket) in enumerate(self._pending):
            for window in windows:
                groups.setdefault(id(window), (window, []))[1].append(i)
                window.tail += tail
                window.callers[bucket] += 1
        self._pending.clear()
        full = []
        for window, places in groups.values():
            window.sums += found[places].sum(axis=0)
            window.count += len(places)
            if window.count >= WINDOW:
                full.append(Full(window.name, window.tail / window.count, self._unlike(window)))
                window.clear()
        return full

    def _unlike(self, window: Window) -> bool:
        """One honest caller may be far from the average of all, and of so many only a part of that is left: the less
        mixed a window is, the more it may be off. One that is mostly a single caller's says nothing about several.
        """
        calibration, mixed = self._calibration, window.mixed()
        if mixed < FEW:
            return False
        some = mixed >= SOME
        limit = calibration.distance_some * SOME if some else calibration.distance * FEW
        off = distance(window.sums / window.count, self._mean)
        return off > limit / mixed or window.tail > calibration.tail * window.count
