"""What an alert is about: a finding, and the alert that says it is new or resolved.

Findings are made from policies and documents of strangers, so `bounded` cuts them to a size and makes them plain JSON
before anything is kept or sent. It must never know where a finding comes from: policy, drift and access speak alike.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

MAX_NAME = 300
"""Longest scope, key, name or id, in characters."""

MAX_TEXT = 4000
"""Longest message or mitigation, in characters."""

MAX_DETAILS = 32_768
"""Longest details, in bytes of JSON."""

MAX_DEPTH = 8
"""Deepest details."""


class Severity(StrEnum):
    """How bad it is, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for `INFO`, 4 for `CRITICAL`."""
        return _RANK[self]


_RANK = {severity: rank for rank, severity in enumerate(reversed(Severity))}


class State(StrEnum):
    """The two things that can happen to a finding."""

    NEW = "new"
    """It was not open in this scope, or it was and was less severe."""
    RESOLVED = "resolved"
    """It was open in this scope and is not found any more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    key: str
    """Stable id within its scope: the same thing found again has the same key."""
    title: str
    """A few words."""
    severity: Severity
    message: str
    """What is wrong, in a sentence."""
    source: str = ""
    """Who found it: ``policy ml-baseline``."""
    target_name: str = ""
    """What it was found in."""
    target_sha256: str = ""
    """Hex digest of it; empty where there is none."""
    mitigation: str = ""
    """What to do about it."""
    frameworks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids by framework: ``{"atlas": ["AML.T0010"]}``."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More, JSON-like."""
    url: str = ""
    """Where to read on."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding became new or was resolved."""

    id: str
    """Unique (UUID). A receiver that sees it again has the same alert before it, not another one."""
    state: State
    time: datetime
    """When it was recorded, UTC."""
    scope: str
    """What was looked at: the findings of one scope are compared with its own earlier ones only."""
    finding: Finding
    """As it was announced: a resolved finding carries what was said when it was new."""


def bounded(finding: Finding) -> Finding:
    """The same finding as plain, finite JSON of limited size, whatever was in it."""
    return Finding(
        key=identifier(finding.key),
        title=text(finding.title, MAX_NAME),
        severity=Severity(finding.severity),
        message=text(finding.message, MAX_TEXT),
        source=text(finding.source, MAX_NAME),
        target_name=text(finding.target_name, MAX_NAME),
        target_sha256=text(finding.target_sha256, MAX_NAME),
        mitigation=text(finding.mitigation, MAX_TEXT),
        frameworks={
            text(name, MAX_NAME): tuple(text(item, MAX_NAME) for item in list(ids)[:100])
            for name, ids in list(finding.frameworks.items())[:50]
        },
        details=_details(finding.details),
        url=text(finding.url, MAX_TEXT),
    )


def identifier(value: str) -> str:
    """A scope or key of limited length. Two long ones that differ stay different: the end becomes a digest."""
    whole = _encodable(value)
    if len(whole) <= MAX_NAME:
        return whole
    return whole[:200] + "..." + hashlib.sha256(whole.encode()).hexdigest()


def text(value: str, limit: int) -> str:
    """``value`` as valid Unicode of at most ``limit`` characters."""
    # Cut before encoding, so that a huge text costs nothing, and after, since escapes make it longer.
    whole = _encodable(str(value)[: limit + 1])
    return whole if len(whole) <= limit else whole[: limit - 3] + "..."


def _encodable(value: str) -> str:
    # A file name that is no valid UTF-8 holds lone surrogates, which no JSON and no database takes.
    return str(value).encode("utf-8", "backslashreplace").decode()


def _details(details: Mapping[str, Any]) -> Mapping[str, Any]:
    plain: dict[str, Any] = _plain(details, 0) if isinstance(details, Mapping) else {}
    if len(json.dumps(plain)) > MAX_DETAILS:
        return {"omitted": f"the details are larger than {MAX_DETAILS:,} bytes"}
    return plain


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Readers of JSON hold numbers as doubles or 64-bit integers (RFC 8259, section 6).
        return int(value) if abs(value) < 1 << 53 else hex(value)[:MAX_NAME]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return text(value, MAX_TEXT)
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {text(name, MAX_NAME): _plain(item, depth + 1) for name, item in list(value.items())[:1000]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in list(value)[:1000]]
    return text(str(value), MAX_TEXT)
