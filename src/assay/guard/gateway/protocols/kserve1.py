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
from assay.guard.gateway.protocols.reading import Refused, parse, require_media, require_text, require_unique

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
        raw, keys = self._raw(asked)
        count, inner = rows.measure(raw, asked.validator)
        require_unique(asked.body, keys + inner)
        return Measure(rows=count)

    def _raw(self, asked: Asked) -> tuple[Raw, int]:
        require_media(asked.content_type, b"application/json")
        require_text(asked.body)
        question = parse(_question, asked.body)
        given = [raw for raw in (question.instances, question.inputs, question.examples) if raw is not UNSET]
        if len(given) != 1:
            raise Refused(422, "the body needs either instances or inputs")
        raw = given[0]
        assert isinstance(raw, Raw)
        if question.inputs is UNSET and rows.is_object(raw):
            raise Refused(422, "instances are a list")
        return raw, 1 + (question.signature_name is not UNSET)

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
