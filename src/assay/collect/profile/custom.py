"""The user's own statistics: one value per row by a SQL expression or a Python function, profiled like a column.

Each value must follow from its row alone, or parts would not merge to the whole. A function is the user's own code: it
is never run because a file (a baseline of somebody else's) names it, only because the caller does.
"""

from __future__ import annotations

import importlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from assay.collect.profile.interface import Custom
from assay.errors import RejectedError, UsageError

TRIED = 64
"""Rows on which a statistic is tried once whole and once in parts."""

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_TABLES = re.compile(r"\bselect\b", re.IGNORECASE)


def check(customs: Sequence[Custom], allowed: Sequence[Custom] = ()) -> None:
    """Raise if one makes no sense, or is a function that is not among those that the caller ``allowed``."""
    names: set[str] = set()
    for custom in customs:
        if (custom.sql is None) == (custom.function is None):
            raise UsageError(f"the statistic {custom.name!r} must be either a SQL expression or a function")
        if not custom.name or custom.name in names:
            raise UsageError(f"two statistics are named {custom.name!r}" if custom.name else "a statistic has no name")
        names.add(custom.name)
        if custom.function is not None and custom not in allowed:
            raise RejectedError(
                f"the baseline asks to run the function {custom.function} for {custom.name!r}",
                hint="if that is your own code, give the same function to this command as well",
            )
        if custom.sql is not None:
            _expression(custom)


def extended(frame: pl.DataFrame, customs: Sequence[Custom]) -> pl.DataFrame:
    """The frame with a column for each statistic. Raises `UsageError` if one cannot be computed for these rows."""
    for custom in customs:
        if custom.name in frame.columns:
            raise UsageError(f"the statistic {custom.name!r} has the name of a column", hint="name it otherwise")
    made = [_computed(frame, custom) for custom in customs]
    return frame.with_columns(made) if made else frame


def tried(frame: pl.DataFrame, customs: Sequence[Custom]) -> None:
    """Raise `UsageError` for a statistic whose values depend on other rows: parts and whole must be the same."""
    head = frame.head(TRIED)
    if head.height < 2:
        return
    for custom in customs:
        whole = _computed(head, custom)
        cuts = (0, 1, head.height // 2 or 1, head.height)
        parts = [head.slice(a, b - a) for a, b in itertools.pairwise(cuts) if b > a]
        backwards = [_computed(part, custom).to_list() for part in reversed(parts)]
        pieces = [value for part in reversed(backwards) for value in part]
        if not pl.Series(whole.to_list(), strict=False).equals(pl.Series(pieces, strict=False), null_equal=True):
            raise UsageError(
                f"the values of {custom.function or custom.sql} depend on more than their own row",
                hint="compute each row from itself; means and quantiles of the result are the profile's work",
            )


def needed(customs: Sequence[Custom]) -> frozenset[str] | None:
    """Columns that the statistics are computed from; None, for all, where one is a function."""
    if any(custom.function is not None for custom in customs):
        return None
    return frozenset(name for custom in customs for name in _expression(custom).meta.root_names())


def _expression(custom: Custom) -> pl.Expr:
    """The SQL as an expression of one row."""
    sql = custom.sql or ""
    wrong = None
    try:
        if _TABLES.search(_QUOTED.sub("''", sql)):
            wrong = "it reads a table"
        else:
            found = pl.sql_expr(sql)
            if not isinstance(found, pl.Expr) or not found.meta.root_names():
                wrong = "it uses no column"
            elif not _of_one_row(json.loads(found.meta.serialize(format="json"))):
                wrong = "a value of it depends on other rows"
            else:
                return found.alias(custom.name)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        wrong = _first(error)
    raise UsageError(
        f"the statistic {custom.name!r} is no SQL expression over the columns of one row: {wrong}",
        hint='such as "price * quantity" or "length(comment)"',
    )


PARTS = {
    "BinaryExpr": ("left", "right"),
    "Cast": ("expr",),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Function": ("input",),
}
"""Nodes of polars' expressions that give a value for each row if their parts do; functions are tried besides."""


def _of_one_row(node: Any) -> bool:
    """True for a tree of such nodes over columns and literals: no aggregate, window, subquery or count of rows."""
    if isinstance(node, list):
        return all(map(_of_one_row, node))
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((kind, inner),) = node.items()
    if kind in ("Column", "Literal"):
        return True
    return kind in PARTS and all(_of_one_row(inner[part]) for part in PARTS[kind])


def _computed(frame: pl.DataFrame, custom: Custom) -> pl.Series:
    """The statistic's value for each row."""
    if frame.height == 1:
        # polars multiplies a column by the inverse of a number, and divides one row by it: the last bits would differ.
        # (It keeps frames of one row, and what is joined of them, as single values; series it does not.)
        return _computed(pl.DataFrame([pl.concat([series, series]) for series in frame]), custom).head(1)
    if custom.function is not None:
        return _called(frame, custom, custom.function)
    try:
        made = frame.select(_expression(custom)).to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UsageError(f"the statistic {custom.name!r} cannot be computed: {_first(error)}") from None
    return _each(made, frame, custom.sql or "")


def _called(frame: pl.DataFrame, custom: Custom, place: str) -> pl.Series:
    """What the user's function gives for the frame."""
    try:
        found = _function(place)(frame)
        made = found if isinstance(found, pl.Series) else pl.Series(values=found, strict=False)
    except UsageError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise UsageError(f"{place} failed: {type(error).__name__}: {_first(error)}") from None
    return _each(made.alias(custom.name), frame, place)


def _each(made: pl.Series, frame: pl.DataFrame, place: str) -> pl.Series:
    """The same, if there is a value for each row."""
    if made.len() != frame.height:
        raise UsageError(
            f"{place} gave {made.len():,} values for {frame.height:,} rows", hint="it must give one for each row"
        )
    return made


def _function(place: str) -> Callable[[pl.DataFrame], Any]:
    """Import ``module:name``."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise UsageError(f"{place!r} names no function", hint="write it as module:function")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{place} cannot be imported: {error}", hint="is its folder in PYTHONPATH?") from None
    if not callable(found):
        raise UsageError(f"{place} is not a function")
    return found


def _first(error: BaseException) -> str:
    """An error's first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
