"""What an engine has to offer: the first rows of a data set, and a fold over all of it that carries bytes.

An engine looks into neither tables nor states. It must never bring rows to the driver but the first few, nor more
states than a few: they are merged in a tree, by tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

Part: TypeAlias = Callable[[Iterable[Any]], bytes | None]
"""What a task does: read tables one after the other (Arrow or pandas) and give one state; None where nothing was in
them. It can be pickled, and gives equal bytes for equal tables, so that a task which is tried again does no harm."""

Merge: TypeAlias = Callable[..., bytes]
"""One state of several, given one by one in any order; associative. It can be pickled."""


class Engine(Protocol):
    """One engine. Its modules are its implementations: each is a file of this folder."""

    def first(self, data: Any, rows: int) -> Any:
        """About ``rows`` rows of ``data`` as a table, or several; one with columns and no row where there is none."""

    def fold(self, data: Any, part: Part, merge: Merge) -> bytes | None:
        """``part`` of each of the tables, merged by ``merge``. None where no part gave a state."""
