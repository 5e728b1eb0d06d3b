"""Reading units of a plan and writing their digests into the table; the same code in a forked worker and a thread.

Each file is compared before and after it is read. It must never allocate by a file's size, and never report a
digest of a file that did not hold still.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from assay.errors import ChangedError, TargetError
from assay.targets.digest.beneath import Beneath, unreadable
from assay.targets.digest.plan import BATCH, WINDOW, Plan, Table, Unit, identity_of
from assay.targets.interface import SEGMENT

CHUNK = 256 * 1024
"""Bytes in one read: small enough for a core's own cache, large enough that the system call does not count."""

MAPPED = 1024 * 1024
"""Bytes that BLAKE3 takes at once from a mapped file: it works on many chunks side by side."""

RING = 3
"""Buffers between the thread that reads a file and the one that hashes it."""

CHANGED = 0
"""Code of a `Failed` that is not an errno: the file did not hold still."""


def _read_ahead(fd: int, start: int, length: int) -> None:
    """Tell the kernel that these bytes (0: to the end) are read in order; not every platform can be told."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, start, length, os.POSIX_FADV_SEQUENTIAL)


class Failed(Exception):
    """A file could not be digested. Small enough to cross a pipe; `failure` makes it the user's error."""

    def __init__(self, position: int, code: int) -> None:
        super().__init__(position, code)
        self.position = position
        """Of the file."""
        self.code = code
        """An errno, or `CHANGED`."""


class Stopped(Exception):
    """The others have failed or the user has interrupted: end without a result."""


def failure(plan: Plan, failed: Failed) -> TargetError:
    """The user's error for a worker's."""
    name = plan.listing.names[failed.position]
    if failed.code == CHANGED:
        return ChangedError(
            f"{name!r} changed while it was read",
            hint="its digest would be of no single state of the file; try again when nothing writes to it",
        )
    return unreadable(name, OSError(failed.code, ""))


