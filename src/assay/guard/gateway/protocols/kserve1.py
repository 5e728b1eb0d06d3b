"""KServe's protocol version 1, which is TensorFlow Serving's REST API: instances by row, or inputs by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from assay.guard.gateway.interface import Decision, Measure, Verb
from assay.guard.gateway.protocols import rows
from assay.guard.gateway.protocols.base import Predictions, any_json
from assay.guard.gateway.protocols.interface import Asked, Found, Pattern, find
from assay.guard.gateway.protocols.reading import Refused, parse, require_media, require_readable, require_unique

_MODEL = "/v1/models/{model}"
_PATTERNS = tuple(
    Pattern(method, where + tail, verb)
    for where in (_MODEL, f"{_MODEL}/versions/{{version}}", f"{_MODEL}/labels/{{version}}")
    for method, tail, verb in (
        ("POST", ":predict", Verb.INFER),
        ("POST", ":classify", Verb.INFER),
        ("POST", ":regress", Verb.INFER),
        ("POST", ":explain", Verb.EXPLAIN),
        ("GET", "", Verb.METADATA),
        ("GET", "/metadata", Verb.METADATA),
    )
)


class _Question(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Of ``context`` and ``parameters`` nobody knows what they multiply: they are not taken."""

    instances: Raw | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    examples: Raw | UnsetType = UNSET
    signature_name: str | UnsetType = UNSET


_question = msgspec.json.Decoder(_Question).decode
_ANSWERS = ("predictions", "outputs", "results")


def _frame(row: Any) -> int:
    """Rows that one instance may be. KServe's servers for tables make a frame of each instance that is an object, so
    that a list in it, or an object of values by index, is a column. A single list of numbers is taken for the vector
    that it is to others. Raises `Refused` for lists of objects, which would be frames too.
    """
    if type(row) is list:
        if any(type(one) is dict and one.keys() != {"b64"} for one in rows.flatten(row)):
            raise Refused(422, "an instance is a list of objects")
        return 1
    if type(row) is not dict or row.keys() == {"b64"}:
        return 1
    columns = list(row.values())
    if (
        len(columns) == 1
        and type(columns[0]) is list
        and {type(one) for one in rows.flatten(columns[0])} <= {int, float}
    ):
        return 1
    indices = set().union(*(one for one in columns if type(one) is dict))
    return max(1, len(indices), *(len(one) for one in columns if type(one) is list))


class KServe1(Predictions):
    """See the module."""

    name = "kserve-v1"

    def match(self, method: str, path: str) -> Found | Decision:
        """See `interface.Serving`."""
        return find(_PATTERNS, method, path)

    def measure(self, asked: Asked) -> Measure:
        """See `interface.Serving`."""
        if asked.hardened and asked.verb is Verb.EXPLAIN:
            raise Refused(403, "explanations are not given to this caller")
        raw, keys, framed = self._raw(asked)
        count, inner = rows.measure(raw, asked.validator)
        require_unique(asked.body, keys + inner)
        if framed and asked.validator is None and asked.body.count(b"{") > 1:
            value = parse(any_json, raw)
            if type(value) is list:
                count = sum(map(_frame, value))
        return Measure(rows=count)

    def _raw(self, asked: Asked) -> tuple[Raw, int, bool]:
        """Rows, keys around them, and whether some server may make frames of them: not of TensorFlow's examples."""
        require_media(asked.content_type, b"application/json")
        require_readable(asked.body)
        question = parse(_question, asked.body)
        given = [raw for raw in (question.instances, question.inputs, question.examples) if raw is not UNSET]
        if len(given) != 1:
            raise Refused(422, "the body needs either instances or inputs")
        raw = given[0]
        assert isinstance(raw, Raw)
        if question.inputs is UNSET and rows.is_object(raw):
            raise Refused(422, "instances are a list")
        return raw, 1 + (question.signature_name is not UNSET), question.examples is UNSET

    def rows(self, asked: Asked) -> list[Any]:
        """See `interface.Serving`."""
        return rows.listed(parse(any_json, self._raw(asked)[0]))

    def items(self, content_type: bytes, body: bytes) -> list[Any]:
        """See `Predictions`."""
        return rows.listed(self._answer(content_type, body)[1])

    def pack(self, content_type: bytes, body: bytes, items: Sequence[Any]) -> bytes:
        """See `Predictions`."""
        name, value = self._answer(content_type, body)
        if type(value) is dict:
            return msgspec.json.encode({name: {key: [item[key] for item in items] for key in value}})
        return msgspec.json.encode({name: items})

    def _answer(self, content_type: bytes, body: bytes) -> tuple[str, Any]:
        require_media(content_type, b"application/json")
        answer = parse(any_json, body)
        given = [name for name in _ANSWERS if name in answer] if type(answer) is dict else []
        if len(given) != 1:
            raise Refused(422, "the answer has no predictions")
        return given[0], answer[given[0]]
