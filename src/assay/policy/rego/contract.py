"""From what a rule returned to what it decided, by the published contract of ``data.verify.verify``.

``allow`` is the boolean ``true`` or it is not allowed; a result that is anything but an object with a boolean
``allow`` is an error, and so is one that reports errors of its own. This module must never take the truth of a value,
its presence or its absence for ``allow``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.policy.rego.interface import Answer
from assay.policy.verdict import Violation

VIOLATIONS = 1_000
"""Violations that are kept; one more then says how many were not."""
TEXT = 2_000
"""Characters of a text that are kept."""
_FACTS = 50
_DEPTH = 6
_NAMES = ("message", "msg", "reason", "description", "title", "violation", "error", "details")


@dataclass(frozen=True, slots=True)
class RegoResult:
    """What a rule decided."""

    allow: bool = False
    """True only for an `allow` of exactly ``true`` without an error."""
    violations: tuple[Violation, ...] = ()
    reason: str = ""
    """Of the result's summary, or the kind of violation."""
    error: str | None = None
    """One sentence; then nothing was decided."""
    short_description: str = ""
    description: str = ""
    asset: Mapping[str, Any] = field(default_factory=dict)
    """What the rule says it looked at."""


def read_result(answer: Answer) -> RegoResult:
    """What the answer to ``data.verify.verify`` decides. Pure; never raises."""
    if answer.error is not None:
        return RegoResult(error=_text(answer.error) or "the rule failed")
    if not answer.defined:
        return RegoResult(error="the rule gave no result: data.verify.verify is undefined for this input")
    result = answer.value
    if not isinstance(result, Mapping):
        return RegoResult(error=f"the rule's result is {_kind(result)}, not an object with 'allow'")
    allow = result.get("allow")
    if not isinstance(allow, bool):
        return RegoResult(
            error=f"the rule's 'allow' is {_kind(allow) if 'allow' in result else 'missing'}, not a boolean"
        )
    if (errors := _errors(result.get("errors"))) is not None:
        return RegoResult(error=errors)
    told, kind = _told(result)
    if told is None:
        return RegoResult(error=f"the rule's 'violation' is {_kind(result.get('violation'))}, not an object")
    summary = result.get("summary")
    summaries = summary if isinstance(summary, list) else [summary]
    reasons = [_text(item.get("reason")) for item in summaries if isinstance(item, Mapping)]
    if allow and any(isinstance(item, Mapping) and item.get("allow") is False for item in summaries):
        return RegoResult(error="the rule's 'allow' is true and its summary's is false")
    asset = result.get("asset")
    return RegoResult(
        allow=allow,
        violations=_violations(told, kind),
        reason="; ".join(reason for reason in reasons if reason)[:TEXT] or kind,
        short_description=_text(result.get("short_description")),
        description=_text(result.get("description")),
        asset=_facts(asset) if isinstance(asset, Mapping) else {},
    )


def _told(result: Mapping[str, Any]) -> tuple[list[Any] | None, str]:
    """What violates, in either generation's place, and what kind of violation it is; None when it is nonsense."""
    violation = result.get("violation")
    if isinstance(violation, Mapping):
        details, kind = violation.get("details"), _text(violation.get("type"))
    elif violation is None:
        details, kind = result.get("violations"), ""
    else:
        return None, ""
    if details is None:
        return [], kind
    if isinstance(details, Mapping):
        return [details] if details else [], kind
    return details if isinstance(details, list) else [details], kind


def _violations(told: list[Any], kind: str) -> tuple[Violation, ...]:
    kept = tuple(_violation(item, kind) for item in told[:VIOLATIONS])
    if len(told) > VIOLATIONS:
        return (*kept, Violation(f"and {len(told) - VIOLATIONS:,} more"))
    return kept


def _violation(item: Any, kind: str) -> Violation:
    if not isinstance(item, Mapping):
        return Violation(": ".join(part for part in (kind, _text(item)) if part))
    said = next((text for name in _NAMES if isinstance(item.get(name), str) and (text := _text(item[name]))), "")
    if not said:
        said = ", ".join(f"{_text(name)} {_text(value)}" for name, value in list(item.items())[:4])
    message = said if not kind or kind.lower() in said.lower() else f"{kind}: {said}"
    return Violation(message[:TEXT], details=_facts(item))


def _errors(errors: Any) -> str | None:
    """The sentence of a result's own errors, None when it has none."""
    if errors is None or (isinstance(errors, list | Mapping | str) and not errors):
        return None
    items = errors if isinstance(errors, list) else [errors]
    said = "; ".join(text for item in items[:10] if (text := _text(item)))
    return f"the rule reports: {said}" if said else "the rule reports an error"


def _text(value: Any, depth: int = 2) -> str:
    """A value as printable text of bounded length."""
    if isinstance(value, str):
        text = value[: 2 * TEXT]
    elif value is None:
        return ""
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = repr(value)
    elif isinstance(value, int):
        text = str(value) if value.bit_length() < 1_000 else "a huge number"
    elif isinstance(value, Mapping | list) and not depth:
        text = "…"
    elif isinstance(value, Mapping):
        text = ", ".join(f"{_text(name)} {_text(inner, depth - 1)}" for name, inner in list(value.items())[:4])
    elif isinstance(value, list):
        text = ", ".join(_text(inner, depth - 1) for inner in value[:10])
    else:
        text = _kind(value)
    return "".join(char if char.isprintable() else " " for char in text)[:TEXT].strip()


def _facts(item: Mapping[Any, Any], depth: int = _DEPTH) -> dict[str, Any]:
    """An object's facts, bounded in number, length and depth."""
    return {_text(name): _fact(value, depth - 1) for name, value in list(item.items())[:_FACTS]}


def _fact(value: Any, depth: int) -> Any:
    if isinstance(value, bool | float) or value is None:
        return value
    if depth > 0 and isinstance(value, Mapping):
        return _facts(value, depth)
    if depth > 0 and isinstance(value, list):
        return [_fact(inner, depth - 1) for inner in value[:_FACTS]]
    if isinstance(value, int) and value.bit_length() < 1_000:
        return value
    return _text(value) if not isinstance(value, Mapping | list) else "…"


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "of an unknown kind")
