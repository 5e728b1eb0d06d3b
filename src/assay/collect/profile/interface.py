"""What a profile says: the job's `Spec`, which is chosen once, and a `Profile` with one state per column.

Every number in a state is a count, an exact integer sum or a maximum, so that merging is commutative, associative and
independent of order: the same rows give the same bytes for any partitioning, on any engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers: TypeAlias = NDArray[np.int64]
    Words: TypeAlias = NDArray[np.uint64]
    Floats: TypeAlias = NDArray[np.float64]


class Kind(StrEnum):
    """How a column is looked at. Chosen once, in the `Spec`; what does not fit it is counted as `odd`."""

    INTEGRAL = "integral"
    """Whole numbers."""
    FRACTIONAL = "fractional"
    """Numbers, decimals and durations (in seconds)."""
    TIME = "time"
    """Instants, as seconds since 1970 UTC; a local time without zone counts as UTC."""
    BOOLEAN = "boolean"
    """Two categories, ``false`` and ``true``."""
    STRING = "string"
    """Categories."""
    TEXT = "text"
    """Strings that are read, not looked up: as `STRING`, with lengths."""
    VECTOR = "vector"
    """Lists of numbers of one length, such as embeddings."""
    UNKNOWN = "unknown"
    """Nothing but missing values was seen when the spec was made."""

    @property
    def is_number(self) -> bool:
        """True where the column's state is a `Numeric`."""
        return self in (Kind.INTEGRAL, Kind.FRACTIONAL, Kind.TIME)


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """How one column is added up."""

    name: str
    kind: Kind
    centre: float = 0.0
    """Finite. Numbers are binned and summed as their distance to it, so that 1e9 + small keeps its resolution."""
    exponent: int = 0
    """Most distances to the centre are below ``2**exponent`` and summed a fast way; others go a slower one."""
    dimensions: int = 0
    """Numbers in each vector."""
    bandwidth: float = 1.0
    """Of vectors: the distance at which two of them begin to count as different; their median distance at first."""
    tracked: tuple[str, ...] = ()
    """The baseline's frequent categories: counted one by one even where there are too many different ones."""


@dataclass(frozen=True, slots=True)
class Custom:
    """A statistic of the user's own."""

    name: str
    sql: str | None = None
    """A SQL expression over the columns, computed per row to a number or a string: a column of its own, mergeable."""
    function: str | None = None
    """``module:name`` of a function from a polars frame to a series, one value per row. Run as the user's own code."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The rules of a job. Two states merge only if their specs are equal."""

    columns: tuple[ColumnSpec, ...]
    """In the order of the table."""
    seed: int = 0
    """Of the categories' hashes, 64 bits. Secret seeds keep an attacker from choosing strings that hide in a bucket."""
    exact: int = 65_536
    """So many different strings of a column are counted one by one; beyond, in hash buckets."""
    customs: tuple[Custom, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Numeric:
    """State of a column of numbers; ``count``, ``missing``, ``nan``, both infinities and ``odd`` add up to the rows."""

    count: int
    """Finite numbers."""
    missing: int
    nan: int
    positive_infinity: int
    negative_infinity: int
    odd: int
    """Values that are no numbers: strings in a column that was numeric."""
    mean: float
    """Correctly rounded from exact sums; NaN where ``count`` is 0, as the next three."""
    std: float
    """Of the population (divided by ``count``)."""
    minimum: float
    maximum: float
    lower: Floats
    """Lower ends of the bins that hold something, ascending; shape (bins,)."""
    upper: Floats
    """Their upper ends. A bin is 2**-8 of its distance to the centre wide."""
    counts: Integers
    """Numbers in each bin; their sum is ``count``."""
    distinct: int
    """Estimate of how many different numbers there are."""
    integral: int
    """Of ``count``: whole numbers."""
    total: float = math.nan
    """Sum of the numbers, correctly rounded; infinite where it is too large for a double."""
    rounded: int = 0
    """Of ``integral``: integers beyond 2**53 that were rounded to the nearest double."""
    numbers: Integers | None = None
    """The bins' own numbers, ascending: what bins of two states of one spec are best matched by; shape (bins,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Categories:
    """State of a column of strings or booleans."""

    count: int
    missing: int
    odd: int
    """Values that are no strings, as text in the counts."""
    exact: bool
    """True while all different values are counted one by one; else `hashes` are bucket numbers and tracked values."""
    hashes: Words
    """Hash of each value (or number of its bucket), ascending; shape (values,)."""
    counts: Integers
    """How often each occurs; their sum is ``count``."""
    labels: Mapping[int, str]
    """Text of a hash, for values that are frequent enough to be shown, or all if that was asked for."""
    distinct: int
    """How many different values there are: exact while ``exact``, else an estimate."""
    integral: int
    """Of ``count``: strings that read as whole numbers."""
    fractional: int
    """Of ``count``: strings that read as other numbers."""
    lengths: Numeric | None = None
    """Characters per value, for `Kind.TEXT`."""


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """State of a column of vectors."""

    count: int
    missing: int
    odd: int
    """Vectors of another length, or with numbers that are not finite."""
    centroid: Floats
    """Mean of each dimension; shape (dimensions,)."""
    variances: Floats
    """Of each dimension, of the population."""
    norms: Numeric
    """Euclidean lengths."""
    features: Floats
    """Means of random Fourier features about the spec's seed: the distance of two is a maximum mean discrepancy."""


Column: TypeAlias = Numeric | Categories | Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What is known of a table."""

    spec: Spec
    rows: int
    columns: Mapping[str, Column]
    """By name, in the spec's order, custom statistics last. A column that no row had counts as missing everywhere."""
    extra: Mapping[str, Kind] = field(default_factory=dict)
    """Columns that were there and not in the spec, with what they look like."""
    absent: frozenset[str] = frozenset()
    """Columns of the spec that no part had."""
    digest: str = ""
    """Hex SHA-256 of the serialised state: equal for equal rows, however they were partitioned."""


def finite(value: float) -> float | None:
    """``value``, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
