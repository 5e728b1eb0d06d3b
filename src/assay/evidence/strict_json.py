"""JSON from strangers: one meaning or none.

Two parsers that read one document differently are an attack (a verifier checks one thing, the consumer uses the
other), so duplicate keys, numbers outside JSON, broken UTF-8 and unpaired surrogates are errors here, never repaired.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from assay.errors import DocumentError

MAX_BYTES = 1 << 30
"""Largest document that is read at all: the signed manifest of a million files is about 400 MB."""

_LARGE = 1 << 20

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _DuplicateKeyError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def loads(data: bytes, what: str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Parse ``data``; ``what`` names the document in the error. Raises `DocumentError` for anything but strict JSON."""
    if len(data) > max_bytes:
        raise DocumentError(f"{what} is {len(data):,} bytes, more than the {max_bytes:,} that are read")
    if len(data) > _LARGE and (value := _few_keys(data)) is not None:
        return value
    try:
        text = data.decode("utf-8")
        value = _decoder.decode(text)
        if _SURROGATE.search(text):
            # Pairs of surrogate escapes are fine, a lone one is a string that no encoder can write back.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _DuplicateKeyError as error:
        raise DocumentError(f"{what} has the key {str(error)[:80]!r} twice in one object") from None
    except UnicodeError:
        raise DocumentError(f"{what} is not valid UTF-8") from None
    except RecursionError:
        raise DocumentError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise DocumentError(f"{what} is not JSON: {str(error)[:120]}") from None
    return value


def _few_keys(data: bytes) -> Any:
    """A large document of few keys (an envelope around a large payload), read fast; None leaves it to the slow reader.

    Every key is followed by one colon. When there are as many colons as the decoder found different keys, no key
    stood twice; a colon inside of a string only sends the document to the slow reader.
    """
    import msgspec

    colons = data.count(b":")
    if colons > 200 or b"\\" in data:
        return None
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return value if _count_keys(value) == colons else None


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    return sum(map(_count_keys, value)) if isinstance(value, list) and len(value) <= 1000 else 0


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON with keys as given; what we write is deterministic because what we build is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
