"""Functions on plain values, and the two of Rego that are random elsewhere: here they follow from their arguments, so
that the same rule about the same evidence always says the same.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any


def flatten(items: Any) -> list[Any]:
    """``array.flatten``: the arrays among the items give way to their own items."""
    if not isinstance(items, list):
        raise TypeError("array.flatten: the argument is not an array")
    made: list[Any] = []
    for item in items:
        made.extend(item if isinstance(item, list) else [item])
    return made


def occurrences(text: str, part: str) -> int:
    """``strings.count``: of ``part`` in ``text``, not overlapping; of the empty text, one more than characters."""
    if not isinstance(text, str) or not isinstance(part, str):
        raise TypeError("strings.count: an argument is not a string")
    return text.count(part)


def number(name: str, limit: int) -> int:
    """``rand.intn``: from 0 up to, not including, the limit (its absolute value)."""
    if not isinstance(name, str) or not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError("rand.intn: the arguments are not a string and a number")
    if limit == 0:
        return 0
    return int.from_bytes(hashlib.sha256(f"{name}\n{limit}".encode()).digest()[:16], "big") % abs(limit)


def identifier(name: str) -> str:
    """``uuid.rfc4122``: of version 4 in form."""
    if not isinstance(name, str):
        raise TypeError("uuid.rfc4122: the argument is not a string")
    return str(uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4))


def some_true(items: Any) -> bool:
    """``any`` of v0."""
    return any(item is True for item in _collection("any", items))


def all_true(items: Any) -> bool:
    """``all`` of v0."""
    return all(item is True for item in _collection("all", items))


def difference(one: Any, other: Any) -> set[Any]:
    """``set_diff`` of v0."""
    if not isinstance(one, set) or not isinstance(other, set):
        raise TypeError("set_diff: an argument is not a set")
    return one - other


def as_array(items: Any) -> list[Any]:
    """``cast_array`` of v0."""
    if isinstance(items, list):
        return items
    if isinstance(items, set):
        return sorted(items)
    raise TypeError("cast_array: the argument is neither an array nor a set")


def matches(pattern: str, text: str) -> bool:
    """``re_match`` of v0, by regorus' own regular expressions, which take linear time."""
    import regorus

    engine = regorus.Engine()
    engine.add_policy("re_match", "package re_match\nresult := regex.match(input[0], input[1])")
    engine.set_input([pattern, text])
    return bool(engine.eval_rule("data.re_match.result") is True)


def _collection(name: str, items: Any) -> Any:
    if not isinstance(items, list | set):
        raise TypeError(f"{name}: the argument is neither an array nor a set")
    return items
