"""Flax checkpoints: msgpack, with arrays as extensions. Nothing in it runs; it is walked to its end within limits.

Source: flax/serialization.py (extension types 1 to 3) and the msgpack specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import APPENDED, HIDING, SUPPLY, hand_on, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_ITEMS = 5_000_000
"""Values of one file."""

MAX_DEPTH = 500
"""Containers in containers; msgpack's own reader stops at about as many."""

_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENDED = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xC0: 0, 0xC2: 0, 0xC3: 0,
}  # fmt: skip
_FLAX = frozenset((1, 2, 3))


class FlaxScanner:
    """A msgpack file."""

    name = "flax-msgpack"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A map at the beginning, and the name: msgpack has no mark."""
        return path.lower().endswith(".msgpack") and (0x80 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF))

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Extensions that are not Flax's, and what lies behind the end."""
        end, foreign = _walk(file, size)
        if foreign:
            yield tell(
                scan, "msgpack/extension", Tier.UNKNOWN, Severity.MEDIUM,
                f"it has extensions that Flax does not write: {', '.join(map(str, sorted(foreign)[:10]))}",
                atlas=SUPPLY,
            )  # fmt: skip
        if end < size:
            yield tell(
                scan, "msgpack/appended", Tier.NONE, Severity.LOW, f"{size - end:,} bytes follow the document",
                offset=end, atlas=HIDING,
            )  # fmt: skip
            yield from hand_on(file, end, size, APPENDED, scan)


def _walk(file: BinaryIO, size: int) -> tuple[int, set[int]]:
    """Offset behind the document, and the extension types in it that are not Flax's."""
    foreign: set[int] = set()
    left = [1]
    reader = _Reader(file, size)
    for _ in range(MAX_ITEMS):
        while left and left[-1] == 0:
            left.pop()
        if not left:
            return reader.at, foreign
        left[-1] -= 1
        code = reader.number(1)
        if 0x80 <= code <= 0x8F:
            left.append(2 * (code & 15))
        elif 0x90 <= code <= 0x9F:
            left.append(code & 15)
        elif code in (0xDE, 0xDF):
            left.append(2 * reader.number(2 if code == 0xDE else 4))
        elif code in (0xDC, 0xDD):
            left.append(reader.number(2 if code == 0xDC else 4))
        elif 0xA0 <= code <= 0xBF:
            reader.skip(code & 31)
        elif code in _SIZED:
            reader.skip(reader.number(_SIZED[code]))
        elif code in _EXTENDED or 0xD4 <= code <= 0xD8:
            length = reader.number(_EXTENDED[code]) if code in _EXTENDED else 1 << (code - 0xD4)
            kind = reader.number(1)
            if kind not in _FLAX:
                foreign.add(kind - 256 if kind > 127 else kind)
            reader.skip(length)
        elif code in _FIXED:
            reader.skip(_FIXED[code])
        elif 0x7F < code < 0xE0:
            raise DocumentError(f"the byte {code:#x} at {reader.at - 1:,} begins no value")
        if len(left) > MAX_DEPTH:
            raise DocumentError(f"it is nested deeper than {MAX_DEPTH}")
    raise DocumentError(f"it has more than {MAX_ITEMS:,} values")


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._window = b""
        self._from = 0
        self.at = 0

    def number(self, width: int) -> int:
        offset = self.at - self._from
        if offset < 0 or offset + width > len(self._window):
            self._file.seek(self.at)
            self._window, self._from, offset = self._file.read(4096), self.at, 0
        data = self._window[offset : offset + width]
        if len(data) < width:
            raise DocumentError("it ends in the middle of a value")
        self.at += width
        return int.from_bytes(data, "big")

    def skip(self, length: int) -> None:
        if length > self._size - self.at:
            raise DocumentError("a value goes on beyond the file's end")
        self.at += length
