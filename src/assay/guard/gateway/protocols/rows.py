"""Rows of a JSON body: how many, whether they have the form that they must have; and as a table, for those who look.

Rows are a list with one element a row (a list of values, an object, or one value), or an object of columns. Lists that
are uneven are refused: whoever reads them as a table would have to guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from assay.guard.gateway.interface import Table
from assay.guard.gateway.protocols.reading import DEPTH, Refused, count_keys, parse
from assay.guard.gateway.schemas.validate import Invalid, Validator

if TYPE_CHECKING:
    import numpy

WIDEST = 100_000
"""Columns of a table that is made for those who look at it; a wider one is not made."""

_any = msgspec.json.Decoder().decode
_flat = msgspec.json.Decoder(list[float]).decode
_nested = (
    _flat,
    msgspec.json.Decoder(list[list[float]]).decode,
    msgspec.json.Decoder(list[list[list[float]]]).decode,
    msgspec.json.Decoder(list[list[list[list[float]]]]).decode,
)
_HUGE = re.compile(rb"(?<![0-9])[0-9]{309}")  # where digits begin, and nowhere else: that would take seconds
_OPENING = re.compile(rb"[\[ \t\r\n]*")


def measure(raw: bytes | msgspec.Raw, validator: Validator | None) -> tuple[int, int]:
    """How many rows, and how many keys their objects have. Raises `Refused`."""
    if validator is not None:
        return _validated(raw, validator)
    depth = _depth(raw)
    if 0 < depth <= len(_nested):
        try:
            value = _nested[depth - 1](raw)
        except msgspec.ValidationError:
            pass  # texts, objects, nulls: the slow way
        except (msgspec.DecodeError, RecursionError):
            raise Refused(400, "the body is no JSON document") from None
        else:
            _require_even(value, depth)
            return _some(len(value)), 0
    if _HUGE.search(memoryview(raw)):
        raise Refused(422, "the body has a number that no double holds")
    return count(parse(_any, raw))


def count(value: Any) -> tuple[int, int]:
    """`measure` for rows that were read already."""
    keys = count_keys(value)
    if type(value) is list:
        shape(value)
        return _some(len(value)), keys
    if type(value) is dict:
        return _some(_columns(value)), keys
    raise Refused(422, "the rows are neither a list nor an object of columns")


def _some(rows: int) -> int:
    if not rows:
        raise Refused(422, "there are no rows")
    return rows


def _columns(value: dict[str, Any]) -> int:
    lengths = {len(column) if type(column) is list else -1 for column in value.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise Refused(422, "the columns are no lists of one length")
    for column in value.values():
        shape(column)
    return lengths.pop()


def shape(value: list[Any]) -> tuple[int, ...]:
    """Of nested lists. Raises `Refused` where they are uneven or nested too deeply."""
    found = [len(value)]
    level: list[Any] = value
    while level:
        kinds = set(map(type, level))
        if list not in kinds:
            break
        lengths = set(map(len, level)) if len(kinds) == 1 else ()
        if len(lengths) != 1:
            raise Refused(422, "the rows are uneven")
        found += lengths
        if len(found) > DEPTH:
            raise Refused(422, "the body is nested too deeply")
        level = list(chain.from_iterable(level))
    return tuple(found)


def _require_even(value: list[Any], depth: int) -> None:
    """`shape` for lists of numbers whose depth is known: the numbers themselves are not looked at."""
    level = value
    for below in range(depth - 1, 0, -1):
        if len(set(map(len, level))) > 1:
            raise Refused(422, "the rows are uneven")
        level = list(chain.from_iterable(level)) if below > 1 else level


def flatten(value: Any) -> list[Any]:
    """The leaves of nested lists in their order."""
    level = value if type(value) is list else [value]
    for _ in range(DEPTH):
        if not any(type(one) is list for one in level):
            return level
        level = list(chain.from_iterable(one if type(one) is list else (one,) for one in level))
    raise Refused(422, "the body is nested too deeply")


def _depth(raw: bytes | msgspec.Raw) -> int:
    """How many brackets open before anything else."""
    opening = _OPENING.match(memoryview(raw))
    assert opening is not None
    return opening[0].count(b"[")


def _validated(raw: bytes | msgspec.Raw, validator: Validator) -> tuple[int, int]:
    try:
        if validator.vector is not None and _depth(raw) > 2:  # images: their numbers in order
            value = parse(_any, raw)
            rows = _some(shape(value)[0])
            leaves = flatten(value)
            if any(type(leaf) is not float and type(leaf) is not int for leaf in leaves):
                raise Refused(422, "a row has something else than numbers")
            validator.numbers(leaves, rows)
            return rows, 0
        if is_object(raw):
            value = parse(_any, raw)
            rows, keys = count(value)
            validator.by_column(value, rows)
            return rows, keys
        if _depth(raw) == 1 and not is_object(bytes(memoryview(raw)[:64]).lstrip()[1:]):
            if validator.width == 1:
                flat = parse(_flat, raw)
                validator.numbers(flat, len(flat))
                return len(flat), 0
            return validator.decode(b"[" + bytes(raw) + b"]")  # one row, as the schema's width says
        return validator.decode(raw)
    except Invalid as error:
        raise Refused(422, str(error)) from None
    except (msgspec.DecodeError, RecursionError, OverflowError):
        raise Refused(400, "the body is no JSON document") from None


def is_object(raw: bytes | msgspec.Raw) -> bool:
    """Whether JSON begins as an object."""
    return bytes(memoryview(raw)[:64]).lstrip()[:1] == b"{"


def listed(value: Any) -> list[Any]:
    """Rows one by one, of either form. Raises `Refused`."""
    count(value)
    if type(value) is list:
        return value
    names = list(value)
    return [dict(zip(names, row, strict=True)) for row in zip(*value.values(), strict=True)]


def table(rows: Sequence[Any], names: Sequence[str] = ()) -> Table | None:
    """Rows as a table of numbers and texts. None where they have nothing in common. ``names``: of the columns, where a
    schema says them; named rows then have all of them, in their order.
    """
    import numpy as np

    if not rows:
        return None
    first = rows[0]
    if type(first) is dict:
        if not all(type(row) is dict for row in rows):
            return None
        keys = list(first)
        if len(keys) == 1 and type(first[keys[0]]) is list:  # {"features": […]}
            return table([row.get(keys[0]) for row in rows], names)
        found = list(dict.fromkeys(chain.from_iterable(rows)))[:WIDEST]
        if set(names).issuperset(found):
            found = list(names)
        return _table([[row.get(name) for row in rows] for name in found], tuple(found))
    values = [flatten(row) for row in rows]
    width = len(values[0])
    if any(len(row) != width for row in values) or not 0 < width <= WIDEST:
        return None
    given = tuple(names) if len(names) == width else ()
    try:
        return Table(np.array(values, dtype=np.float64), given)
    except (TypeError, ValueError, OverflowError):
        return _table(list(zip(*values, strict=True)), given or tuple(f"c{i}" for i in range(width)))


def _table(columns: Sequence[Sequence[Any]], names: tuple[str, ...]) -> Table:
    import numpy as np

    features: numpy.ndarray = np.full((len(columns[0]) if columns else 0, len(columns)), np.nan)
    text: dict[str, Sequence[str]] = {}
    for i, (name, column) in enumerate(zip(names, columns, strict=True)):
        if any(type(value) is str for value in column):
            text[name] = ["" if value is None else str(value) for value in column]
        else:
            features[:, i] = [_number(value) for value in column]
    return Table(features, names, text)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
