"""One-line questions to a predicate, an annotation or a setting: what the mapping's YAML can ask without any code.

Values that are absent, of another type or not understood never satisfy a question; nothing here raises on a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgspec import Struct


class Condition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"any_of": "is"}):
    """A path, and what some value there must be. Exactly one of ``is``, ``like``, ``exists``, ``empty`` is given."""

    path: str
    """Keys with dots; ``[]`` after a key means some element, ``{}`` some key of a mapping: ``components[].type``."""
    where: Literal["predicate", "said", "signers"] = "predicate"
    """The predicate; what the statement says of its subject; the proved signers (whose path is ``[]``)."""
    any_of: list[str | int | bool] | None = None
    """The value is one of these."""
    like: list[str] | None = None
    """The value is a string that fits one of these globs, whatever its case."""
    exists: bool = False
    """The value is there, and neither null, false nor empty."""
    empty: bool = False
    """The value is a list without elements."""

    def __post_init__(self) -> None:
        if (self.any_of is not None) + (self.like is not None) + self.exists + self.empty != 1:
            raise ValueError("a condition has exactly one of is, like, exists and empty")

    def holds(self, predicate: object, said: object = None, signers: Sequence[str] = ()) -> bool:
        """Whether some value at the path is as demanded."""
        root = predicate if self.where == "predicate" else said if self.where == "said" else list(signers)
        return any(self._fits(value) for value in _values(root, self.path))

    def _fits(self, value: object) -> bool:
        if self.any_of is not None:
            # True == 1 in Python, and a policy that says 1 does not mean true.
            return any(type(value) is type(item) and value == item for item in self.any_of)
        if self.like is not None:
            return isinstance(value, str) and any(fnmatchcase(value[:500].lower(), glob.lower()) for glob in self.like)
        if self.empty:
            return isinstance(value, list | tuple) and not value
        return value not in (None, False, "", 0) and not (isinstance(value, list | tuple | Mapping) and not value)


def _values(value: object, path: str) -> Iterator[Any]:
    """All values that ``path`` leads to."""
    head, _, rest = path.partition(".")
    key, each, names = head.removesuffix("[]").removesuffix("{}"), head.endswith("[]"), head.endswith("{}")
    if key:
        if not isinstance(value, Mapping) or key not in value:
            return
        value = value[key]
    if each:
        found: Sequence[Any] = value if isinstance(value, list | tuple) else ()
    elif names:
        found = list(value) if isinstance(value, Mapping) else ()
    else:
        found = (value,)
    for item in found:
        if rest:
            yield from _values(item, rest)
        else:
            yield item
