"""YAML from strangers as plain values: null, booleans, integers, floats, strings, lists, and objects with string keys.

What two readers could read in two ways is an error that names the line: keys that stand twice, anchors, merge keys,
tags, several documents, numbers in base 8 or 60. It never makes an object of any other type, never recurses, and
never takes more memory than the text's own size allows for.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from assay.errors import DocumentError

MAX_BYTES = 1 << 20
"""Bytes of a document that are read unless the caller says otherwise."""
MAX_DEPTH = 100
"""Lists and objects inside each other."""
MAX_NODES = 200_000
"""Values and keys of a document."""

Path = tuple[str | int, ...]
"""Keys and list positions from the root."""

# What a double-quoted escape can bring in although it may not stand in the text itself.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"
_STRING = f"{_TAG}str"
_ABSENT = object()


class Lines(dict[Path, int]):
    """Line (from 1) of each value by its path; that of an object's entry is the line of its key."""

    def at(self, *path: str | int) -> int:
        """The line of a value, or of the nearest thing that holds it; 0 where nothing is known."""
        for length in range(len(path), -1, -1):
            line = self.get(path[:length])
            if line is not None:
                return line
        return 0


def loads(data: bytes, name: str, *, max_bytes: int = MAX_BYTES) -> Any:
    """The document's value; None for an empty one. Raises `DocumentError` (``name:line: what is wrong``)."""
    return _read(data, name, max_bytes, None)


def loads_with_lines(data: bytes, name: str, *, max_bytes: int = MAX_BYTES) -> tuple[Any, Lines]:
    """As `loads`, and where each value stands."""
    lines = Lines()
    return _read(data, name, max_bytes, lines), lines


def _read(data: bytes, name: str, max_bytes: int, lines: Lines | None) -> Any:
    import yaml

    if len(data) > max_bytes:
        raise DocumentError(f"{name} is larger than the {max_bytes:,} bytes that are read of a YAML document")
    try:
        text = data.decode("utf-8-sig")  # YAML allows UTF-16 and -32 too, which nobody writes and not all guess alike
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"{name}:{line}: not UTF-8") from None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        parser = loader(text)
        try:
            return _Builder(name, lines, yaml).build(parser.get_event)
        finally:
            parser.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise DocumentError(f"{place}: {_printable(error.problem) or 'not YAML'}") from None
    except yaml.reader.ReaderError as error:
        # Position is in characters for the reader in Python, in bytes for the one in C: exact for neither, so unsaid.
        raise DocumentError(f"{name}: {_printable(error.reason)}") from None
    except yaml.YAMLError:
        raise DocumentError(f"{name} is not YAML") from None


