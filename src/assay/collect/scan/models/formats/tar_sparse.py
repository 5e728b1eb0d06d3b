"""Sparse members of tar archives: where their pieces lie, in each of the four ways in which GNU tar has written that.

Loaders see the member with zeros in its holes, so that it is put together before it is scanned. A member that is too
large for that, or whose map is broken, is never called seen. Source: tarfile.py; GNU tar's manual, "Sparse Formats".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

BLOCK = 512

MAX_WHOLE = 64 << 20
"""Bytes of a member, with its holes, up to which it is put together."""

_MAX_MAP = 1 << 20
_FIRST, _ENTRIES, _MORE, _REAL = 386, 4, 482, 483
_EXTENSION_ENTRIES, _EXTENSION_MORE = 21, 504

Pieces = tuple[tuple[int, int], ...]
"""Offset in the member and length, in the order in which they lie in the archive."""


def of_header(
    file: BinaryIO, block: bytes, start: int, number: Callable[[bytes], int | None]
) -> tuple[Pieces | None, int, int]:
    """Of a member of type ``S``: its pieces (None where they are broken), its whole size, and where its data begin."""
    real = number(block[_REAL : _REAL + 12])
    found = _entries(block, _FIRST, _ENTRIES, number)
    more, read = block[_MORE], 0
    while more and read < _MAX_MAP:
        file.seek(start)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            return None, 0, start
        found += _entries(block, 0, _EXTENSION_ENTRIES, number)
        more = block[_EXTENSION_MORE]
        start, read = start + BLOCK, read + BLOCK
    if more or real is None or None in found:
        return None, 0, start
    return tuple(item for item in found if item is not None), real, start


def of_records(
    file: BinaryIO, records: Sequence[tuple[bytes, bytes]], start: int, held: int
) -> tuple[Pieces | None, int, int] | None:
    """The same by pax records; None for a member that is not sparse."""
    last = dict(records)
    if b"GNU.sparse.map" in last:
        numbers = _numbers(last[b"GNU.sparse.map"].split(b","))
        return _pairs(numbers), _number(last.get(b"GNU.sparse.size")), start
    if b"GNU.sparse.size" in last:
        numbers = _numbers([v for k, v in records if k in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")])
        return _pairs(numbers), _number(last[b"GNU.sparse.size"]), start
    if last.get(b"GNU.sparse.major") == b"1" and last.get(b"GNU.sparse.minor") == b"0":
        file.seek(start)
        data = file.read(min(held, _MAX_MAP))
        count = _number(data.split(b"\n", 1)[0])
        lines = data.split(b"\n", 2 * count + 1)
        if not 0 <= 2 * count < len(lines) - 1:
            return None, 0, start
        length = len(data) - len(lines[-1])
        begin = start + -(-length // BLOCK) * BLOCK
        return _pairs(_numbers(lines[1:-1])), _number(last.get(b"GNU.sparse.realsize")), begin
    return None


def whole(file: BinaryIO, start: int, end: int, pieces: Pieces, real: int) -> bytes | None:
    """The member as it is unpacked; None where it is too large or its pieces do not fit."""
    if not 0 <= real <= MAX_WHOLE or sum(length for _, length in pieces) > end - start:
        return None
    made = bytearray(real)
    for offset, length in pieces:
        if offset + length > real:
            return None
        file.seek(start)
        made[offset : offset + length] = file.read(length)
        start += length
    return bytes(made)


def _entries(block: bytes, at: int, count: int, number: Callable[[bytes], int | None]) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for begin in range(at, at + 24 * count, 24):
        offset, length = number(block[begin : begin + 12]), number(block[begin + 12 : begin + 24])
        bad = offset is None or length is None or offset < 0 or length < 0
        if bad or length:
            found.append(None if bad else (offset or 0, length or 0))
    return found


def _number(text: bytes | None) -> int:
    """Minus one for what is none."""
    return int(text) if text and len(text) <= 18 and text.isdigit() else -1


def _numbers(texts: Sequence[bytes]) -> list[int]:
    return [_number(text) for text in texts]


def _pairs(numbers: list[int]) -> Pieces | None:
    if len(numbers) % 2 or any(number < 0 for number in numbers):
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
