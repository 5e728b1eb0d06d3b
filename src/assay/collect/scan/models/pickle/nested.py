"""Finds what is inside the byte strings of a pickle: where a program or a container begins, not what it does.

A byte string that begins like a pickle, an archive or a compressed stream is what code hands to a second loader. Looks
at bytes only, never at those that were passed over except at their edges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.pickle.program import Blob

MOST = 1000
"""Places that are reported of one program."""

_PIECE = 256 << 10
"""Bytes that are searched at a time: as many as the processor's cache holds."""

_BEFORE = 16
"""Bytes of an opcode and its length before a byte string."""

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How byte strings begin that are run as programs."""

CONTAINERS = (
    b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda",
    b"\x5d\0\0",
)  # fmt: skip
"""How byte strings begin that are handed on to be scanned by content: archives, streams, arrays, HDF5."""

TEXT = re.compile(rb"c[A-Za-z_][\w.]{0,80}\n[A-Za-z_][\w.]{0,80}\n")
_OFTEN = (re.compile(rb"\x80[\x02-\x05]"), re.compile(rb"PK\x03\x04"))
"""Looked for in programs of any length; each costs 0.6 ms a megabyte."""

_RARELY = re.compile(b"|".join(re.escape(mark) for mark in CONTAINERS[1:]), re.DOTALL)
"""Looked for in programs up to `_RARE_LIMIT` only: the rest costs seven times as much, and none of it is loaded
without a call that the program would have to name."""

_RARE_LIMIT = 4 << 20
_TAR = b"ustar"
_TAR_AT = 257
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
_HEAD = 512
_WIDTHS = ((2, b"CU", 1), (5, b"BT", 4), (9, b"\x8e\x96", 8))


def is_container(head: bytes, tail: bytes = b"") -> bool:
    """Whether a byte string that begins with ``head`` (512 bytes of it) is handed on: by its mark, as a tar archive, or
    as a zip archive with something before it, which only its last bytes tell.
    """
    return (
        head.startswith(CONTAINERS) or head[_TAR_AT : _TAR_AT + 5] == _TAR or tail[-_ZIP_END_SIZE:].startswith(_ZIP_END)
    )


def is_program(head: bytes) -> bool:
    """Whether it is run as a program."""
    return head.startswith(PICKLES) or TEXT.match(head) is not None


def worth(data: bytes) -> bool:
    """Whether a whole byte string is looked into at all."""
    return is_program(data[:_HEAD]) or is_container(data[:_HEAD], data[-_ZIP_END_SIZE:])


def container_at(file: BinaryIO, start: int, end: int) -> bool:
    """`is_container` for a stretch of a file."""
    file.seek(start)
    head = file.read(min(_HEAD, end - start))
    file.seek(max(start, end - _ZIP_END_SIZE))
    return is_container(head, file.read(min(_ZIP_END_SIZE, end - start)))


def places(file: BinaryIO, start: int, end: int, blobs: tuple[Blob, ...], arrays: tuple[Blob, ...]) -> Iterator[Blob]:
    """Byte strings between ``start`` and ``end`` that begin like a program or an archive. Of ``blobs`` only the
    beginnings are looked at, of ``arrays`` nothing.
    """
    raw = {blob.offset for blob in arrays}
    found = 0
    at = start
    for gap in (*sorted((*blobs, *arrays), key=lambda blob: blob.offset), Blob(end, 0)):
        if gap.offset < at:
            continue
        for place in _between(file, at, gap.offset, end):
            yield place
            found += 1
            if found >= MOST:
                return
        if gap.length and gap.offset not in raw and _worth(file, gap.offset, gap.offset + gap.length):
            yield gap
        at = gap.offset + gap.length


def holds(file: BinaryIO, begin: int, end: int) -> bool:
    """Whether a stretch of a file is exactly what an opcode before it says is a byte string."""
    if begin <= 0:
        return False
    file.seek(max(0, begin - _BEFORE))
    before = file.read(min(_BEFORE, begin))
    return any(
        len(before) >= length
        and before[-length] in opcodes
        and int.from_bytes(before[-width:], "little") == end - begin
        for length, opcodes, width in _WIDTHS
    )


def _worth(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    return is_program(file.read(min(_HEAD, end - start))) or container_at(file, start, end)


def _between(file: BinaryIO, start: int, end: int, whole: int) -> Iterator[Blob]:
    at = start
    short = end - start <= _RARE_LIMIT
    while at < end:
        file.seek(max(start, at - _BEFORE))
        origin = file.tell()
        # All of a short one at once: some marks stand far behind the beginning of what they mark.
        data = file.read(min((_RARE_LIMIT if short else _PIECE) + _BEFORE, end - origin))
        if not data:
            return
        for pattern in (*_OFTEN, _RARELY) if short else _OFTEN:
            for match in pattern.finditer(data):
                blob = _string_at(data, match.start(), origin, whole)
                if blob is not None and blob.offset >= at:
                    yield blob
        if short:
            yield from _others(data, origin, whole)
        at = origin + len(data)


def _others(data: bytes, origin: int, whole: int) -> Iterator[Blob]:
    """Programs that are text, and tar archives, whose mark is not at their beginning."""
    for match in TEXT.finditer(data):
        blob = _string_at(data, match.start(), origin, whole)
        if blob is not None and blob.length >= len(match[0]):
            yield blob
    found = -1
    while (found := data.find(_TAR, found + 1)) >= 0:
        blob = _string_at(data, found - _TAR_AT, origin, whole) if found >= _TAR_AT else None
        if blob is not None and blob.length > _HEAD:
            yield blob


def _string_at(data: bytes, found: int, origin: int, end: int) -> Blob | None:
    """The byte string that begins at ``found``, if an opcode with a fitting length stands before it."""
    for before, opcodes, width in _WIDTHS:
        if found >= before and data[found - before] in opcodes:
            length = int.from_bytes(data[found - width : found], "little")
            if 4 <= length <= end - (origin + found):
                return Blob(origin + found, length)
    return None
