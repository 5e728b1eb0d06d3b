"""Metric math: ``errors / requests * 100``, ``IF(m1 > 5, m2, 0)``. A subset of CloudWatch's, parsed and never run.

What it has: numbers, names of metrics, ``+ - * / ^``, comparisons (1 or 0), AND, OR, parentheses, and the functions
ABS CEIL FLOOR LOG LOG10 DIFF RATE FILL IF, and SUM AVG MIN MAX over a list ``[m1, m2]``. A period in which an operand
is missing, or the result is no finite number (division by zero), has no result.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from assay.errors import DocumentError

MAX_METRICS, MAX_LENGTH, MAX_DEPTH = 10, 2048, 30

Series: TypeAlias = list[float | None]
"""A value for each period, None where there is none."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,15}(?:\.\d{1,15})?)|(?P<name>[A-Za-z][A-Za-z0-9_]{0,254})"
    r"|(?P<sign>>=|<=|==|!=|[-+*/^<>()\[\],]))",
    re.ASCII,
)
_LEVELS: tuple[dict[str, Callable[[float, float], float]], ...] = (
    {"OR": lambda a, b: float(a != 0 or b != 0)},
    {"AND": lambda a, b: float(a != 0 and b != 0)},
    {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
)
_SINGLE: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "LOG": math.log,
    "LOG10": math.log10,
}
_LISTED: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
_WORDS = {"AND", "OR", "IF", "FILL", "REPEAT", "DIFF", "RATE", *_SINGLE, *_LISTED}


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression."""

    text: str
    names: tuple[str, ...]
    """Metrics that it names, each once."""
    compute: Callable[[Mapping[str, Series], int], Series]
    """From a series for each name, all of one length, and the period in seconds, to the result."""


def parse(text: str) -> Expression:
    """The expression that ``text`` says. Raises `DocumentError`."""
    if len(text) > MAX_LENGTH:
        raise DocumentError(f"an expression is longer than {MAX_LENGTH:,} characters")
    parser = _Parser(text)
    node = parser.whole()
    names = tuple(dict.fromkeys(parser.names))
    if not 1 <= len(names) <= MAX_METRICS:
        raise DocumentError(f"the expression {text[:60]!r} names {len(names)} metrics; 1 to {MAX_METRICS} are possible")
    return Expression(text, names, node)


Node: TypeAlias = Callable[[Mapping[str, Series], int], Series]


class _Parser:
    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = self._depth = 0

    def whole(self) -> Node:
        node = self._level(0)
        if self._at != len(self._tokens):
            raise self._wrong("an operator or the end")
        return node

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._signed()
        left = self._level(level + 1)
        while (act := _LEVELS[level].get(self._next())) is not None:
            self._at += 1
            left = _pairwise(act, left, self._level(level + 1))
        return left

    def _signed(self) -> Node:
        self._deeper()
        if self._next() == "-":
            self._at += 1
            node = _each(operator.neg, self._signed())
        else:
            node = self._atom()
            if self._next() == "^":
                self._at += 1
                node = _pairwise(_power, node, self._signed())
        self._depth -= 1
        return node

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise DocumentError(f"an expression has more than {MAX_DEPTH} parts inside each other")

    def _atom(self) -> Node:
        token = self._next()
        self._at += 1
        if token == "(":  # noqa: S105 - a parenthesis
            node = self._level(0)
            self._expect(")")
            return node
        if token[:1].isdigit():
            return _constant(float(token))
        if token in _WORDS:
            return self._call(token)
        if token[:1].isalpha():
            self.names.append(token)
            return _named(token)
        self._at -= 1
        raise self._wrong("a number, a metric, a function or '('")

    def _call(self, name: str) -> Node:
        self._expect("(")
        if name in _LISTED:
            self._expect("[")
            parts = [self._level(0)]
            while self._next() == ",":
                self._at += 1
                parts.append(self._level(0))
            self._expect("]")
            node = _together(_LISTED[name], parts)
        elif name in _SINGLE:
            node = _each(_SINGLE[name], self._level(0))
        elif name in ("DIFF", "RATE"):
            node = _changes(self._level(0), rate=name == "RATE")
        elif name == "IF":
            condition = self._level(0)
            self._expect(",")
            chosen = self._level(0)
            self._expect(",")
            node = _chosen(condition, chosen, self._level(0))
        elif name == "FILL":
            filled = self._level(0)
            self._expect(",")
            repeat = self._next() == "REPEAT"
            self._at += repeat
            node = _filled(filled, None if repeat else self._level(0))
        else:
            self._at -= 2
            raise self._wrong("a metric or a number")
        self._expect(")")
        return node

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise self._wrong(repr(token))
        self._at += 1

    def _wrong(self, expected: str) -> DocumentError:
        found = self._next()
        where = f"has {found[:40]!r} where {expected} must stand" if found else f"lacks {expected}"
        return DocumentError(f"the expression {self._text[:60]!r} {where}")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise DocumentError(
                f"the expression {text[:60]!r} has {text[at:].strip()[:1]!r}, which means nothing in it"
            )
        yield match[match.lastgroup or 0]
        at = match.end()


def _finite(act: Callable[..., float], *values: float | None) -> float | None:
    if any(value is None for value in values):
        return None
    try:
        result = float(act(*values))
    except (ArithmeticError, ValueError):
        return None
    return result if math.isfinite(result) else None


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)  # ** would make complex numbers


def _constant(value: float) -> Node:
    return lambda known, _: [value] * len(next(iter(known.values())))


def _named(name: str) -> Node:
    return lambda known, _: known[name]


def _each(act: Callable[[float], float], part: Node) -> Node:
    return lambda known, period: [_finite(act, value) for value in part(known, period)]


def _pairwise(act: Callable[[float, float], float], left: Node, right: Node) -> Node:
    return lambda known, period: [
        _finite(act, a, b) for a, b in zip(left(known, period), right(known, period), strict=True)
    ]


def _together(act: Callable[[Sequence[float]], float], parts: Sequence[Node]) -> Node:
    def compute(known: Mapping[str, Series], period: int) -> Series:
        rows = zip(*(part(known, period) for part in parts), strict=True)
        return [_finite(lambda *values: act(values), *row) for row in rows]

    return compute


def _chosen(condition: Node, then: Node, other: Node) -> Node:
    def compute(known: Mapping[str, Series], period: int) -> Series:
        rows = zip(condition(known, period), then(known, period), other(known, period), strict=True)
        return [None if test is None else (yes if test else no) for test, yes, no in rows]

    return compute


def _filled(part: Node, filler: Node | None) -> Node:
    def compute(known: Mapping[str, Series], period: int) -> Series:
        values = part(known, period)
        if filler is not None:
            return [b if a is None else a for a, b in zip(values, filler(known, period), strict=True)]
        last: float | None = None
        return [last := value if value is not None else last for value in values]

    return compute


def _changes(part: Node, *, rate: bool) -> Node:
    def compute(known: Mapping[str, Series], period: int) -> Series:
        """Each value minus the last one before it (DIFF), per second between the two (RATE)."""
        result: Series = []
        before: tuple[int, float] | None = None
        for index, value in enumerate(part(known, period)):
            if value is None or before is None:
                result.append(None)
            else:
                seconds = (index - before[0]) * period if rate else 1
                result.append(_finite(lambda a, b, width: (a - b) / width, value, before[1], seconds))
            before = before if value is None else (index, value)
        return result

    return compute
