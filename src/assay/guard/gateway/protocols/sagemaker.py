"""What a SageMaker container answers to: ``/invocations`` and ``/ping``, with JSON, JSON Lines or CSV.

NumPy's and RecordIO's formats are not read and therefore refused. A target model or variant that a header names is a
model of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from assay.guard.gateway.interface import Decision, Measure, Verb
from assay.guard.gateway.protocols import lines, rows
from assay.guard.gateway.protocols.base import Predictions, any_json
from assay.guard.gateway.protocols.interface import Asked, Found, Pattern, find
from assay.guard.gateway.protocols.reading import Refused, parse, require_media, require_readable, require_unique
from assay.guard.gateway.schemas.validate import Invalid, Validator

_PATTERNS = (Pattern("POST", "/invocations", Verb.INFER), Pattern("GET", "/ping", Verb.HEALTH))
_JSON, _LINES, _CSV = b"application/json", b"application/jsonlines", b"text/csv"
TARGET = b"x-amzn-sagemaker-target-model"
"""Which of several models."""
OTHERS = (
    b"x-amzn-sagemaker-target-variant",
    b"x-amzn-sagemaker-inference-component",
    b"x-amzn-sagemaker-target-container-hostname",
)
"""Headers that choose among models in other ways: their value is the version."""
ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
"""By which TensorFlow's container takes model, version and method; to others it is any text."""
_TENSORFLOW = re.compile(rb"tfs-[^,]*")
_CHOICE = re.compile(rb"tfs-(model-name|model-version|method)=([A-Za-z0-9][A-Za-z0-9._-]{0,255})")


