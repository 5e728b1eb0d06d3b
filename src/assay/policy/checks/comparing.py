"""Holding a condition against a document: finding the field that it names, and comparing.

What is absent, of another type than the value, or no finite number where one is needed never satisfies. Nothing raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from assay.policy.checks.interface import Document
from assay.policy.checks.reading import glob, mapping, moment, show
from assay.policy.model import Condition
from assay.policy.verdict import Violation

EVALUATION = "https://assay.dev/evaluation/v0.1"
"""Predicate type whose metrics are found without saying ``metrics.``."""

EVERY = "*"
"""In a path: every item, of which there must be one."""
SOME = "?"
"""In a path, from the prefix ``any``: at least one item."""

BARE = re.compile(r"[A-Za-z0-9_@$:/-]+")
"""A key that needs no quotes."""


def violation(condition: Condition, document: Document) -> Violation | None:
    """What is wrong with ``document`` by ``condition``, or None when it holds."""
    start: Any = document.said if condition.root == "said" else document.predicate
    path = condition.path
    if condition.root == "predicate" and document.predicate_type == EVALUATION and path[0] not in mapping(start):
        path = ("metrics", *path)
    wrong = _walk(condition, start, path, 0, ())
    if wrong is None:
        return None
    found, reason, where = wrong
    shown = written(condition.path)
    at = ("said." if condition.root == "said" else "") + _json_path(where)
    message = f"{shown} {reason}, needs {_needs(condition)}"
    if EVERY in path and len(where) > path.index(EVERY):
        message += f" (at {_json_path(where)[:200]})"
    return Violation(message, at, {"found": show(found), "needs": _needs(condition)})


def resolve(value: Any, path: tuple[str | int, ...]) -> tuple[bool, Any]:
    """Whether there is something under a path without wildcards, and what. Null is nothing."""
    for key in path:
        by_name = isinstance(key, str) and isinstance(value, Mapping) and key in value
        if not by_name and not (isinstance(key, int) and isinstance(value, list) and key < len(value)):
            return False, None
        value = value[key]
    return value is not None, value


def written(path: tuple[str | int, ...]) -> str:
    """A path as one writes it."""
    made = ""
    for key in path:
        if key in (EVERY, SOME):
            made += "[*]"
        elif isinstance(key, int):
            made += f"[{key}]"
        else:
            word = key if BARE.fullmatch(key) else json.dumps(key)[:200]
            made += f".{word}" if made else word
    return made


_Wrong = tuple[Any, str, tuple[str | int, ...]]


def _walk(
    condition: Condition, value: Any, path: tuple[str | int, ...], at: int, where: tuple[str | int, ...]
) -> _Wrong | None:
    """What is wrong below ``value``; as deep as the path is long, and no value is looked at twice."""
    while at < len(path) and path[at] not in (EVERY, SOME):
        there, value = resolve(value, (path[at],))
        where = (*where, path[at])
        at += 1
        if not there:
            return None, "is absent", where
    if at == len(path):
        reason = None if condition.operator == "exists" else _compare(condition, value)
        return None if reason is None else (value, reason, where)
    items = list(_items(value))
    if not items:
        empty = isinstance(value, list | Mapping)
        return value, "has no items" if empty else f"has no items: {show(value)} is there", where
    wrong: _Wrong | None = None
    for key, item in items:
        wrong = _walk(condition, item, path, at + 1, (*where, key))
        if (wrong is None) == (path[at] == SOME):
            break
    return wrong


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, list):
        yield from enumerate(value)
    elif isinstance(value, Mapping):
        yield from value.items()


def _compare(condition: Condition, found: Any) -> str | None:
    """What is wrong with the value found, or None."""
    operator, wanted = condition.operator, condition.value
    if isinstance(found, float) and not math.isfinite(found):
        return "is not a finite number"
    is_ = f"is {show(found)}"
    if operator in ("in", "not in"):
        alike = [item for item in wanted if _same_type(found, item)]
        if not alike:
            return f"{is_} ({_type(found)})"
        return None if any(_equal(found, item) for item in alike) == (operator == "in") else is_
    if operator == "contains":
        if isinstance(found, list):
            held = any(_same_type(item, wanted) and _equal(item, wanted) for item in found)
            return None if held else "does not contain it"
        if isinstance(found, str) and isinstance(wanted, str):
            return None if wanted in found else is_
        return f"{is_} ({_type(found)})"
    if not _same_type(found, wanted):
        return f"{is_} ({_type(found)})"
    if operator == "matches":
        return None if glob(wanted, found) else is_
    if operator in ("==", "!="):
        return None if _equal(found, wanted) == (operator == "==") else is_
    left: Any = moment(found) if isinstance(wanted, datetime) else found
    holds = {">=": left >= wanted, "<=": left <= wanted, ">": left > wanted, "<": left < wanted}[operator]
    return None if holds else is_


def _same_type(found: Any, wanted: Any) -> bool:
    """Whether the two can be compared at all. True and 1 can't, nor can "1" and 1."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return isinstance(wanted, bool) and isinstance(found, bool)
    if isinstance(wanted, datetime):
        return moment(found) is not None
    if isinstance(wanted, str):
        return isinstance(found, str)
    return isinstance(found, int | float)


def _equal(found: Any, wanted: Any) -> bool:
    return bool((moment(found) if isinstance(wanted, datetime) else found) == wanted)


def _needs(condition: Condition) -> str:
    if condition.operator == "exists":
        return "to be there"
    value = condition.value
    shown = f"[{', '.join(map(show, value))}]" if isinstance(value, tuple) else show(value)
    return f"{'' if SOME not in condition.path else 'one '}{condition.operator} {shown}"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "text"
    return "a number" if isinstance(value, int | float) else "not a single value"


def _json_path(path: tuple[str | int, ...]) -> str:
    return "".join(
        f"[{key}]" if isinstance(key, int) else f".{key}" if BARE.fullmatch(key) else f"[{json.dumps(key)}]"
        for key in path
    ).lstrip(".")[:500]
