"""Columns of any type as what is added up: doubles, strings or vectors, and how many values were none of these.

The same value gives the same result whatever engine it comes from: a nanosecond timestamp and a microsecond one, an
int32 and an int64. It must never drop a value without counting it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.collect.profile.interface import Kind

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.state.sums import Floats

_UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_EXACT = 1 << 53


def kind(series: polars.Series) -> Kind:
    """What a column looks like by its type; nothing but nulls look like nothing."""
    import polars

    dtype = series.dtype
    if dtype == polars.Boolean:
        return Kind.BOOLEAN
    if dtype.is_integer():
        return Kind.INTEGRAL
    if dtype.is_numeric() or dtype in (polars.Duration, polars.Time):
        return Kind.FRACTIONAL
    if dtype in (polars.Datetime, polars.Date):
        return Kind.TIME
    if series.null_count() == len(series):
        return Kind.UNKNOWN
    inner = dtype.inner if isinstance(dtype, polars.List | polars.Array) else None
    return Kind.VECTOR if inner is not None and inner.is_numeric() else Kind.STRING


def dimensions(series: polars.Series) -> int:
    """The one length of all lists of numbers in a column without nulls; 0 where there is none."""
    import polars

    dtype = series.dtype
    if not isinstance(dtype, polars.List | polars.Array) or dtype.inner is None or not dtype.inner.is_numeric():
        return 0
    if isinstance(dtype, polars.Array):
        return int(dtype.size)
    lengths = series.list.len()
    return int(lengths[0]) if len(lengths) and lengths.min() == lengths.max() else 0


def numbers(series: polars.Series, kind: Kind) -> tuple[Floats, bool, int]:
    """A column without nulls as doubles; whether all are whole by type; how many whole ones had to be rounded.

    No doubles for a column that holds something else, of which each value is odd.
    """
    import polars

    dtype = series.dtype
    if kind is Kind.TIME:
        return (_instants(series) if dtype in (polars.Datetime, polars.Date) else np.zeros(0)), False, 0
    if dtype == polars.Float64:
        return series.to_numpy(), False, 0
    if dtype.is_integer():
        doubles = series.cast(polars.Float64)
        rounded = 0
        if dtype in (polars.Int64, polars.UInt64, polars.Int128):
            least, most = series.min(), series.max()
            if isinstance(least, int) and isinstance(most, int) and (least < -_EXACT or most > _EXACT):
                back = doubles.cast(polars.Int128, strict=False)
                rounded = int(back.ne_missing(series.cast(polars.Int128)).sum())
        return doubles.to_numpy(), True, rounded
    if dtype.is_numeric():
        return series.cast(polars.Float64).to_numpy(), False, 0
    if isinstance(dtype, polars.Duration):
        return _seconds(series.to_physical(), _UNITS[dtype.time_unit]), False, 0
    if dtype == polars.Time:
        return _seconds(series.to_physical(), _UNITS["ns"]), False, 0
    return np.zeros(0), False, 0


def is_plain(series: polars.Series, kind: Kind) -> bool:
    """True for integers that NumPy has a type for, in a column of numbers."""
    import polars

    return kind is not Kind.TIME and series.dtype.is_integer() and series.dtype not in (polars.Int128, polars.UInt128)


def texts(series: polars.Series) -> tuple[polars.Series, bool]:
    """A column without nulls as strings, and whether its values are strings at all."""
    import polars

    dtype = series.dtype
    if dtype == polars.String:
        return series, True
    if dtype in (polars.Categorical, polars.Enum):
        return series.cast(polars.String), True
    if dtype == polars.Boolean:
        return series.cast(polars.String), False
    if dtype == polars.Binary:
        return series.bin.encode("hex"), False
    if dtype.is_nested():
        return polars.select(polars.struct(series.alias("value")).struct.json_encode()).to_series(), False
    if dtype == polars.Object:
        return polars.Series(series.name, [str(value) for value in series], dtype=polars.String), False
    return series.cast(polars.String), False


def vectors(series: polars.Series, dimensions: int) -> tuple[Floats, int]:
    """Rows of a matrix, for the lists in a column without nulls that have so many numbers; how many have not."""
    import polars

    nothing = np.zeros((0, dimensions))
    dtype = series.dtype
    if not isinstance(dtype, polars.List | polars.Array) or dtype.inner is None or not dtype.inner.is_numeric():
        return nothing, len(series)
    lists = series.arr.to_list() if isinstance(dtype, polars.Array) else series
    hollow = lists.list.eval(polars.element().is_null()).list.any()
    whole = lists.filter((lists.list.len() == dimensions) & ~hollow)
    if not len(whole):
        return nothing, len(series)
    flat = whole.explode().cast(polars.Float64).to_numpy()
    return flat.reshape(len(whole), dimensions), len(series) - len(whole)


def _instants(series: polars.Series) -> Floats:
    """Seconds since 1970 UTC."""
    import polars

    dtype = series.dtype
    if isinstance(dtype, polars.Datetime):
        return _seconds(series.to_physical(), _UNITS[dtype.time_unit])
    return series.to_physical().cast(polars.Float64).to_numpy() * 86_400.0


def _seconds(ticks: polars.Series, unit: int) -> Floats:
    """Whole seconds and the rest apart, so that the same instant in another unit gives the same double."""
    seconds, rest = np.divmod(ticks.to_numpy(), np.int64(unit))
    return seconds.astype(np.float64) + rest.astype(np.float64) / float(unit)
