"""What is wrong with a policy file: every place at once, with file, line and a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import AssayError, DocumentError

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    file: str
    line: int
    """1-based; 0 when there is none to name."""
    message: str
    suggestion: str | None = None
    fatal: bool = True
    """The policy cannot be used; otherwise it can, and is weaker than its author may think."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"

    def error(self) -> DocumentError:
        """As the error that reading a policy for use raises."""
        return DocumentError(str(self), hint=self.suggestion)


class Reading:
    """One file being read: its document, where its lines are, and the problems so far (shared between files)."""

    def __init__(self, file: str, lines: Mapping[Path, int], problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self._lines = lines

    def line(self, path: Path) -> int:
        """The line of a place, or of the nearest place around it."""
        for end in range(len(path), -1, -1):
            if (found := self._lines.get(path[:end])) is not None:
                return found
        return 0

    def wrong(self, path: Path, message: str, suggestion: str | None = None, *, fatal: bool = True) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.file, self.line(path), message, suggestion, fatal))

    def caught(self, path: Path, error: AssayError) -> None:
        """Note what a parser of some value raised."""
        self.wrong(path, error.message, error.hint)

    def mapping(self, value: Any, path: Path, what: str, allowed: Iterable[str]) -> dict[str, Any]:
        """``value`` as an object that has allowed keys only; a problem and an empty one otherwise."""
        if not isinstance(value, dict):
            self.wrong(path, f"{what} is {kind(value)}, not a mapping of keys to values")
            return {}
        known = tuple(allowed)
        for key in value:
            if key not in known:
                self.wrong((*path, key), f"unknown key {key!r} in {what}", near(key, known))
        return {key: item for key, item in value.items() if key in known}

    def text(self, value: Any, path: Path, what: str, *, default: str = "") -> str:
        """``value`` as a string."""
        if value is None:
            return default
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self.wrong(path, f"{what} is {kind(value)}, not text")
        return default

    def texts(self, value: Any, path: Path, what: str) -> tuple[str, ...]:
        """``value`` as a list of strings; one string is a list of one."""
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
            return tuple(map(str, value))
        self.wrong(path, f"{what} is {kind(value)}, not text or a list of texts")
        return ()

    def flag(self, value: Any, path: Path, what: str, *, default: bool = False) -> bool:
        """``value`` as a boolean."""
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.wrong(path, f"{what} is {kind(value)}, not true or false")
        return default


def near(word: str, known: Iterable[str]) -> str | None:
    """A suggestion for a word that is not known."""
    choices = list(known)
    close = difflib.get_close_matches(str(word), choices, 1, 0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"one of {', '.join(choices)}" if len(choices) <= 40 else None


def kind(value: object) -> str:
    """What a YAML value is, in words."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "empty" if value is None else names.get(type(value), "something else")
