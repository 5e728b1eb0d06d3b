"""The inert values that a symbolic run over a pickle leaves behind, and walks over them.

A value stands for what unpickling would make; it is only ever looked at. Nothing here may hash or compare
values (for nested tuples that alone can hang Python or overflow its stack), and every walk must end on
shared and circular ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from assay.collect.headers.reading import MAX_NAME
from assay.errors import DocumentError

MAX_DEPTH = 200
"""Levels that `leaves` descends."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A name that unpickling would import."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """``module.name``."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """What unpickling would make by calling ``callable``, and what it would then put into it."""

    callable: object
    arguments: object
    """A tuple in any honest pickle."""
    state: object = None
    """The argument of the last BUILD."""
    items: list[tuple[object, object]] | None = None
    """Set by SETITEM(S)."""
    elements: list[object] | None = None
    """Added by APPEND(S) and ADDITEMS."""

    @property
    def path(self) -> str:
        """The dotted name of what is called, or an empty string when that is not a name."""
        return self.callable.path if isinstance(self.callable, Global) else ""

    @property
    def made(self) -> Global | None:
        """The class of the object, also where the oldest protocols make it through a helper; None if it
        has none.
        """
        if self.path in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            first = self.argument(0)
            return first if isinstance(first, Global) else None
        made = self.callable
        if isinstance(made, Persistent) and isinstance(made.key, tuple) and len(made.key) == 4:
            made = made.key[1]  # PyTorch's legacy format keeps a module's source code beside its class
        return made if isinstance(made, Global) else None

    def argument(self, position: int) -> object:
        """One positional argument, or None."""
        if isinstance(self.arguments, tuple) and position < len(self.arguments):
            return self.arguments[position]
        return None


@dataclass(slots=True, eq=False)
class Table:
    """A dictionary, as pairs: keys are never hashed."""

    items: list[tuple[object, object]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """An object that lies outside of the pickle."""

    key: object


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A byte string or string too long to be kept."""

    length: int


def entries(value: object) -> list[tuple[str, object]]:
    """The named attributes or items of a dictionary or an object: what was set in it, then its state."""
    if isinstance(value, Table):
        return [(_key(key), child) for key, child in value.items]
    if not isinstance(value, Call):
        return []
    found = [(_key(key), child) for key, child in value.items or ()]
    for part in _states(value):
        if isinstance(part, Table):
            found += [(_key(key), child) for key, child in part.items]
    return found


def leaves(root: object, leaf: Callable[[object], T | None], dropped: frozenset[str]) -> Iterator[tuple[str, T]]:
    """Everything beneath ``root`` for which ``leaf`` gives something, with its dotted path, in the stream's
    order.

    Every container is entered once, so shared and circular ones end; a leaf that is reached twice comes
    twice. Path components in ``dropped`` are left out. Raises `DocumentError` beneath ``MAX_DEPTH`` levels.
    """
    waiting: list[tuple[object, str, str, int]] = [(root, "", "", 0)]
    entered: set[int] = set()
    while waiting:
        value, parent, name, depth = waiting.pop()
        path = f"{parent}.{name}" if parent and name else parent or name
        found = leaf(value)
        if found is not None:
            yield path[:MAX_NAME], found
        elif id(value) not in entered:
            entered.add(id(value))
            if depth >= MAX_DEPTH or len(path) > MAX_NAME:
                raise DocumentError("the pickled objects are nested too deeply")
            waiting += [
                (child, path, "" if key in dropped else key, depth + 1)
                for key, child in reversed(_children(value))
                if isinstance(child, list | tuple | Table | Call)
            ]


def _children(value: object) -> list[tuple[str, object]]:
    if isinstance(value, list | tuple):
        return [(str(i), child) for i, child in enumerate(value)]
    found = entries(value)
    if isinstance(value, Call):
        found += [(str(i), child) for i, child in enumerate(value.elements or ())]
        found += [("", part) for part in _states(value) if not isinstance(part, Table)]
        found.append(("", value.arguments))
    return found


def _states(value: Call) -> tuple[object, ...]:
    """The parts of the state; (state, slots) is how objects with ``__slots__`` are pickled."""
    return value.state if isinstance(value.state, tuple) and len(value.state) == 2 else (value.state,)


def _key(key: object) -> str:
    if isinstance(key, str):
        return key[:MAX_NAME]
    return str(key) if isinstance(key, int | float) else "?"
