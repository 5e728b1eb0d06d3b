"""Columns from Python values of any mixture: rows of a database, JSON that does not keep to one type, object columns.

Rows of a mixture come in frames of their own, so that the profile sees what does not fit; nothing but None (and NaN
where it means so) becomes a missing value.
"""

from __future__ import annotations

import datetime
import decimal
import json
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

INT64 = 1 << 63

_GROUPS = {"int": "number", "float": "number"}
"""Kinds of values that may stand in one column."""


def _sort(kind: type) -> str:
    """Which group a Python type belongs to."""
    module = kind.__module__
    if issubclass(kind, bool) or (module == "numpy" and kind.__name__ in ("bool", "bool_")):
        return "bool"
    if issubclass(kind, numbers.Integral):
        return "int"
    if issubclass(kind, numbers.Real | decimal.Decimal):
        return "float"
    if issubclass(kind, datetime.datetime):
        return "datetime"
    for base, name in ((datetime.date, "date"), (datetime.timedelta, "duration"), (str, "str")):
        if issubclass(kind, base):
            return name
    if issubclass(kind, list | tuple) or (module == "numpy" and kind.__name__ == "ndarray"):
        return "list"
    return "other"


def column(name: str, values: Sequence[Any]) -> pl.Series:
    """A column of these values; None is missing. Never raises for what a value is."""
    found = {_sort(kind) for kind in set(map(type, values)) - {type(None)}}
    if not found:
        return pl.Series(name, values, dtype=pl.Null)
    if found == {"bool"}:
        return pl.Series(name, [None if v is None else bool(v) for v in values], dtype=pl.Boolean)
    if found == {"int"} and all(v is None or -INT64 <= v < INT64 for v in values):
        return pl.Series(name, [None if v is None else int(v) for v in values], dtype=pl.Int64)
    if found <= {"int", "float"}:
        try:
            return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
        except (OverflowError, ValueError):  # an integer beyond 1e308, a signalling NaN
            return _texts(name, values)
    if found == {"datetime"}:
        try:
            instants = [None if v is None else _instant(v) for v in values]
        except OverflowError:  # before the year 1 or after 9999, once in UTC
            return _texts(name, values)
        return pl.Series(name, instants, dtype=pl.Datetime("us", "UTC"))
    if found == {"date"}:
        return pl.Series(name, values, dtype=pl.Date)
    if found == {"duration"}:
        return pl.Series(name, values, dtype=pl.Duration("us"))
    if found == {"list"} and all(v is None or _is_vector(v) for v in values):
        vectors = [None if v is None else [float(x) for x in v] for v in values]
        return pl.Series(name, vectors, dtype=pl.List(pl.Float64))
    return _texts(name, values)


def _instant(value: datetime.datetime) -> datetime.datetime:
    """In UTC; a local time without zone counts as UTC."""
    if value.tzinfo is None:
        return value.replace(tzinfo=datetime.UTC)
    return value.astimezone(datetime.UTC)


def _is_vector(value: Iterable[Any]) -> bool:
    return all(_sort(type(x)) in ("int", "float") for x in value)


def _texts(name: str, values: Sequence[Any]) -> pl.Series:
    return pl.Series(name, [None if v is None else text(v) for v in values], dtype=pl.String)


def text(value: Any) -> str:
    """A value as text: JSON for what has a form in it, hex for bytes."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(value).encode(errors="replace").decode()


def flattened(record: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """One level of names, ``outer.inner``; as deep as `shape.flat` goes, beyond as text."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and depth < 32:
            found |= flattened(value, f"{prefix}{name}.", depth + 1)
        else:
            found[f"{prefix}{name}"] = value
    return found


def frames(columns: Mapping[str, Sequence[Any]]) -> list[pl.DataFrame]:
    """Columns of equal length as frames in each of which a column is of one type only; the largest comes first."""
    sorts: list[list[str]] = []
    for cells in columns.values():
        types = {kind: _GROUPS.get(sort := _sort(kind), sort) for kind in set(map(type, cells)) - {type(None)}}
        if len(set(types.values())) > 1:
            some = min(types.values())  # a missing value goes with any
            sorts.append([types.get(type(cell), some) for cell in cells])
    if not sorts:
        return [pl.DataFrame({name: column(name, cells) for name, cells in columns.items()})]
    places: dict[tuple[str, ...], list[int]] = {}
    for i, pattern in enumerate(zip(*sorts, strict=True)):
        places.setdefault(pattern, []).append(i)
    groups = sorted(places.values(), key=len, reverse=True)
    return [pl.DataFrame({n: column(n, [cells[i] for i in rows]) for n, cells in columns.items()}) for rows in groups]


def records(rows: Sequence[Mapping[str, Any]]) -> list[pl.DataFrame]:
    """Records as frames: all their names in the order of first sight; what a record has not is missing."""
    seen = dict.fromkeys(name for row in rows for name in row)
    return frames({name: [row.get(name) for row in rows] for name in seen}) if seen else []
