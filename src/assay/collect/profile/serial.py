"""Numbers, texts and arrays as canonical bytes, and back: one value has exactly one form, so that digests compare.

Reading is a parser of untrusted bytes: it refuses what is cut short, too large, or written in another than the one
form, and must never make room for more than the bytes that are there can hold.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.errors import DocumentError

Unsigned = NDArray[np.uint64]
Whole = NDArray[np.int64]

_WIDTHS = (1, 2, 4, 8)


class Writer:
    """Appends values; `data` is what has been written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def natural(self, value: int) -> None:
        """A number from 0 on, seven bits a byte, least significant first (LEB128)."""
        encoded = bytearray()
        while value > 0x7F:
            encoded.append(value & 0x7F | 0x80)
            value >>= 7
        encoded.append(value)
        self._parts.append(bytes(encoded))

    def integer(self, value: int) -> None:
        """Any whole number: an odd mantissa and how many zero bits follow it, so that 2**1000 costs three bytes."""
        zeros = (value & -value).bit_length() - 1 if value else 0
        mantissa = value >> zeros
        size = (mantissa.bit_length() // 8) + 1 if value else 0
        self.natural(zeros)
        self.natural(size)
        self._parts.append(mantissa.to_bytes(size, "little", signed=True))

    def real(self, value: float) -> None:
        """An IEEE 754 binary64, little endian."""
        self._parts.append(struct.pack("<d", value))

    def text(self, value: str) -> None:
        """UTF-8."""
        self.blob(value.encode("utf-8", "surrogatepass"))

    def blob(self, value: bytes) -> None:
        """Bytes after their number."""
        self.natural(len(value))
        self._parts.append(value)

    def array(self, values: Unsigned | Whole) -> None:
        """Numbers from 0 on, all in the least width of 1, 2, 4 or 8 bytes that holds the largest."""
        self.natural(len(values))
        if len(values):
            width = _width(int(values.max()))
            self.natural(width)
            self._parts.append(values.astype(f"<u{width}").tobytes())

    @property
    def data(self) -> bytes:
        """All that was written."""
        return b"".join(self._parts)


class Reader:
    """Reads what a `Writer` wrote. Raises `DocumentError` for everything else."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def natural(self, limit: int = 1 << 62) -> int:
        """A number from 0 to ``limit``."""
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise refused("a number is longer than 64 bits")
        if (byte == 0 and shift) or value > limit:
            raise refused("a number is out of its range, or not in its shortest form")
        return value

    def integer(self) -> int:
        """Any whole number of at most 8,192 bits."""
        zeros = self.natural(8192)
        size = self.natural(1024)
        value = int.from_bytes(self._take(size), "little", signed=True)
        if (size == 0) != (value == 0) or (value == 0 and zeros) or (value and (not value & 1)):
            raise refused("a sum is not in its shortest form")
        if value and size != (value.bit_length() // 8) + 1:
            raise refused("a sum is not in its shortest form")
        return value << zeros

    def real(self) -> float:
        """A finite number that is not minus zero."""
        value: float = struct.unpack("<d", self._take(8))[0]
        if value != value or value in (float("inf"), float("-inf")) or (value == 0 and str(value) != "0.0"):
            raise refused("a number is not finite")
        return value

    def text(self, limit: int = 65_536) -> str:
        """UTF-8 of at most ``limit`` bytes."""
        try:
            return self.blob(limit).decode("utf-8")
        except UnicodeDecodeError:
            raise refused("a text is not UTF-8") from None

    def blob(self, limit: int) -> bytes:
        """At most ``limit`` bytes."""
        return bytes(self._take(self.natural(limit)))

    def array(self, limit: int) -> Unsigned:
        """At most ``limit`` numbers, as 64-bit words."""
        size = self.natural(limit)
        if not size:
            return np.zeros(0, np.uint64)
        width = self.natural(8)
        if width not in _WIDTHS:
            raise refused("an array has no such width")
        values = np.frombuffer(self._take(size * width), f"<u{width}").astype(np.uint64)
        if _width(int(values.max())) != width:
            raise refused("an array is wider than it has to be")
        return values

    def counts(self, limit: int) -> Whole:
        """As `array`, of numbers below 2**62 that are not 0."""
        values = self.array(limit)
        if len(values) and (int(values.max()) >= 1 << 62 or int(values.min()) == 0):
            raise refused("a count is 0 or too large")
        if float(values.sum(dtype=np.float64)) >= 2**62:
            raise refused("counts are too large")
        return values.astype(np.int64)

    def ascending(self, limit: int) -> Unsigned:
        """As `array`, written as differences: strictly ascending 64-bit words."""
        steps = self.array(limit)
        if len(steps) > 1 and int(steps[1:].min()) == 0:
            raise refused("a list is not in order")
        words = np.cumsum(steps, dtype=np.uint64)
        if len(words) > 1 and bool((words[1:] <= words[:-1]).any()):
            raise refused("a list is not in order")
        return words

    def end(self) -> None:
        """Raise unless everything has been read."""
        if self._at != len(self._data):
            raise refused("there is more than a profile in it")

    def _take(self, size: int) -> memoryview:
        if size > len(self._data) - self._at:
            raise refused("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]


def steps(values: Unsigned | Whole) -> Unsigned:
    """Differences of an ascending list, its first value first: what `Reader.ascending` reads."""
    words = values.astype(np.uint64)
    words[1:] -= values[:-1].astype(np.uint64)
    return words


def refused(why: str) -> DocumentError:
    """The error for bytes that are no profile."""
    return DocumentError(
        f"this is not a profile that assay can read: {why}", hint="make the profile again from its data"
    )


def require_sum(total: int, parts: Sequence[int], what: str) -> None:
    """Raise `DocumentError` unless ``parts`` are not negative and add up to ``total``."""
    if min(parts, default=0) < 0 or sum(parts) != total:
        raise refused(f"{what} do not add up")


def _width(largest: int) -> int:
    return next(width for width in _WIDTHS if largest < 1 << (8 * width))
