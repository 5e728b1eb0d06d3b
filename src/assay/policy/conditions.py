"""Conditions: one line that compares a field of the evidence with a value, ``accuracy >= 0.9``.

A line is parsed once, when the policy is read, into plain values; nothing of it is ever run or becomes a regular
expression. How it is held against a document is in `checks.comparing`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from typing import Any

from assay.errors import DocumentError
from assay.policy.checks.comparing import BARE, EVALUATION, EVERY, SOME, resolve, violation, written
from assay.policy.checks.reading import moment, show
from assay.policy.model import Condition

__all__ = ["EVALUATION", "EVERY", "SOME", "parse", "resolve", "violation", "written"]

MAX_TEXT = 1000
"""Characters of a condition."""
_MAX_PATH = 32

_SAID = ("context", "labels", "revision", "origin")
"""First words of a path that mean what the statement says of its subject."""

_POSITION = re.compile(r"\[(?:(\*)|([0-9]{1,9}))\]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\'\\]*\'')
_OPERATOR = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*|\s+(not\s+in|in|matches|contains|exists)(?=\s|$|\[|\"|')\s*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?(%?)")
_ORDER = (">=", "<=", ">", "<")


def parse(text: object, place: str, *, aliases: Collection[str] = ()) -> Condition:
    """A condition from its line.

    ``[all|any] PATH OPERATOR VALUE``, or ``PATH exists``. With ``aliases`` the path begins with one of them. Raises
    `DocumentError` that starts with ``place``.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise _wrong(place, text, "is no condition")
    line = text.strip()
    wildcard = EVERY
    if (quantifier := re.match(r"(all|any)\s+(?=[\w\"'$@])", line)) and not _OPERATOR.match(line, 3):
        wildcard = SOME if quantifier[1] == "any" else EVERY
        line = line[quantifier.end() :]
    path, at = _path(line, wildcard, place, text)
    match = _OPERATOR.match(line, at)
    if match is None:
        raise _wrong(place, text, "has no operator after its field")
    operator = " ".join((match[1] or match[2]).split())
    rest = line[match.end() :].strip()
    if operator == "exists":
        if rest:
            raise _wrong(place, text, "has something after exists")
        value: Any = None
    else:
        value = _value(rest, place, text)
        _check_types(operator, value, place, text)
    if wildcard == SOME and SOME not in path:
        raise _wrong(place, text, "says any, and its field has no [*]")
    alias, root, path = _root(path, aliases, place, text)
    return Condition(path, operator, value, text.strip(), alias, root)


def _path(line: str, wildcard: str, place: str, text: str) -> tuple[tuple[str | int, ...], int]:
    """The path at the start of ``line``, and where it ends."""
    path: list[str | int] = []
    at = 0
    while True:
        if quoted := _QUOTED.match(line, at):
            key = _unquoted(quoted[0], place, text)
            if key in (EVERY, SOME, ""):
                raise _wrong(place, text, f"has the key {key!r}, which cannot be named")
            path.append(key)
            at = quoted.end()
        elif bare := BARE.match(line, at):
            path.append(bare[0])
            at = bare.end()
        else:
            raise _wrong(place, text, "has no field" if not path else "has a dot and no field after it")
        while position := _POSITION.match(line, at):
            path.append(wildcard if position[1] else int(position[2]))
            at = position.end()
        if len(path) > _MAX_PATH:
            raise _wrong(place, text, "has too long a path")
        if line[at : at + 1] != ".":
            return tuple(path), at
        at += 1


def _root(
    path: tuple[str | int, ...], aliases: Collection[str], place: str, text: str
) -> tuple[str, str, tuple[str | int, ...]]:
    alias = ""
    if aliases:
        if path[0] not in aliases:
            raise _wrong(place, text, f"begins with none of {', '.join(sorted(aliases))}")
        alias, path = str(path[0]), path[1:]
    root = "predicate"
    if path and path[0] in ("said", "predicate"):
        root, path = str(path[0]), path[1:]
    elif path and path[0] in _SAID:
        root = "said"
    if not path:
        raise _wrong(place, text, "names no field")
    return alias, root, path


def _value(rest: str, place: str, text: str) -> Any:
    if rest[:1] == "[":
        if rest[-1:] != "]":
            raise _wrong(place, text, "has a list that does not end")
        return tuple(_single(item, place, text) for item in _split(rest[1:-1], place, text))
    return _single(rest, place, text)


def _split(inner: str, place: str, text: str) -> list[str]:
    items: list[str] = []
    at = 0
    while at < len(inner):
        start = at + len(inner[at:]) - len(inner[at:].lstrip())
        quoted = _QUOTED.match(inner, start)
        end = inner.find(",", quoted.end() if quoted else start)
        end = len(inner) if end < 0 else end
        items.append(inner[start:end].strip())
        at = end + 1
    if not items or inner.rstrip().endswith(","):
        raise _wrong(place, text, "has an empty list, or a comma too many")
    return items


def _single(word: str, place: str, text: str) -> Any:
    if quoted := _QUOTED.fullmatch(word):
        return _unquoted(quoted[0], place, text)
    if word in ("true", "false"):
        return word == "true"
    if match := _NUMBER.fullmatch(word):
        digits = word[:-1] if match[1] else word
        value: int | float = int(digits) if re.fullmatch("[+-]?[0-9]{1,100}", digits) else float(digits)
        value = value / 100 if match[1] else value
        if isinstance(value, float) and not math.isfinite(value):
            raise _wrong(place, text, "has a number that is too large")
        return value
    if (time := moment(word)) is not None:
        return time
    if not word or re.search(r"[\s\"'\[\],]", word) or word == "null":
        raise _wrong(place, text, "has no single value after its operator; put text with spaces into quotes")
    return word


def _unquoted(word: str, place: str, text: str) -> str:
    if word[0] == "'":
        return word[1:-1]
    try:
        return str(json.loads(word))
    except ValueError:
        raise _wrong(place, text, "has a quoted text with an unknown escape") from None


def _check_types(operator: str, value: Any, place: str, text: str) -> None:
    plain = not isinstance(value, tuple)
    if operator in ("in", "not in") and plain:
        raise _wrong(place, text, f"needs a list after {operator}")
    if operator not in ("in", "not in") and not plain:
        raise _wrong(place, text, f"has a list after {operator}")
    if operator in _ORDER and (isinstance(value, bool | str)):
        raise _wrong(place, text, f"needs a number or a time after {operator}")
    if operator == "matches" and not isinstance(value, str):
        raise _wrong(place, text, "needs text with * after matches")


def _wrong(place: str, text: object, what: str) -> DocumentError:
    shown = show(text if isinstance(text, str | int | float | None) else str(type(text).__name__))
    return DocumentError(
        f"{place}: {shown} {what}",
        hint="a condition is FIELD OPERATOR VALUE: accuracy >= 0.9, stage in [prod, staging], name matches 'resnet-*'",
    )
