"""One file that several processes append whole lines to, and that any of them rotates.

Each append holds the file's lock (flock) and looks whether the name still leads to the same file: so nothing is written
to a file that was rotated away, by us or by logrotate, and what the disk took only in part is taken back to a line's
end before anybody else writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time

from assay.errors import UsageError

MODE = 0o640
"""Of new files: addresses and callers are nobody else's business."""

STDOUT = "-"
PIPE = 4096
"""PIPE_BUF of Linux: so much is written to a pipe at once or not at all, whoever else writes to it."""


class LogFile:
    """See the module. Used by one thread at a time; each process has one of its own."""

    def __init__(self, path: str, rotate: int) -> None:
        """``path`` absolute; a file larger than ``rotate`` bytes is rotated. Raises `UsageError`."""
        self.path = path
        self._rotate = rotate
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise UsageError(
                f"the access log {path} cannot be written: {error.strerror}", hint="log.file names it"
            ) from None

    def append(self, data: bytes, patience: float) -> tuple[int, bool]:
        """Write whole lines. Returns how many bytes the file now has of them (whole lines again), and whether a file
        was rotated away before. Raises `OSError` where nothing was written: also where another process held the lock
        for ``patience`` seconds (`BlockingIOError`).
        """
        rotated = False
        while True:
            self._lock(patience)
            try:
                end = self._end()
                if not end or end + len(data) <= self._rotate:
                    return self._write(data, end), rotated
                try:
                    os.rename(self.path, self._aside())
                except OSError:  # the folder is not ours: a log that is too large is better than none
                    return self._write(data, end), rotated
                rotated = True
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._open()

    def _end(self) -> int:
        """Where to go on; the beginning of a line that a killed process left there is taken away."""
        end = size = os.fstat(self._descriptor).st_size
        while end and (tail := os.pread(self._descriptor, min(end, 4096), max(0, end - 4096)))[-1:] != b"\n":
            end -= len(tail) - tail.rfind(b"\n") - 1
        if end < size:
            os.ftruncate(self._descriptor, end)
        return end

    def _write(self, data: bytes, end: int) -> int:
        written = os.write(self._descriptor, data)
        if written < len(data):
            written = data.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._descriptor, end + written)
        return written

    def _lock(self, patience: float) -> None:
        """Hold the file that the name leads to."""
        deadline = time.monotonic() + patience
        while True:
            if self._descriptor < 0:
                self._open()
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.001)
                continue
            if self._same():
                return
            self.close()

    def _same(self) -> bool:
        try:
            named, ours = os.stat(self.path), os.fstat(self._descriptor)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def _aside(self) -> str:
        """A name for the file that is rotated away: its time, so that no other file needs another name."""
        moment = time.time_ns()
        while True:
            seconds, rest = divmod(moment, 10**9)
            name = f"{self.path}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}.{rest:09}Z"
            if not os.path.lexists(name) and not os.path.lexists(f"{name}.gz"):
                return name
            moment += 1

    def _open(self) -> None:
        self.close()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        self._descriptor = os.open(self.path, flags, MODE)

    def sync(self) -> None:
        """What was written survives a power cut from now on."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # a pipe or a device, which has nothing to sync
                os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; the next append opens what has its name then. The lock goes with it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Output:
    """Standard output, as a `LogFile`: never rotated. Lines of several processes do not mix."""

    path = ""

    def append(self, data: bytes, patience: float) -> tuple[int, bool]:
        """See `LogFile.append`. Waits for a slow reader."""
        done = 0
        while done < len(data):
            end = len(data) if len(data) - done <= PIPE else data.rfind(b"\n", done, done + PIPE) + 1
            end = end if end > done else data.find(b"\n", done) + 1
            while done < end:
                try:
                    done += os.write(1, data[done:end])
                except BlockingIOError:  # somebody has made it so
                    select.select((), (1,), (), 1.0)
                except OSError:
                    if not done:
                        raise
                    return data.rfind(b"\n", 0, done) + 1, False
        return done, False

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """It is not ours."""
