"""Digests of a byte range: the segments that cover it are read, and nothing else of the target.

The caller holds them against signed segment digests. What it then knows is about these segments alone: it must never
be reported as a verification of the file or of the target.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Mapping
from typing import BinaryIO

from assay.errors import ChangedError, TargetError, UsageError
from assay.targets.interface import SEGMENT, Target

_CHUNK = 1024 * 1024


def range_digests(target: Target, name: str, start: int, stop: int) -> Mapping[int, bytes]:
    """BLAKE3 of each segment that has one of the bytes ``start`` to ``stop`` (exclusive) of the resource ``name``.

    Keys are segment numbers. A file of at most one segment has the one segment 0, whose digest is the file's own. An
    empty range is allowed in an empty file only. Raises `UsageError` for a range that is not inside the file, and
    `ChangedError` for a file that is not, or does not stay, as it was listed.
    """
    from blake3 import blake3

    i = bisect_left(target.names, name)
    if i == len(target.names) or target.names[i] != name:
        raise TargetError(f"{target.name!r} has no file {name!r}")
    size = target.sizes[i]
    if not (0 <= start < stop <= size or start == stop == size == 0):
        raise UsageError(f"{name!r} has {size} bytes, and {start} to {stop} is not a range of them")
    digests: dict[int, bytes] = {}
    buffer = memoryview(bytearray(_CHUNK))
    with target.open(name) as file:
        before = _state(file)
        file.seek(start // SEGMENT * SEGMENT)
        for segment in range(start // SEGMENT, max(stop - 1, 0) // SEGMENT + 1):
            blake3_ = blake3()
            left = min(SEGMENT, size - segment * SEGMENT)
            while left:
                view = buffer[: min(_CHUNK, left)]
                count = file.readinto(view)  # type: ignore[attr-defined]
                if not count:
                    raise ChangedError(f"{name!r} is shorter than it was when it was listed")
                blake3_.update(view[:count])
                left -= count
            digests[segment] = blake3_.digest()
        if stop == size and file.read(1):
            raise ChangedError(f"{name!r} is longer than it was when it was listed")
        after = _state(file)
    if before != after or (before is not None and before[1] != size):
        raise ChangedError(f"{name!r} changed while it was read")
    return digests


def _state(file: BinaryIO) -> tuple[int, int, int, int] | None:
    """What must not change of an open file; None for one that is not on a disk."""
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
