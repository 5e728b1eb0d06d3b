"""The arithmetic of `floors.calibrate`: draws from a baseline's own bins, and how much its contiguous parts differ.

Pure but for the seeded generator. Looks at states, never at rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from assay.collect.profile.interface import Categories, Numeric, Vectors
from assay.watch.drift import distances
from assay.watch.drift.cells import EXPECTED, FREQUENT, starts
from assay.watch.drift.noise import power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from assay.collect.profile.interface import Column, Floats, Integers, Profile
    from assay.watch.drift.settings import Settings

    Ratio: TypeAlias = Callable[..., Floats]
    """From the sums of parts, the sums of all others and the numbers of values of both."""

_FINE = 256
"""Groups of numbers that windows are drawn from."""
_FEWEST_RUNS = 8
"""Runs of parts are joined to longer ones while there are at least so many: fewer tell nothing about their spread."""


def drawn(
    state: Column, settings: Settings, sizes: Sequence[int], draws: int, seed: tuple[int, int]
) -> dict[str, tuple[tuple[float, float], ...]]:
    """For each distance and window size what the share ``settings.noise`` of drawn pairs exceed, over its power."""
    if state.count < settings.least:
        return {}
    if isinstance(state, Numeric):
        counts, values = _fine(state)
        coarse = starts(counts, settings.groups)
        measures = _numbers(values, coarse, state.std)
    elif isinstance(state, Categories):
        counts = state.counts
        measures = _CATEGORIES
    else:
        return {}
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in measures}
    for size in sorted({size for size in sizes if size >= settings.least}):
        cells = _common(counts, size, state.count) if isinstance(state, Categories) else counts
        random = np.random.default_rng((*seed, size))
        shares = cells / cells.sum()
        before = random.multinomial(state.count, shares, size=draws)
        after = random.multinomial(size, shares, size=draws)
        scale = 1.0 / state.count + 1.0 / size
        for name, measure in measures.items():
            found = float(np.quantile(measure(before, after), 1.0 - settings.noise, method="higher"))
            curves[name].append((float(size), min(found / power(name, scale), 1e6)))
    return {name: tuple(curve) for name, curve in curves.items() if curve}


def design(name: str, parts: Sequence[Profile]) -> dict[str, tuple[tuple[float, float], ...]]:
    """The design effects of one column, by test: a curve over the size of the runs of parts."""
    used = [part for part in parts if name in part.columns and part.rows]
    if len(used) < 4:
        return {}
    states = [part.columns[name] for part in used]
    missing = [state.missing + (state.nan if isinstance(state, Numeric) else 0) for state in states]
    found = {"missing": _shares(missing, [part.rows for part in used])}
    numbers = [state for state in states if isinstance(state, Numeric)]
    categories = [state for state in states if isinstance(state, Categories)]
    vectors = [state for state in states if isinstance(state, Vectors) and state.count]
    if numbers:
        found["values"] = _counted(_numeric_table(numbers), _anderson)
    if categories:
        found["values"] = _counted(_category_table(categories), _pearson)
        lengths = [state.lengths for state in categories if state.lengths is not None]
        found["lengths"] = _counted(_numeric_table(lengths), _anderson) if lengths else ()
    if vectors:
        sizes = np.array([state.count for state in vectors], dtype=np.float64)
        found["values"] = _curve(np.array([state.features for state in vectors]) * sizes[:, None], sizes, _discrepancy)
    return {test: curve for test, curve in found.items() if curve}


def _counted(table: Integers, ratio: Ratio) -> tuple[tuple[float, float], ...]:
    """`_curve` of counts."""
    return _curve(table, table.sum(axis=1).astype(np.float64), ratio)


def _curve(table: Integers | Floats, sizes: Floats, ratio: Ratio) -> tuple[tuple[float, float], ...]:
    """Mean over the runs of the statistic against all other rows, over what it is for independent rows.

    ``table`` has a row of sums for each part, ``sizes`` the parts' numbers of values. Runs of 1, 2, 4, … parts.
    """
    points: list[tuple[float, float]] = []
    while len(table) >= 4:
        others, left = table.sum(axis=0) - table, sizes.sum() - sizes
        used = (sizes > 0) & (left > 0)
        if np.count_nonzero(used) >= 4:
            size = float(np.median(sizes[used]))
            mean = float(ratio(table[used], others[used], sizes[used], left[used]).mean())
            if not points or size > points[-1][0]:
                points.append((size, min(1e6, max(1.0, mean))))
        if len(table) < 2 * _FEWEST_RUNS:
            break
        even = len(table) // 2 * 2
        table = table[0:even:2] + table[1:even:2]
        sizes = sizes[0:even:2] + sizes[1:even:2]
    return tuple(points)


def _anderson(parts: Integers, others: Integers, n: Floats, m: Floats) -> Floats:
    pooled = distances.shares(parts[0] + others[0])
    expected = max(1e-9, 1.0 - (pooled[0] + pooled[-1]) * 0.5)
    return np.asarray(distances.anderson_darling(others, parts) * (n * m / (n + m)) / expected)


def _pearson(parts: Integers, others: Integers, _n: Floats, _m: Floats) -> Floats:
    found = [distances.chi_square(other, part) for part, other in zip(parts, others, strict=True)]
    return np.array([statistic / freedom if freedom else 1.0 for statistic, freedom in found])


def _discrepancy(parts: Floats, others: Floats, n: Floats, m: Floats) -> Floats:
    mean = (parts[0] + others[0]) / (n[0] + m[0])
    spread = max(1e-9, 1.0 - float(mean @ mean))
    squares = ((parts / n[:, None] - others / m[:, None]) ** 2).sum(axis=1)
    return np.asarray(squares * (n * m / (n + m)) / spread)


def _shares(counts: Sequence[int], rows: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Of a share of the rows: chi-square of two cells."""
    if not 0 < sum(counts) < sum(rows):
        return ()
    return _counted(np.column_stack((counts, np.subtract(rows, counts))).astype(np.int64), _pearson)


