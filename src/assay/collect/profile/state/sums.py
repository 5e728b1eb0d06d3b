"""Sums of doubles that do not depend on the order: every sum is an exact integer, in units of the smallest double.

Most numbers go the fast way: they are split against a fixed grid, so that both halves add up as 64-bit integers
without rounding (pre-rounding, as in Demmel and Nguyen, "Fast Reproducible Floating-Point Summation", ARITH 2013).
What does not fit the grid goes a slower way. The result is the same; it must never depend on which way a number went.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UNIT = 1074
"""Sums are whole multiples of 2**-1074, the smallest double."""
SQUARES = 2 * UNIT
"""Sums of squares are whole multiples of 2**-2148."""
BLOCK = 1 << 15
"""Numbers that are worked on at a time: what fits the processor's second cache with all buffers."""

_LEVEL = 46  # bits per grid: 2**46 times a block of 2**15 stays below 2**63
_FEW = 32  # numbers that are added up faster one by one
_WINDOW = 400  # squares of numbers within 2**±400 are doubles of full precision


@dataclass(frozen=True, slots=True)
class Grid:
    """Two grids for numbers below ``2**exponent``; `fast` adds such numbers up."""

    exponent: int
    """From -900 to 900."""
    coarse: np.float64 = field(init=False)
    fine: np.float64 = field(init=False)
    least: float = field(init=False)
    """Numbers that are 0 or at least so large leave no remainder."""

    def __post_init__(self) -> None:
        first = self.exponent - _LEVEL
        second = first - 1 - _LEVEL
        object.__setattr__(self, "coarse", np.float64(1.5) * np.float64(2.0 ** (52 + first)))
        object.__setattr__(self, "fine", np.float64(1.5) * np.float64(2.0 ** (52 + second)))
        object.__setattr__(self, "least", 2.0 ** (second + 52))

    def fast(self, values: Floats, spare: Floats, rest: Floats, *, remainder: bool) -> int:
        """Exact sum of at most `BLOCK` numbers below ``2**exponent``; both buffers have their size.

        ``remainder``: numbers below `least` may be among them, so that what is finer than both grids is looked at.
        """
        first = self._level(values, self.coarse, spare) << (self.exponent - _LEVEL + UNIT)
        np.subtract(spare, self.coarse, out=spare)
        np.subtract(values, spare, out=rest)
        second = self._level(rest, self.fine, spare) << (self.exponent - 2 * _LEVEL - 1 + UNIT)
        if not remainder:
            return first + second
        np.subtract(spare, self.fine, out=spare)
        np.subtract(rest, spare, out=rest)
        return first + second + (exact_sum(rest[rest != 0]) if rest.any() else 0)

    @staticmethod
    def _level(values: Floats, constant: np.float64, spare: Floats) -> int:
        np.add(values, constant, out=spare)
        # The sum of the bits is taken modulo 2**64; what is wanted fits 63 bits and a sign.
        total = int(np.add.reduce(spare.view(np.uint64))) - len(values) * int(constant.view(np.uint64))
        return (total + (1 << 63)) % (1 << 64) - (1 << 63)


def exact_sum(values: Floats) -> int:
    """Sum of any finite doubles, in units of 2**-1074: whole mantissas, added up by exponent."""
    if len(values) <= _FEW:
        return sum(map(whole, values.tolist()))
    bits = values.view(np.int64)
    exponent = (bits >> 52) & 0x7FF
    mantissa = bits & ((1 << 52) - 1)
    mantissa |= (exponent > 0).astype(np.int64) << 52
    mantissa[bits < 0] *= -1
    high, low = np.zeros(2048, np.int64), np.zeros(2048, np.int64)
    np.add.at(high, exponent, mantissa >> 32)
    np.add.at(low, exponent, mantissa & 0xFFFFFFFF)
    used = np.flatnonzero((high != 0) | (low != 0)).tolist()
    return sum(((int(high[at]) << 32) + int(low[at])) << max(at - 1, 0) for at in used)


def exact_squares(values: Floats) -> int:
    """Sum of squares of any finite doubles, in units of 2**-2148.

    The square of a number within 2**±400 is rounded to a double once, as the fast way does; others are exact.
    """
    size = np.abs(values)
    plain = (size >= 2.0**-_WINDOW) & (size < 2.0**_WINDOW)
    total = exact_sum(np.square(values[plain])) << UNIT
    return total + sum(whole(value) ** 2 for value in values[~plain & (size > 0)].tolist())


def ratio(numerator: int, denominator: int) -> float:
    """Their quotient, correctly rounded; infinite where no double is large enough."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def root(numerator: int, denominator: int) -> float:
    """Square root of a quotient that is not negative, within one unit of the last place."""
    shift = max(0, 130 - numerator.bit_length() + denominator.bit_length()) & ~1
    return ratio(math.isqrt((numerator << shift) // denominator), 1 << (shift // 2))


def whole(value: float) -> int:
    """A finite double in units of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return (numerator << UNIT) // denominator
