"""Compressed bodies that somebody looks into: decoded as they come, within a bound on size and ratio, or refused.

Nothing is ever decoded in part, and what comes after a compressed stream's end is refused: two readers would differ.
"""

from __future__ import annotations

import zlib

from assay.guard.gateway.interface import Decision
from assay.guard.gateway.refusing import Refused

UNKNOWN = Decision(False, 415, "coding", "bodies may be compressed by gzip or deflate, once")
DAMAGED = Decision(False, 400, "coding", "the compressed body is damaged, or goes on after its end")
BOMB = Decision(False, 413, "size", "the body is too large once it is decoded")

RATIO = 200
"""Most bytes that one byte may stand for, beyond the first `FREE` ones; JSON of equal rows comes to about 100."""
FREE = 1 << 20

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""`zlib`'s words for the codings of RFC 9110, 8.4.1; what some call deflate without zlib's frame is not one of them."""


class Decoder:
    """One body."""

    __slots__ = ("_in", "_inflater", "_limit", "_out")

    def __init__(self, coding: bytes, limit: int) -> None:
        """``limit`` in decoded bytes. Raises `Refused` where the coding is not known."""
        window = _WINDOWS.get(coding.strip().lower())
        if window is None:
            raise Refused(UNKNOWN)
        self._inflater = zlib.decompressobj(window)
        self._limit = limit
        self._in = self._out = 0

    def feed(self, piece: bytes) -> bytes:
        """The decoded form of a piece. Raises `Refused`."""
        if self._inflater.eof:
            if piece:
                raise Refused(DAMAGED)
            return b""
        self._in += len(piece)
        allowed = min(self._limit, FREE + RATIO * self._in)
        try:
            decoded = self._inflater.decompress(piece, allowed - self._out + 1)
        except zlib.error:
            raise Refused(DAMAGED) from None
        self._out += len(decoded)
        if self._out > allowed:
            raise Refused(BOMB)
        if self._inflater.unused_data:
            raise Refused(DAMAGED)
        return decoded

    def close(self) -> None:
        """Refuse a body that ended before its compressed stream."""
        if not self._inflater.eof:
            raise Refused(DAMAGED)


def plain(coding: bytes | None) -> bool:
    """Whether a ``Content-Encoding`` leaves the body as it is."""
    return not coding or coding.strip().lower() == b"identity"


def decoded(body: bytes, coding: bytes | None, limit: int) -> bytes:
    """A whole body without its coding. Raises `Refused`."""
    if not coding or plain(coding):
        return body
    decoder = Decoder(coding, limit)
    found = decoder.feed(body)
    decoder.close()
    return found
