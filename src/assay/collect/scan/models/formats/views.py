"""Parts of files as files: a stretch of one without a copy, and what a compressed one unpacks to.

Whatever is unpacked is paid for from the scan's budget before anybody sees it, and cannot be read over and over.
Nothing here may hold more in memory than `KEPT` and `RECENT` bytes of one stream, nor write to disk.
"""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from assay.errors import DocumentError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

KEPT = 128 << 20
"""Bytes of an unpacked stream that are kept in memory; what lies behind them is unpacked again after a seek back."""

RECENT = 16 << 20
"""Bytes unpacked last that are kept too: formats are told by looking ahead and going back."""

PASSES = 12
"""How many times a long stream may be unpacked again: a pickle is read in several modes, and then looked through."""

STEP = 16 << 20
"""Bytes between the places from which unpacking can go on, where the method allows for that."""

_PIECE = 256 << 10
_PLACES = 128


class Seekable(io.RawIOBase):
    """A file of known length that seeks by noting where it is; how bytes come is left to `_some`."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._at = 0

    @abstractmethod
    def _some(self, wanted: int) -> bytes:
        """Up to ``wanted`` bytes at the position, fewer only at the end of what can be read at once, none at the end.

        ``wanted`` never reaches beyond the length.
        """

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As for files; beyond the end there is nothing to read."""
        base = (0, self._at, self.length)[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """``size`` bytes, fewer only at the end."""
        left = max(0, self.length - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted and (data := self._some(wanted)):
            self._at += len(data)
            wanted -= len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` as far as there is data at once."""
        view = memoryview(buffer).cast("B")
        data = self._some(min(len(view), max(0, self.length - self._at)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class Slice(Seekable):
    """A stretch of a file. The file's own position is moved by every read."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        """``length`` bytes from ``start``; the caller has checked that the file has them."""
        super().__init__(length)
        inside: object = file
        self.base: BinaryIO = inside.base if isinstance(inside, Slice) else file
        self.start: int = inside.start + start if isinstance(inside, Slice) else start

    def _some(self, wanted: int) -> bytes:
        self.base.seek(self.start + self._at)
        return self.base.read(wanted)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` as far as there is data, without a copy where the file can do that."""
        if not isinstance(self.base, io.BufferedIOBase | io.RawIOBase):
            return super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        self.base.seek(self.start + self._at)
        done = self.base.readinto(view[: max(0, min(len(view), self.length - self._at))]) or 0
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

    def copy(self) -> Decoder | None:
        """One that goes on from here; None where the method does not allow for that."""
        ...


Charge = Callable[[int], None]
"""Pays for so many unpacked bytes, or raises `DocumentError`."""


class _Places:
    """Decoders to go on from, at distances that double whenever there are too many of them."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, Decoder]] = []
        self._apart = STEP

    def note(self, at: int, decoder: Decoder) -> None:
        if at - (self._kept[-1][0] if self._kept else 0) < self._apart:
            return
        copied = decoder.copy()
        if copied is None:
            return
        self._kept.append((at, copied))
        if len(self._kept) > _PLACES:
            self._kept = self._kept[1::2]
            self._apart *= 2

    def before(self, at: int) -> tuple[int, Decoder] | None:
        """The last one that is not behind ``at``, to be used once more."""
        for place, decoder in reversed(self._kept):
            if place <= at:
                copied = decoder.copy()
                return None if copied is None else (place, copied)
        return None


class _Unpacked(Seekable):
    """What a long stream unpacks to; seeking back is unpacking again, `PASSES` times the whole at most."""

    def __init__(self, start: Callable[[], Decoder], kept: bytearray, size: int, places: _Places) -> None:
        super().__init__(size)
        self._start = start
        self._kept = memoryview(kept)
        self._places = places
        self._left = PASSES * size
        self._decoder: Decoder | None = None
        self._decoded = 0
        self._recent: deque[tuple[int, bytes]] = deque()
        self._held = 0

    def _some(self, wanted: int) -> bytes:
        if self._at < len(self._kept):
            return bytes(self._kept[self._at : self._at + wanted])
        if self._decoder is None or self._at < (self._recent[0][0] if self._recent else self._decoded):
            self._decoded, self._decoder = self._places.before(self._at) or (0, self._start())
            self._recent.clear()
            self._held = 0
        while self._decoded <= self._at:
            if not self._more(self._decoder):
                return b""
        for begin, data in reversed(self._recent):
            if begin <= self._at:
                return data[self._at - begin : self._at - begin + wanted]
        return b""

    def _more(self, decoder: Decoder) -> bool:
        data = decoder(_PIECE)
        self._left -= len(data)
        if self._left < 0:
            raise DocumentError("it can only be read by unpacking it over and over")
        if data:
            self._recent.append((self._decoded, data))
            self._held += len(data)
            self._decoded += len(data)
            while self._held > RECENT and len(self._recent) > 1:
                self._held -= len(self._recent.popleft()[1])
        return bool(data)


def unpack(start: Callable[[], Decoder], charge: Charge) -> tuple[BinaryIO, int, str | None]:
    """All that a stream unpacks to: a file that can seek, its size, and what was wrong with the stream or None.

    Broken data end the file where they break: what a loader would have read until then is there to be scanned.
    ``start`` begins a new decoder at the stream's beginning. Raises `DocumentError` only where the budget is spent.
    """
    decoder, kept, size = start(), bytearray(), 0
    places = _Places()
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
        else:
            places.note(size, decoder)
    if size <= _PIECE:
        return io.BytesIO(kept), size, problem
    return cast(BinaryIO, _Unpacked(start, kept, size, places)), size, problem
