"""A text file as blocks of whole lines, unpacked on the way if it is gzip or Zstandard; never more than one block.

A block ends where a record does: at the end of a line that is not inside quotes. A line that is too long is an error.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

from assay.collect.profile.sources.steady import told
from assay.errors import DocumentError, MissingExtraError

SIZE = 16 << 20
"""Bytes that are read at a time."""

LONGEST = 256 << 20
"""Bytes of the longest record that is read."""

PACKED = 4096
"""Bytes of Zstandard that are unpacked at a time: even of a bomb's, which hold 128 KiB in 4 bytes, that is bounded."""

GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole records."""

    data: bytes
    line: int
    """Number of its first line in the (unpacked) file, from 1."""
    ended: bool
    """False for the last block of a file whose last line has no newline."""


class Bytes(Protocol):
    """What is needed of an open file."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def unpacked(path: str) -> Bytes:
    """The file, opened, and unpacked as its first bytes demand. Raises `AssayError`."""
    with told(path, "text"):
        opened = open(path, "rb")  # noqa: SIM115  the caller closes it
        head = opened.read(4)
        opened.seek(0)
        file = _Begun(opened)
    if head.startswith(GZIP):
        import gzip

        return _Unpacking(gzip.GzipFile(fileobj=cast(Any, file)), file)
    if head == ZSTANDARD:
        try:
            import zstandard
        except ImportError:
            file.close()
            raise MissingExtraError(f"reading {path} (Zstandard)", "archives") from None
        return _Unpacking(_Zstandard(file, zstandard.ZstdDecompressor), file)
    return file


class _Begun:
    """A file as long as it was when reading began: one that is written faster than it is read would never end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size
        self.name = file.name

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


class _Unpacking:
    """An unpacking reader that closes the file beneath it, and says in one way that the packing is broken."""

    def __init__(self, reader: Any, file: _Begun) -> None:
        self._reader, self._file = reader, file
        self._name = file.name

    def read(self, size: int = -1, /) -> bytes:
        try:
            return bytes(self._reader.read(size))
        except Exception as error:  # zlib.error, EOFError, BadGzipFile, ZstdError: each library has its own family
            if not isinstance(error, EOFError | OSError | ValueError | zlib.error) and "Zstd" not in str(type(error)):
                raise
            raise DocumentError(
                f"{self._name} cannot be unpacked: {error}", hint="is it still being written, or cut off?"
            ) from None

    def close(self) -> None:
        self._reader.close()
        self._file.close()


class _Zstandard:
    """Unpacks Zstandard frame after frame; unlike the library's own reader it tells an end from a cut."""

    def __init__(self, file: _Begun, make: Any) -> None:
        self._file, self._make = file, make
        self._frame = make().decompressobj()
        self._packed = b""

    def read(self, size: int = -1, /) -> bytes:
        """At least ``size`` bytes and not much more, fewer at the end."""
        pieces: list[bytes] = []
        length = 0
        while length < size or size < 0:
            packed = self._packed or self._file.read(PACKED)
            if self._frame.eof:
                if not packed:
                    break
                self._frame = self._make().decompressobj()
            elif not packed:
                raise EOFError("the last frame is not complete")
            pieces.append(self._frame.decompress(packed))
            length += len(pieces[-1])
            self._packed = self._frame.unused_data
        return b"".join(pieces)

    def close(self) -> None:
        """Nothing of its own is open."""


def first_line(path: str, limit: int = 1 << 20) -> bytes:
    """The start of the file up to its first newline, at most ``limit`` bytes, without a byte-order mark."""
    with contextlib.closing(unpacked(path)) as file:
        data = b""
        while len(data) < limit and b"\n" not in data:
            more = file.read(65_536)
            if not more:
                break
            data += more
    return data.partition(b"\n")[0][:limit].removeprefix(b"\xef\xbb\xbf")


def blocks(path: str, *, quote: bytes = b"") -> Iterator[Block]:
    """The file's records, some MiB at a time. With ``quote``, newlines between two of them are part of a record."""
    end = _end_quoted if quote else _end
    line = 1
    carry = b""
    with contextlib.closing(unpacked(path)) as file:
        start = True
        while chunk := file.read(SIZE):
            if start:
                chunk, start = chunk.removeprefix(b"\xef\xbb\xbf"), False
            carry = carry + chunk if carry else chunk
            place = end(carry, quote)
            if place:
                data, carry = carry[:place], carry[place:]
                yield Block(data, line, True)
                line += data.count(b"\n")
            elif len(carry) > LONGEST:
                raise DocumentError(
                    f"{path}, line {line}: a record of more than {LONGEST >> 20} MiB",
                    hint="is a quote missing, or is it a text file at all?",
                )
        if carry:
            yield Block(carry, line, False)


def _end(data: bytes, _: bytes) -> int:
    """Length of the whole lines at the start."""
    return data.rfind(b"\n") + 1


def _end_quoted(data: bytes, quote: bytes) -> int:
    """Length of the whole records at the start: up to the last newline behind an even number of quotes."""
    last = data.rfind(b"\n")
    if last < 0 or data.count(quote, 0, last) % 2 == 0:
        return last + 1
    import numpy as np

    marks = np.frombuffer(data, np.uint8, last + 1)
    newlines = np.flatnonzero(marks == 0x0A)
    before = np.searchsorted(np.flatnonzero(marks == quote[0]), newlines)
    outside = newlines[before % 2 == 0]
    return int(outside[-1]) + 1 if outside.size else 0
