"""Bounds-checked reading of FlatBuffers tables in a file, field by field, without a schema compiler.

Only what is asked for is read, by seeking: a core with a gigabyte of leaves costs a few small reads. It must
never follow an offset out of the buffer. Source: https://flatbuffers.dev/internals/ (little-endian; offsets
are unsigned and point forward, the one to a table's vtable is signed).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from assay.errors import DocumentError


class FlatBuffer:
    """One buffer inside a seekable file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self._length = length

    def root(self) -> Table:
        """The buffer's root table."""
        return Table(self, self.number("<I", 0))

    def check(self, at: int, length: int) -> None:
        """Raise `DocumentError` unless these bytes are inside the buffer."""
        if not 0 <= at <= self._length - length:
            raise DocumentError("a FlatBuffers offset points out of its buffer")

    def bytes(self, at: int, length: int) -> bytes:
        """Bytes of the buffer; `DocumentError` when they are not all inside it and inside the file."""
        self.check(at, length)
        self._file.seek(self._start + at)
        data = self._file.read(length)
        if len(data) != length:
            raise DocumentError("the file ends within a FlatBuffers buffer")
        return data

    def number(self, form: str, at: int) -> int:
        """An integer in the given `struct` form."""
        value: int = struct.unpack(form, self.bytes(at, struct.calcsize(form)))[0]
        return value

    def text(self, at: int, limit: int) -> str:
        """The string at ``at``; bytes that are not UTF-8 are shown as replacement characters."""
        length = self.number("<I", at)
        if length > limit:
            raise DocumentError(f"a FlatBuffers string has {length} bytes, more than {limit}")
        return self.bytes(at + 4, length).decode("utf-8", "replace")


class Table:
    """One table: its fields are named by their position in the schema, from 0."""

    def __init__(self, buffer: FlatBuffer, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._vtable = at - buffer.number("<i", at)
        self._size = buffer.number("<H", self._vtable)

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A scalar field, or its default when the table leaves it out."""
        at = self._field(field)
        return default if at is None else self._buffer.number(form, at)

    def text(self, field: int, limit: int) -> str | None:
        """A string field of at most ``limit`` bytes; None when the table leaves it out."""
        at = self._pointer(field)
        return None if at is None else self._buffer.text(at, limit)

    def table(self, field: int) -> Table | None:
        """A table field; None when the table leaves it out."""
        at = self._pointer(field)
        return None if at is None else Table(self._buffer, at)

    def length(self, field: int, width: int) -> int:
        """Elements of ``width`` bytes in a vector field, all inside the buffer; 0 when the table leaves it
        out.
        """
        at = self._pointer(field)
        return 0 if at is None else self._count(at, width)

    def structs(self, field: int, form: str, most: int) -> list[tuple[int, ...]]:
        """The first ``most`` structs of a vector, in the given `struct` form, padding included."""
        at = self._pointer(field)
        if at is None:
            return []
        width = struct.calcsize(form)
        data = self._buffer.bytes(at + 4, min(self._count(at, width), most) * width)
        return list(struct.iter_unpack(form, data))

    def tables(self, field: int, most: int) -> list[Table]:
        """The first ``most`` tables of a vector."""
        return [Table(self._buffer, at) for at in self._elements(field, most)]

    def texts(self, field: int, most: int, limit: int) -> list[str]:
        """The first ``most`` strings of a vector, each of at most ``limit`` bytes."""
        return [self._buffer.text(at, limit) for at in self._elements(field, most)]

    def _elements(self, field: int, most: int) -> list[int]:
        at = self._pointer(field)
        if at is None:
            return []
        return [at + 4 + 4 * i + offset for i, (offset,) in enumerate(self.structs(field, "<I", most))]

    def _count(self, at: int, width: int) -> int:
        count = self._buffer.number("<I", at)
        self._buffer.check(at + 4, count * width)
        return count

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = self._buffer.number("<H", self._vtable + entry)
        return self._at + offset if offset else None

    def _pointer(self, field: int) -> int | None:
        at = self._field(field)
        return None if at is None else at + self._buffer.number("<I", at)
