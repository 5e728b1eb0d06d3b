"""Digests of bytes that come as a stream instead of a file: a git blob, a download.

The same digests as the engine's, so that a resource means the same wherever it was read. It keeps no bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

from assay.targets.interface import SEGMENT


class StreamDigest:
    """SHA-256 of the whole, and BLAKE3 by segments, of chunks of any size."""

    def __init__(self, *, sha256: bool = True, blake3: bool = True) -> None:
        self._size = 0
        self._sha256 = hashlib.sha256() if sha256 else None
        self._segments: list[bytes] = []
        self._blake3: Any = None
        if blake3:
            from blake3 import blake3 as new

            self._new = new
            self._blake3 = new()

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(chunk)
        if self._sha256 is not None:
            self._sha256.update(view)
        if self._blake3 is not None:
            rest = view
            while len(rest):
                if self._size and self._size % SEGMENT == 0:
                    # Only now is it known that the file goes on: one of exactly one segment has no list of them.
                    self._segments.append(self._blake3.digest())
                    self._blake3 = self._new()
                part = rest[: SEGMENT - self._size % SEGMENT]
                self._blake3.update(part)
                self._size += len(part)
                rest = rest[len(part) :]
        else:
            self._size += len(view)

    def finish(self) -> tuple[int, bytes | None, bytes | None, bytes]:
        """Size in bytes, SHA-256, BLAKE3 of the whole, segment digests; the last two as in `Resource`."""
        sha256 = self._sha256.digest() if self._sha256 is not None else None
        if self._blake3 is None:
            return self._size, sha256, None, b""
        last = self._blake3.digest()
        if self._segments:
            return self._size, sha256, None, b"".join([*self._segments, last])
        return self._size, sha256, last, b""
