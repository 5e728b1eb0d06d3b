"""One captured request as a line of SageMaker's data capture (``captureData``, event version 0).

The bytes stay as they came, but for what masking takes; what is no text goes as BASE64.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Sequence

import msgspec

from assay.guard.gateway.capture.masking import Mask
from assay.guard.gateway.interface import Sample


class _Side(msgspec.Struct):
    observedContentType: str
    mode: str
    data: str
    encoding: str


class _Data(msgspec.Struct, omit_defaults=True):
    endpointInput: _Side | None = None
    endpointOutput: _Side | None = None


class _About(msgspec.Struct):
    eventId: str
    inferenceId: str
    inferenceTime: str
    customAttributes: list[str]


class _Event(msgspec.Struct):
    captureData: _Data
    eventMetadata: _About
    eventVersion: str = "0"


_encoder = msgspec.json.Encoder()


def kind(content_type: bytes) -> str:
    """``json``, ``csv`` or nothing."""
    plain = content_type.partition(b";")[0].strip().lower()
    if plain == b"application/json" or plain.endswith(b"+json"):
        return "json"
    return "csv" if plain == b"text/csv" else ""


def event_id(sample: Sample) -> str:
    """The gateway's id of the request in the form of a UUID."""
    try:
        return str(uuid.UUID(sample.id))
    except ValueError:
        return sample.id


def line(sample: Sample, mask: Mask, caller: str, names: Sequence[str], *, request: bool, response: bool) -> bytes:
    """The event with its line feed; ``caller`` is who it was, as may be told. Raises `Unmasked`."""
    about = _About(
        event_id(sample),
        sample.request_id or sample.id,
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sample.at)),
        [f"caller={caller}", f"model={sample.model}", f"modelVersion={sample.model_version}"],
    )
    data = _Data()
    if request and sample.request is not None:
        data.endpointInput = _side(sample.model, mask, "INPUT", sample.request_type, sample.request, names)
    if response and sample.response is not None:
        data.endpointOutput = _side(sample.model, mask, "OUTPUT", sample.answer_type, sample.response, ())
    return _encoder.encode(_Event(data, about)) + b"\n"


def _side(model: str, mask: Mask, mode: str, content_type: bytes, body: bytes, names: Sequence[str]) -> _Side:
    found = kind(content_type)
    body = mask.body(model, found, body, names)
    observed = content_type.decode("ascii", "replace")[:200]
    try:
        if found:
            return _Side(observed, mode, body.decode(), found.upper())
    except UnicodeDecodeError:
        pass
    return _Side(observed, mode, base64.b64encode(body).decode(), "BASE64")
