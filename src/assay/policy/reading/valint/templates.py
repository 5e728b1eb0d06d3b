"""The templates that valint's files may hold, as far as published files use them.

A small part of Go's text/template: values (``.Args.X``, ``.Env.X``, ``.Context.X``), ``if``/``else``/``end``, a few
functions. It works on strings of a document that was parsed before, so that no value can become YAML, and it reads no
variable of the process: ``.Env`` is the file's own ``env:``. What is not known is an error, never an empty string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.errors import DocumentError
from assay.policy.reading.problems import near

ABSENT = "<no value>"
"""What a published template writes for "leave this field out"."""

MAX_DEPTH = 20
"""Parentheses and conditions inside each other."""

_TRIM_BEFORE = re.compile(r"-\s")
_TOKEN = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<text>\"(?:[^\"\\]|\\[\"\\])*\"|`[^`]*`)"
    r"|(?P<path>\.[A-Za-z_][\w.-]*)|(?P<number>-?\d{1,15})|(?P<word>[A-Za-z_]\w*))"
)


@dataclass(slots=True)
class Scope:
    """What templates can refer to."""

    arguments: Mapping[str, Any]
    """The caller's."""
    env: Mapping[str, str]
    """The file's own ``env:``."""
    context: Mapping[str, str]
    """Of this run, by the names of `assay.collect.provenance.context.Context`."""
    used: set[str] = field(default_factory=set)
    """Names of arguments that some template referred to."""


@dataclass(frozen=True, slots=True)
class _Missing:
    """A value that is not there: harmless until it is needed."""

    name: str


def render(value: Any, scope: Scope, place: str) -> Any:
    """``value`` with every template in its strings replaced; entries that come out as `ABSENT` are left out.

    Raises `DocumentError` that starts with ``place`` for what is not known.
    """
    if isinstance(value, str):
        return _text(value, scope, place) if "{{" in value else value
    if isinstance(value, list):
        return [made for item in value if (made := render(item, scope, place)) not in (ABSENT, None) or item is None]
    if isinstance(value, dict):
        made = {key: render(item, scope, place) for key, item in value.items()}
        return {key: item for key, item in made.items() if item != ABSENT}
    return value


def _text(text: str, scope: Scope, place: str) -> str:
    return _Template(list(_pieces(text, place)), scope, place).render()


def _pieces(text: str, place: str) -> Iterator[tuple[str, str]]:
    """("text", …) and ("action", …), with the white space trimmed that ``{{-`` and ``-}}`` swallow."""
    at, trim = 0, False
    while True:
        start = text.find("{{", at)
        end = text.find("}}", start) if start >= 0 else -1
        if start >= 0 and end < 0:
            raise DocumentError(f"{place}: a template in {text[:60]!r} is never closed")
        plain = text[at:start] if start >= 0 else text[at:]
        plain = plain.lstrip() if trim else plain
        action = text[start + 2 : end]
        if start >= 0 and _TRIM_BEFORE.match(action):
            plain, action = plain.rstrip(), action[1:]
        trim = start >= 0 and action[-1:] == "-" and action[-2:-1].isspace()
        if plain:
            yield "text", plain
        if start < 0:
            return
        yield "action", action[:-1].strip() if trim else action.strip()
        at = end + 2


