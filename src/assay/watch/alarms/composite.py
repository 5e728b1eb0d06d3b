"""Rules over other alarms' states: ``ALARM("drift") AND NOT (OK(quality) OR ALARM(deploying))``. Parsed, never run.

Syntax and limits are those of PutCompositeAlarm's ``AlarmRule``: 100 different alarms, 500 elements, NOT before AND
before OR. A rule that goes round in a circle is refused, because it would have no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from assay.errors import DocumentError
from assay.watch.alarms.states import State

MAX_CHILDREN, MAX_ELEMENTS, MAX_DEPTH, MAX_LENGTH = 100, 500, 50, 10_240

_TOKEN = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<quoted>\"[^\"]{1,255}\")|(?P<word>[^\s()\"]{1,255}))", re.ASCII
)
_FUNCTIONS = {state.value for state in State}


@dataclass(frozen=True, slots=True)
class Is:
    """True while the alarm is in the state."""

    state: State
    alarm: str


@dataclass(frozen=True, slots=True)
class Not:
    """True while the part is not."""

    part: Rule


@dataclass(frozen=True, slots=True)
class Join:
    """All parts (AND), or any of them (OR)."""

    every: bool
    parts: tuple[Rule, ...]


Rule: TypeAlias = Is | Not | Join | bool


def parse(text: str) -> Rule:
    """The rule that ``text`` says. Raises `DocumentError`."""
    if len(text) > MAX_LENGTH:
        raise DocumentError(f"a rule is longer than {MAX_LENGTH:,} characters")
    parser = _Parser(text)
    rule = parser.any_of()
    parser.end()
    if len(set(children(rule))) > MAX_CHILDREN:
        raise DocumentError(f"a rule names more than {MAX_CHILDREN} alarms")
    return rule


def children(rule: Rule) -> Iterator[str]:
    """Names of the alarms that a rule asks about, in order, perhaps more than once."""
    if isinstance(rule, Is):
        yield rule.alarm
    elif isinstance(rule, Not):
        yield from children(rule.part)
    elif isinstance(rule, Join):
        for part in rule.parts:
            yield from children(part)


def holds(rule: Rule, states: Mapping[str, State]) -> bool:
    """Whether the rule is true; every child must be in ``states``."""
    if isinstance(rule, bool):
        return rule
    if isinstance(rule, Is):
        return states[rule.alarm] is rule.state
    if isinstance(rule, Not):
        return not holds(rule.part, states)
    return (all if rule.every else any)(holds(part, states) for part in rule.parts)


def reason(rule: Rule, states: Mapping[str, State]) -> str:
    """The children and their states, in words."""
    named = dict.fromkeys(children(rule))
    return ", ".join(f"{name} is {states[name]}" for name in list(named)[:10]) or "the rule is constant"


def order(needs: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Names so that each comes after all it needs. Raises `DocumentError` for a circle or an unknown name."""
    from graphlib import CycleError, TopologicalSorter

    for name, needed in needs.items():
        for other in needed:
            if other not in needs:
                raise DocumentError(f"the alarm {name!r} names {other!r}, which is no alarm here")
    try:
        return tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise DocumentError(f"these alarms go round in a circle: {' -> '.join(reversed(error.args[1]))}") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = self._before = self._elements = self._depth = 0

    def any_of(self) -> Rule:
        return self._joined("OR", self._all_of)

    def _all_of(self) -> Rule:
        return self._joined("AND", self._negated)

    def _joined(self, word: str, part: Callable[[], Rule]) -> Rule:
        parts = [part()]
        while self._peek() == ("word", word):
            self._take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Join(word == "AND", tuple(parts))

    def _negated(self) -> Rule:
        negated = False
        while self._peek() == ("word", "NOT"):
            self._take()
            negated = not negated
        part = self._element()
        return Not(part) if negated else part

    def _element(self) -> Rule:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise DocumentError(f"a rule has more than {MAX_ELEMENTS} elements")
        kind, word = self._take()
        if kind == "open":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise DocumentError(f"a rule has more than {MAX_DEPTH} parentheses inside each other")
            rule = self.any_of()
            self._expect("close", "')'")
            self._depth -= 1
            return rule
        if kind == "word" and word in ("TRUE", "FALSE"):
            return word == "TRUE"
        if kind == "word" and word in _FUNCTIONS:
            self._expect("open", "'(' after " + word)
            kind, name = self._take()
            if kind not in ("word", "quoted"):
                raise self._wrong("an alarm's name")
            self._expect("close", "')'")
            return Is(State(word), name.strip('"'))
        raise self._wrong("ALARM(…), OK(…), INSUFFICIENT_DATA(…), TRUE, FALSE, NOT or '('")

    def _peek(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._at)
        return (match.lastgroup or "", match[match.lastgroup or 0]) if match else ("", "")

    def _take(self) -> tuple[str, str]:
        self._before = self._at
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            return "", ""
        self._at = match.end()
        return match.lastgroup or "", match[match.lastgroup or 0]

    def _expect(self, kind: str, what: str) -> None:
        if self._take()[0] != kind:
            raise self._wrong(what)

    def end(self) -> None:
        """Raise unless all of the text was read."""
        if self._text[self._at :].strip():
            self._before = self._at
            raise self._wrong("AND, OR or the end")

    def _wrong(self, expected: str) -> DocumentError:
        rest = self._text[self._before :].strip()[:40]
        return DocumentError(
            f"the rule has {rest!r} where {expected} must stand" if rest else f"the rule lacks {expected}"
        )
