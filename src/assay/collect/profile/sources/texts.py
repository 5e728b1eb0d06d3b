"""Types for what was read as text: CSV and captured CSV.

A column is of numbers if nearly all of its first values are; what is no number then stays text, in a frame of its own,
and is counted as odd by the profile. Nothing that is there ever becomes a missing value.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assay.collect.profile.interface import Kind

MOST = 0.9
"""A column whose first values are numbers (or times) to this part is one of them; the rest of them are odd."""

INSTANT = pl.Datetime("us", "UTC")

KINDS: dict[Kind, pl.DataType] = {
    Kind.INTEGRAL: pl.Int64(),
    Kind.FRACTIONAL: pl.Float64(),
    Kind.TIME: INSTANT,
    Kind.BOOLEAN: pl.Boolean(),
    Kind.STRING: pl.String(),
    Kind.TEXT: pl.String(),
}
"""What a column of a kind is read as."""


def cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Text as another type; what is none of it becomes null."""
    if isinstance(dtype, pl.Datetime):
        if not values.len() - values.null_count():
            return values.cast(pl.Null).cast(dtype)
        return values.str.to_datetime(time_unit="us", time_zone="UTC", strict=False, ambiguous="null")
    if isinstance(dtype, pl.Boolean):
        lower = values.str.to_lowercase()
        known = pl.when(lower == "true").then(True).when(lower == "false").then(False).otherwise(None)
        return pl.select(known.alias(values.name)).to_series()
    return values.cast(dtype, strict=False)


def decide(frame: pl.DataFrame, known: Mapping[str, Kind]) -> dict[str, pl.DataType]:
    """Types of a frame of text, from its values where ``known`` does not say them."""
    return {s.name: KINDS[known[s.name]] if known.get(s.name) in KINDS else _guess(s) for s in frame}


def _guess(values: pl.Series) -> pl.DataType:
    """The narrowest type that nearly all values have; text if there is none."""
    there = values.drop_nulls()
    least = there.len() * MOST
    if not there.len():
        return pl.String()
    if there.str.contains(r"^[+-]?0\d").any():
        return pl.String()  # postal codes and account numbers are no quantities
    numbers = cast(there, pl.Float64())
    if (count := there.len() - numbers.null_count()) >= least:
        whole = there.len() - cast(there, pl.Int64()).null_count()
        return pl.Int64() if whole == count else pl.Float64()
    if there.len() == (there.str.to_lowercase().is_in(["true", "false"])).sum():
        return pl.Boolean()
    if there.head(100).str.contains(r"^\d{4}-\d\d-\d\d").all():
        moments = _cast(there, INSTANT)
        if there.len() - moments.null_count() >= least:
            return INSTANT
    return pl.String()


def typed(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> list[pl.DataFrame]:
    """A frame of text with each column in its type.

    Rows with values that have not the type of their column come in frames of their own, in which such a column is
    text as a whole, so that what is odd can be told from what is not. The largest comes first.
    """
    made: list[pl.Series] = []
    odd: list[pl.Series] = []
    for values in frame:
        dtype = types.get(values.name, pl.String())
        if isinstance(dtype, pl.String):
            continue
        tried = _cast(values, dtype)
        if isinstance(dtype, pl.Int64) and tried.null_count() > values.null_count():
            tried = _cast(values, pl.Float64())
        if tried.null_count() > values.null_count():
            odd.append(tried.is_null() & values.is_not_null())
        made.append(tried)
    whole = frame.with_columns(made) if made else frame
    if not odd:
        return [whole]
    names = [mask.name for mask in odd]
    pattern = pl.DataFrame(odd).select(pl.concat_str([pl.col(n).cast(pl.Int8).cast(pl.String) for n in names]))
    marks = pattern.to_series()
    parts = []
    for mark in marks.unique(maintain_order=True):
        rows = marks == mark
        strange = [name for name, bit in zip(names, mark, strict=True) if bit == "1"]
        parts.append(whole.filter(rows).with_columns(frame.filter(rows).select(strange)))
    return sorted(parts, key=lambda part: -part.height)


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """`cast`, also of a column from whose first value no format of time can be told."""
    try:
        return cast(values, dtype)
    except pl.exceptions.PolarsError:
        return pl.Series(values.name, [None] * values.len(), dtype=dtype)
