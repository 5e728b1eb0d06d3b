"""Finds programs inside the byte strings of a pickle: where one begins, not what it does.

A byte string that begins like a pickle or an archive is what code hands to a second loader. Looks at bytes only, never
at those that were passed over except at their beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.pickle.program import Blob

MOST = 1000
"""Places that are reported."""

_PIECE = 4 << 20
_BEFORE = 16
"""Bytes of an opcode and its length before a byte string."""

ZIP = b"PK\x03\x04"
"""How a zip archive, and so a torch file, begins."""

HEADS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", ZIP)
"""How byte strings begin that are looked into."""

TEXT = re.compile(rb"c[A-Za-z_][\w.]{0,80}\n[A-Za-z_][\w.]{0,80}\n")
_PATTERNS = (re.compile(rb"\x80[\x02-\x05]"), re.compile(rb"PK\x03\x04"))
_TEXT_LIMIT = 4 << 20
_WIDTHS = ((2, b"CU", 1), (5, b"BT", 4), (9, b"\x8e\x96", 8))


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
        if gap.length and gap.offset not in raw and _begins(file, gap.offset):
            yield gap
        at = gap.offset + gap.length


def _begins(file: BinaryIO, offset: int) -> bool:
    file.seek(offset)
    head = file.read(256)
    return head.startswith(HEADS) or TEXT.match(head) is not None


def _between(file: BinaryIO, start: int, end: int, whole: int) -> Iterator[Blob]:
    at = start
    while at < end:
        file.seek(max(start, at - _BEFORE))
        origin = file.tell()
        data = file.read(min(_PIECE + _BEFORE, end - origin))
        if not data:
            return
        for pattern in _PATTERNS:
            for match in pattern.finditer(data):
                blob = _string_at(data, match.start(), origin, whole)
                if blob is not None and blob.offset >= at:
                    yield blob
        if end - start <= _TEXT_LIMIT:
            for match in TEXT.finditer(data):
                blob = _string_at(data, match.start(), origin, whole)
                if blob is not None and blob.length >= len(match[0]):
                    yield blob
        at = origin + len(data)


def _string_at(data: bytes, found: int, origin: int, end: int) -> Blob | None:
    """The byte string that begins at ``found``, if an opcode with a fitting length stands before it."""
    for before, opcodes, width in _WIDTHS:
        if found >= before and data[found - before] in opcodes:
            length = int.from_bytes(data[found - width : found], "little")
            if 4 <= length <= end - (origin + found):
                return Blob(origin + found, length)
    return None
