"""An open file of JSON Lines: lines gather for at most a second, and are in the file from then on.

After a crash all whole lines of the file count (`places.recover`): at most that second is lost.
"""

from __future__ import annotations

import errno
import os

from assay.guard.gateway.capture.places import Place

LARGEST = 64 << 20
"""Bytes after which a file is closed."""
GATHERED = 1 << 20
"""Bytes that are written before their time."""


class Lines:
    """See the module. Raises `OSError`."""

    def __init__(self, folder: str, at: float, now: float) -> None:
        self._place = Place(folder, at, "jsonl")
        self.opened = now
        self._waiting: list[bytes] = []
        self.bytes = 0
        """That wait."""
        self.size = 0
        """Of the file, with what waits."""

    def add(self, line: bytes) -> None:
        """One event."""
        self._waiting.append(line)
        self.bytes += len(line)
        self.size += len(line)
        if self.bytes >= GATHERED:
            self.flush()

    @property
    def full(self) -> bool:
        """Whether it is to be closed for its size."""
        return self.size >= LARGEST

    def flush(self) -> None:
        """Write what waits."""
        while self._waiting:
            data = b"".join(self._waiting)
            written = os.write(self._place.descriptor, data)
            if written < len(data):  # the disk's last room: whole lines stay, and the next write says what is wrong
                end = os.fstat(self._place.descriptor).st_size
                whole = data.rfind(b"\n", 0, written) + 1
                os.ftruncate(self._place.descriptor, end - (written - whole))
                written = whole
            del self._waiting[: data.count(b"\n", 0, written)]
            if not written:  # not even one line had room
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.bytes = 0

    def finish(self) -> None:
        """Close it under its name."""
        try:
            self.flush()
        finally:
            self._place.finish()  # with all that is in it, also where the disk takes no more

    @property
    def waiting(self) -> int:
        """Events that are not in the file yet."""
        return len(self._waiting)
