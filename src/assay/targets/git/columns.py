"""Filling a manifest's columns from several threads, for resources that are streams instead of files on a disk.

It holds digests and no contents. Each position is written by one thread only.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence

from assay.errors import TargetError
from assay.targets.digest.stream import StreamDigest
from assay.targets.interface import DIGEST, Manifest, Options

_REPORT = 8 * 1024 * 1024  # bytes between two calls of the progress function
_OVERHEAD = 8192  # bytes whose digest costs as much as starting on another blob


class Columns:
    """The manifest's columns while several threads fill them."""

    def __init__(self, count: int, total: int, sha256: bool, blake3: bool, options: Options) -> None:
        self.sha256 = sha256
        self.blake3 = blake3
        self.stop = False
        self._total = total
        self._done = self._reported = 0
        self._progress = options.progress
        self._sizes = array("Q", bytes(8 * count))
        self._sha256 = bytearray(DIGEST * count if sha256 else 0)
        self._blake3 = bytearray(DIGEST * count if blake3 else 0)
        self._segments: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def stream(self, i: int, chunks: Iterator[bytes]) -> None:
        """Digest resource ``i``."""
        digest = StreamDigest(sha256=self.sha256, blake3=self.blake3)
        for data in chunks:
            if self.stop:
                raise TargetError("reading was stopped")  # another thread's error is the one that is told
            digest.update(data)
            self._report(len(data))
        self.put(i, *digest.finish())

    def put(self, i: int, size: int, sha256: bytes | None, blake3: bytes | None, segments: bytes) -> None:
        """Fill in one resource."""
        at = slice(i * DIGEST, (i + 1) * DIGEST)
        self._sizes[i] = size
        if self.sha256 and sha256 is not None:
            self._sha256[at] = sha256
        if self.blake3 and segments:
            self._segments[i] = segments
        elif self.blake3 and blake3 is not None:
            self._blake3[at] = blake3

    def beyond(self) -> Callable[[int, int], None]:
        """A progress function for work that comes after what was done so far."""
        before = self._done

        def report(done: int, _total: int) -> None:
            if self._progress is not None:
                self._progress(before + done, self._total)

        return report

    def manifest(self, names: Sequence[str]) -> Manifest:
        """The filled columns."""
        segments = dict(sorted(self._segments.items()))
        return Manifest(names, self._sizes, bytes(self._sha256), bytes(self._blake3), segments)

    def _report(self, count: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._done += count
            if self._done - self._reported >= _REPORT or self._done == self._total:
                self._reported = self._done
                self._progress(self._done, self._total)


def shares(blobs: list[int], sizes: array[int], workers: int) -> list[list[int]]:
    """``blobs`` cut into at most ``workers`` runs of about the same work; a blob has a cost of its own."""
    limit = sum(sizes[i] + _OVERHEAD for i in blobs) / max(workers, 1)
    parts: list[list[int]] = []
    work = limit
    for i in blobs:
        if work >= limit and len(parts) < workers:
            parts.append([])
            work = 0
        parts[-1].append(i)
        work += sizes[i] + _OVERHEAD
    return parts