class _Split(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    columns: list[str]
    data: Raw
    index: Raw | UnsetType = UNSET


class _Question(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``parameters`` and ``params`` are not taken: they may multiply."""

    instances: Raw | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    dataframe_records: Raw | UnsetType = UNSET
    dataframe_split: _Split | UnsetType = UNSET
    signature_name: str | UnsetType = UNSET


class _Features(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    features: list[float]


_question = msgspec.json.Decoder(_Question).decode
_features = msgspec.json.Decoder(list[_Features]).decode


class SageMaker(Predictions):
    """See the module."""

    name = "sagemaker"

    def match(self, method: str, path: str) -> Found | Decision:
        """See `interface.Serving`."""
        return find(_PATTERNS, method, path)

    def measure(self, asked: Asked) -> Measure:
        """See `interface.Serving`."""
        kind = require_media(asked.content_type, _JSON, _LINES, _CSV)
        if kind == _CSV:
            count = _csv(asked)
        elif kind == _LINES:
            count = _lines(asked)
        else:
            count = self._json(asked)
        model, version = target(asked)
        return Measure(rows=count, model=model, version=version)

    def _json(self, asked: Asked) -> int:
        raw, keys, columns = _raw(asked)
        validator = asked.validator
        if bytes(memoryview(raw)[:1]) == b'"':
            if validator is not None:
                raise Refused(422, "a text is no row")
            count, inner = 1, 0
        elif (
            validator is not None and "features" not in validator.names and b'"features"' in bytes(memoryview(raw)[:64])
        ):
            count = inner = _featured(raw, validator)
        else:
            count, inner = rows.measure(raw, validator)
            if columns is not None:
                _require_columns(raw, columns, validator)
        require_unique(asked.body, keys + inner)
        return count

    def rows(self, asked: Asked) -> list[Any]:
        """See `interface.Serving`."""
        kind = require_media(asked.content_type, _JSON, _LINES, _CSV)
        if kind == _CSV:
            return [[_value(field) for field in row] for row in lines.fields(asked.body)]
        if kind == _LINES:
            return lines.documents(asked.body)
        raw, _, columns = _raw(asked)
        value = parse(any_json, raw)
        if type(value) is str:
            return [value]
        found = rows.listed(value)
        if columns is not None and all(type(row) is list and len(row) == len(columns) for row in found):
            return [dict(zip(columns, row, strict=True)) for row in found]
        if (
            asked.validator is not None
            and asked.validator.width == len(found) > 1
            and type(found[0]) not in (list, dict)
        ):
            return [found]
        return found

    def items(self, content_type: bytes, body: bytes) -> list[Any]:
        """See `Predictions`."""
        kind = require_media(content_type, _JSON, _LINES, _CSV)
        if kind == _LINES:
            return [parse(any_json, line.encode()) for line in lines.lines(body)]
        if kind == _CSV:
            read = [[_value(field) for field in row] for row in lines.fields(body)]
            return [row[0] if len(row) == 1 else row for row in read]
        answer = parse(any_json, body)
        if type(answer) is dict:
            if type(answer.get("predictions")) is not list:
                raise Refused(422, "the answer has no predictions")
            answer = answer["predictions"]
        return answer if type(answer) is list else [answer]

    def pack(self, content_type: bytes, body: bytes, items: Sequence[Any]) -> bytes:
        """See `Predictions`."""
        kind = require_media(content_type, _JSON, _LINES, _CSV)
        if kind == _LINES:
            return b"".join(msgspec.json.encode(item) + b"\n" for item in items)
        if kind == _CSV:
            return "".join(f"{_joined(item)}\n" for item in items).encode()
        answer = parse(any_json, body)
        if type(answer) is dict:
            return msgspec.json.encode({"predictions": items})
        return msgspec.json.encode(items if type(answer) is list else items[0])


def target(asked: Asked) -> tuple[str, str]:
    """Model and version that headers choose. Raises `Refused`."""
    chosen = [asked.headers[name] for name in (TARGET, *OTHERS) if name in asked.headers]
    if not all(value.isascii() and 0 < len(value) <= 256 and b"," not in value for value in chosen):
        raise Refused(400, "a header that chooses the model cannot be read")
    model = asked.headers.get(TARGET, b"").decode("ascii")
    versions = [asked.headers[name].decode("ascii") for name in OTHERS if name in asked.headers]
    attributes = _attributes(asked.headers[ATTRIBUTES]) if ATTRIBUTES in asked.headers else {}
    if len(versions) > 1 or (attributes and chosen):
        raise Refused(400, "several headers choose the model")
    if attributes:
        return attributes.get("model-name", ""), attributes.get("model-version", "")
    return model, "".join(versions)


def _attributes(value: bytes) -> dict[str, str]:
    """What of ``ATTRIBUTES`` chooses the model. Raises `Refused`."""
    if b"tfs-" not in value:
        return {}
    found = [_CHOICE.fullmatch(one) for one in _TENSORFLOW.findall(value)]
    chosen = {one[1].decode(): one[2].decode() for one in found if one is not None}
    if len(chosen) != len(found) or chosen.get("method", "predict") not in ("predict", "classify", "regress"):
        raise Refused(400, "a header that chooses the model cannot be read")
    return chosen


def _raw(asked: Asked) -> tuple[bytes | Raw, int, list[str] | None]:
    """Rows, keys around them, and the columns' names where they stand apart."""
    require_readable(asked.body)
    if not rows.is_object(asked.body):
        if asked.body.lstrip()[:1] != b"[":
            raise Refused(422, "the body is neither a list nor an object")
        return asked.body, 0, None
    question = parse(_question, asked.body)
    keys = 1 + (question.signature_name is not UNSET)
    split = question.dataframe_split
    given = [raw for raw in (question.instances, question.inputs, question.dataframe_records) if isinstance(raw, Raw)]
    if isinstance(split, _Split):
        given.append(split.data)
        keys += 2 + (split.index is not UNSET)
    if len(given) != 1:
        raise Refused(422, "the body needs its rows in one place")
    raw = given[0]
    if rows.is_object(raw) and question.inputs is UNSET:
        raise Refused(422, "the rows are a list")
    return raw, keys, split.columns if isinstance(split, _Split) else None


def _require_columns(raw: bytes | Raw, columns: list[str], validator: Validator | None) -> None:
    """Raise `Refused` where a frame's names are not those of its data, or of the schema in its order."""
    if validator is not None and validator.vector is None and tuple(columns) != validator.names:
        raise Refused(422, "the columns are not the ones that this model takes, in their order")
    value = parse(any_json, raw)
    if len(set(columns)) != len(columns) or any(type(row) is not list or len(row) != len(columns) for row in value):
        raise Refused(422, "the rows have not as many values as there are columns")


def _featured(raw: bytes | Raw, validator: Validator) -> int:
    """``[{"features": […]}, …]`` against positional columns."""
    found = [row.features for row in parse(_features, raw)]
    try:
        if any(len(row) != validator.width for row in found):
            raise Invalid(f"a row has {validator.width} columns")
        validator.numbers([value for row in found for value in row], len(found))
    except Invalid as error:
        raise Refused(422, str(error)) from None
    return len(found)


def _csv(asked: Asked) -> int:
    found = lines.fields(asked.body)
    if asked.validator is not None:
        try:
            asked.validator.texts(found)
        except Invalid as error:
            raise Refused(422, str(error)) from None
    return len(found)


def _lines(asked: Asked) -> int:
    found = lines.documents(asked.body)
    if asked.validator is not None:
        joined = msgspec.json.encode(found)
        if b'"features"' in joined[:64] and "features" not in asked.validator.names and asked.validator.vector is None:
            _featured(joined, asked.validator)
        else:
            rows.measure(joined, asked.validator)
    return len(found)


def _value(field: str) -> Any:
    """A field as what it reads like: a number, else a text; an empty one is nothing."""
    text = field.strip()
    if not text:
        return None
    try:
        return int(text) if text.lstrip("+-").isdecimal() and len(text) < 300 else float(text)
    except ValueError:
        return text


def _joined(item: Any) -> str:
    values = item if type(item) is list else [item]
    if any(type(value) is dict for value in values):
        raise Refused(422, "an object is no line of CSV")
    return ",".join(_field(value) for value in values)


def _field(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