def _fine(state: Numeric) -> tuple[Integers, Floats]:
    """Counts in at most `_FINE` groups of bins, and the middle of each."""
    middle = state.lower * 0.5 + state.upper * 0.5
    begin = starts(state.counts, _FINE)
    counts = np.add.reduceat(state.counts, begin)
    with np.errstate(over="ignore"):
        values = np.add.reduceat(middle * (state.counts / np.repeat(counts, np.diff([*begin, len(middle)]))), begin)
    return counts, np.nan_to_num(values)


def _numbers(values: Floats, coarse: Integers, std: float) -> Mapping[str, Callable[[Integers, Integers], Floats]]:
    def grouped(measure: Callable[[Integers, Integers], Floats]) -> Callable[[Integers, Integers], Floats]:
        return lambda b, c: measure(np.add.reduceat(b, coarse, axis=-1), np.add.reduceat(c, coarse, axis=-1))

    measures = {
        "ks": distances.ks,
        "psi": grouped(distances.psi),
        "jensen_shannon": grouped(distances.jensen_shannon),
    }
    if std > 0 and math.isfinite(std):
        measures["wasserstein"] = lambda b, c: np.asarray(distances.wasserstein(b, c, values) / std)
    return measures


_CATEGORIES: Mapping[str, Callable[[Integers, Integers], Floats]] = {
    "l_infinity": distances.l_infinity,
    "psi": distances.psi,
    "jensen_shannon": distances.jensen_shannon,
}


def _common(counts: Integers, size: int, total: int) -> Integers:
    """Cells as `cells.partition` makes them for windows of this size: frequent categories, and all others together."""
    least = EXPECTED * total / min(size, total)
    order = np.sort(counts)[::-1]
    kept = order[:FREQUENT][order[:FREQUENT] >= least]
    rest = int(counts.sum()) - int(kept.sum())
    return np.append(kept, rest) if rest else kept


def _numeric_table(states: Sequence[Numeric]) -> Integers:
    """Counts of each part on groups of bins that hold about the same share of all parts; shape (parts, groups)."""
    lower = np.unique(np.concatenate([state.lower for state in states]))
    table = np.zeros((len(states), len(lower)), dtype=np.int64)
    for row, state in zip(table, states, strict=True):
        np.add.at(row, np.searchsorted(lower, state.lower), state.counts)
    if not table.size:
        return table
    return np.add.reduceat(table, starts(table.sum(axis=0), _FINE), axis=1)


def _category_table(states: Sequence[Categories]) -> Integers:
    """Counts of each part on the categories that are frequent in the smallest part, and all others together."""
    keys = np.unique(np.concatenate([state.hashes for state in states]))
    table = np.zeros((len(states), len(keys)), dtype=np.int64)
    for row, state in zip(table, states, strict=True):
        row[np.searchsorted(keys, state.hashes)] = state.counts
    totals = table.sum(axis=0)
    least = EXPECTED * totals.sum() / max(1, int(np.median(table.sum(axis=1))))
    common = totals >= least
    return np.column_stack((table[:, common], table[:, ~common].sum(axis=1)))
