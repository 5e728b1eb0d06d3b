"""How a table's columns are to be looked at, chosen once from its first rows and kept with the baseline.

What is chosen decides resolution and speed, never whether a result is right: rows that are unlike the first are added
up as exactly as those. It must look at no more than the rows it is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from assay.collect.profile import values
from assay.collect.profile.interface import ColumnSpec, Custom, Kind, Spec
from assay.collect.profile.serial import Reader, Writer, refused
from assay.collect.profile.state.registers import different
from assay.collect.profile.state.vectors import MOST
from assay.errors import UsageError

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.state.sums import Floats

SAMPLE = 10_000
"""Rows that are looked at."""
COLUMNS = 65_536
"""Columns in a table at most."""

_EXPONENTS = (-300, 400)
_CENTRES = 2.0**900
_TRACKED = 100
_FEW = 1000  # different strings that are counted one by one anyway
_EXACT = 1 << 20
_KINDS = tuple(Kind)


def specify(
    frame: polars.DataFrame,
    *,
    seed: int = 0,
    kinds: Mapping[str, Kind] | None = None,
    customs: Sequence[Custom] = (),
) -> Spec:
    """The rules for tables like ``frame``, which has the columns of ``customs`` too.

    ``seed``: 64 bits for the hashes of categories. ``kinds``: for columns that are to be looked at otherwise than their
    type suggests. Raises `UsageError` where they make no sense.
    """
    chosen = dict(kinds or {})
    unknown = [name for name in chosen if name not in frame.columns]
    if unknown:
        raise UsageError(f"there is no column {unknown[0]!r} to look at as {chosen[unknown[0]]}")
    if not 0 <= seed < 1 << 64:
        raise UsageError("a seed is a whole number from 0 to 2**64 - 1")
    if frame.width > COLUMNS:
        raise UsageError(f"the table has {frame.width:,} columns; {COLUMNS:,} can be profiled at once")
    columns = tuple(_column(series, chosen.get(series.name)) for series in frame.get_columns())
    return Spec(columns=columns, seed=seed, customs=tuple(customs))


def write_spec(writer: Writer, spec: Spec) -> None:
    """Append the rules."""
    writer.natural(spec.seed)
    writer.natural(spec.exact)
    writer.natural(len(spec.columns))
    for column in spec.columns:
        writer.text(column.name)
        writer.natural(_KINDS.index(column.kind))
        writer.real(column.centre)
        writer.integer(column.exponent)
        writer.natural(column.dimensions)
        writer.real(column.bandwidth)
        writer.natural(len(column.tracked))
        for text in column.tracked:
            writer.text(text)
    writer.natural(len(spec.customs))
    for custom in spec.customs:
        writer.text(custom.name)
        writer.natural(0 if custom.sql is not None else 1)
        writer.text(custom.sql or custom.function or "")


def read_spec(reader: Reader) -> Spec:
    """What `write_spec` wrote. Raises `DocumentError` for rules that nobody chose."""
    seed, exact = reader.natural((1 << 64) - 1), reader.natural(_EXACT)
    columns = tuple(_read_column(reader) for _ in range(reader.natural(COLUMNS)))
    customs = []
    for _ in range(reader.natural(COLUMNS)):
        name, form, text = reader.text(), reader.natural(1), reader.text()
        customs.append(Custom(name, function=text) if form else Custom(name, sql=text))
    if len({column.name for column in columns}) != len(columns):
        raise refused("two columns have one name")
    return Spec(columns=columns, seed=seed, exact=exact, customs=tuple(customs))


def _read_column(reader: Reader) -> ColumnSpec:
    name, kind = reader.text(), _KINDS[reader.natural(len(_KINDS) - 1)]
    centre, exponent = reader.real(), reader.integer()
    dimensions, bandwidth = reader.natural(MOST), reader.real()
    tracked = tuple(reader.text() for _ in range(reader.natural(_TRACKED)))
    in_range = _EXPONENTS[0] <= exponent <= _EXPONENTS[1] and abs(centre) <= _CENTRES and bandwidth > 0
    if not in_range or (kind is Kind.VECTOR) != (dimensions > 0) or len(set(tracked)) != len(tracked):
        raise refused(f"the rules of the column {name!r} make no sense")
    return ColumnSpec(name, kind, centre, exponent, dimensions, bandwidth, tracked)


def _column(series: polars.Series, wanted: Kind | None) -> ColumnSpec:
    head = series.head(SAMPLE).drop_nulls()
    kind = wanted or values.kind(series)
    if wanted is None:
        if kind is Kind.VECTOR and not 0 < values.dimensions(head) <= MOST:
            kind = Kind.STRING
        elif kind is Kind.STRING and _is_text(head):
            kind = Kind.TEXT
    name = series.name
    if kind.is_number:
        known, _, _ = values.numbers(head, kind)
        centre, exponent = _frame(known[np.isfinite(known)], kind)
        return ColumnSpec(name, kind, centre, exponent)
    if kind is Kind.VECTOR:
        return _vector(name, head)
    if kind is Kind.TEXT:
        lengths = values.texts(head)[0].str.len_chars().to_numpy().astype(np.float64)
        centre, exponent = _frame(lengths, Kind.INTEGRAL)
        return ColumnSpec(name, kind, centre, exponent, tracked=_frequent(series))
    return ColumnSpec(name, kind, tracked=() if kind is Kind.BOOLEAN else _frequent(series))


def _frame(known: Floats, kind: Kind) -> tuple[float, int]:
    """Centre and exponent for numbers like these."""
    if not len(known):
        return 0.5 if kind is Kind.INTEGRAL else 0.0, 20
    # The middle one of the numbers themselves, so that no two are added, which might overflow.
    median = float(np.partition(known, len(known) // 2)[len(known) // 2])
    median = median if abs(median) <= _CENTRES else 0.0
    with np.errstate(over="ignore"):
        spread = np.abs(known - median)
    typical = float(np.partition(spread, len(spread) * 3 // 4)[len(spread) * 3 // 4]) or float(spread.max())
    centre = median + 0.0
    if kind is Kind.INTEGRAL and abs(median) < 2.0**51:
        centre = math.floor(median) + 0.5  # whole numbers never fall on it, and each near it has a bin of its own
    elif 2.0**-900 < typical < 2.0**900:
        grid = 2.0 ** (math.frexp(typical)[1] - 5)
        centre = round(median / grid) * grid if abs(median / grid) < 2.0**50 else median
    farthest = min(max(float(spread.max()), 0.5 if kind is Kind.INTEGRAL else 0.0), np.finfo(np.float64).max)
    if not farthest:
        return centre, _clamp(math.frexp(centre or 1.0)[1])
    room = 10 if kind is Kind.TIME else 2  # time goes on: later windows lie beyond the first
    return centre, _clamp(min(math.frexp(farthest)[1] + room, math.frexp(typical or farthest)[1] + 10))


def _vector(name: str, head: polars.Series) -> ColumnSpec:
    dimensions = values.dimensions(head)
    if not 0 < dimensions <= MOST:
        raise UsageError(
            f"the column {name!r} does not hold vectors of one length up to {MOST:,}",
            hint="look at it as strings: kinds={'" + name + "': 'string'}",
        )
    vectors, _ = values.vectors(head.head(1000), dimensions)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    vectors = vectors[(np.abs(vectors) < 2.0**300).all(axis=1)]
    if not len(vectors):
        return ColumnSpec(name, Kind.VECTOR, exponent=0, dimensions=dimensions)
    lengths = np.sqrt(np.square(vectors).sum(axis=1))
    centre, _ = _frame(lengths, Kind.FRACTIONAL)
    some = vectors[:200]
    apart = (
        np.sqrt(np.square(some[:, None, :] - some[None, :, :]).sum(axis=2))
        if len(some) * dimensions < 65_536
        else (np.array([np.sqrt(np.square(some - one).sum(axis=1)) for one in some[:50]]))
    )
    positive = apart[apart > 0]
    bandwidth = float(np.median(positive)) if len(positive) else 1.0
    exponent = _clamp(math.frexp(float(np.abs(vectors).max()) or 1.0)[1] + 1)
    return ColumnSpec(name, Kind.VECTOR, centre, exponent, dimensions, bandwidth)


def _is_text(head: polars.Series) -> bool:
    """True for strings that are read, not looked up: long, or several words and hardly ever the same."""
    strings, _ = values.texts(head)
    if not len(strings):
        return False
    lengths = strings.str.len_chars().to_numpy()
    mean = float(lengths.mean())
    words = float(strings.str.contains(r"\S\s+\S").to_numpy().mean())
    different = strings.n_unique() / len(strings)
    return different > 0.5 and (mean >= 64 or (mean >= 20 and words > 0.5))


def _frequent(series: polars.Series) -> tuple[str, ...]:
    """Frequent values of a column that has many different ones."""
    strings, _ = values.texts(series.drop_nulls())
    if different(strings.hash().to_numpy()) <= _FEW:
        return ()
    counted = strings.rename("text").value_counts(name="count")
    often = counted.filter(counted["count"] >= max(10, len(strings) // 1000))
    often = often.filter(often["text"].str.len_bytes() <= 256)
    return tuple(often.sort(["count", "text"], descending=[True, False])["text"].head(_TRACKED).to_list())


def _clamp(exponent: int) -> int:
    return max(_EXPONENTS[0], min(exponent, _EXPONENTS[1]))