class Worker:
    """Takes units, one after the other. Not for use by several threads at once.

    With ``mapping`` it may map files that are in memory already, which saves BLAKE3 a fifth of its time. A mapped file
    that is truncated kills the process with SIGBUS: for forked workers only, whose parent knows what that means.
    """

    def __init__(
        self,
        plan: Plan,
        table: Table,
        number: int,
        *,
        identities: bool,
        stopped: Callable[[], bool],
        mapping: bool = False,
    ) -> None:
        self._plan = plan
        self._table = table
        self._number = number
        self._identities = identities
        self._stopped = stopped
        self._mapping = mapping and hasattr(os, "RWF_NOWAIT") and hasattr(mmap, "MAP_POPULATE")
        self._beneath = Beneath(plan.listing.root)
        self._buffer = memoryview(bytearray(CHUNK))
        self._done = 0
        self._new_blake3: Any = None
        if plan.blake3:
            from blake3 import blake3

            self._new_blake3 = blake3

    def close(self) -> None:
        """Give descriptors back."""
        self._beneath.close()

    def run(self, unit: Unit) -> None:
        """Digest one unit. Raises `Failed` or `Stopped`."""
        kind, a, b, c = unit
        if kind == BATCH:
            self._batch(a, b)
        elif kind == WINDOW:
            self._window(a, b, c)
        else:
            self._stream(a, paired=bool(b))

    def _open(self, i: int) -> tuple[int, os.stat_result]:
        try:
            fd = self._beneath.open(self._plan.listing.path(i))
        except OSError as error:
            raise Failed(i, error.errno or CHANGED) from None
        status = os.fstat(fd)
        if status.st_size != self._plan.listing.sizes[i] or not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise Failed(i, CHANGED)
        return fd, status

    def _unchanged(self, i: int, fd: int, before: os.stat_result) -> None:
        after = os.fstat(fd)
        if (
            after.st_ctime_ns != before.st_ctime_ns
            or after.st_mtime_ns != before.st_mtime_ns
            or after.st_size != before.st_size
        ):
            raise Failed(i, CHANGED)

    def _identify(self, i: int, status: os.stat_result) -> None:
        if not self._table.identity(i, identity_of(status)):
            raise Failed(i, CHANGED)  # another window of this file saw another file

    def _read(self, i: int, fd: int, into: memoryview, offset: int) -> None:
        """Fill ``into``, or raise."""
        done = 0
        while done < len(into):
            try:
                count = os.preadv(fd, [into[done:] if done else into], offset + done)
            except OSError as error:
                raise Failed(i, error.errno or CHANGED) from None
            if not count:
                raise Failed(i, CHANGED)  # shorter than it was
            done += count

    def _progress(self, count: int, i: int) -> None:
        self._done += count
        self._table.working(self._number, self._done, i)
        if self._stopped():
            raise Stopped

    def _batch(self, start: int, stop: int) -> None:
        # The loop that decides how long 50,000 files take: one readv into the same buffer, no object per file that
        # outlives its turn, and nothing called that is not needed for each of them.
        plan, table, buffer = self._plan, self._table, self._buffer
        new_sha256, new_blake3 = hashlib.sha256, self._new_blake3
        unchanged = self._unchanged
        self._progress(0, plan.small[start])
        total = 0
        for i in plan.small[start:stop]:
            fd, before = self._open(i)
            try:
                size = before.st_size
                if size > CHUNK:
                    self._whole(i, fd, size)
                else:
                    if os.readv(fd, [buffer]) != size:
                        self._read(i, fd, buffer[:size], 0)
                    view = buffer[:size]
                    if plan.sha256:
                        table.sha256(i, new_sha256(view).digest())
                    if new_blake3 is not None:
                        table.blake3(i, new_blake3(view).digest())
                unchanged(i, fd, before)
            except OSError as error:
                raise Failed(i, error.errno or CHANGED) from None
            finally:
                os.close(fd)
            if self._identities:
                self._identify(i, before)
            total += size
        self._progress(total, plan.small[stop - 1])

    def _whole(self, i: int, fd: int, size: int) -> None:
        """A file of at most one segment that does not fit into the buffer."""
        sha256 = hashlib.sha256() if self._plan.sha256 else None
        blake3 = self._new_blake3() if self._plan.blake3 else None
        for offset in range(0, size, CHUNK):
            view = self._buffer[: min(CHUNK, size - offset)]
            self._read(i, fd, view, offset)
            if sha256 is not None:
                sha256.update(view)
            if blake3 is not None:
                blake3.update(view)
        if sha256 is not None:
            self._table.sha256(i, sha256.digest())
        if blake3 is not None:
            self._table.blake3(i, blake3.digest())

    def _window(self, i: int, first: int, last: int) -> None:
        """BLAKE3 of some segments of a large file."""
        fd, before = self._open(i)
        try:
            self._identify(i, before)
            size = before.st_size
            start, end = first * SEGMENT, min(last * SEGMENT, size)
            _read_ahead(fd, start, end - start)
            mapping = self._mapping and self._resident(fd, start, end)
            for view in self._chunks(i, fd, start, end, lambda: self._buffer, mapping=mapping):
                self._progress(len(view), i)
            self._unchanged(i, fd, before)
            self._identify(i, before)  # again: two windows may have been the first at the same moment
        finally:
            os.close(fd)

    def _stream(self, i: int, *, paired: bool) -> None:
        """SHA-256 of a large file, and BLAKE3 of its segments in the same pass."""
        fd, before = self._open(i)
        try:
            _read_ahead(fd, 0, 0)
            sha256 = hashlib.sha256()
            if paired:
                self._paired(i, fd, before.st_size, sha256)
            else:
                for view in self._chunks(i, fd, 0, before.st_size, lambda: self._buffer):
                    sha256.update(view)
                    self._progress(len(view), i)
            self._table.sha256(i, sha256.digest())
            self._unchanged(i, fd, before)
            self._identify(i, before)
        finally:
            os.close(fd)

    def _chunks(
        self, i: int, fd: int, start: int, end: int, take: Callable[[], memoryview], *, mapping: bool = False
    ) -> Iterator[memoryview]:
        """Read part of a large file, from the beginning of a segment, with BLAKE3 on the way, and yield each piece."""
        blake3: Any = None
        at = start
        for view in self._mapped(i, fd, start, end) if mapping else self._copied(i, fd, start, end, take):
            if self._new_blake3 is not None:
                if at % SEGMENT == 0:
                    blake3 = self._new_blake3()
                blake3.update(view)
            at += len(view)
            if blake3 is not None and (at % SEGMENT == 0 or at == end):
                self._table.segment(i, (at - 1) // SEGMENT, blake3.digest())
            yield view

    def _copied(self, i: int, fd: int, start: int, end: int, take: Callable[[], memoryview]) -> Iterator[memoryview]:
        """Bytes of a file, read into buffers from ``take``: lying in the core's cache, which SHA-256 needs."""
        for at in range(start, end, CHUNK):
            view = take()[: min(CHUNK, end - at)]
            self._read(i, fd, view, at)
            yield view

    def _mapped(self, i: int, fd: int, start: int, end: int) -> Iterator[memoryview]:
        """Bytes of a file as the kernel has them: BLAKE3 does not wait for memory, and saves the copy."""
        try:
            window = mmap.mmap(fd, end - start, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ, offset=start)
        except ValueError:
            raise Failed(i, CHANGED) from None  # shorter than it was
        except OSError as error:
            raise Failed(i, error.errno or CHANGED) from None
        with window, memoryview(window) as whole:
            for at in range(0, end - start, MAPPED):
                with whole[at : at + MAPPED] as view:
                    yield view

    def _resident(self, fd: int, start: int, stop: int) -> bool:
        """Whether a few samples of these bytes are in memory: mapping what is not would read it page by page."""
        sample = self._buffer[:1]
        try:
            for offset in range(start, stop, SEGMENT):
                if not os.preadv(fd, [sample], offset, os.RWF_NOWAIT):
                    return False
        except OSError:
            return False  # not in memory, or a file system that cannot tell
        return True

    def _paired(self, i: int, fd: int, size: int, sha256: hashlib._Hash) -> None:
        """A thread reads and does BLAKE3 while this one does SHA-256, which then runs as fast as from memory."""
        free: SimpleQueue[memoryview | None] = SimpleQueue()
        full: SimpleQueue[memoryview | BaseException | None] = SimpleQueue()
        for _ in range(RING):
            free.put(memoryview(bytearray(CHUNK)))

        def take() -> memoryview:
            buffer = free.get()
            if buffer is None:
                raise Stopped
            return buffer

        def read() -> None:
            try:
                for view in self._chunks(i, fd, 0, size, take):
                    full.put(view)
                full.put(None)
            except BaseException as error:
                full.put(error)

        reader = threading.Thread(target=read, name="assay-reader")
        reader.start()
        try:
            while (item := full.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                sha256.update(item)
                self._progress(len(item), i)
                free.put(memoryview(item.obj))
        finally:
            free.put(None)
            reader.join()
