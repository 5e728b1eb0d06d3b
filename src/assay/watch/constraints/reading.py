"""Constraints from YAML or JSON and back. An error names file and line where the format has lines.

Written YAML is what the reader reads; values that YAML cannot carry (control characters in a category) go into JSON.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn, TypeVar

import msgspec

from assay import strict_yaml
from assay.errors import DocumentError
from assay.files import read_file
from assay.watch.columns import shown
from assay.watch.constraints.model import FORMAT, VERSION, Column, Constraints, Settings

MAX_BYTES = 16 << 20
"""Largest document that is read: tens of thousands of columns."""

_HEAD = """\
# What a window of data must look like. Delete what shall not be checked; `null` in a range is no bound.
# A share (completeness, domain-share, ...) is violated when chance alone would explain it in fewer than
# settings.chance of all windows.
"""
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_PLACE = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")

_Document = TypeVar("_Document", Settings, Column)


def load(path: str) -> Constraints:
    """A file's constraints. Raises `UsageError` or `DocumentError` (``file:line: what is wrong``)."""
    return loads(read_file(path, MAX_BYTES), path)


def loads(data: bytes, name: str) -> Constraints:
    """Constraints from YAML, or from JSON if the first character says so. Raises `DocumentError`."""
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        from assay.evidence import strict_json

        return from_value(strict_json.loads(data, name, max_bytes=MAX_BYTES), name)
    value, lines = strict_yaml.loads_with_lines(data, name, max_bytes=MAX_BYTES)
    return from_value(value, name, lines)


def from_value(value: Any, name: str, lines: strict_yaml.Lines | None = None) -> Constraints:
    """Constraints from a JSON value that was read strictly. Raises `DocumentError`."""
    places = _Places(name, lines)
    if not isinstance(value, dict) or FORMAT not in value:
        raise DocumentError(f"{name} is not a constraints file: it has no key {FORMAT!r}", hint=f"{FORMAT}: {VERSION}")
    if value[FORMAT] != VERSION or isinstance(value[FORMAT], bool):
        places.refuse((FORMAT,), f"version {value[FORMAT]!r} of the format is not known, {VERSION} is")
    for key in value:
        if key not in (FORMAT, "settings", "columns"):
            places.refuse((key,), f"unknown key {key!r}")
    columns = value.get("columns", {})
    if not isinstance(columns, dict):
        places.refuse(("columns",), "columns is not a mapping of names to constraints")
    settings = places.convert(value.get("settings", {}), Settings, ("settings",))
    made = {key: places.convert(item, Column, ("columns", key)) for key, item in columns.items()}
    return Constraints(settings=settings, columns=made)


def to_value(constraints: Constraints) -> dict[str, Any]:
    """As a JSON value that `from_value` reads as equal constraints."""
    value: dict[str, Any] = msgspec.to_builtins(constraints)
    for column in value.get("columns", {}).values():
        if "range" in column:
            column["range"] = [_short(bound) for bound in column["range"]]
    return {FORMAT: VERSION, **value}


def _short(bound: float | None) -> float | None:
    """A whole number as people write it."""
    return int(bound) if bound is not None and abs(bound) < 1e15 and bound == int(bound) else bound


def dumps(constraints: Constraints) -> bytes:
    """As YAML for people, or as JSON where a text in it has no place in YAML."""
    import yaml

    value = to_value(constraints)
    text = _HEAD + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    data = text.encode("utf-8", "surrogatepass")
    try:
        if loads(data, FORMAT) == constraints:
            return data
    except DocumentError:
        pass
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


class _Places:
    """Turns a path into ``file:line``."""

    def __init__(self, name: str, lines: strict_yaml.Lines | None) -> None:
        self._name, self._lines = name, lines

    def refuse(self, path: strict_yaml.Path, problem: str, hint: str | None = None) -> NoReturn:
        line = self._lines.at(*path) if self._lines is not None else 0
        raise DocumentError(f"{self._name}:{line}: {problem}" if line else f"{self._name}: {problem}", hint=hint)

    def convert(self, value: Any, kind: type[_Document], path: strict_yaml.Path) -> _Document:
        try:
            return msgspec.convert({} if value is None else value, kind)
        except msgspec.ValidationError as error:
            self._explain(str(error), kind, path)

    def _explain(self, problem: str, kind: type[Any], path: strict_yaml.Path) -> NoReturn:
        """Raise what msgspec found, with the place in the file that it is about."""
        where = path
        if match := _PLACE.search(problem):
            problem = problem[: match.start()]
            where += tuple(int(index) if index else key for key, index in _STEP.findall(match[1]) if key != "..")
        if match := _UNKNOWN.search(problem):
            where = (*where, match[1])
            known = [item.encode_name for item in msgspec.structs.fields(_owner(kind, where[len(path) : -1]))]
            self.refuse(where, f"unknown key {match[1]!r} in {_dotted(where[:-1])}", f"known: {', '.join(known)}")
        hint = "a number such as 1e-4 is text to YAML; write 1.0e-4" if "got `str`" in problem else None
        self.refuse(where, f"{_dotted(where)}: {problem[:1].lower()}{problem[1:]}", hint)


def _owner(kind: type[Any], inside: strict_yaml.Path) -> type[Any]:
    """The struct that a path inside of ``kind`` ends in."""
    from assay.watch.constraints.model import Drift

    return Drift if "drift" in inside else kind


def _dotted(path: strict_yaml.Path) -> str:
    return shown(".".join(str(step) for step in path), 200)
