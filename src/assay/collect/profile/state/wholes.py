"""Counts of whole numbers near the centre, one by one: for ages, counts and codes nothing else has to be computed.

All that a state of numbers needs follows from the counts. It must never take a number that is not whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.state.sums import SQUARES, UNIT, Floats

Integers = NDArray[np.int64]

REACH = 8192
"""Whole numbers so far from the centre, at most, have their place."""
FULL = 1 << 32
"""Numbers in the table before it must be emptied: their squares still add up within 63 bits."""


class Wholes:
    """A table of whole numbers around ``centre``, which is a multiple of a half, and below 2**40."""

    __slots__ = ("_base", "_counts", "_twice", "held")

    def __init__(self, centre: float) -> None:
        self._base = int(centre // 1) - REACH
        self._twice = int(2 * centre)
        self._counts = np.zeros(2 * REACH + 1, np.int64)
        self.held = 0
        """How many numbers are in the table."""

    def fits(self, least: float, most: float) -> bool:
        """Whether whole numbers from ``least`` to ``most`` have their places."""
        return self._base <= least and most <= self._base + 2 * REACH

    def add(self, values: NDArray[Any], least: float, slot: Integers) -> None:
        """Count whole numbers that fit, of which ``least`` is the least; ``slot`` is a buffer of their size."""
        if values.dtype == np.int64:
            np.subtract(values, np.int64(least), out=slot)
        else:
            np.copyto(slot, values, casting="unsafe")
            np.subtract(slot, np.int64(least), out=slot)
        found = np.bincount(slot)
        start = int(least) - self._base
        self._counts[start : start + len(found)] += found
        self.held += len(values)

    def empty(self) -> tuple[Floats, Integers, int, int]:
        """Distances to the centre, how often each, the exact sum of the numbers and that of the squared distances."""
        places = np.flatnonzero(self._counts != 0)
        counts = self._counts[places]
        self._counts[places] = 0
        total = int((places * counts).sum()) + self.held * self._base
        twice = 2 * (places + self._base) - self._twice
        squares = int((twice * twice * counts).sum())
        self.held = 0
        distances = twice.astype(np.float64) / 2
        return distances, counts, total << UNIT, squares << (SQUARES - 2)
