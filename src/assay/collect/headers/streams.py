"""Reading pickles and archives forwards: small pieces from a window, large ones passed over without being
read.

A stream must never allocate by a length that only the data claims, nor unpack more than its limit.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from assay.collect.headers.reading import clean
from assay.errors import DocumentError

MAX_LINE = 64 * 1024
"""Bytes of one text line."""

MAX_UNPACKED = 512 * 1024 * 1024
"""Bytes that are unpacked of one compressed file, which takes a few seconds with zlib."""

_MAX_DICTIONARY = 128 * 1024 * 1024
"""Bytes of memory that an xz or lzma stream may ask for; ``xz -9`` needs 65 MiB."""

_WINDOW = 64 * 1024


class Readable(Protocol):
    """What a stream reads from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""
        ...


class Seekable(Readable, Protocol):
    """What a stream can skip in without reading."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As for files."""
        ...

    def tell(self) -> int:
        """As for files."""
        ...


class Stream:
    """Forward reading of small pieces, with skipping. Raises `DocumentError` at the end of the data."""

    def __init__(self, file: Readable, *, seekable: Seekable | None = None, size: int = 0) -> None:
        """``seekable`` is the same file where it can seek, ``size`` the offset of its end then."""
        self._file = file
        self._seekable = seekable
        self._size = size
        self._window = b""
        self._at = 0

    def read(self, length: int) -> bytes:
        """Exactly ``length`` bytes; the caller bounds ``length``."""
        begin, end = self._at, self._at + length
        if end > len(self._window):
            self._fill(length)
            begin, end = 0, length
        self._at = end
        return self._window[begin:end]

    def line(self) -> bytes:
        """Up to the next newline, without it; at most ``MAX_LINE`` bytes."""
        found = self._window.find(b"\n", self._at)
        while found < 0:
            have = len(self._window) - self._at
            if have > MAX_LINE:
                raise DocumentError("a line of the pickle is too long")
            self._fill(have + 1)
            found = self._window.find(b"\n", have)
        line = self._window[self._at : found]
        self._at = found + 1
        return line

    def more(self) -> bool:
        """Whether anything is left."""
        if self._at == len(self._window):
            self._window, self._at = self._file.read(1), 0
        return self._at < len(self._window)

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes, by seeking where that is possible."""
        have = len(self._window) - self._at
        if length <= have:
            self._at += length
            return
        self._window, self._at, rest = b"", 0, length - have
        if self._seekable:
            end = self._seekable.tell() + rest
            if end > self._size:
                raise DocumentError("the file ends within its data")
            self._seekable.seek(end)
            return
        while rest:
            data = self._file.read(min(rest, 1 << 20))
            if not data:
                raise DocumentError("the file ends within its data")
            rest -= len(data)

    def _fill(self, length: int) -> None:
        """Make the window start here and hold at least ``length`` bytes."""
        parts = [self._window[self._at :]]
        have = len(parts[0])
        while have < length:
            data = self._file.read(max(_WINDOW, length - have))
            if not data:
                raise DocumentError("the file ends within its data")
            parts.append(data)
            have += len(data)
        self._window, self._at = b"".join(parts), 0


_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x78\x01": "zlib",
    b"\x78\x5e": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}


def compression(head: bytes) -> str | None:
    """Which compression a file that begins so has: ``zlib``, ``gzip``, ``bz2``, ``xz``, ``lzma``, ``lz4``
    or none.
    """
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


class Unpacked:
    """Forward reading of a compressed file: bounded pieces of a bounded whole."""

    def __init__(self, file: Readable, kind: str, *, limit: int = MAX_UNPACKED) -> None:
        """``kind`` as `compression` names it; raises `DocumentError` for lz4, which the base install
        cannot unpack.
        """
        if kind == "lz4":
            raise DocumentError("it is compressed with lz4, which is not supported")
        self._file = file
        self._kind = kind
        self._left = limit
        self._unpack = _unpacker(kind)

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` unpacked bytes, none at the end; `DocumentError` for broken data or too much of
        it.
        """
        try:
            data = self._unpack(self._file, min(size, 1 << 20))
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise DocumentError(f"broken {self._kind} data: {clean(str(error))[:200]}") from None
        self._left -= len(data)
        if self._left < 0:
            raise DocumentError("the file unpacks to more bytes than are read")
        return data


def _unpacker(kind: str) -> Callable[[Readable, int], bytes]:
    if kind in ("zlib", "gzip"):
        return _ZlibUnpacker(31 if kind == "gzip" else 15)
    if kind == "bz2":
        return _StandardUnpacker(bz2.BZ2Decompressor())
    return _StandardUnpacker(lzma.LZMADecompressor(memlimit=_MAX_DICTIONARY))


class _ZlibUnpacker:
    def __init__(self, bits: int) -> None:
        self._stream = zlib.decompressobj(bits)

    def __call__(self, file: Readable, size: int) -> bytes:
        while not self._stream.eof:
            packed = self._stream.unconsumed_tail or file.read(_WINDOW)
            data = self._stream.decompress(packed, size)
            if data or not packed:
                return data
        return b""


class _StandardUnpacker:
    def __init__(self, stream: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._stream = stream

    def __call__(self, file: Readable, size: int) -> bytes:
        while not self._stream.eof:
            packed = file.read(_WINDOW) if self._stream.needs_input else b""
            needed = self._stream.needs_input
            data = self._stream.decompress(packed, size)
            if data or (needed and not packed):
                return data
        return b""
