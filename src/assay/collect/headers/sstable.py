"""Reads the tables in which TensorFlow keeps a checkpoint's index: LevelDB's sorted string tables.

It walks the blocks in order and yields their entries, with limits on every length. Compressed blocks are counted and
not unpacked, and checksums are left to the file's own digest.
Source: https://github.com/google/leveldb/blob/main/doc/table_format.md and TensorFlow's ``core/lib/io/format.cc``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.headers.reading import read_at
from assay.errors import DocumentError

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
"""The last eight bytes of every table."""

_FOOTER = 48
_TRAILER = 5
"""Bytes behind each block: its compression and a checksum."""

_MAX_BLOCK = 64 << 20
"""Bytes of one block; TensorFlow writes blocks of 256 KiB."""

_MAX_KEY = 64 << 10
"""Bytes of one key."""


class Table:
    """One walk over one table."""

    def __init__(self, file: BinaryIO, size: int, *, entries: int = 1_000_000) -> None:
        """Read the footer. Raises `DocumentError` when the file is no table."""
        self._file = file
        self._size = size
        self._left = entries
        self.compressed = 0
        """Blocks that were not read, since they are compressed."""
        if size < _FOOTER:
            raise DocumentError("too short for a table")
        footer = read_at(file, size - _FOOTER, _FOOTER, "its footer")
        if not footer.endswith(MAGIC):
            raise DocumentError("no table: it does not end with the magic number")
        _meta_offset, at = _varint(footer, 0)
        _meta_length, at = _varint(footer, at)
        self._index, at = _varint(footer, at)
        self._index_length, at = _varint(footer, at)

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order of the file. Raises `DocumentError` on the first thing that is broken."""
        reached = 0
        for _key, handle in self._block(self._index, self._index_length):
            offset, at = _varint(handle, 0)
            length, _ = _varint(handle, at)
            # Blocks lie one behind the other; an index that points back would make a small file yield for ever.
            if offset < reached:
                raise DocumentError("its blocks overlap")
            reached = offset + length + _TRAILER
            yield from self._block(offset, length)

    def _block(self, offset: int, length: int) -> Iterator[tuple[bytes, bytes]]:
        if length > _MAX_BLOCK or offset + length + _TRAILER > self._size:
            raise DocumentError("a block reaches beyond the file or is too large")
        data = read_at(self._file, offset, length + _TRAILER, "a block")
        if data[length]:
            self.compressed += 1
            return
        if length < 4:
            raise DocumentError("a block is too short")
        restarts = int.from_bytes(data[length - 4 : length], "little")
        end = length - 4 - 4 * restarts
        if end < 0:
            raise DocumentError("a block has too many restart points")
        at, key = 0, b""
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise DocumentError("has too many entries")
            shared, at = _varint(data, at)
            unshared, at = _varint(data, at)
            value_length, at = _varint(data, at)
            if shared > len(key) or shared + unshared > _MAX_KEY or at + unshared + value_length > end:
                raise DocumentError("an entry reaches beyond its block")
            key = key[:shared] + data[at : at + unshared]
            at += unshared
            yield key, data[at : at + value_length]
            at += value_length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DocumentError("a number is cut off or too long")
