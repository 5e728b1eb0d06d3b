"""Tensors of the Open Inference Protocol, in JSON or behind it as bytes: their shape has to be exactly their data's.

The shape is what limits count, so nothing is believed of it that the data does not bear out.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from assay.guard.gateway.protocols.reading import Refused, parse, require_few
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

RANGES = {
    **{f"INT{bits}": (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0.0, 2.0**bits - 1) for bits in (8, 16, 32, 64)},
    **{
        name: (-most, most)
        for name, most in (
            ("FP16", 65504.0), ("BF16", 2.0**128 - 2.0**120), ("FP32", 2.0**128 - 2.0**104),
            ("FP64", sys.float_info.max),
        )
    },
}  # fmt: skip
"""Least and greatest finite number by data type. A server cuts off or wraps round what does not fit, and thus reads
another number than the one that was checked.
"""

_any = msgspec.json.Decoder().decode


def _numbers(datatype: str) -> Any:
    low, high = RANGES[datatype]
    if datatype in FLOATS:
        return list[Annotated[float, Meta(ge=low, le=high)]]
    return list[Annotated[float, Meta(ge=low, le=high, multiple_of=1)]]  # 3.0 is a whole number too


_TYPES = {datatype: _numbers(datatype) for datatype in RANGES}
_FLAT: dict[str, Any] = {datatype: msgspec.json.Decoder(kind).decode for datatype, kind in _TYPES.items()}
_NESTED: dict[str, Any] = {datatype: msgspec.json.Decoder(list[kind]).decode for datatype, kind in _TYPES.items()}  # type: ignore[valid-type]

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
    if kind in RANGES and not nested:
        found = parse(_FLAT[kind], raw)
    elif kind in RANGES and len(tensor.shape) == 2:
        rows = parse(_NESTED[kind], raw)
        if len(rows) != tensor.shape[0] or set(map(len, rows)) != {tensor.shape[1]}:
            raise Refused(422, "a tensor's data is not as long as its shape says")
        return [value for row in rows for value in row]
    else:
        value = parse(_any, raw)
        if type(value) is not list or (nested and list(shape(value)) != tensor.shape):
            raise Refused(422, "a tensor's data is not as long as its shape says")
        found = flatten(value)
        if not _fit(found, kind):
            raise Refused(422, "a tensor's data does not fit its data type")
    if len(found) != wanted:
        raise Refused(422, "a tensor's data is not as long as its shape says")
    return found


def _fit(found: list[Any], kind: str) -> bool:
    if kind == "BYTES":
        return set(map(type, found)) <= {str}
    if kind == "BOOL":  # any other number is true to some
        return set(map(type, found)) <= {bool, int} and set(found) <= {0, 1}
    try:
        msgspec.convert(found, _TYPES[kind])
    except (msgspec.ValidationError, OverflowError):
        return False
    return True


def binary(tensor: Tensor, data: memoryview) -> Sequence[Any]:
    """The elements out of ``data``, which is exactly this tensor's: an array, or byte strings. Raises `Refused`."""
    wanted = elements(tensor)
    if tensor.datatype == "BYTES":
        require_few(wanted)
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
