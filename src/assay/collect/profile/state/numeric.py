"""State of a column of numbers: exact counts, sums and a histogram about the spec's centre.

Numbers go in as doubles, by blocks; what comes out is the same for any order and any split. It must never round in a
way that depends on other numbers than the one at hand.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.interface import ColumnSpec, Numeric
from assay.collect.profile.serial import Reader, Writer, refused, steps
from assay.collect.profile.state import bins
from assay.collect.profile.state.registers import Distinct, Words, keys, mix
from assay.collect.profile.state.sums import (
    BLOCK,
    SQUARES,
    UNIT,
    Floats,
    Grid,
    exact_squares,
    exact_sum,
    ratio,
    root,
    whole,
)
from assay.collect.profile.state.wholes import FULL, Wholes

_COUNTS = ("missing", "nan", "positive_infinity", "negative_infinity", "odd", "count", "integral", "rounded")
_LISTS = 64
_EXACT_SQUARES = 4 << 8  # slots at each end of the table whose squares are finer than the grid


class _Buffers(threading.local):
    """For one block of numbers; every thread has its own."""

    def __init__(self) -> None:
        self.distance, self.spare, self.rest = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
        self.slot = np.empty(BLOCK, np.int64)


_buffers = _Buffers()


class _Scratch:
    """What follows from the spec, and tables that are filled before they become part of the state."""

    __slots__ = ("dense", "limit", "multipliers", "shift", "squares", "table", "tiny", "values", "wholes")

    def __init__(self, column: ColumnSpec, seed: int) -> None:
        self.shift = np.float64(0.0 - column.centre)  # is added, so that -0.0 becomes 0.0
        self.limit = 2.0**column.exponent
        self.tiny = 2.0 ** (column.exponent - bins.OCTAVES)
        self.values = Grid(math.frexp(abs(column.centre) + self.limit)[1])
        self.squares = Grid(2 * column.exponent)
        self.table = bins.Table(column.exponent)
        self.multipliers = keys(seed, "numbers", 2)
        self.dense: bins.Integers | None = None
        halves = abs(column.centre) < 2.0**40 and (2 * column.centre).is_integer()
        self.wholes = Wholes(column.centre) if halves else None


class NumericState:
    """Adds numbers up. Not to be used from two threads at once."""

    def __init__(self, column: ColumnSpec, seed: int) -> None:
        self._column = column
        self._seed = seed
        self._scratch: _Scratch | None = None
        self.missing = self.nan = self.positive_infinity = self.negative_infinity = self.odd = 0
        self.count = self.integral = self.rounded = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.total = 0
        """Sum of the numbers, in units of 2**-1074."""
        self.squares = 0
        """Sum of the squared distances to the centre, in units of 2**-2148."""
        self._distinct = Distinct()
        self._lists: list[tuple[bins.Integers, bins.Integers]] = []
        self._aside: list[Floats] = []
        """Distances that are not added up the fast way, and wait until there are more of them."""
        self._waiting = 0

    def add(self, values: Floats, *, whole_numbers: bool = False) -> None:
        """Add doubles of any kind, NaN and infinities too. ``whole_numbers``: they come from an integer column."""
        for start in range(0, len(values), BLOCK):
            self._add_block(values[start : start + BLOCK], whole_numbers)

    def add_whole(self, values: NDArray[Any], least: int, most: int) -> bool:
        """Add integers from ``least`` to ``most``, if they are so near to the centre that they need not be doubles."""
        scratch = self._scratch = self._scratch or _Scratch(self._column, self._seed)
        wholes = scratch.wholes
        if wholes is None or not wholes.fits(least, most):
            return False
        self.count += len(values)
        self.integral += len(values)
        self.minimum, self.maximum = min(self.minimum, least + 0.0), max(self.maximum, most + 0.0)
        for start in range(0, len(values), BLOCK):
            block = values[start : start + BLOCK]
            wholes.add(block, least, _buffers.slot[: len(block)])
        if wholes.held > FULL:
            self._empty()
        return True

    def absorb(self, other: NumericState) -> None:
        """Add another state of the same column."""
        other._empty()
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.total += other.total
        self.squares += other.squares
        self._lists.append(other.histogram())
        self._distinct.absorb(other.distinct())
        if len(self._lists) > _LISTS:
            self.histogram()

    def histogram(self) -> tuple[bins.Integers, bins.Integers]:
        """Numbers of the bins that hold something, ascending, and how many."""
        scratch = self._scratch
        if scratch is not None:
            self._empty()
            if scratch.dense is not None:
                self._lists.append(scratch.table.used(scratch.dense))
                scratch.dense = None
        if len(self._lists) != 1:
            nothing = np.zeros(0, np.int64)
            self._lists = [bins.together([(nothing, nothing), *self._lists])]
        return self._lists[0]

    def distinct(self) -> Distinct:
        """The different numbers."""
        self._empty()
        return self._distinct

    def rows(self) -> int:
        """How many rows the state is about."""
        infinite = self.positive_infinity + self.negative_infinity
        return self.count + self.missing + self.nan + infinite + self.odd

    def decode(self) -> Numeric:
        """What the state says."""
        numbers, counts = self.histogram()
        lower, upper = bins.edges(numbers)
        centre, mean, std = self._column.centre, math.nan, math.nan
        if self.count:
            mean = ratio(self.total, self.count << UNIT)
            apart = self.total - self.count * whole(centre)
            std = root(max(self.squares * self.count - apart**2, 0), (self.count**2) << SQUARES)
        return Numeric(
            count=self.count,
            missing=self.missing,
            nan=self.nan,
            positive_infinity=self.positive_infinity,
            negative_infinity=self.negative_infinity,
            odd=self.odd,
            mean=mean,
            std=std,
            minimum=self.minimum if self.count else math.nan,
            maximum=self.maximum if self.count else math.nan,
            lower=_finite(lower + centre),
            upper=_finite(upper + centre),
            counts=counts,
            distinct=min(max(self.distinct().estimate(), len(numbers)), self.count),
            integral=self.integral,
            total=ratio(self.total, 1 << UNIT),
            rounded=self.rounded,
            numbers=numbers,
        )

    def write(self, writer: Writer) -> None:
        """Append the state."""
        self._empty()
        for name in _COUNTS:
            writer.natural(getattr(self, name))
        if not self.count:
            return
        writer.real(self.minimum)
        writer.real(self.maximum)
        writer.integer(self.total)
        writer.integer(self.squares)
        numbers, counts = self.histogram()
        writer.array(steps(numbers + bins.SIDE))
        writer.array(counts)
        self.distinct().write(writer)

    @classmethod
    def read(cls, reader: Reader, column: ColumnSpec, seed: int) -> NumericState:
        """What `write` wrote. Raises `DocumentError` where the numbers contradict each other."""
        state = cls(column, seed)
        for name in _COUNTS:
            setattr(state, name, reader.natural())
        if state.integral > state.count or state.rounded > state.integral:
            raise refused("there are more whole numbers than numbers")
        if not state.count:
            return state
        state.minimum, state.maximum = reader.real(), reader.real()
        state.total, state.squares = reader.integer(), reader.integer()
        numbers = reader.ascending(2 * bins.SIDE).astype(np.int64) - bins.SIDE
        counts = reader.counts(2 * bins.SIDE)
        state._lists = [(numbers, counts)]
        state._distinct = Distinct.read(reader)
        state._require_consistent(numbers, counts)
        return state

    def _require_consistent(self, numbers: bins.Integers, counts: bins.Integers) -> None:
        if len(numbers) != len(counts) or int(counts.sum()) != self.count:
            raise refused("the counts of the bins do not add up")
        ends = np.array([self.minimum, self.maximum]) + (0.0 - self._column.centre)
        if bins.number(ends).tolist() != [int(numbers[0]), int(numbers[-1])] or self.minimum > self.maximum:
            raise refused("the least or the greatest number is in no bin")
        if not whole(self.minimum) * self.count <= self.total <= whole(self.maximum) * self.count:
            raise refused("the mean is not between the least and the greatest number")
        widest = whole(float(np.abs(ends).max())) ** 2 * self.count
        if not 0 <= self.squares <= widest + (widest >> 50):
            raise refused("the sum of squares is impossible")
        if not 0 < len(self._distinct.kept) <= self.count:
            raise refused("there are more different numbers than numbers")

    def _add_block(self, x: Floats, whole_numbers: bool) -> None:
        scratch = self._scratch = self._scratch or _Scratch(self._column, self._seed)
        least, most = float(x.min()), float(x.max())
        if not (math.isfinite(least) and math.isfinite(most)):
            x = self._only_finite(x)
            if not len(x):
                return
            least, most = float(x.min()), float(x.max())
        self.count += len(x)
        self.minimum, self.maximum = min(self.minimum, least + 0.0), max(self.maximum, most + 0.0)
        integral = len(x)
        if not whole_numbers:
            integral = int(np.count_nonzero(np.rint(x, out=_buffers.spare[: len(x)]) == x))
        self.integral += integral
        all_whole, wholes = integral == len(x), scratch.wholes
        if all_whole and wholes is not None and wholes.fits(least, most):
            wholes.add(x, least, _buffers.slot[: len(x)])
            if wholes.held > FULL:
                self._empty()
            return
        if least + scratch.shift <= -scratch.limit or most + scratch.shift >= scratch.limit:
            y = np.add(x, scratch.shift, out=_buffers.distance[: len(x)])
            far = np.abs(y, out=_buffers.spare[: len(x)]) >= scratch.limit
            self.total += exact_sum(x[far])
            self._put_aside(y[far])
            x = x[~far]
            if not len(x):
                return
            least, most = float(x.min()), float(x.max())
        spare, rest, grid = _buffers.spare[: len(x)], _buffers.rest[: len(x)], scratch.values
        clear = least >= grid.least or most <= -grid.least or (all_whole and grid.least <= 2.0**52)
        clear = clear or np.abs(x, out=spare).min() >= grid.least
        self.total += grid.fast(x, spare, rest, remainder=not clear)
        self._add_near(np.add(x, scratch.shift, out=_buffers.distance[: len(x)]))

    def _add_near(self, y: Floats) -> None:
        """Distances below the limit: histogram, squares, different values."""
        scratch = self._scratch
        assert scratch is not None
        slot, size = _buffers.slot[: len(y)], scratch.table.size
        scratch.table.slots(y, slot)
        try:
            found = np.bincount(slot, minlength=size)
            tiny = len(found) > size
        except ValueError:  # a slot is negative; `numpy.bincount` looks anyway, so that looking first is not needed
            tiny = True
        if tiny:
            # Closer to the centre than the table reaches; most often at the centre itself.
            close = np.abs(y, out=_buffers.spare[: len(y)]) < scratch.tiny
            self._put_aside(y[close])
            y, slot = y[~close], slot[~close]
            if not len(y):
                return
            found = np.bincount(slot, minlength=size)
        if scratch.dense is None:
            scratch.dense = found
        else:
            scratch.dense += found
        spare, rest = _buffers.spare[: len(y)], _buffers.rest[: len(y)]
        hashes = mix(y.view(np.uint64), scratch.multipliers, spare.view(np.uint64), rest.view(np.uint64))
        self._distinct.add(hashes)
        np.multiply(y, y, out=spare)
        fine = bool(found[:_EXACT_SQUARES].any() or found[-_EXACT_SQUARES:].any())
        squares = scratch.squares.fast(spare, _buffers.slot[: len(y)].view(np.float64), rest, remainder=fine)
        self.squares += squares << UNIT

    def _put_aside(self, y: Floats) -> None:
        self._aside.append(y)
        self._waiting += len(y)
        if self._waiting > BLOCK or len(self._aside) > _LISTS:
            self._tally()

    def _empty(self) -> None:
        """Put what waits, and what the table of whole numbers holds, where it belongs."""
        if self._aside:
            self._tally()
        scratch = self._scratch
        if scratch is None or scratch.wholes is None or not scratch.wholes.held:
            return
        distances, counts, total, squares = scratch.wholes.empty()
        self.total += total
        self.squares += squares
        numbers = bins.number(distances)
        self._lists.append(bins.together([(numbers, counts)]))
        self._distinct.add(self._hash(distances))

    def _tally(self) -> None:
        """Add up what was put aside, the slower way: histogram, squares, different values."""
        y = np.concatenate(self._aside)
        self._aside, self._waiting = [], 0
        self._lists.append(np.unique(bins.number(y), return_counts=True))
        if len(self._lists) > _LISTS:
            self.histogram()
        self.squares += exact_squares(y)
        self._distinct.add(self._hash(y))

    def _hash(self, y: Floats) -> Words:
        scratch = self._scratch
        assert scratch is not None
        return mix(y.view(np.uint64), scratch.multipliers, np.empty(len(y), np.uint64), np.empty(len(y), np.uint64))

    def _only_finite(self, x: Floats) -> Floats:
        finite = np.isfinite(x)
        strange = x[~finite]
        self.nan += int(np.count_nonzero(np.isnan(strange)))
        self.positive_infinity += int(np.count_nonzero(strange == np.inf))
        self.negative_infinity += int(np.count_nonzero(strange == -np.inf))
        return x[finite]


def _finite(values: Floats) -> Floats:
    largest = np.finfo(np.float64).max
    return np.clip(values, -largest, largest)