class _Builder:
    """Events to values, with a stack of its own in place of recursion."""

    def __init__(self, name: str, lines: Lines | None, yaml: Any) -> None:
        self._name, self._lines, self._yaml = name, lines, yaml
        self._resolvers = yaml.SafeLoader.yaml_implicit_resolvers
        self._line = 0

    def build(self, next_event: Any) -> Any:
        """The one document's value."""
        yaml, lines = self._yaml, self._lines
        scalar_event, start_map, start_list = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
        result: Any = None
        documents = nodes = 0
        stack: list[tuple[Any, Path]] = []
        container: Any = None  # the innermost list or object
        path: Path = ()  # the container's
        key: Any = _ABSENT  # of the entry whose value comes next
        key_line = 0
        while (event := next_event()) is not None:
            kind = type(event)
            if kind in ends:
                stack.pop()
                container, path = stack[-1] if stack else (None, ())
                continue
            if kind is scalar_event or kind is start_map or kind is start_list:
                self._line = event.start_mark.line + 1
                if event.anchor is not None:
                    self._refuse("anchors and aliases are not allowed")
                nodes += 1
                if nodes > MAX_NODES:
                    self._refuse(f"more than {MAX_NODES:,} values")
                in_object = type(container) is dict
                if in_object and key is _ABSENT:
                    key, key_line = self._key(event, kind is scalar_event, container), self._line
                    continue
                value: Any
                if kind is scalar_event:
                    value = self._scalar(event)
                else:
                    if event.tag is not None:
                        self._refuse(f"the tag {_printable(event.tag)} is not allowed")
                    value = {} if kind is start_map else []
                here = path
                if in_object:
                    container[key] = value
                    if lines is not None:
                        here = (*path, key)
                        lines[here] = key_line
                    key = _ABSENT
                elif container is not None:
                    if lines is not None:
                        here = (*path, len(container))
                        lines[here] = self._line
                    container.append(value)
                else:
                    result = value
                    if lines is not None:
                        lines[()] = self._line
                if kind is not scalar_event:
                    if len(stack) >= MAX_DEPTH:
                        self._refuse(f"nested deeper than {MAX_DEPTH}")
                    container, path = value, here
                    stack.append((container, path))
            elif kind is yaml.AliasEvent:
                self._line = event.start_mark.line + 1
                self._refuse("anchors and aliases are not allowed")
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._line = event.start_mark.line + 1
                    self._refuse("a second document begins, only one is read")
        return result

    def _key(self, event: Any, is_scalar: bool, container: dict[str, Any]) -> str:
        if not is_scalar:
            self._refuse("a list or object is no key")
        if event.implicit[0] and event.tag is None and event.value == "<<":
            self._refuse("merge keys are not allowed")
        key = self._scalar(event)
        if not isinstance(key, str):
            self._refuse(f"the key {_printable(event.value)!r} is not a string; write it in quotes")
        if key in container:
            self._refuse(f"the key {_printable(key)!r} stands twice")
        return str(key)

    def _scalar(self, event: Any) -> Any:
        value: str = event.value
        if event.tag is not None:
            if event.tag != _STRING:
                self._refuse(f"the tag {_printable(event.tag)} is not allowed")
            tag = _STRING
        elif event.implicit[0]:
            tag = self._tag(value)
        else:
            tag = _STRING
        if tag == _STRING:
            if _CONTROL.search(value):
                self._refuse("a string with control characters")
            return value
        return self._plain(tag[len(_TAG) :], value)

    def _tag(self, value: str) -> str:
        """The type that an unquoted text has, by the very table that PyYAML's safe loader uses (YAML 1.1)."""
        for tag, pattern in self._resolvers.get(value[:1], ()):
            if pattern.match(value):
                return str(tag)
        return _STRING

    def _plain(self, kind: str, value: str) -> Any:
        if kind == "null":
            return None
        if kind == "bool":
            return value.lower() in ("yes", "true", "on")
        if kind == "int":
            return self._integer(value)
        if kind == "float":
            return self._float(value)
        if kind == "merge":
            self._refuse("merge keys are not allowed")
        return value  # dates and "=" stay what they are: text

    def _integer(self, value: str) -> int:
        digits = value.replace("_", "").lstrip("+-")
        if ":" in digits or (digits.startswith("0") and digits.isdecimal() and digits != "0"):
            self._refuse(f"{_printable(value)} is one number to some readers and another to others; write it in quotes")
        if len(digits) > 66:  # 0b and 64 digits
            self._refuse("an integer beyond 64 bits")
        base = {"0b": 2, "0x": 16}.get(digits[:2], 10)
        number = int(digits, base) * (-1 if value.startswith("-") else 1)
        if not -(1 << 63) <= number < 1 << 63:
            self._refuse("an integer beyond 64 bits")
        return number

    def _float(self, value: str) -> float:
        text = value.replace("_", "").lower()
        if ":" in text:
            self._refuse(f"{_printable(value)} is one number to some readers and another to others; write it in quotes")
        number = math.nan if text.endswith((".inf", ".nan")) else float(text)
        if not math.isfinite(number):
            self._refuse(f"{_printable(value)} is not a finite number")
        return number

    def _refuse(self, problem: str) -> NoReturn:
        raise DocumentError(f"{self._name}:{self._line}: {problem}")


def _printable(text: object) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text or ""))[:200]
