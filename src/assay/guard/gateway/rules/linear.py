"""Regular expressions that take time in proportion to the text, whatever stranger wrote it and whoever wrote the rule.

Thompson's construction (Cox, "Regular Expression Matching Can Be Simple And Fast", 2007) with a table of the states
that were met, bounded. Python's own parser reads the expression; what cannot be matched in linear time (references
back, looking around) is refused when the rule is read. Texts are bytes; ``$`` is the text's very end.
"""

from __future__ import annotations

import re
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any, TypeAlias

from assay.errors import DocumentError

MOST_STATES = 2000
"""Of an expression."""
MOST_REMEMBERED = 50_000
"""Entries of the table and members of its states together; it is forgotten when there are more. About 5 MB."""
_ALL = frozenset(range(256))
_CATEGORIES = {
    _constants.CATEGORY_DIGIT: rb"\d",
    _constants.CATEGORY_NOT_DIGIT: rb"\D",
    _constants.CATEGORY_SPACE: rb"\s",
    _constants.CATEGORY_NOT_SPACE: rb"\S",
    _constants.CATEGORY_WORD: rb"\w",
    _constants.CATEGORY_NOT_WORD: rb"\W",
}

_State: TypeAlias = tuple[str, Any, tuple[int, ...]]
"""``set`` (bytes that lead on), ``split``, ``begin``, ``end`` or ``match``; what it needs; where it leads."""


class Linear:
    """A compiled expression."""

    def __init__(self, pattern: str, what: str) -> None:
        """Raises `DocumentError` that begins with ``what``."""
        self._what = what
        self._states: list[_State] = [("match", None, ())]
        self._sequences = self._remembered = 0
        try:
            parsed = _parser.parse(pattern.encode("latin-1"))
        except (re.error, UnicodeEncodeError, OverflowError, RecursionError) as error:
            raise DocumentError(f"{what}: the expression cannot be read: {error}") from None
        if parsed.state.flags:
            raise DocumentError(f"{what}: flags in an expression are not supported", hint="write [Aa] for both cases")
        try:
            self._start = self._sequence(parsed, 0)
        except RecursionError:
            raise DocumentError(f"{what}: the expression is nested too deeply") from None
        self._table: dict[frozenset[int], dict[int, frozenset[int]]] = {}
        self._again = self._closure((self._start,), begin=False, end=False)
        self._first = self._closure((self._start,), begin=True, end=False)

    def search(self, text: bytes) -> bool:
        """Whether the expression matches somewhere in ``text``."""
        current = self._first
        table = self._table
        for byte in text:
            if 0 in current:
                return True
            row = table.get(current)
            following = None if row is None else row.get(byte)
            if following is None:
                following = self._step(current, byte)
                self._remember(current, byte, following)
            current = following
        return 0 in current or 0 in self._closure(current, begin=not text, end=True)

    def _remember(self, current: frozenset[int], byte: int, following: frozenset[int]) -> None:
        if self._remembered >= MOST_REMEMBERED:
            self._table.clear()
            self._remembered = 0
        row = self._table.get(current)
        if row is None:
            row = self._table[current] = {}
            self._remembered += len(current)
        row[byte] = following
        self._remembered += 1

    def _step(self, current: frozenset[int], byte: int) -> frozenset[int]:
        reached = [
            leads[0]
            for kind, wanted, leads in map(self._states.__getitem__, current)
            if kind == "set" and byte in wanted
        ]
        return self._closure(reached, begin=False, end=False) | self._again

    def _closure(self, states: Any, *, begin: bool, end: bool) -> frozenset[int]:
        """Everything that is reached without reading. States that wait for the text's end stay in it."""
        found: set[int] = set()
        todo = list(states)
        while todo:
            number = todo.pop()
            if number in found:
                continue
            found.add(number)
            kind, _, leads = self._states[number]
            if kind == "split" or (kind == "begin" and begin) or (kind == "end" and end):
                todo.extend(leads)
        return frozenset(found)

    def _add(self, kind: str, needs: Any, *leads: int) -> int:
        if len(self._states) >= MOST_STATES:
            raise self._too_large()
        self._states.append((kind, needs, leads))
        return len(self._states) - 1

    def _too_large(self) -> DocumentError:
        return DocumentError(f"{self._what}: the expression is too large", hint="smaller repetitions need less")

    def _sequence(self, items: Any, then: int) -> int:
        """The state that matches ``items`` one after the other and then goes on at ``then``."""
        self._sequences += 1  # one that is empty adds no state, however often it is repeated
        if self._sequences > 10 * MOST_STATES:
            raise self._too_large()
        for operation, argument in reversed(list(items)):
            then = self._one(operation, argument, then)
        return then

    def _one(self, operation: Any, argument: Any, then: int) -> int:
        if operation is _constants.SUBPATTERN:
            _, on, off, inside = argument
            if not on and not off:
                return self._sequence(inside, then)
        elif operation is _constants.BRANCH:
            return self._add("split", None, *(self._sequence(branch, then) for branch in argument[1]))
        elif operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            least, most, item = argument
            return self._repeat(least, most, item, then)
        elif operation is _constants.AT:
            if argument in (_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING):
                return self._add("begin", None, then)
            if argument in (_constants.AT_END, _constants.AT_END_STRING):
                return self._add("end", None, then)
        else:
            wanted = self._bytes(operation, argument)
            if wanted is not None:
                return self._add("set", wanted, then)
        raise DocumentError(
            f"{self._what}: {str(operation).lower()} is not supported in an expression",
            hint="only what can be matched in linear time is: no references back, no looking around",
        )

    def _repeat(self, least: int, most: Any, item: Any, then: int) -> int:
        if most is _constants.MAXREPEAT:
            loop = self._add("split", None)
            inside = self._sequence(item, loop)
            self._states[loop] = ("split", None, (inside, then))
            then = loop
        else:
            after = then
            for _ in range(most - least):
                then = self._add("split", None, self._sequence(item, then), after)
        for _ in range(least):
            then = self._sequence(item, then)
        return then

    def _bytes(self, operation: Any, argument: Any) -> frozenset[int] | None:
        """Which bytes one item matches; None: it is no such item."""
        if operation is _constants.LITERAL:
            return frozenset((argument,))
        if operation is _constants.NOT_LITERAL:
            return _ALL - {argument}
        if operation is _constants.ANY:
            return _ALL - {0x0A}
        if operation is _constants.RANGE:
            return frozenset(range(argument[0], argument[1] + 1))
        if operation is _constants.CATEGORY and argument in _CATEGORIES:
            category = re.compile(_CATEGORIES[argument])
            return frozenset(byte for byte in _ALL if category.fullmatch(bytes((byte,))))
        if operation is not _constants.IN:
            return None
        found: frozenset[int] = frozenset()
        negated = False
        for kind, value in argument:
            if kind is _constants.NEGATE:
                negated = True
            else:
                one = self._bytes(kind, value)
                if one is None:
                    return None
                found |= one
        return _ALL - found if negated else found
