"""A walker over protobuf's wire format in a file, for messages too large or too hostile to be parsed whole.

It yields tags and, for length-delimited fields, where the payload lies; the payload is read only when asked
for, so a gigabyte of weights is a seek. It knows no schema, and it must never trust a length, a count or a
depth from the file. Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from assay.errors import DocumentError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types. 3 and 4 (groups) are refused: no model format uses them."""

_WINDOW = 16 * 1024
"""Bytes read at once while looking for tags."""

_HEADER = 20
"""The longest tag with its varint: ten bytes each."""


@dataclass(slots=True)
class Limits:
    """What one file may cost, shared by all walks over it (mutable: it counts down)."""

    fields: int = 2_000_000
    """Fields that may still be visited, in all messages together."""
    depth: int = 64
    """Messages that may still be entered within each other."""

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Enter a nested message; raises `DocumentError` when they are nested too deeply."""
        if self.depth <= 0:
            raise DocumentError("protobuf messages are nested too deeply")
        self.depth -= 1
        try:
            yield
        finally:
            self.depth += 1


@dataclass(slots=True, eq=False)
class Field:
    """One field of a message. Not frozen, only because millions of them are made."""

    number: int
    """Field number of the schema."""
    wire: int
    """``VARINT``, ``FIXED64``, ``LENGTH`` or ``FIXED32``."""
    value: int
    """The unsigned number of a varint or fixed field; 0 for a length-delimited one."""
    start: int
    """Length-delimited: offset of the payload in the file."""
    end: int
    """Length-delimited: offset behind the payload. Equal to ``start`` otherwise."""


def fields(file: BinaryIO, start: int, end: int, *, limits: Limits) -> Iterator[Field]:
    """The fields of the message that lies at ``start`` to ``end``, in the file's order.

    Payloads are never read, and the file may be read and moved in between. Raises `DocumentError` on a
    broken tag, a payload that leaves the message, a file that ends early, or when ``limits.fields`` is used
    up.
    """
    window, base, at = b"", start, start
    while at < end:
        if limits.fields <= 0:
            raise DocumentError("protobuf message has too many fields")
        limits.fields -= 1
        if at - base + _HEADER > len(window) and base + len(window) < end:
            file.seek(at)
            window, base = file.read(min(_WINDOW, end - at)), at
        tag, i = _varint(window, at - base)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise DocumentError(f"protobuf field number {number} is not possible")
        value, begin, after = 0, 0, 0
        if wire == VARINT:
            value, i = _varint(window, i)
            begin = after = base + i
        elif wire == LENGTH:
            length, i = _varint(window, i)
            begin = base + i
            after = begin + length
        elif wire in (FIXED64, FIXED32):
            width = 8 if wire == FIXED64 else 4
            value = int.from_bytes(window[i : i + width], "little")
            begin = after = base + i + width
        else:
            raise DocumentError(f"protobuf wire type {wire} is not supported")
        if after > end or begin > base + len(window):
            raise DocumentError(f"protobuf field {number} reaches beyond its message")
        yield Field(number, wire, value, begin, after)
        at = after


def payload(file: BinaryIO, field: Field, *, limit: int) -> bytes:
    """The bytes of a length-delimited field; `DocumentError` when it is no such field or longer than
    ``limit``.
    """
    length = field.end - field.start
    if field.wire != LENGTH:
        raise DocumentError(f"protobuf field {field.number} is not length-delimited")
    if length > limit:
        raise DocumentError(f"protobuf field {field.number} has {length} bytes, more than {limit}")
    file.seek(field.start)
    data = file.read(length)
    if len(data) != length:
        raise DocumentError(f"protobuf field {field.number} reaches beyond the file")
    return data


def text(file: BinaryIO, field: Field, *, limit: int = 64 * 1024) -> str:
    """A string field; bytes that are not UTF-8 are shown as replacement characters."""
    return payload(file, field, limit=limit).decode("utf-8", "replace")


def integers(file: BinaryIO, field: Field, *, limit: int = 64 * 1024) -> list[int]:
    """A repeated ``int64``, packed or not (one value then), as signed numbers; at most ``limit`` bytes of
    it.
    """
    if field.wire == VARINT:
        return [signed(field.value)]
    data, values, i = payload(file, field, limit=limit), [], 0
    while i < len(data):
        value, i = _varint(data, i)
        values.append(signed(value))
    return values


def tag(number: int, kind: int) -> bytes:
    """What a field of this number and wire type begins with."""
    value, found = number << 3 | kind, b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def signed(value: int) -> int:
    """The ``int64`` that a varint's unsigned number stands for (two's complement)."""
    return value - (1 << 64) if value >> 63 else value


def _varint(data: bytes, i: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if i >= len(data):
            raise DocumentError("protobuf message ends within a number")
        byte = data[i]
        i += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # Ten bytes carry 70 bits; what is beyond 64 is dropped, as every protobuf library does.
            return value & 0xFFFFFFFFFFFFFFFF, i
        shift += 7
        if shift >= 70:
            raise DocumentError("protobuf number is longer than ten bytes")
