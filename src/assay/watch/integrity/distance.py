"""How far two columns are apart whose states need not have one spec: coarse, for telling like from unlike."""

from __future__ import annotations

import math

from assay.collect.profile.interface import Categories, Column, Numeric
from assay.watch import columns


def between(one: Column, other: Column) -> float | None:
    """Kolmogorov-Smirnov distance of numbers, total variation of categories: 0 to 1. None if they cannot be compared.

    Categories of different seeds are matched by their texts; values without text on either side count as unlike.
    """
    if isinstance(one, Numeric) and isinstance(other, Numeric):
        return numbers(one, other)
    if isinstance(one, Categories) and isinstance(other, Categories) and one.count and other.count:
        before, after = _shares(one), _shares(other)
        common = math.fsum(min(share, after.get(key, 0.0)) for key, share in before.items())
        return max(0.0, 1.0 - common)
    return None


def numbers(one: Numeric, other: Numeric, scale: float = 1.0, offset: float = 0.0) -> float | None:
    """The largest difference of cumulative shares, after ``one`` is multiplied by ``scale`` > 0 and shifted."""
    import numpy as np

    if not one.count or not other.count:
        return None
    old, new = one.lower * 0.5 + one.upper * 0.5, other.lower * 0.5 + other.upper * 0.5
    middles = np.concatenate((old * scale + offset, new))
    before = columns.cumulative(one, (middles - offset) / scale) / one.count
    after = columns.cumulative(other, middles) / other.count
    return float(np.abs(before - after).max())


def noise(one: Numeric | Categories, other: Numeric | Categories) -> float:
    """A Kolmogorov-Smirnov distance that one of a million clean pairs exceeds."""
    return 2.7 * math.sqrt(1 / max(1, one.count) + 1 / max(1, other.count))


def _shares(state: Categories) -> dict[str, float]:
    return {
        state.labels[value]: count / state.count
        for value, count in zip(state.hashes.tolist(), state.counts.tolist(), strict=True)
        if value in state.labels
    }
