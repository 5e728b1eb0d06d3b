"""The file as the unpickler sees it, in the three ways in which loaders read: exact, prefetching, and all at once.

Long byte strings are passed over without being read. An exact reader also watches the frames: where none is left
before its end, every way of reading runs the same program, which is why one run is enough for an honest pickle.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from assay.collect.scan.models.pickle import inside_torch
from assay.collect.scan.models.pickle.program import Blob
from assay.collect.scan.models.pickle.show import LARGE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WINDOW = 256 << 10
PREFETCH = 128 << 10
"""What the C unpickler asks `peek` for (PREFETCH in Modules/_pickle.c)."""

BLOBS = 10_000
"""Passed over byte strings that are listed."""


class Reader:
    """Exact: never takes more than it is asked for, like `io.BytesIO` and members of zip files."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.at = file.tell()
        """Position in the file of the next byte to hand out."""
        self.irregular = False
        """An argument reached over the end of a frame, so that loaders run different programs."""
        self.in_frame = False
        """The last thing that was read is a frame."""
        self.blobs: list[Blob] = []
        self.ended = False
        """Nothing more is handed out."""
        self._window = b""
        self._from = 0
        self._expect = 0
        self._frame_opcode = False

    def read(self, count: int) -> bytes:
        """``count`` bytes; fewer, possibly none, where the file has not as many: the unpickler stops on those."""
        offset = self.at - self._from
        if offset >= 0 and offset + count <= len(self._window) and not self.ended:
            data = self._window[offset : offset + count]
        else:
            data = self._fetch(count)
        self.at += len(data)
        if self.in_frame:
            self.in_frame = False
            if count != 1:  # one byte is asked for only where the frame is used up
                self.irregular = True
        if self._expect and count == self._expect:
            self.in_frame = True
        self._expect = int.from_bytes(data, "little") if self._frame_opcode and count == 8 else 0
        self._frame_opcode = count == 1 and data == b"\x95"
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Advance over a long byte string, whose content stays unknown; fill a short one."""
        self._leave_frame()
        length = len(buffer)
        if length > self.size - self.at or self.ended:
            return 0
        if length >= LARGE:
            if len(self.blobs) < BLOBS:
                self.blobs.append(Blob(self.at, length))
            inside_torch.mark(buffer, self.at)
            self.at += length
            return length
        data = self._fetch(length)
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def readline(self) -> bytes:
        """Up to and with the next newline."""
        self._leave_frame()
        if self.ended:
            return b""
        parts = []
        while self.at < self.size:
            offset = self.at - self._from
            if not 0 <= offset < len(self._window):
                self._fill()
                offset = 0
                if not self._window:
                    break
            found = self._window.find(b"\n", offset)
            part = self._window[offset : found + 1 if found >= 0 else None]
            parts.append(part)
            self.at += len(part)
            if found >= 0:
                break
        return b"".join(parts)

    def look(self, count: int) -> bytes:
        """The next bytes, neither taken nor counted as read."""
        return self._fetch(count)

    def _leave_frame(self) -> None:
        if self.in_frame:
            self.irregular = True
        self.in_frame = self._frame_opcode = False
        self._expect = 0

    def _fetch(self, count: int) -> bytes:
        if self.ended or count > self.size - self.at:
            return b""
        if count <= WINDOW:
            offset = self.at - self._from
            if offset < 0 or offset + count > len(self._window):
                self._fill()
                offset = 0
            return self._window[offset : offset + count]
        self.file.seek(self.at)
        return read_fully(self.file, count)

    def _fill(self) -> None:
        self.file.seek(self.at)
        self._window = read_fully(self.file, min(WINDOW, max(0, self.size - self.at)))
        self._from = self.at


class PeekReader(Reader):
    """Prefetching: hands out long pieces, which is fast where a pickle has no frames.

    ``frames`` says that bytes were handed out which a FRAME opcode could be; if so, an exact run has to decide.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, size)
        self.frames = False
        zeros = 8 - (max(size, 1).bit_length() + 7) // 8
        self._frame = re.compile(rb"\x95.{%d}\x00{%d}" % (8 - zeros, zeros), re.DOTALL)

    def peek(self, count: int) -> bytes:
        """The next bytes, without advancing."""
        if self.ended:
            return b""
        offset = self.at - self._from
        if offset < 0 or len(self._window) - offset < min(PREFETCH + 8, self.size - self.at):
            self._fill()
            offset = 0
        if not self.frames and self._frame.search(self._window, offset, offset + PREFETCH + 8):
            self.frames = True
        return self._window[offset : offset + PREFETCH]


class _Raw(io.RawIOBase):
    """The file from its beginning to ``size``, for a buffer of its own."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.at = file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = (0, self.at, self._size)[whence] + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self.at)
        data = self._file.read(max(0, min(len(view), self._size - self.at)))
        view[: len(data)] = data
        self.at += len(data)
        return len(data)


class BufferedFile(Reader):
    """As `open` gives it: Python's own buffer, with its own `peek`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, size)
        self._buffered = io.BufferedReader(_Raw(file, size))

    def peek(self, count: int) -> bytes:
        """What the buffer has."""
        return b"" if self.ended else self._buffered.peek(count)

    def read(self, count: int) -> bytes:
        """Through the buffer."""
        if self.ended or count > self.size - self.at:
            return b""
        data = self._buffered.read(count)
        self.at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Through the buffer; the content of a long byte string is read here."""
        if self.ended or len(buffer) > self.size - self.at:
            return 0
        count = self._buffered.readinto(buffer)
        self.at += count
        return count

    def readline(self) -> bytes:
        """Through the buffer."""
        line = b"" if self.ended else self._buffered.readline()
        self.at += len(line)
        return line


class WholeFile(Reader):
    """As `pickle.loads`: one buffer with everything."""

    def peek(self, count: int) -> bytes:
        """Everything that is left."""
        if self.ended:
            return b""
        self.file.seek(self.at)
        return read_fully(self.file, max(0, self.size - self.at))


Make = Callable[[BinaryIO, int], Reader]


def read_fully(file: BinaryIO, count: int) -> bytes:
    """``count`` bytes, fewer only at the end of the file."""
    data = file.read(count)
    if len(data) == count or not data:
        return data
    parts = [data]
    left = count - len(data)
    while left and (data := file.read(left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)
