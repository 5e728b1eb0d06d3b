"""What is wrong with a gateway file, in words: where it stands, and what may stand there.

It only tells what msgspec has found: it never decides whether a file is good, and never raises anything but that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from assay.errors import DocumentError
from assay.guard.gateway.settings.model import Settings
from assay.policy.reading.problems import near
from assay.strict_yaml import Lines

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
"""msgspec's names of types, as people call them."""
_STEP = re.compile(r"\.([^.\[\]`]+)|\[(\d+)\]|(\[\.\.\.\])")
_PLACE = re.compile(rf"(?:key` in `)?\$(?:{_STEP.pattern})*`")
_OURS = ("directory",)
"""Fields of the settings that are no keys of the file."""


def told(
    error: msgspec.ValidationError,
    raw: Any,
    name: str,
    lines: Lines | None,
    convert: Callable[[Any], msgspec.Struct],
    kind: type[msgspec.Struct] = Settings,
) -> DocumentError:
    """The error that ``convert`` raised of ``raw``, which should be a ``kind``, as a sentence with its place."""
    reason, _, where = str(error).rpartition(" - at `")
    if not _PLACE.fullmatch(where):  # at the root there is none, and a key may look like anything
        reason, where = str(error), ""
    path = _resolved(where, raw, str(error), convert)
    found, hint = _found(reason, _at(inspect.type_info(kind), path), path)
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:100]}" for step in path)[1:]
    place = "".join(letter if letter.isprintable() else "?" for letter in place)
    start = f"{name}:{lines.at(*path)}" if lines and lines.at(*path) else name
    return DocumentError(f"{start}: {place}: {found}" if place else f"{start}: {found}", hint=hint)


def _resolved(where: str, raw: Any, text: str, convert: Callable[[Any], Any]) -> list[str | int]:
    """The path of msgspec's ``$.plans[...].rate`` with the key that it leaves out: the one that fails by itself."""
    path: list[str | int] = []
    for match in _STEP.finditer(where):
        if match[3]:
            path.append(next(_culprits(raw, path, text, convert), "…"))
        else:
            path.append(int(match[2]) if match[2] else match[1])
    return path


def _culprits(raw: Any, path: list[str | int], text: str, convert: Callable[[Any], Any]) -> Iterator[str]:
    try:
        there = dict(_under(raw, path))
    except (LookupError, TypeError, ValueError):  # a key that looked like a place
        return
    for key, value in there.items():
        try:
            convert(_with(raw, path, {key: value}))
        except msgspec.ValidationError as error:
            if str(error) == text:
                yield key


def _under(raw: Any, path: list[str | int]) -> Any:
    for step in path:
        raw = raw[step]
    return raw


def _with(raw: Any, path: list[str | int], value: Any) -> Any:
    """``raw`` with ``value`` at ``path``, the rest as it is."""
    if not path:
        return value
    changed: Any = dict(raw) if isinstance(raw, dict) else list(raw)
    changed[path[0]] = _with(raw[path[0]], path[1:], value)
    return changed


def _at(kind: Any, path: list[str | int]) -> Any:
    """The type that stands at a path."""
    kind = _certain(kind)
    for step in path:
        if isinstance(kind, inspect.StructType):
            kind = next((field.type for field in kind.fields if field.encode_name == step), None)
        elif isinstance(kind, inspect.DictType):
            kind = kind.value_type
        else:
            kind = getattr(kind, "item_type", None)
        kind = _certain(kind)
    return kind


def _certain(kind: Any) -> Any:
    """What may stand there beside nothing at all."""
    if isinstance(kind, inspect.UnionType):
        return next((one for one in kind.types if not isinstance(one, inspect.NoneType)), kind)
    return kind


def _found(reason: str, kind: Any, path: list[str | int]) -> tuple[str, str | None]:
    """What is wrong, and a hint. ``path`` grows by a key that may not stand there."""
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        known = [field.encode_name for field in getattr(kind, "fields", ()) if field.encode_name not in _OURS]
        path.append(match[1])
        return "this key is not known", near(match[1], known) or "docs/gateway-file.md has all keys"
    if match := re.fullmatch(r"Object missing required field `(.*)`", reason):
        return f"the key {match[1]!r} is missing", None
    if match := re.fullmatch(r"Invalid enum value '?(.*?)'?", reason, re.DOTALL):
        if isinstance(kind, inspect.DictType):
            kind = _certain(kind.key_type)
            path.append(match[1])
            return "this key is not known", near(match[1], map(str, getattr(kind, "values", ())))
        return f"{match[1][:100]!r} is not known", near(match[1], map(str, getattr(kind, "values", ())))
    reason = re.sub(r"`(\w+)(?: \| null)?`", lambda kind: _KINDS.get(kind[1], kind[0]), reason)
    if match := re.fullmatch(r"Expected (.*?)(?:, got (.*))?", reason, re.DOTALL):
        wanted = match[1].replace(">=", "of at least").replace("matching regex", "of the form")
        return f"{wanted} is expected here" + (f", not {match[2]}" if match[2] else ""), None
    return reason, None
