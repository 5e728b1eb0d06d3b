"""The Open Inference Protocol, version 2: KServe, Triton, MLServer, Seldon.

Control of repositories, shared memory, tracing, logging and statistics is not listed and therefore denied. The
extension for binary data (``Inference-Header-Content-Length``) is read by the same rules as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from assay.guard.gateway.hardening.items import harden_item, harden_text
from assay.guard.gateway.hardening.vectors import harden, is_distribution
from assay.guard.gateway.interface import Answers, Decision, Measure, Table, Verb
from assay.guard.gateway.parts import Unhardened
from assay.guard.gateway.protocols import answers, rows
from assay.guard.gateway.protocols.base import Predictions
from assay.guard.gateway.protocols.interface import NOT_FOUND, Asked, Found, Hardener, Pattern, find
from assay.guard.gateway.protocols.parameters import CODECS, Wanted, asks_otherwise, json_length, require_allowed
from assay.guard.gateway.protocols.reading import (
    Refused,
    parse,
    require_media,
    require_readable,
    require_unique,
)
from assay.guard.gateway.protocols.tensors import FLOATS, RANGES, Parameters, Tensor, binary, elements, values
from assay.guard.gateway.schemas.validate import Invalid, Validator

_MODEL = "/v2/models/{model}"
_PATTERNS = (
    *(
        Pattern(method, where + tail, verb)
        for where in (_MODEL, f"{_MODEL}/versions/{{version}}")
        for method, tail, verb in (
            ("POST", "/infer", Verb.INFER),
            ("GET", "", Verb.METADATA),
            ("GET", "/ready", Verb.HEALTH),
        )
    ),
    Pattern("GET", "/v2", Verb.METADATA),
    Pattern("GET", "/v2/health/live", Verb.HEALTH),
    Pattern("GET", "/v2/health/ready", Verb.HEALTH),
)
_RESERVED = frozenset({"stats", "ready", "versions", "infer"})
"""No models: Triton answers ``/v2/models/stats`` with the statistics of all."""


class _Question(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: list[Tensor]
    id: str | UnsetType = UNSET
    outputs: list[Wanted] | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET


class _Answer(msgspec.Struct, gc=False):
    outputs: list[Tensor]
    model_name: str | UnsetType = UNSET
    model_version: str | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET


_question = msgspec.json.Decoder(_Question).decode
_answer = msgspec.json.Decoder(_Answer).decode


class OpenInference(Predictions):
    """See the module."""

    name = "open-inference"

    def match(self, method: str, path: str) -> Found | Decision:
        """See `interface.Serving`."""
        found = find(_PATTERNS, method, path)
        return NOT_FOUND if isinstance(found, Found) and found.model in _RESERVED else found

    def measure(self, asked: Asked) -> Measure:
        """See `interface.Serving`."""
        try:
            question, data = _read(asked, asked.validator)
        except Invalid as error:
            raise Refused(422, str(error)) from None
        if asked.hardened and asks_otherwise(question.parameters, question.outputs):
            raise Refused(422, "this caller's answers come as plain JSON: do not ask for another form")
        batch = question.inputs[0].shape[0] if question.inputs[0].shape else 1
        if asked.validator is not None and data[0] is not _CHECKED:
            try:
                _validate(question.inputs, data, batch, asked.validator)
            except Invalid as error:
                raise Refused(422, str(error)) from None
        return Measure(rows=batch)

    def rows(self, asked: Asked) -> list[Any]:
        """See `interface.Serving`."""
        question, data = _read(asked)
        found = [_per_row(tensor, column) for tensor, column in zip(question.inputs, data, strict=True)]
        if len(found) == 1:
            return found[0]
        names = [tensor.name for tensor in question.inputs]
        return [dict(zip(names, row, strict=True)) for row in zip(*found, strict=True)]

    def table(self, asked: Asked) -> Table | None:
        """See `interface.Serving`."""
        found = self.rows(asked)
        if found and type(found[0]) is dict and any(type(value) is list for value in found[0].values()):
            names = [
                f"{name}_{i}" if type(value) is list else name
                for name, value in found[0].items()
                for i in range(len(value) if type(value) is list else 1)
            ]
            return rows.table([rows.flatten(list(row.values())) for row in found], names)
        return rows.table(found, asked.validator.names if asked.validator is not None else ())

    def answers(self, content_type: bytes, body: bytes) -> Answers | None:
        """See `interface.Serving`."""
        best: Answers | None = None
        for tensor in parse(_answer, body).outputs:
            found = answers.answers(_per_row(tensor, values(tensor)))
            if found is not None and (best is None or best.probabilities is None):
                labels = found.labels if best is None else best.labels
                best = Answers(labels, found.probabilities)
        return best

    def items(self, content_type: bytes, body: bytes) -> list[Any]:
        """See `Predictions`: the longest of the outputs."""
        counts = [tensor.shape[0] for tensor in parse(_answer, body).outputs if tensor.shape]
        return [None] * max(0, *counts, 0)

    def harden(self, hardener: Hardener, content_type: bytes, body: bytes) -> bytes:
        """See `interface.Serving`."""
        if not rows.is_object(body):
            raise Unhardened("the answer is no JSON")
        answer = parse(_answer, body)
        seeds = self.seeds(hardener)
        outputs = []
        for tensor in answer.outputs:
            flat = _hardened(tensor, hardener, seeds)
            output: dict[str, Any] = {
                "name": tensor.name,
                "shape": tensor.shape,
                "datatype": tensor.datatype,
                "data": flat,
            }
            kind = tensor.parameters.get("content_type") if isinstance(tensor.parameters, dict) else None
            if kind in CODECS:  # by which clients decode it; nothing else of the parameters is known to say little
                output["parameters"] = {"content_type": kind}
            outputs.append(output)
        told = {"model_name": answer.model_name, "model_version": answer.model_version, "id": answer.id}
        known = {name: value for name, value in told.items() if value is not UNSET}
        return msgspec.json.encode(known | {"outputs": outputs})


_CHECKED: Sequence[Any] = []
"""Instead of the elements of an input that was checked while it was read."""


def _read(asked: Asked, validator: Validator | None = None) -> tuple[_Question, list[Sequence[Any]]]:
    """The question, and each input's elements in row-major order. Raises `Refused`, or `Invalid` where a row of a
    request with a single one does not fit ``validator``.
    """
    body = asked.body
    length = len(body)
    if (given := json_length(asked)) is None:
        require_media(asked.content_type, b"application/json")
    else:
        require_media(asked.content_type, b"application/json", b"application/octet-stream")
        length = given
    head = body if length == len(body) else body[:length]
    require_readable(head)
    question = parse(_question, head)
    if not question.inputs:
        raise Refused(422, "there are no inputs")
    keys = 1 + (question.id is not UNSET)
    if isinstance(question.outputs, list):
        keys += 1 + sum(wanted.keys() for wanted in question.outputs)
        for wanted in question.outputs:
            require_allowed(wanted.parameters)
    if question.parameters is not UNSET:
        keys += 1 + len(question.parameters)
        require_allowed(question.parameters)
    batch = question.inputs[0].shape[:1]
    names = set()
    found: list[Sequence[Any]] = []
    place = length
    for tensor in question.inputs:
        keys += tensor.keys()
        names.add(tensor.name)
        if tensor.shape[:1] != batch:
            raise Refused(422, "the inputs have different numbers of rows")
        size = None
        if tensor.parameters is not UNSET:
            require_allowed(tensor.parameters)
            size = tensor.parameters.get("binary_data_size")
        if size is None and validator is not None and batch == [1] and _fits(question, tensor, validator):
            validator.single(tensor.data)  # type: ignore[arg-type]
            found.append(_CHECKED)
        elif size is None:
            found.append(values(tensor))
        elif tensor.data is not UNSET or type(size) is not int or not 0 <= size <= len(body) - place:
            raise Refused(422, "an input's binary data is not where it has to be")
        else:
            found.append(binary(tensor, memoryview(body)[place : place + size]))
            place += size
    if place != len(body):
        raise Refused(422, "there are bytes that belong to no input")
    if len(names) != len(question.inputs):
        raise Refused(422, "two inputs have one name")
    require_unique(head, keys)
    return question, found


def _fits(question: _Question, tensor: Tensor, validator: Validator) -> bool:
    """Whether the only input is one row of numbers in a flat list, as wide as the schema, and its data type holds
    whatever the schema lets through.
    """
    return (
        len(question.inputs) == 1
        and validator.plain
        and tensor.datatype in RANGES
        and RANGES[tensor.datatype][0] <= validator.least
        and validator.greatest <= RANGES[tensor.datatype][1]
        and (validator.integral or tensor.datatype in FLOATS)
        and elements(tensor) == validator.width
        and isinstance(tensor.data, Raw)
        and b"[" not in bytes(memoryview(tensor.data)[1:64])
    )


def _plain(column: Sequence[Any]) -> list[Any]:
    return column if type(column) is list else column.tolist()  # type: ignore[attr-defined]


def _per_row(tensor: Tensor, column: Sequence[Any]) -> list[Any]:
    """One element a row; a list of them where the tensor has more than one to a row."""
    flat = _plain(column)
    count = tensor.shape[0] if tensor.shape else 1
    width = len(flat) // count
    return flat if width == 1 else [flat[start : start + width] for start in range(0, len(flat), width)]


def _validate(inputs: list[Tensor], data: list[Sequence[Any]], batch: int, validator: Validator) -> None:
    validator.count(batch)
    if len(inputs) == 1 and elements(inputs[0]) == batch * validator.width:
        flat = data[0]
        if inputs[0].datatype == "BYTES":
            width = validator.width
            texts = [str(value) for value in flat]
            validator.texts([texts[start : start + width] for start in range(0, len(texts), width)])
        else:
            validator.numbers(flat, batch)
        return
    columns: Mapping[str, Sequence[Any]] = {
        tensor.name: _plain(column) for tensor, column in zip(inputs, data, strict=True)
    }
    if any(len(column) != batch for column in columns.values()):
        raise Invalid(f"a row has {validator.width} columns")
    validator.by_column(columns, batch)


def _hardened(tensor: Tensor, hardener: Hardener, seeds: Sequence[bytes] | None) -> list[Any]:
    """The elements of an output. Floats of shape [rows, classes] that add up to one are probabilities, floats of [rows]
    or [rows, 1] the probability of the second of two classes; whole numbers and texts, one a row, are labels.
    """
    flat = values(tensor)
    count = tensor.shape[0] if tensor.shape else 1
    if seeds is not None and len(seeds) != count:
        raise Unhardened("the answer has not as many rows as the request")
    width = len(flat) // count
    how = hardener.how
    if tensor.datatype not in FLOATS:
        if width != 1:
            raise Unhardened("an output has several labels a row")
        if tensor.datatype == "BYTES":
            if isinstance(tensor.parameters, dict) and tensor.parameters.get("content_type") == "base64":
                raise Unhardened("an output's texts may be numbers in base64")
            return [harden_text(value) for value in flat]
        return [int(value) for value in flat] if tensor.datatype != "BOOL" else flat
    if width == 1:
        return [float(harden_item(value, how, seeds[i] if seeds else None)) for i, value in enumerate(flat)]
    result: list[float] = []
    for i in range(count):
        row = flat[i * width : (i + 1) * width]
        if not is_distribution(row):
            raise Unhardened("an output is no distribution")
        result += harden(row, how, seeds[i] if seeds else None)
    return result
