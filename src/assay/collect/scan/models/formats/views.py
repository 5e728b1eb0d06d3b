"""Parts of files as files: a stretch of one without a copy, and what a compressed one unpacks to.

Whatever is unpacked is paid for from the scan's budget before anybody sees it, and cannot be read over and over.
Nothing here may hold more in memory than `KEPT` bytes of one stream, nor write to disk.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from assay.errors import DocumentError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

KEPT = 32 << 20
"""Bytes of an unpacked stream that are kept in memory; what lies behind them is unpacked again after a seek back."""

PASSES = 12
"""How many times a long stream may be unpacked again: a pickle is read in several modes, and then looked through."""

_PIECE = 256 << 10


class Slice(io.RawIOBase):
    """A stretch of a file that can seek. The file's own position is moved by every read."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        """``length`` bytes from ``start``; the caller has checked that the file has them."""
        inside: object = file
        self.base: BinaryIO = inside.base if isinstance(inside, Slice) else file
        self.start: int = inside.start + start if isinstance(inside, Slice) else start
        self.length = length
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Position inside the stretch."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As for files; beyond the end there is nothing to read."""
        base = (0, self._at, self.length)[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes."""
        left = max(0, self.length - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        self.base.seek(self.start + self._at)
        data = self.base.read(wanted)
        self._at += len(data)
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` as far as there is data."""
        view = memoryview(buffer).cast("B")
        left = max(0, self.length - self._at)
        self.base.seek(self.start + self._at)
        target = view[: min(len(view), left)]
        if isinstance(self.base, io.BufferedIOBase | io.RawIOBase):
            done = self.base.readinto(target) or 0
        else:
            data = self.base.read(len(target))
            done = len(data)
            target[:done] = data
        self._at += done
        return done


def part(file: BinaryIO, start: int, length: int) -> BinaryIO:
    """A `Slice`, as the type that everybody asks for."""
    return cast(BinaryIO, Slice(file, start, length))


class Decoder(Protocol):
    """What unpacks one stream: `bz2.BZ2Decompressor` and its kin."""

    def __call__(self, size: int) -> bytes:
        """Up to ``size`` further bytes, none at the end. Raises `DocumentError` for broken data."""
        ...


Charge = Callable[[int], None]
"""Pays for so many unpacked bytes, or raises `DocumentError`."""


class _Unpacked(io.RawIOBase):
    """What a long stream unpacks to; seeking back behind the kept bytes starts again, `PASSES` times at most."""

    def __init__(self, start: Callable[[], Decoder], kept: bytes, size: int) -> None:
        self._start = start
        self._kept = kept
        self._size = size
        self._left = PASSES * size
        self._at = 0
        self._decoder: Decoder | None = None
        self._decoded = 0
        self._pending = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (0, self._at, self._size)[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted:
            data = self._some(wanted)
            if not data:
                break
            parts.append(data)
            wanted -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._some(min(len(view), max(0, self._size - self._at)))
        view[: len(data)] = data
        return len(data)

    def _some(self, wanted: int) -> bytes:
        kept = self._at < len(self._kept)
        data = self._kept[self._at : self._at + wanted] if kept else self._forward(wanted)
        self._at += len(data)
        return data

    def _forward(self, wanted: int) -> bytes:
        if self._decoder is None or self._decoded > self._at:
            self._decoder, self._decoded, self._pending = self._start(), 0, b""
        while True:
            if not self._pending:
                self._pending = self._decoder(_PIECE)
                self._left -= len(self._pending)
                if self._left < 0:
                    raise DocumentError("it can only be read by unpacking it over and over")
                if not self._pending:
                    return b""
            skip = self._at - self._decoded
            if skip < len(self._pending):
                data = self._pending[skip : skip + wanted]
                self._pending = self._pending[skip + len(data) :]
                self._decoded = self._at + len(data)
                return data
            self._decoded += len(self._pending)
            self._pending = b""


def unpack(start: Callable[[], Decoder], charge: Charge) -> tuple[BinaryIO, int, str | None]:
    """All that a stream unpacks to: a file that can seek, its size, and what was wrong with the stream or None.

    Broken data end the file where they break: what a loader would have read until then is there to be scanned.
    ``start`` begins a new decoder at the stream's beginning. Raises `DocumentError` only where the budget is spent.
    """
    decoder, kept, size = start(), bytearray(), 0
    problem: str | None = None
    while True:
        try:
            data = decoder(_PIECE)
        except DocumentError as error:
            problem = error.message
            break
        if not data:
            break
        charge(len(data))
        size += len(data)
        if len(kept) < KEPT:
            kept += data
    if size == len(kept):
        return io.BytesIO(kept), size, problem
    return cast(BinaryIO, _Unpacked(start, bytes(kept), size)), size, problem
