"""Distances between two columns of counts, as SciPy computes them from the rows within the width of the bins.

Pure formulas: nothing here knows what is far. Arrays are counts on the same cells (`assay.watch.drift.cells`), cells
along the last axis, so that many draws are measured at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.watch.drift.cells import EXPECTED

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats, Integers


def shares(counts: Integers) -> Floats:
    """Counts divided by their sum; zeros where that is zero."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(counts / np.maximum(total, 1), dtype=np.float64)


def difference(baseline: Integers, current: Integers) -> Floats:
    """Baseline's cumulative share minus the current one's, at the upper end of each cell."""
    return np.asarray(np.cumsum(shares(baseline) - shares(current), axis=-1))


def ks(baseline: Integers, current: Integers) -> Floats:
    """Kolmogorov-Smirnov: the largest difference of the cumulative shares, 0 to 1."""
    return np.asarray(np.abs(difference(baseline, current)).max(axis=-1, initial=0.0))


def anderson_darling(baseline: Integers, current: Integers) -> Floats:
    """The two-sample statistic of Anderson and Darling, per effective row: times ``n m / (n + m)`` it is A².

    Weighs each edge by half of the cells beside it (Pettitt 1976 for the statistic). With these weights the law's
    leading eigenvalue is exactly 1/2 however coarse the cells are, so that one p-value
    (`significance.anderson_darling_p`) serves numbers with many values and with two. An edge beyond which a sample
    expects fewer than `EXPECTED` rows has the weight of the rarer cell only, because there the normal law does not
    hold: see `tails`.
    """
    pooled = shares(baseline + current)
    edges = np.cumsum(pooled, axis=-1)[..., :-1]
    left, right = pooled[..., :-1], pooled[..., 1:]
    expected = np.minimum(edges, 1.0 - edges) * np.minimum(baseline.sum(-1), current.sum(-1))[..., None]
    weights = np.where(expected >= EXPECTED, (left + right) * 0.5, np.minimum(left, right))
    variance = np.maximum(edges * (1.0 - edges), 1e-300)
    squares = difference(baseline, current)[..., :-1] ** 2
    return np.asarray((squares * weights / variance).sum(axis=-1))


def tails(baseline: Integers, current: Integers) -> tuple[tuple[int, int], ...]:
    """Counts of baseline and current in the outermost cells, low and high, where outliers are.

    As many cells as hold `EXPECTED` rows of the smaller sample, and as hold a tenth of that, if it were chance alone.
    Chosen by the sum of both samples, so that an exact test of them is fair.
    """
    pooled = baseline + current
    most = EXPECTED * int(pooled.sum()) / max(1, min(int(baseline.sum()), int(current.sum())))
    found = []
    for way in (slice(None), slice(None, None, -1)):
        sums = np.cumsum(pooled[way])
        deep, shallow = (int(cells) for cells in np.searchsorted(sums, (most, most * 0.1)))
        for cells in (deep, shallow) if shallow != deep else (deep,):
            if 0 < cells < len(pooled):
                found.append((int(baseline[way][:cells].sum()), int(current[way][:cells].sum())))
    return tuple(found)


def wasserstein(baseline: Integers, current: Integers, values: Floats) -> Floats:
    """The first Wasserstein distance (earth mover's) in the column's unit; ``values`` are the cells' middles."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(difference(baseline, current)[..., :-1]) * np.diff(values)
        return np.asarray(np.nan_to_num(moved.sum(axis=-1), posinf=np.finfo(np.float64).max))


def smooth(counts: Integers) -> Floats:
    """Shares with half a row added to every cell (Jeffreys' prior), so that an empty cell has a finite logarithm."""
    return np.asarray((counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + 0.5 * counts.shape[-1]))


def psi(baseline: Integers, current: Integers) -> Floats:
    """Population stability index: the symmetric Kullback-Leibler divergence in nats, 0 to infinity, of `smooth`."""
    before, after = smooth(baseline), smooth(current)
    return np.asarray(((after - before) * np.log(after / before)).sum(axis=-1))


def jensen_shannon(baseline: Integers, current: Integers) -> Floats:
    """Jensen-Shannon distance, the root of the divergence in bits: 0 to 1."""
    before, after = shares(baseline), shares(current)
    middle = (before + after) * 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(before > 0, before * np.log2(before / middle), 0.0)
        parts += np.where(after > 0, after * np.log2(after / middle), 0.0)
    return np.asarray(np.sqrt(np.maximum(parts.sum(axis=-1) * 0.5, 0.0)))


def l_infinity(baseline: Integers, current: Integers) -> Floats:
    """The largest difference of one cell's share, 0 to 1: SageMaker's ``LInfinity`` for categories."""
    return np.asarray(np.abs(shares(baseline) - shares(current)).max(axis=-1, initial=0.0))


def chi_square(baseline: Integers, current: Integers) -> tuple[float, int]:
    """Pearson's statistic of the table of two rows, without correction, and its degrees of freedom."""
    pooled = baseline + current
    used = pooled > 0
    total = float(pooled.sum())
    if not total or np.count_nonzero(used) < 2:
        return 0.0, 0
    statistic = 0.0
    for counts in (baseline, current):
        expected = pooled[used] * (float(counts.sum()) / total)
        statistic += float(((counts[used] - expected) ** 2 / np.maximum(expected, 1e-300)).sum())
    return statistic, int(np.count_nonzero(used)) - 1


def cramers_v(statistic: float, freedom: int, rows: float) -> float:
    """Cramér's V of a table of two rows with Bergsma's bias correction (2013): 0 for what chance explains, to 1."""
    if freedom < 1 or rows <= 1:
        return 0.0
    phi = max(0.0, statistic / rows - freedom / (rows - 1.0))
    columns = freedom + 1.0 - freedom**2 / (rows - 1.0)
    least = min(columns, 2.0 - 1.0 / (rows - 1.0)) - 1.0
    return min(1.0, (phi / least) ** 0.5) if least > 0 else 0.0


def mmd(baseline: Floats, current: Floats) -> float:
    """Maximum mean discrepancy of two means of random Fourier features (Rahimi & Recht 2007): 0 to sqrt(2)."""
    return float(np.linalg.norm(baseline - current))
