"""Seeds of noise: a keyed digest of model and input, so that asking again gives the same answer and averages nothing.

Numbers count with four significant digits: who moves an input by less than a thousandth sees the same noise. Nor does
anybody see another for the same row in another form: by name or by place, nested otherwise, numbers as texts, what is
missing as null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from assay.guard.gateway.parts import Unhardened

_encode = msgspec.json.Encoder(order="deterministic").encode


def seeds(key: bytes, model: str, rows: Sequence[Any], names: Sequence[str] = ()) -> list[bytes]:
    """One seed a row. ``key``: 16 to 64 secret bytes that stay the same over restarts; ``names``: of a row's columns in
    their order, where a schema says them.
    """
    if not 16 <= len(key) <= 64:
        raise Unhardened("there is no key for the noise")
    start = hashlib.blake2b(len(model.encode()).to_bytes(8) + model.encode(), digest_size=32, key=key)
    found = []
    for row in rows:
        digest = start.copy()
        digest.update(_encode(_row(row, names)))
        found.append(digest.digest())
    return found


def _row(row: Any, names: Sequence[str]) -> Any:
    """Equal for all forms of one row."""
    if isinstance(row, dict):
        if len(row) == 1 and isinstance(only := next(iter(row.values())), list):
            return _flat(only)  # a vector by its name
        if names and set(names).issuperset(row):
            return [_canonical(row.get(name)) for name in names]
        return _canonical(row)
    return _flat(row) if isinstance(row, list | tuple) else [_canonical(row)]


def _flat(values: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        if isinstance(value, list | tuple):
            flat += _flat(value)
        else:
            flat.append(_canonical(value))
    return flat


def _canonical(value: Any) -> Any:
    """Equal for values that a model cannot well tell apart: 1, 1.0, true and their texts; 0.0 and -0.0."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            word = text.lower()
            if word not in ("true", "false"):
                return text
            value = word == "true"
    if isinstance(value, bool | int | float):
        try:
            return f"{float(value):.3e}".replace("-0.000e+00", "0.000e+00")
        except OverflowError:
            return "inf"
    if isinstance(value, list | tuple):
        return _flat(value)
    if isinstance(value, dict):
        return {str(name): _canonical(one) for name, one in value.items() if one is not None}
    return value
