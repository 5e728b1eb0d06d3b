"""The Open Inference Protocol's parameters, and its extension for binary data: what is passed on, where JSON ends."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from assay.guard.gateway.protocols.interface import Asked
from assay.guard.gateway.protocols.reading import Refused
from assay.guard.gateway.protocols.tensors import Parameters

_BLANK = re.compile(r"[ \t\r\n]*")
_read = json.JSONDecoder().raw_decode

HEADER = b"inference-header-content-length"
ALLOWED = {
    "content_type": str, "binary_data": bool, "binary_data_size": int, "binary_data_output": bool,
    "classification": int, "sequence_id": (int, str), "sequence_start": bool, "sequence_end": bool,
    "priority": int, "timeout": int,
}  # fmt: skip
"""Parameters that are passed on. Shared memory and whatever else could bring other data than the body's is refused."""
CODECS = frozenset({"np", "pd", "str", "base64", "datetime"})
"""MLServer's content types of which one element is one value; ``pd_json`` and ``pickle`` are not."""


class Wanted(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An output that is asked for."""

    name: str
    parameters: Parameters | UnsetType = UNSET

    def keys(self) -> int:
        """How many keys its JSON has."""
        return 1 + (0 if self.parameters is UNSET else 1 + len(self.parameters))


def json_length(asked: Asked) -> int | None:
    """Bytes of the JSON part; None: all. Out of band, where headers are gone, it is found by reading."""
    given = asked.headers.get(HEADER)
    if given is None:
        if asked.headers or b'"binary_data_size"' not in asked.body[:65536]:
            return None
        return _end(asked.body)
    if not given.isdigit() or len(given) > 10 or not 0 < int(given) <= len(asked.body):
        raise Refused(400, "the length of the JSON part cannot be")
    return int(given)


def _end(body: bytes) -> int:
    """Where the JSON object at the start of ``body`` ends."""
    text = body.decode("latin-1")  # a character a byte, so that places are the same
    blank = _BLANK.match(text)
    try:
        return _read(text, blank.end() if blank is not None else 0)[1]
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON document") from None


def require_allowed(parameters: Parameters | UnsetType) -> None:
    """Raise `Refused` for a parameter that is not passed on."""
    if not isinstance(parameters, dict):
        return
    for name, value in parameters.items():
        kinds: Any = ALLOWED.get(name)
        if kinds is None or not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise Refused(422, "a parameter is not one of those that are passed on")
        if name == "content_type" and value not in CODECS:
            raise Refused(422, "a content type of an input is not one of those that are read")


def asks_otherwise(parameters: Parameters | UnsetType, outputs: list[Wanted] | UnsetType) -> bool:
    """Whether numbers are to come as bytes, as ``score:index:label``, or as texts (MLServer's ``base64`` and ``str``),
    in which nobody could find them.
    """
    wanted = [one.parameters for one in outputs] if isinstance(outputs, list) else []
    for given in (parameters, *wanted):
        if isinstance(given, dict) and (
            given.get("binary_data") or given.get("binary_data_output") or "classification" in given
        ):
            return True
    return any(isinstance(given, dict) and given.get("content_type", "np") not in ("np", "pd") for given in wanted)
