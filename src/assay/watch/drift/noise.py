"""How far two samples of one and the same distribution are apart: the noise floor, from the asymptotic laws.

Each function gives what ``alpha`` of clean windows exceed, for ``scale`` = ``1/n + 1/m`` (times the design effect where
rows are not independent, see `floors`). Pure; the seeded Brownian bridges are drawn once per process.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtri, ndtri

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats, Integers

BRIDGES = 1024
"""How many sample paths stand for the law of the Wasserstein distance."""


def ks(scale: float, alpha: float) -> float:
    """``c(alpha) sqrt(1/n + 1/m)`` with ``c = sqrt(-ln(alpha / 2) / 2)``; too large, never too small, with ties."""
    return math.sqrt(-math.log(alpha / 2.0) / 2.0 * scale)


def normal(scale: float, alpha: float, deviation: float, tests: int = 1) -> float:
    """The largest of ``tests`` two-sided differences of means with this standard deviation per row (Bonferroni)."""
    return float(-ndtri(alpha / (2.0 * max(1, tests)))) * deviation * math.sqrt(scale)


def l_infinity(shares: Floats, scale: float, alpha: float) -> float:
    """Of the share of the category that varies most, with a correction for their number."""
    used = shares[shares > 0]
    deviation = math.sqrt(float((used * (1.0 - used)).max(initial=0.0)))
    return normal(scale, alpha, deviation, len(used)) + scale * 0.5  # half a row: shares move in steps


def psi(cells: int, scale: float, alpha: float) -> float:
    """The chi-square law of ``PSI / scale``, one degree of freedom less than cells."""
    return float(chdtri(cells - 1, alpha)) * scale if cells > 1 else 0.0


def jensen_shannon(cells: int, scale: float, alpha: float) -> float:
    """As `psi`: near equality the divergence in bits is an eighth of it, over ln 2."""
    return math.sqrt(psi(cells, scale, alpha) / (8.0 * math.log(2.0)))


def wasserstein(counts: Integers, values: Floats, scale: float, alpha: float) -> float:
    """Of the distance in the column's unit: ``integral |B(F(x))| dx`` over Brownian bridges B, F from the baseline.

    Del Barrio, Giné & Matrán 1999. Below the resolution of the bridges the tail is carried on as a normal one with
    the largest variance that a weighting of the bridge has.
    """
    total = int(counts.sum())
    if total < 2:
        return 0.0
    edges = np.searchsorted(np.cumsum(counts), _GRID * total, side="left")
    steps = np.diff(values[np.minimum(edges, len(values) - 1)])
    with np.errstate(over="ignore", invalid="ignore"):
        # Not `@`, for which BLAS wakes all cores.
        paths = np.sort(np.einsum("ij,j->i", _bridges(), steps))
    resolved = max(alpha, 10.0 / BRIDGES)
    quantile = float(paths[min(BRIDGES - 1, math.ceil((1.0 - resolved) * BRIDGES))])
    if alpha < resolved:
        quantile *= float(ndtri(alpha / 2.0) / ndtri(resolved / 2.0))
    return quantile * math.sqrt(scale)


def mmd(spread: float, scale: float, alpha: float) -> float:
    """Upper bound for the distance of feature means whose features have this total variance per row.

    The mean of the norm is at most ``sqrt(spread * scale)``; beyond it the norm of a Gaussian vector falls at least
    like ``exp(-t² / (2 variance))`` (Borell), and no direction has more variance than all together. Conservative.
    """
    return math.sqrt(spread * scale) * (1.0 + math.sqrt(-2.0 * math.log(alpha)))


def power(distance: str, scale: float) -> float:
    """What a distance shrinks with: PSI like ``scale``, the others like its root."""
    return scale if distance == "psi" else math.sqrt(scale)


_TAIL = np.array([1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 7e-3])
_GRID: Floats = np.concatenate((_TAIL, np.arange(0.01, 0.995, 0.0125), 1.0 - _TAIL[::-1]))
"""Shares at which the bridges are known: dense in the tails, where heavy-tailed columns have their length."""


@cache
def _bridges() -> Floats:
    """Absolute values of Brownian bridges in the middle of each step of the grid; shape (BRIDGES, steps)."""
    middle = (_GRID[1:] + _GRID[:-1]) * 0.5
    random = np.random.default_rng(20_260_722)
    steps = np.diff(middle, prepend=0.0, append=1.0)
    paths = np.cumsum(random.standard_normal((BRIDGES, len(steps))) * np.sqrt(steps), axis=1)
    bridge = paths[:, :-1] - middle * paths[:, -1:]
    return np.abs(bridge)
