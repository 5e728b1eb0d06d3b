"""Seeds of noise: a keyed digest of model and input, so that asking again gives the same answer and averages nothing.

Who moves a number by less than a thousandth of its column's range, where a schema tells it, sees the same noise; else
numbers count with four significant digits, and with none where they are a millionth of the row's largest. Nor does
anybody see another for the same row in another form: by name or by place, nested otherwise, numbers as texts, what is
missing as null. It averages out nevertheless over rows that are near and not the same: only detectors see those.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from assay.guard.gateway.parts import Unhardened

NEGLIGIBLE = 1e-6
"""Of a row's largest number: what is smaller is 0 to a model that computes with single precision, or nearly."""
_NOTHING = frozenset({"", "null", "none", "na", "n/a", "<na>", "#n/a", "#na", "nan", "-nan"})
"""Words, in lower case, that readers of tables take for a missing value."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def seeds(
    key: bytes, model: str, rows: Sequence[Any], names: Sequence[str] = (), steps: Sequence[float] = ()
) -> list[bytes]:
    """One seed a row. ``key``: 16 to 64 secret bytes that stay the same over restarts; ``names``: of a row's columns in
    their order, where a schema says them; ``steps``: of its numbers, what is too little to count, 0 where nobody knows.
    """
    if not 16 <= len(key) <= 64:
        raise Unhardened("there is no key for the noise")
    start = hashlib.blake2b(len(model.encode()).to_bytes(8) + model.encode(), digest_size=32, key=key)
    found = []
    for row in rows:
        digest = start.copy()
        digest.update(_encode(_rounded(_row(row, names), steps)))
        found.append(digest.digest())
    return found


def _row(row: Any, names: Sequence[str]) -> Any:
    """Equal for all forms of one row, but for rounding."""
    if isinstance(row, dict):
        if len(row) == 1 and isinstance(only := next(iter(row.values())), list):
            return _flat(only)  # a vector by its name
        if names and set(names).issuperset(row):
            return [_plain(row.get(name)) for name in names]
        return _plain(row)
    return _flat(row) if isinstance(row, list | tuple) else [_plain(row)]


def _flat(values: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        if isinstance(value, list | tuple):
            flat += _flat(value)
        else:
            flat.append(_plain(value))
    return flat


def _plain(value: Any) -> Any:
    """Equal for values that a model cannot well tell apart: 1, 1.0, true and their texts; all that is missing."""
    if isinstance(value, str):
        text = value.strip()
        word = text.lower()
        if word in _NOTHING:
            return None
        try:
            value = float(text)
        except ValueError:
            if word not in ("true", "false"):
                return text
            value = word == "true"
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            return math.inf
        return None if number != number else number
    if isinstance(value, list | tuple):
        return _flat(value)
    if isinstance(value, dict):
        return {str(name): known for name, one in value.items() if (known := _plain(one)) is not None}
    return value


def _rounded(row: Any, steps: Sequence[float]) -> Any:
    largest = max((abs(number) for number in _numbers(row) if number not in (math.inf, -math.inf)), default=0.0)
    least = largest * NEGLIGIBLE
    if isinstance(row, list) and len(steps) == len(row):
        return [_told(value, least, step) for value, step in zip(row, steps, strict=True)]
    return _told(row, least, 0.0)


def _numbers(value: Any) -> Iterator[float]:
    if type(value) is float:
        yield value
    elif isinstance(value, list | dict):
        for one in value if isinstance(value, list) else value.values():
            yield from _numbers(one)


def _told(value: Any, least: float, step: float) -> Any:
    """What of a value counts. 0.0 and -0.0 are the same."""
    if type(value) is float:
        if step and abs(value) < math.inf:
            return f"{round(value / step)}"
        return "0.000e+00" if abs(value) <= least else f"{value:.3e}"
    if isinstance(value, list):
        return [_told(one, least, 0.0) for one in value]
    if isinstance(value, dict):
        return {name: _told(one, least, 0.0) for name, one in value.items()}
    return value
