"""The histogram's bins: a number's own leading bits (sign, exponent, eight bits of the mantissa), and their counts.

Bins are numbered in the order of the numbers in them. It must never depend on which numbers came first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.state.sums import Floats

Integers = NDArray[np.int64]

SHIFT = 44
"""52 bits of mantissa less the eight that tell bins apart."""
SIDE = 1 << 19
"""Bins on each side of the centre: eleven bits of exponent and eight of mantissa."""
OCTAVES = 24
"""Powers of two below the spec's exponent that have their place in the dense table."""

_HALF = OCTAVES << 8
_MIDDLE = 1 << 18


class Table:
    """Slots for all bins of distances between ``2**(exponent - OCTAVES)`` and ``2**exponent``, of both signs."""

    __slots__ = ("_base", "_top", "_turn", "size")

    def __init__(self, exponent: int) -> None:
        self._top = (exponent + 1023) << 8
        # Once this is subtracted, the absolute values of both signs' bits lie side by side around 2**18.
        self._turn = np.int64(self._top - _MIDDLE)
        self._base = np.int64(_MIDDLE - _HALF)
        self.size = 2 * _HALF + 1

    def slots(self, distances: Floats, out: Integers) -> None:
        """The slot of each distance below ``2**exponent``; negative or beyond `size` where it is too close to 0."""
        np.right_shift(distances.view(np.int64), SHIFT, out=out)
        np.subtract(out, self._turn, out=out)
        np.absolute(out, out=out)
        np.subtract(out, self._base, out=out)

    def used(self, counts: Integers) -> tuple[Integers, Integers]:
        """Numbers (ascending) and counts of the bins of which some slot's count is not 0."""
        slots = np.flatnonzero(counts != 0)
        positive = int(np.searchsorted(slots, _HALF))
        slots = np.concatenate([slots[positive:], slots[:positive]])
        return np.where(slots < _HALF, self._top - _HALF + slots, slots - _HALF - self._top - 1), counts[slots]


def number(distances: Floats) -> Integers:
    """The bin of each distance, from -2**19 to 2**19 - 1, in the order of the numbers."""
    bits = distances.view(np.int64)
    magnitude = (bits & np.int64((1 << 63) - 1)) >> SHIFT
    return np.where(bits < 0, -1 - magnitude, magnitude)


def nearest(numbers: Integers) -> Floats:
    """The distance of each bin's end that is nearer to 0."""
    magnitude = np.where(numbers < 0, -1 - numbers, numbers)
    ends: Floats = np.copysign((magnitude << SHIFT).view(np.float64), numbers + 0.5)
    return ends


def edges(numbers: Integers) -> tuple[Floats, Floats]:
    """Lower and upper ends of bins, as finite distances."""
    inner = nearest(numbers)
    magnitude = np.where(numbers < 0, -numbers, numbers + 1)
    outer = np.minimum((magnitude << SHIFT).view(np.float64), np.finfo(np.float64).max)
    outer = np.copysign(outer, numbers + 0.5)
    return np.where(numbers < 0, outer, inner), np.where(numbers < 0, inner, outer)


def together(parts: list[tuple[Integers, Integers]]) -> tuple[Integers, Integers]:
    """Numbers (ascending) and counts of bins that stand in several lists."""
    numbers = np.concatenate([part[0] for part in parts])
    counts = np.concatenate([part[1] for part in parts])
    unique, place = np.unique(numbers, return_inverse=True)
    total = np.zeros(len(unique), np.int64)
    np.add.at(total, place, counts)
    return unique, total
