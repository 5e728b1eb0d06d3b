"""What several rooms ask of a column's state: how much is there, of which type, and where its numbers lie.

Pure functions of `Numeric` and its kin; bins are read as evenly filled, cut at the exact minimum and maximum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.collect.profile.interface import Column, Kind, Numeric, Vectors

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats

_SMALLER = 0.25
"""A power of two, by which differences of the largest doubles are kept from overflowing; nothing else changes."""
_YEAR = 31_556_952.0
"""Seconds."""


def shown(text: str, most: int = 60) -> str:
    """A name or value from data as it may stand in a message: nothing that a terminal would obey, not too long."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)[:most]


def missing(column: Column) -> int:
    """Rows without a value; NaN is none."""
    return column.missing + column.nan if isinstance(column, Numeric) else column.missing


def present(column: Column) -> int:
    """Rows with a value, of whichever type."""
    if isinstance(column, Numeric):
        return column.count + column.positive_infinity + column.negative_infinity + column.odd
    return column.count + (column.odd if isinstance(column, Vectors) else 0)  # categories count odd values as well


def of_type(column: Column, kind: Kind) -> int:
    """How many of the values present are of ``kind``. Whole numbers are numbers, and so are strings that read so."""
    if isinstance(column, Numeric):
        infinite = column.positive_infinity + column.negative_infinity
        if kind is Kind.INTEGRAL:
            return column.integral
        if kind in (Kind.FRACTIONAL, Kind.TIME):
            return column.count + infinite
        return present(column) if kind is Kind.UNKNOWN else column.odd
    if isinstance(column, Vectors):
        return column.count if kind is Kind.VECTOR else 0
    if kind is Kind.INTEGRAL:
        return column.integral
    if kind is Kind.FRACTIONAL:
        return column.integral + column.fractional
    if kind is Kind.UNKNOWN:
        return present(column)
    return column.count - column.odd if kind in (Kind.BOOLEAN, Kind.STRING, Kind.TEXT) else 0


def is_counter(column: Numeric) -> bool:
    """Whether the numbers are whole, different and next to each other: row numbers, which the next window goes on."""
    near = 0.97 * column.count  # the number of different values is an estimate
    return (
        column.integral == column.count > 1
        and column.distinct >= near
        and (column.maximum - column.minimum + 1 <= column.count / 0.97)
    )


def is_clock(column: Numeric) -> bool:
    """Whether the numbers read as Unix times of 2000 to 2100, in seconds or parts of them: the next window's differ."""
    low, high = 30 * _YEAR, 130 * _YEAR
    return any(low <= column.minimum / unit <= column.maximum / unit <= high for unit in (1, 1e3, 1e6, 1e9))


def edges(column: Numeric) -> tuple[Floats, Floats]:
    """The cumulative count as a broken line: points (ascending) and counts at or below them; shape (2 bins,) each."""
    import numpy as np

    low = np.clip(column.lower, column.minimum, column.maximum)
    high = np.clip(column.upper, column.minimum, column.maximum)
    after = np.cumsum(column.counts, dtype=np.float64)
    points = np.column_stack((low, high)).ravel()
    counts = np.column_stack((after - column.counts, after)).ravel()
    return points, counts


def cumulative(column: Numeric, at: Floats) -> Floats:
    """How many numbers are at or below each of ``at``; counts, not rounded."""
    import numpy as np

    at = np.asarray(at, dtype=np.float64)
    if not column.count:
        return np.zeros(at.shape)
    points, counts = edges(column)
    found = np.interp(at * _SMALLER, points * _SMALLER, counts, left=0.0)
    if not np.isfinite(found).all():  # between two doubles with next to nothing between them the slope is infinite
        step = counts[np.clip(np.searchsorted(points, at, side="right") - 1, 0, len(counts) - 1)]
        found = np.where(np.isfinite(found), found, step)
    return np.where(at >= column.maximum, float(column.count), found)


def below(column: Numeric, at: Floats) -> Floats:
    """How many numbers are below each of ``at``, not at it; counts, not rounded.

    A whole number lies at one end of its bin; for columns of whole numbers the bin is taken as a whole.
    """
    import numpy as np

    at = np.asarray(at, dtype=np.float64)
    if column.integral == column.count:
        with np.errstate(over="ignore"):
            at = np.ceil(at) - 0.5
    return cumulative(column, np.nextafter(at, -np.inf))


def quantiles(column: Numeric, shares: Floats) -> Floats:
    """The numbers below which each share lies, whole ones for whole columns; NaN where there are none."""
    import numpy as np

    shares = np.asarray(shares, dtype=np.float64)
    if not column.count:
        return np.full(shares.shape, np.nan)
    points, counts = edges(column)
    found = np.interp(shares * column.count, counts, points * _SMALLER) / _SMALLER
    # The smaller scale costs subnormal numbers their last bits.
    found = np.clip(found, column.minimum, column.maximum)
    return np.rint(found) if column.integral == column.count else found
