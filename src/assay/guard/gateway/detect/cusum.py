"""Evidence that grows query by query: bets against p-values of honest callers, summed while they win.

Each signal bets ``k * p**(k - 1)`` for three k (a power calibrator: its mean is 1 where p is uniform; Vovk and Wang,
2021); the logarithms go into CUSUMs (Page, 1954) whose slack is what the worst honest caller earned on average. Nothing
here knows the time: who waits is not forgiven, only who asks like an honest caller.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

KAPPAS = (0.1, 0.25, 0.5)
"""How the bets are spread: the first wins on few tiny p-values, the last on many small ones."""
BETS = len(KAPPAS)

UNUSUAL = math.log(0.05)
RARE = math.log(0.003)
TAIL = math.log(0.001)
SIGNALS = ("near", "far", "outlying", "residual", "margin", "flip")
"""In the order of all arrays. ``near`` and ``far``: distance to the caller's own last queries; ``outlying``: to the
training centroids; ``residual``: what the components do not explain; ``margin``: how close the two best classes are;
``flip``: another label at a small distance.
"""
HIGH = np.array([False, True, True, True, False, False])
"""Whether large values are the suspicious ones."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal as calibrated."""

    name: str
    high: bool
    knots: tuple[float, ...]
    """Values, rising, at which the p-value changes, already turned so that low ones are suspicious."""
    logs: tuple[float, ...]
    """Logarithms of the p-values, one more than knots: up to the first knot, …, beyond the last."""
    slack: tuple[float, ...]
    """What is taken off each bet's logarithm."""
    threshold: tuple[float, ...]
    """Sum above which each bet is an alarm."""
    steps: tuple[tuple[float, float, float], ...] = field(init=False)
    """What each bet gains, for each p-value."""

    calm: float = field(init=False)
    """Above it no bet gains: sums that are 0 stay so."""
    odd: float = field(init=False)
    """Above it the p-value is not below `UNUSUAL`."""
    rare: float = field(init=False)
    """Above it the p-value is not below `RARE`."""
    tail: float = field(init=False)
    """Above it the p-value is not below `TAIL`."""

    def __post_init__(self) -> None:
        steps = [
            tuple(math.log(k) + (k - 1.0) * log - s for k, s in zip(KAPPAS, self.slack, strict=True))
            for log in self.logs
        ]
        object.__setattr__(self, "steps", tuple(steps))
        object.__setattr__(self, "calm", self._beyond(lambda place: max(steps[place]) > 0.0))
        object.__setattr__(self, "odd", self._beyond(lambda place: self.logs[place] < UNUSUAL))
        object.__setattr__(self, "rare", self._beyond(lambda place: self.logs[place] < RARE))
        object.__setattr__(self, "tail", self._beyond(lambda place: self.logs[place] < TAIL))

    def _beyond(self, small: Callable[[int], bool]) -> float:
        """The last knot whose place is ``small``; p-values only rise. Minus infinity where none is."""
        last = max((place for place in range(len(self.knots)) if small(place)), default=-1)
        return self.knots[last] if last >= 0 else -math.inf


def fresh() -> array[float]:
    """Sums of a caller who has asked nothing yet."""
    return array("d", bytes(8 * BETS * len(SIGNALS)))


def log_p(values: np.ndarray, knots: np.ndarray, logs: np.ndarray, high: bool) -> np.ndarray:
    """Logarithms of p-values of many values; NaN stays NaN."""
    turned = -values if high else values
    found = logs[np.searchsorted(knots, turned, side="left")]
    return np.where(np.isnan(values), np.nan, found)


def gains(logs: np.ndarray) -> np.ndarray:
    """Logarithms of the three bets, before slack; 0 where there is no p-value."""
    kappas = np.array(KAPPAS)
    return np.where(np.isnan(logs)[..., None], 0.0, np.log(kappas) + (kappas - 1.0) * logs[..., None])


def walk(steps: np.ndarray, start: np.ndarray) -> np.ndarray:
    """CUSUMs after each step (rows), from ``start``: ``s = max(0, s + step)`` without a loop."""
    sums = np.cumsum(steps, axis=0)
    lowest = np.minimum.accumulate(sums, axis=0)
    return np.asarray(np.maximum(start + sums, np.maximum(sums - lowest, 0.0)))
