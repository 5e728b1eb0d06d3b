"""JSON of the user's own: a path, and where in the bodies the rows and the answers are.

Beside the rows only plain values are taken: a list or an object that nobody measures could hold more rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from assay.errors import DocumentError
from assay.guard.gateway.interface import Decision, Measure, Verb
from assay.guard.gateway.protocols import rows
from assay.guard.gateway.protocols.base import Predictions, any_json
from assay.guard.gateway.protocols.interface import NOT_FOUND, WRONG_METHOD, Asked, Found
from assay.guard.gateway.protocols.reading import (
    Refused,
    count_keys,
    parse,
    require_media,
    require_readable,
    require_unique,
)

_PATH = re.compile(r"\$(\.[A-Za-z0-9_-]{1,100}){0,8}")
_object = msgspec.json.Decoder(dict[str, Raw]).decode


def steps(path: str) -> tuple[str, ...]:
    """The names of ``$.a.b``. Raises `DocumentError`."""
    if not _PATH.fullmatch(path):
        raise DocumentError(f"{path[:100]!r} is no path into a body", hint="write $ or $.name or $.name.name")
    return tuple(path.split(".")[1:])


class Plain(Predictions):
    """See the module."""

    name = "json"

    def __init__(self, path: str, question: str, answer: str, websocket: bool = False) -> None:
        """``websocket``: the path also takes the GET that begins one."""
        self._path = path
        self._methods = ("POST", "GET") if websocket else ("POST",)
        self._question = steps(question)
        self._answer = steps(answer)

    def match(self, method: str, path: str) -> Found | Decision:
        """See `interface.Serving`."""
        if path != self._path:
            return NOT_FOUND
        return Found(Verb.INFER, self._path) if method in self._methods else WRONG_METHOD

    def measure(self, asked: Asked) -> Measure:
        """See `interface.Serving`."""
        raw, keys = self._raw(asked)
        if rows.is_object(raw) and (inner := self._single(raw, asked)) is not None:
            count = 1
        else:
            count, inner = rows.measure(raw, asked.validator)
        require_unique(asked.body, keys + inner)
        return Measure(rows=count)

    def _raw(self, asked: Asked) -> tuple[bytes | Raw, int]:
        require_media(asked.content_type, b"application/json")
        require_readable(asked.body)
        raw: bytes | Raw = asked.body
        keys = 0
        for name in self._question:
            level = parse(_object, raw)
            found = level.pop(name, None)
            if found is None:
                raise Refused(422, "the body has no rows where they have to be")
            if any(bytes(memoryview(other)[:1]) in (b"[", b"{") for other in level.values()):
                raise Refused(422, "the body has a list or an object beside the rows")
            raw = found
            keys += len(level) + 1
        return raw, keys

    def _single(self, raw: bytes | Raw, asked: Asked) -> int | None:
        """An object of plain values is one row: its keys. None for columns."""
        value = parse(any_json, raw)
        if any(type(one) is list for one in value.values()):
            return None
        if asked.validator is not None:
            rows.measure(b"[" + bytes(raw) + b"]", asked.validator)
        elif any(type(one) is dict for one in value.values()):
            raise Refused(422, "a row holds an object")
        return count_keys(value)

    def rows(self, asked: Asked) -> list[Any]:
        """See `interface.Serving`."""
        value = parse(any_json, self._raw(asked)[0])
        if type(value) is dict and not any(type(one) is list for one in value.values()):
            return [value]
        if type(value) is list and asked.validator is not None and asked.validator.width == len(value) > 1:
            return value if type(value[0]) in (list, dict) else [value]
        return rows.listed(value)

    def items(self, content_type: bytes, body: bytes) -> list[Any]:
        """See `Predictions`."""
        value = self._found(content_type, body)
        return value if type(value) is list else [value]

    def pack(self, content_type: bytes, body: bytes, items: Sequence[Any]) -> bytes:
        """See `Predictions`."""
        value: Any = items if type(self._found(content_type, body)) is list else items[0]
        for name in reversed(self._answer):
            value = {name: value}
        return msgspec.json.encode(value)

    def _found(self, content_type: bytes, body: bytes) -> Any:
        require_media(content_type, b"application/json")
        value = parse(any_json, body)
        for name in self._answer:
            if type(value) is not dict or name not in value:
                raise Refused(422, "the answer has no predictions where they have to be")
            value = value[name]
        return value