class _Template:
    """One string's pieces, rendered in one pass."""

    def __init__(self, pieces: list[tuple[str, str]], scope: Scope, place: str) -> None:
        self._pieces, self._scope, self._place, self._at = pieces, scope, place, 0

    def render(self) -> str:
        made = self._block(True, 0)
        if self._at < len(self._pieces):
            raise self._wrong(self._pieces[self._at][1])
        return made

    def _block(self, live: bool, depth: int) -> str:
        """Up to the ``else`` or ``end`` that closes it. What is not ``live`` is read and not evaluated."""
        if depth > MAX_DEPTH:
            raise DocumentError(f"{self._place}: its templates are nested deeper than {MAX_DEPTH}")
        made = []
        while self._at < len(self._pieces):
            kind, text = self._pieces[self._at]
            word = text.split(maxsplit=1)[0] if text.split() else ""
            if kind == "action" and word in ("else", "end"):
                break
            self._at += 1
            if kind == "text":
                made.append(text if live else "")
            elif word == "if":
                made.append(self._condition(text[2:], live, depth))
            elif live:
                made.append(self._shown(self._value(text), text))
        return "".join(made)

    def _condition(self, text: str, live: bool, depth: int) -> str:
        holds = live and _true(self._value(text))
        made = self._block(live and holds, depth + 1)
        last = False
        while True:
            if self._at >= len(self._pieces):
                raise DocumentError(f"{self._place}: 'if' without 'end' in a template")
            words = self._pieces[self._at][1].split(maxsplit=2)
            self._at += 1
            if words == ["end"]:
                return made
            if words[:2] == ["else", "if"] and len(words) == 3 and not last:
                this = live and not holds and _true(self._value(words[2]))
            elif words == ["else"] and not last:
                this, last = live and not holds, True
            else:
                raise self._wrong(" ".join(words))
            holds = holds or this
            made += self._block(this, depth + 1)

    def _value(self, text: str) -> Any:
        tokens = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(text)
            tokens.append((str(match.lastgroup), str(match[str(match.lastgroup)])))
            at = match.end()
        value, rest = self._call(tokens, text, 0)
        if rest:
            raise self._wrong(text)
        return value

    def _call(self, tokens: list[tuple[str, str]], text: str, depth: int) -> tuple[Any, list[tuple[str, str]]]:
        """A function with its operands, or one operand, up to a closing parenthesis."""
        if not tokens or depth > MAX_DEPTH:
            raise self._wrong(text)
        kind, word = tokens[0]
        named = kind == "word" and word not in _LITERALS
        if named and word not in _FUNCTIONS:
            raise DocumentError(
                f"{self._place}: a template uses {word[:40]!r}, which is not known", hint=near(word, _FUNCTIONS)
            )
        rest = tokens[1:] if named else tokens
        operands = []
        while rest and rest[0][0] != "close":
            value, rest = self._operand(rest, text, depth)
            operands.append(value)
        if not named:
            if len(operands) != 1:
                raise self._wrong(text)
            return operands[0], rest
        least, most, function = _FUNCTIONS[word]
        if not least <= len(operands) <= most:
            raise self._wrong(text)
        return function(operands), rest

    def _operand(self, tokens: list[tuple[str, str]], text: str, depth: int) -> tuple[Any, list[tuple[str, str]]]:
        (kind, word), rest = tokens[0], tokens[1:]
        if kind == "open":
            value, rest = self._call(rest, text, depth + 1)
            if not rest or rest[0][0] != "close":
                raise self._wrong(text)
            return value, rest[1:]
        if kind == "text":
            inner = word[1:-1]
            return (inner if word[0] == "`" else re.sub(r"\\(.)", r"\1", inner)), rest
        if kind == "number":
            return int(word), rest
        if kind == "word" and word in _LITERALS:
            return _LITERALS[word], rest
        if kind == "path":
            return self._path(word), rest
        raise self._wrong(text)

    def _path(self, path: str) -> Any:
        scope = self._scope
        root, _, name = path[1:].partition(".")
        if root == "Args" and name:
            scope.used.add(name)
            return _given(scope.arguments, name, f"the argument {name!r}")
        if root == "Env" and name:
            return _given(scope.env, name, f"the variable {name!r}, which the file's own env: does not name")
        if root == "Context":
            return (
                _Named(scope.context, "of the context")
                if not name
                else _given(scope.context, name, f"{name!r} of the context")
            )
        if path == ".Stores":
            return _Named({}, "of the stores")  # none of valint's services is here
        if path == ".ScribeEnabled":
            return False
        raise DocumentError(
            f"{self._place}: a template asks for {path[:60]!r}, which is not known",
            hint="known are .Args.NAME, .Env.NAME and .Context.NAME",
        )

    def _shown(self, value: Any, text: str) -> str:
        if isinstance(value, _Missing):
            raise DocumentError(f"{self._place}: the template '{{{{ {text[:60]} }}}}' needs {value.name}")
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return str(value)
        raise DocumentError(f"{self._place}: the template '{{{{ {text[:60]} }}}}' has no text as its value")

    def _wrong(self, text: str) -> DocumentError:
        return DocumentError(f"{self._place}: the template '{{{{ {text.strip()[:60]} }}}}' is not understood")


@dataclass(frozen=True, slots=True)
class _Named:
    """Values that ``index`` picks from."""

    values: Mapping[str, Any]
    what: str


def _given(values: Mapping[str, Any], name: str, what: str) -> Any:
    """A value, unless it would make the field disappear that it stands in: only the file's author may do that."""
    value = values.get(name)
    return _Missing(what) if value is None or value == ABSENT else value


def _true(value: Any) -> bool:
    """Go's truth: not false, zero, empty, nil."""
    return not isinstance(value, _Missing) and bool(value)


def _index(operands: list[Any]) -> Any:
    values, name = operands
    if not isinstance(values, _Named) or not isinstance(name, str):
        return _Missing("something to take an entry from")
    return _given(values.values, name, f"{name!r} {values.what}, which is not known here")


def _equal(operands: list[Any]) -> bool:
    first, *others = operands
    return any(type(first) is type(other) and first == other for other in others)


def _asset(operands: list[Any]) -> Any:
    value = operands[0]
    return value if value is None or isinstance(value, _Missing) else f"asset={value}"


def _same(operands: list[Any]) -> Any:
    return _Missing("a value") if operands[0] is None else operands[0]


_LITERALS: dict[str, Any] = {"true": True, "false": False, "nil": None}

_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Any]], Any]]] = {
    "not": (1, 1, lambda operands: not _true(operands[0])),
    "and": (1, 9, lambda operands: next((item for item in operands if not _true(item)), operands[-1])),
    "or": (1, 9, lambda operands: next((item for item in operands if _true(item)), operands[-1])),
    "eq": (2, 9, _equal),
    "ne": (2, 2, lambda operands: not _equal(operands)),
    "index": (2, 2, _index),
    "on_target": (1, 1, _same),
    "asset": (1, 1, lambda operands: _same([_asset(operands)])),
    "asset_on_target": (1, 1, lambda operands: _same([_asset(operands)])),
    "assetd_on_target": (1, 1, lambda operands: _same([_asset(operands)])),
    "asset_if_found": (1, 1, lambda operands: _asset(operands) if _true(operands[0]) else ABSENT),
}
"""Name to the least and most operands and what it does. ``asset`` is a label as valint's scans of platforms set it."""
