"""Tensors of the Open Inference Protocol, in JSON or behind it as bytes: their shape has to be exactly their data's.

The shape is what limits count, so nothing is believed of it that the data does not bear out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from assay.guard.gateway.protocols.reading import Refused, parse
from assay.guard.gateway.protocols.rows import flatten, shape

SIZES = {
    "BOOL": 1, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8,
    "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
}  # fmt: skip
"""Bytes of an element by data type; 0: each says its own length."""
FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})
_CODES = {
    "BOOL": "?", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
MOST = 1 << 31
"""Elements of a tensor."""
DIMENSIONS = 16

_any = msgspec.json.Decoder().decode
_floats = msgspec.json.Decoder(list[float]).decode
_nested = msgspec.json.Decoder(list[list[float]]).decode
_KINDS: dict[str, tuple[type, ...]] = {"BOOL": (bool, int), "BYTES": (str,)}

Parameters = dict[str, str | bool | int | float]


class Tensor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One input or output."""

    name: str
    shape: list[int]
    datatype: str
    data: Raw | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET

    def keys(self) -> int:
        """How many keys its JSON has."""
        inner = 0 if self.parameters is UNSET else 1 + len(self.parameters)
        return 3 + (self.data is not UNSET) + inner


def elements(tensor: Tensor) -> int:
    """How many the shape promises. Raises `Refused`."""
    if len(tensor.shape) > DIMENSIONS or tensor.datatype not in SIZES:
        raise Refused(422, "a tensor has a shape or data type that is not known")
    count = 1
    for length in tensor.shape:
        if length < 1:
            raise Refused(422, "a tensor's shape has a length that cannot be")
        count *= length
    if count > MOST:
        raise Refused(422, "a tensor is too large")
    return count


def values(tensor: Tensor) -> list[Any]:
    """The elements in row-major order out of JSON data, flat or nested as the shape says. Raises `Refused`."""
    wanted = elements(tensor)
    raw = tensor.data
    if not isinstance(raw, Raw):
        raise Refused(422, "a tensor has no data")
    kind = tensor.datatype
    found: list[Any]
    nested = bytes(memoryview(raw)[:64]).lstrip()[1:].lstrip()[:1] == b"["
    if kind not in _KINDS and not nested:
        found = parse(_floats, raw)
    elif kind not in _KINDS and len(tensor.shape) == 2:
        rows = parse(_nested, raw)
        if len(rows) != tensor.shape[0] or set(map(len, rows)) != {tensor.shape[1]}:
            raise Refused(422, "a tensor's data is not as long as its shape says")
        return [value for row in rows for value in row]
    else:
        value = parse(_any, raw)
        if type(value) is not list or (nested and list(shape(value)) != tensor.shape):
            raise Refused(422, "a tensor's data is not as long as its shape says")
        found = flatten(value)
        allowed = _KINDS.get(kind, (int, float))
        if not set(map(type, found)) <= set(allowed):
            raise Refused(422, "a tensor's data does not fit its data type")
    if len(found) != wanted:
        raise Refused(422, "a tensor's data is not as long as its shape says")
    return found


def binary(tensor: Tensor, data: memoryview) -> Sequence[Any]:
    """The elements out of ``data``, which is exactly this tensor's: an array, or byte strings. Raises `Refused`."""
    wanted = elements(tensor)
    if tensor.datatype == "BYTES":
        found = list(_strings(data, wanted))
        if len(found) != wanted:
            raise Refused(422, "a tensor's data is not as long as its shape says")
        return found
    if len(data) != wanted * SIZES[tensor.datatype]:
        raise Refused(422, "a tensor's data is not as long as its shape says")
    import numpy as np

    if tensor.datatype == "BF16":  # the upper half of a 32-bit float
        array: Any = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        array = np.frombuffer(data, _CODES[tensor.datatype])
    return array  # type: ignore[no-any-return]


def _strings(data: memoryview, most: int) -> Iterator[str]:
    """Byte strings, each after its length (4 bytes, least first)."""
    place = 0
    while place < len(data):
        if most <= 0 or place + 4 > len(data):
            raise Refused(422, "a tensor's data is not as long as its shape says")
        length = struct.unpack_from("<I", data, place)[0]
        place += 4 + length
        if place > len(data):
            raise Refused(422, "a tensor's data is not as long as its shape says")
        most -= 1
        yield bytes(data[place - length : place]).decode(errors="replace")
