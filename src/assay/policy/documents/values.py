"""JSON values that every reader accepts: what a rule hands over as details may be anything, and none of it may break
the document around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DEPTH = 32
"""Levels of nesting that are kept."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SAFE = 2**53
"""Larger integers lose digits in readers whose numbers are doubles, and are written as text."""


def plain(value: Any, depth: int = DEPTH) -> Any:
    """``value`` as JSON-like values: finite numbers, no lone surrogates, keys that are text, bounded nesting."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_SAFE <= value <= _SAFE else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth and isinstance(value, Mapping):
        return {plain(str(key)): plain(inner, depth - 1) for key, inner in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [plain(inner, depth - 1) for inner in value]
    if isinstance(value, datetime):
        return timestamp(value)
    return "…" if isinstance(value, (Mapping, list, tuple)) else f"({type(value).__name__})"


def timestamp(time: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
