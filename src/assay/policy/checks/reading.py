"""Looking into JSON that a stranger wrote: every function takes any value, none raises, none recurses.

A wrong type is the same as an absent value, which a check must then call wrong. Nothing here decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from assay.policy.checks.interface import Check, Document
from assay.policy.verdict import Violation

MAX_SHOWN = 120
"""Characters of a stranger's value in a message."""

MAX_VIOLATIONS = 1000
"""Violations of one check that are told one by one."""


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> Sequence[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def objects(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects in a list; other items are passed over, see `odd`."""
    return (item for item in listed(value) if isinstance(item, dict))


def odd(value: object) -> bool:
    """Whether ``value`` is there and is not a list of objects alone."""
    return value is not None and not (isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value))


def string(value: object) -> str | None:
    """``value`` if it is a string that says something."""
    return value if isinstance(value, str) and value.strip() else None


def number(value: object) -> int | float | None:
    """``value`` if it is a finite number. A boolean is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def dig(value: object, *keys: str) -> Any:
    """What lies under nested keys, or None."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def moment(value: object) -> datetime | None:
    """An RFC 3339 time, or a date as its midnight, in UTC. None for what is neither or names no time zone."""
    if not isinstance(value, str) or not 10 <= len(value) <= 40 or value[4] != "-" or not value.isascii():
        return None
    try:
        found = datetime.fromisoformat(f"{value}T00:00:00Z" if len(value) == 10 else value)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def glob(pattern: str, text: str) -> bool:
    """Whether ``text`` fits ``pattern``: ``*`` for anything, ``?`` for one character, brackets for themselves.

    Takes time in proportion to both lengths at worst: `fnmatch` makes atomic groups, so that nothing is tried twice.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def first(patterns: Iterable[str], text: str) -> str | None:
    """The first of ``patterns`` that ``text`` fits."""
    return next((pattern for pattern in patterns if glob(pattern, text)), None)


def show(value: object) -> str:
    """``value`` for a message: short, quoted if it is text, without what a terminal would act on."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(10**30) < value < 10**30 else "a huge number"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def told(check: Check, document: Document, found: Iterable[Violation]) -> Iterator[Violation]:
    """``found``, if ``check`` can read such a document at all; ended after `MAX_VIOLATIONS`: who reads that many reads
    no further, and a verdict stays small.
    """
    if not any(fits(document.predicate_type, kind) for kind in check.types):
        yield Violation(f"{check.name} can't read evidence of the type {show(document.predicate_type)}")
        return
    more = 0
    for violation in found:
        more += 1
        if more <= MAX_VIOLATIONS:
            yield violation
    if more > MAX_VIOLATIONS:
        yield Violation(f"and {more - MAX_VIOLATIONS:,} more")


def fits(predicate_type: str, kind: str) -> bool:
    """Whether a predicate type is ``kind``, or has its beginning where that ends with ``*``."""
    return predicate_type == kind or (kind.endswith("*") and predicate_type.startswith(kind[:-1]))
