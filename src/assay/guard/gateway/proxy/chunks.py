"""The chunked coding (RFC 9112, 7.1), read strictly and piece by piece: no extensions, no padding, no odd line ends."""

from __future__ import annotations

import re

from assay.guard.gateway.proxy.refusals import malformed

_SIZE = re.compile(rb"(?:0|[1-9A-Fa-f][0-9A-Fa-f]{0,7})")
LAST = b"0\r\n\r\n"
TRAILERS = 8 << 10
"""Bytes of an answer's trailers, which are read and dropped."""

_AT_SIZE, _IN_DATA, _AT_END_OF_DATA, _AT_TRAILERS, DONE = range(5)


class Chunks:
    """Reads one body. A request's trailers are refused, an answer's dropped."""

    __slots__ = ("_drop", "_held", "_left", "_state")

    def __init__(self, *, drop_trailers: bool = False) -> None:
        self._state = _AT_SIZE
        self._left = 0
        self._held = b""
        self._drop = drop_trailers

    @property
    def done(self) -> bool:
        """Whether the last chunk was read."""
        return self._state == DONE

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Pieces of the body that are in ``data``, and what comes after the body. Raises `Refused`."""
        pieces: list[bytes] = []
        if self._held:
            data, self._held = self._held + data, b""
        position = 0
        while position < len(data):
            if self._state == _IN_DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _AT_END_OF_DATA
            elif self._state == _AT_SIZE:
                end = data.find(b"\r\n", position, position + 10)
                if end < 0:
                    left = data[position : position + 10]
                    if len(left) > 9 or not _SIZE.fullmatch(left.removesuffix(b"\r")):
                        raise malformed("a chunk's size is no plain number")
                    self._held = left
                    return pieces, b""
                if not _SIZE.fullmatch(data, position, end):
                    raise malformed("a chunk's size is no plain number")
                self._left = int(data[position:end], 16)
                position = end + 2
                self._state = _IN_DATA if self._left else _AT_TRAILERS
            elif self._state == _AT_END_OF_DATA:
                found = data[position : position + 2]
                if not b"\r\n".startswith(found):
                    raise malformed("a chunk is longer than its size")
                if len(found) < 2:
                    self._held = found
                    return pieces, b""
                position += 2
                self._state = _AT_SIZE
            elif self._state == _AT_TRAILERS:
                position = self._trailers(data, position)
                if self._state != DONE:
                    return pieces, b""
            else:
                break
        return pieces, data[position:] if position < len(data) else b""

    def _trailers(self, data: bytes, position: int) -> int:
        """Where the body ends; `_held` has what is not enough to say."""
        rest = data[position : position + TRAILERS]
        if rest.startswith(b"\r\n"):
            self._state = DONE
            return position + 2
        if not self._drop and not b"\r\n".startswith(rest):
            raise malformed("trailers are not taken")
        end = rest.find(b"\r\n\r\n")
        if end >= 0:
            self._state = DONE
            return position + end + 4
        if len(rest) >= TRAILERS:
            raise malformed("the trailers are too large")
        self._held = rest
        return position


def chunk(piece: bytes) -> bytes:
    """One chunk. An empty piece has none: it would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
