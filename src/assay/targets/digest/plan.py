"""What has to be read, in units that workers take one by one, and the shared table that the digests go into.

Nothing here reads a file. The table is one anonymous shared mapping, so that forked workers and threads write the
same rows, and a result costs no object, message or lock.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Sequence

from msgspec import Struct

from assay.targets.interface import DIGEST, SEGMENT
from assay.targets.listing import Listing

BATCH_FILES = 64
"""Files in one batch: enough that handing it out costs nothing, few enough that workers end together."""

BATCH_BYTES = 16 * 1024 * 1024
"""A batch ends when it has this many bytes."""

WINDOW_SEGMENTS = 4
"""Segments of a large file in one unit: 16 MiB, about 2 ms of BLAKE3."""

IDENTITY = 40
"""Bytes of a file's identity: five 8-byte numbers (device, inode, size, mtime and ctime in nanoseconds)."""

_NONE = bytes(IDENTITY)
_pack = struct.Struct("=QQQqq").pack

BATCH, WINDOW, STREAM = range(3)

Unit = tuple[int, int, int, int]
"""(BATCH, first and last+1 place in ``Plan.small``, 0), (WINDOW, position, first and last+1 segment) or
(STREAM, position, 1 where reading and hashing get a thread each, 0)."""


class Plan(Struct, frozen=True):
    """The work for one run over some of a listing's files."""

    listing: Listing
    """Where the files are."""
    sha256: bool
    """SHA-256 is wanted."""
    blake3: bool
    """BLAKE3 is wanted."""
    small: array[int]
    """Positions of the files of at most one segment, in order of name."""
    segment_rows: dict[int, int]
    """By position of a larger file: the row of its first segment's digest."""
    segment_count: int
    """Rows of segments altogether."""
    units: list[Unit]
    """Large files first, the largest of them first."""
    total: int
    """Bytes to read."""


def identity_of(status: os.stat_result) -> bytes:
    """What a file's digests belong to: `IDENTITY` bytes."""
    return _pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def segments_of(size: int) -> int:
    """Segments of a file of ``size`` bytes."""
    return -(-size // SEGMENT)


def make_plan(listing: Listing, positions: Sequence[int], *, sha256: bool, blake3: bool, cores: int) -> Plan:
    """Cut the work up for ``cores`` cores."""
    sizes = listing.sizes
    small = array("Q", (i for i in positions if sizes[i] <= SEGMENT))
    large = sorted((i for i in positions if sizes[i] > SEGMENT), key=lambda i: (-sizes[i], i))
    units: list[Unit] = []
    rows: dict[int, int] = {}
    row = 0
    large_bytes = sum(sizes[i] for i in large)
    for i in large:
        count = segments_of(sizes[i])
        if blake3:
            rows[i] = row
            row += count
        if sha256:
            # SHA-256 cannot be divided. A file that would outlast the others' fair share decides how long
            # everything takes, so its reading and its BLAKE3 move to a second core.
            units.append((STREAM, i, int(blake3 and sizes[i] * cores > large_bytes), 0))
        else:
            units.extend(
                (WINDOW, i, first, min(first + WINDOW_SEGMENTS, count)) for first in range(0, count, WINDOW_SEGMENTS)
            )
    start = in_batch = 0
    for k, i in enumerate(small):
        in_batch += sizes[i]
        if in_batch >= BATCH_BYTES or k + 1 - start >= BATCH_FILES:
            units.append((BATCH, start, k + 1, 0))
            start, in_batch = k + 1, 0
    if start < len(small):
        units.append((BATCH, start, len(small), 0))
    total = large_bytes + sum(sizes[i] for i in small)
    return Plan(listing, sha256, blake3, small, rows, row, units, total)


class Columns(Struct, frozen=True):
    """What was computed, by columns as in `Manifest`; rows that were not asked for are zeros."""

    sha256: bytes
    """32 bytes a file, or empty."""
    blake3: bytes
    """32 bytes a file, or empty."""
    segments: dict[int, bytes]
    """By position, for files larger than a segment."""
    identities: bytes
    """`IDENTITY` bytes a file, or empty."""


class Table:
    """Rows of digests and identities by position, and what each worker is doing."""

    def __init__(self, plan: Plan, workers: int) -> None:
        count = len(plan.listing.names)
        self._plan = plan
        self._blake3 = count * DIGEST if plan.sha256 else 0
        self._segments = self._blake3 + (count * DIGEST if plan.blake3 else 0)
        self._identities = self._segments + plan.segment_count * DIGEST
        self._workers = self._identities + count * IDENTITY
        self._end = self._workers + workers * 16
        self._memory = mmap.mmap(-1, self._end)  # shared zeros; a page costs memory once something is written to it

    def sha256(self, i: int, digest: bytes) -> None:
        """Store a file's SHA-256."""
        self._memory[i * DIGEST : (i + 1) * DIGEST] = digest

    def blake3(self, i: int, digest: bytes) -> None:
        """Store a small file's BLAKE3."""
        at = self._blake3 + i * DIGEST
        self._memory[at : at + DIGEST] = digest

    def segment(self, i: int, segment: int, digest: bytes) -> None:
        """Store the BLAKE3 of a large file's segment."""
        at = self._segments + (self._plan.segment_rows[i] + segment) * DIGEST
        self._memory[at : at + DIGEST] = digest

    def identity(self, i: int, identity: bytes) -> bool:
        """Store the stat that a file's digests belong to; False where another one is there already."""
        at = self._identities + i * IDENTITY
        there = self._memory[at : at + IDENTITY]
        if there == _NONE:
            self._memory[at : at + IDENTITY] = identity
        return there in (_NONE, identity)

    def working(self, worker: int, done: int, position: int) -> None:
        """Note how many bytes a worker has read and which file it is at."""
        at = self._workers + worker * 16
        self._memory[at : at + 16] = done.to_bytes(8, "little") + position.to_bytes(8, "little")

    def done(self) -> int:
        """Bytes that all workers have read."""
        return sum(int.from_bytes(self._memory[at : at + 8], "little") for at in range(self._workers, self._end, 16))

    def position(self, worker: int) -> int:
        """The file that a worker is at."""
        at = self._workers + worker * 16 + 8
        return int.from_bytes(self._memory[at : at + 8], "little")

    def columns(self, *, identities: bool) -> Columns:
        """Copy everything out, and free the mapping."""
        memory, plan = self._memory, self._plan
        segments = {}
        for i, row in plan.segment_rows.items():
            at = self._segments + row * DIGEST
            segments[i] = memory[at : at + segments_of(plan.listing.sizes[i]) * DIGEST]
        columns = Columns(
            memory[: self._blake3],
            memory[self._blake3 : self._segments],
            segments,
            memory[self._identities : self._workers] if identities else b"",
        )
        memory.close()
        return columns
