"""State of a column of vectors: their centroid, spread and lengths, and random Fourier features of their distribution.

Vectors are rounded to a grid far finer than their spread, and all that follows is arithmetic of whole numbers, since
matrix products and cosines are not the same to the last bit on every machine. It must never keep a vector.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.interface import ColumnSpec, Vectors
from assay.collect.profile.serial import Reader, Writer, refused
from assay.collect.profile.state.numeric import NumericState
from assay.collect.profile.state.sums import Floats, ratio

Integers = NDArray[np.int64]

FREQUENCIES = 64
"""Random directions; each gives a cosine and a sine."""
MOST = 1 << 13
"""Dimensions of the longest vectors that are looked at; longer ones are odd."""

_BITS = 20  # the grid: so many bits below the spec's exponent
_FAST = float(1 << 24)  # whole numbers below it: their squares add up over 2**13 dimensions within 63 bits
_BLOCK = 1 << 14  # of them, and squares below 2**48 over so many rows as well
_ANGLES = 1 << 12
_AMPLITUDE = 1 << 15
_SPREAD = 4.0  # standard deviation of the directions' components


class VectorState:
    """Adds vectors up. Not to be used from two threads at once."""

    def __init__(self, column: ColumnSpec, seed: int) -> None:
        self._column = column
        self._seed = seed
        self.missing = self.odd = self.count = 0
        self.sums: list[int] = [0] * column.dimensions
        """Of the rounded numbers, in units of the grid."""
        self.squares: list[int] = [0] * column.dimensions
        self.waves: list[int] = [0] * (2 * FREQUENCIES)
        self.norms = NumericState(norms(column), seed)

    def add(self, vectors: Floats) -> None:
        """Add the rows of a matrix with the spec's number of columns."""
        finite = np.isfinite(vectors).all(axis=1)
        self.odd += int(np.count_nonzero(~finite))
        vectors = vectors[finite]
        for start in range(0, len(vectors), _BLOCK):
            self._add_block(vectors[start : start + _BLOCK])

    def absorb(self, other: VectorState) -> None:
        """Add another state of the same column."""
        self.missing += other.missing
        self.odd += other.odd
        self.count += other.count
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        self.squares = [a + b for a, b in zip(self.squares, other.squares, strict=True)]
        self.waves = [a + b for a, b in zip(self.waves, other.waves, strict=True)]
        self.norms.absorb(other.norms)

    def rows(self) -> int:
        """How many rows the state is about."""
        return self.count + self.missing + self.odd

    def decode(self) -> Vectors:
        """What the state says."""
        count, bits = self.count, self._column.exponent - _BITS
        nothing = [math.nan] * len(self.sums)
        centroid = [_scaled(total, count, bits) for total in self.sums] if count else nothing
        pairs = zip(self.sums, self.squares, strict=True)
        apart = (
            [_scaled(square * count - total**2, count**2, 2 * bits) for total, square in pairs] if count else nothing
        )
        scale = max(count, 1) * _AMPLITUDE * math.sqrt(FREQUENCIES)
        return Vectors(
            count=count,
            missing=self.missing,
            odd=self.odd,
            centroid=np.array(centroid),
            variances=np.array(apart),
            norms=self.norms.decode(),
            features=np.array([wave / scale for wave in self.waves]),
        )

    def write(self, writer: Writer) -> None:
        """Append the state."""
        for number in (self.missing, self.odd, self.count):
            writer.natural(number)
        if self.count:
            for number in (*self.sums, *self.squares, *self.waves):
                writer.integer(number)
            self.norms.write(writer)

    @classmethod
    def read(cls, reader: Reader, column: ColumnSpec, seed: int) -> VectorState:
        """What `write` wrote. Raises `DocumentError` where the numbers contradict each other."""
        state = cls(column, seed)
        state.missing, state.odd, state.count = reader.natural(), reader.natural(), reader.natural()
        if not state.count:
            return state
        state.sums = [reader.integer() for _ in state.sums]
        state.squares = [reader.integer() for _ in state.squares]
        state.waves = [reader.integer() for _ in state.waves]
        state.norms = NumericState.read(reader, norms(column), seed)
        if state.norms.rows() != state.count or state.norms.count + state.norms.positive_infinity != state.count:
            raise refused("there are more lengths than vectors")
        if any(total**2 > square * state.count for total, square in zip(state.sums, state.squares, strict=True)):
            raise refused("the sums of the vectors are impossible")
        if any(abs(wave) > state.count * _AMPLITUDE for wave in state.waves):
            raise refused("the features of the vectors are impossible")
        return state

    def _add_block(self, vectors: Floats) -> None:
        self.count += len(vectors)
        # What overflows here goes the slower way.
        with np.errstate(over="ignore"):
            scaled = np.rint(np.ldexp(vectors, _BITS - self._column.exponent))
        near = (np.abs(scaled) < _FAST).all(axis=1)
        self._add_near(scaled[near])
        for row in vectors[~near]:
            self._add_far([_grid(value, _BITS - self._column.exponent) for value in row.tolist()])

    def _add_near(self, scaled: Floats) -> None:
        if not len(scaled):
            return
        whole = scaled.astype(np.int64)
        squares = whole * whole
        self._sum_up(whole.sum(axis=0).tolist(), squares.sum(axis=0).tolist())
        directions = _directions(self._seed, self._column.dimensions)
        # Whole numbers below 2**53 all along, so that the order of the additions makes no difference.
        self._wave(scaled @ directions)
        unit = 2.0 ** (self._column.exponent - _BITS)
        self.norms.add(np.sqrt(squares.sum(axis=1).astype(np.float64)) * unit)

    def _add_far(self, row: list[int]) -> None:
        """A vector with a number far beyond the spec's exponent: the same, in Python's integers."""
        self._sum_up(row, [value * value for value in row])
        directions = _directions(self._seed, self._column.dimensions).astype(np.int64).T.tolist()
        period = 1 << 2048
        exact = [sum(a * b for a, b in zip(row, direction, strict=True)) % period for direction in directions]
        # So far out, a phase is noise: what matters is that it follows from the vector alone.
        self._wave(np.array([[float(value % (1 << 40)) for value in exact]]))
        size = math.isqrt(sum(value * value for value in row))
        self.norms.add(np.array([_scaled(size, 1, self._column.exponent - _BITS)]))

    def _sum_up(self, sums: list[int], squares: list[int]) -> None:
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)]
        self.squares = [a + b for a, b in zip(self.squares, squares, strict=True)]

    def _wave(self, projections: Floats) -> None:
        step = 2.0 ** (self._column.exponent - _BITS) * _ANGLES / (2 * math.pi * _SPREAD * self._column.bandwidth)
        angle = np.floor(projections * step + 0.5)
        angle = (angle - np.floor(angle / _ANGLES) * _ANGLES).astype(np.int64) & (_ANGLES - 1)
        table = _cosines()
        cosines = table[angle].sum(axis=0).tolist()
        sines = table[(angle - _ANGLES // 4) & (_ANGLES - 1)].sum(axis=0).tolist()
        self.waves = [a + b for a, b in zip(self.waves, [*cosines, *sines], strict=True)]


def norms(column: ColumnSpec) -> ColumnSpec:
    """How the lengths of a column's vectors are added up."""
    exponent = min(column.exponent + (column.dimensions.bit_length() + 1) // 2, 400)
    return ColumnSpec(column.name, column.kind, centre=column.centre, exponent=exponent)


@functools.lru_cache(maxsize=4)
def _directions(seed: int, dimensions: int) -> Floats:
    """Whole numbers, nearly normal with variance 16: the set bits of 64 less 32. Shape (dimensions, frequencies).

    Every other direction is twice as long, so that structure at half the bandwidth is seen as well.
    """
    stream = hashlib.shake_256(f"assay-profile/directions/{seed}".encode()).digest(8 * FREQUENCIES * dimensions)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(dimensions, FREQUENCIES, 64)
    directions: Floats = bits.sum(axis=2).astype(np.float64) - 32.0
    directions[:, 1::2] *= 2
    return directions


@functools.lru_cache(maxsize=1)
def _cosines() -> Integers:
    """A cosine's period in whole numbers."""
    return np.array([round(math.cos(2 * math.pi * at / _ANGLES) * _AMPLITUDE) for at in range(_ANGLES)], np.int64)


def _scaled(numerator: int, denominator: int, bits: int) -> float:
    """The quotient times ``2**bits``, correctly rounded."""
    return ratio(numerator << max(bits, 0), denominator << max(-bits, 0))


def _grid(value: float, bits: int) -> int:
    """``value * 2**bits``, rounded to the nearest whole number, ties to even, as `numpy.rint` does."""
    numerator, denominator = value.as_integer_ratio()
    if bits >= 0:
        numerator <<= bits
    else:
        denominator <<= -bits
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))
