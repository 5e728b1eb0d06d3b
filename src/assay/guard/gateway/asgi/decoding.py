"""Compressed bodies that somebody has to look into: decoded within a bound, or refused. Never decoded in part."""

from __future__ import annotations

import zlib

from assay.guard.gateway.interface import Decision

UNKNOWN = Decision(False, 415, "coding", "bodies may be compressed by gzip or deflate, once")
BROKEN = Decision(False, 400, "coding", "the compressed body is damaged, or goes on after its end")
LARGE = Decision(False, 413, "size", "the body is too large once it is decoded")

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""`zlib`'s words for the forms of RFC 9110, 8.4.1; what some call deflate without zlib's frame is not one of them."""


def plain(coding: bytes) -> bool:
    """Whether a ``Content-Encoding`` (empty: none) leaves the body as it is."""
    return not coding or coding.strip().lower() == b"identity"


def decoded(body: bytes, coding: bytes, limit: int) -> bytes | Decision:
    """The body without its ``Content-Encoding``, at most ``limit`` bytes, or the refusal."""
    window = _WINDOWS.get(coding.strip().lower())
    if window is None:
        return UNKNOWN
    inflater = zlib.decompressobj(window)
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error:
        return BROKEN
    if len(data) > limit:
        return LARGE
    return data if inflater.eof and not inflater.unused_data else BROKEN
