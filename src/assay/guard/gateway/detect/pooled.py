"""Many callers together: windows of queries by owner, by network, and of all, against honest windows.

An attacker with many keys is one of few in its network and owner, and moves only that window. Where all callers move,
the world has changed: that is drift, said once and enforced on nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    """Honest windows: of two callers (the least mixed that is pooled), and of many."""
    draw = np.random.default_rng(seed)
    some = np.concatenate([one[:: max(1, len(one) // 20)] for one in coordinates])[:4000]
    pairs = some[draw.integers(len(some), size=(1000, 2))].astype(np.float64)
    width = float(np.median(np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1))) or 1.0
    random = Random(coordinates[0].shape[1], seed, width)
    found = [random.of(one).astype(np.float64) for one in coordinates]
    mean = np.mean([one.mean(axis=0) for one in found], axis=0)
    few = [_window(found, tails, draw, 2, mean) for _ in range(200)]
    many = [_window(found, tails, draw, min(50, len(found)), mean) for _ in range(200)]
    return Pooled(
        tail=min(1.0, FACTOR * max(max(t for _, t in few), 0.002)),
        mean=tuple(mean.tolist()),
        distance=FACTOR * max(d for d, _ in few),
        distance_all=FACTOR * max(d for d, _ in many),
        seed=seed,
        width=width,
    )


def _window(
    found: Sequence[np.ndarray], tails: Sequence[np.ndarray], draw: np.random.Generator, callers: int, mean: np.ndarray
) -> tuple[float, float]:
    chosen = draw.choice(len(found), size=min(callers, len(found)), replace=False)
    each = WINDOW // len(chosen)
    picks = [draw.integers(len(found[i]), size=each) for i in chosen]
    average = np.mean([found[i][p].mean(axis=0) for i, p in zip(chosen, picks, strict=True)], axis=0)
    tail = float(np.mean([tails[i][p].mean() for i, p in zip(chosen, picks, strict=True)]))
    return distance(average, mean), tail


def distance(average: np.ndarray, mean: np.ndarray) -> float:
    """Squared distance of two means of random features."""
    return float(((average - mean) ** 2).sum())


class Window:
    """One pool's window, as sums."""

    __slots__ = ("count", "name", "sums", "tail")

    def __init__(self, name: str = "") -> None:
        self.name = name
        """The pool's key; empty for all."""
        self.count = 0
        self.tail = 0
        self.sums = np.zeros(RANDOM)


class Pools:
    """Windows of all pools. Queries are kept until there are enough to look at together; memory is bounded by whoever
    names pools.
    """

    def __init__(self, calibration: Pooled, components: int) -> None:
        self.calibration = calibration
        self.random = Random(components, calibration.seed, calibration.width)
        self.mean = np.array(calibration.mean)
        self.rows = np.zeros((PENDING, components), np.float32)
        self.pending: list[tuple[tuple[Window, ...], bool]] = []

    def add(self, windows: tuple[Window, ...], coordinates: np.ndarray, tail: bool) -> bool:
        """One query of these pools. Whether `look` has to be called."""
        self.rows[len(self.pending)] = coordinates
        self.pending.append((windows, tail))
        return len(self.pending) == PENDING

    def look(self) -> list[tuple[Window, float, float]]:
        """Windows that are full, with their distance and their share in the tail; they begin anew."""
        found = self.random.of(self.rows[: len(self.pending)])
        full = []
        groups: dict[int, tuple[Window, list[int]]] = {}
        for i, (windows, tail) in enumerate(self.pending):
            for window in windows:
                groups.setdefault(id(window), (window, []))[1].append(i)
                window.tail += tail
        self.pending.clear()
        for window, places in groups.values():
            window.sums += found[places].sum(axis=0)
            window.count += len(places)
            if window.count >= WINDOW:
                average = window.sums / window.count
                full.append((window, distance(average, self.mean), window.tail / window.count))
                window.count = window.tail = 0
                window.sums[:] = 0.0
        return full
