"""Seeds of noise: a keyed digest of model and input, so that asking again gives the same answer and averages nothing.

Numbers count with four significant digits: who moves an input by less than a thousandth sees the same noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from assay.guard.gateway.parts import Unhardened

_encode = msgspec.json.Encoder(order="deterministic").encode


def seeds(key: bytes, model: str, rows: Sequence[Any]) -> list[bytes]:
    """One seed a row. ``key``: 16 to 64 secret bytes that stay the same over restarts."""
    if not 16 <= len(key) <= 64:
        raise Unhardened("there is no key for the noise")
    start = hashlib.blake2b(len(model.encode()).to_bytes(8) + model.encode(), digest_size=32, key=key)
    found = []
    for row in rows:
        digest = start.copy()
        digest.update(_encode(_canonical(row)))
        found.append(digest.digest())
    return found


def _canonical(value: Any) -> Any:
    """Equal for rows that a model cannot well tell apart: 1, 1.0 and true; 0.0 and -0.0."""
    if isinstance(value, bool | int | float):
        try:
            return f"{float(value):.3e}".replace("-0.000e+00", "0.000e+00")
        except OverflowError:
            return "inf"
    if isinstance(value, list | tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _canonical(one) for name, one in value.items()}
    return value
