"""A file's bytes that nobody can change any more: a sealed copy in memory, or the open file where the kernel seals it.

The copy is made by reading once, and digests are of the copy and not of the file, so that it does not matter what
happens to the file meanwhile. A file with fs-verity needs none. A file that is only watched is for the trusted digest
cache, and says so.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

from assay.errors import ChangedError, TargetError
from assay.guard.load import verity
from assay.targets.digest.engine import usable_cores
from assay.targets.digest.plan import identity_of
from assay.targets.interface import SEGMENT

_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE, <linux/fcntl.h>; Python 3.11 does not name it
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE


_handed: set[str] = set()


def handed(path: str) -> bool:
    """Whether a path leads to bytes that are held right now, in this process: such a file has been judged."""
    return any(path == place or path.startswith(place + "/") for place in tuple(_handed))


def hand(path: str) -> None:
    """Note a path that leads to held bytes; `take_back` it before it can lead to anything else."""
    _handed.add(path)


def take_back(path: str) -> None:
    """See `hand`."""
    _handed.discard(path)


class Held:
    """One file, open. `open` and `path` give its bytes: the copy's once there is one."""

    def __init__(self, name: str, source: BinaryIO) -> None:
        self.name = name
        """In its target."""
        self._source = source
        self.identity = identity_of(os.fstat(source.fileno()))
        """Of the open file when it was opened (`targets.digest.plan.identity_of`)."""
        self.size = os.fstat(source.fileno()).st_size
        """Bytes when it was opened."""
        self.measurement = verity.measure(source.fileno())
        """The kernel's, for a file with fs-verity: it cannot be changed any more."""
        self._copy: int | None = None
        self._sha256 = b""
        self._blake3: list[bytes] = []
        if self.measurement is not None:
            known = verity.known(self.measurement, self.size)
            self._sha256, self._blake3 = known.sha256, list(known.blake3)

    @property
    def copied(self) -> bool:
        """Whether the bytes are a private copy."""
        return self._copy is not None

    @property
    def fixed(self) -> bool:
        """Whether nobody can change the bytes: a private copy, or a file that the kernel keeps as it is."""
        return self._copy is not None or self.measurement is not None

    @property
    def path(self) -> str:
        """A path that leads to the held bytes, for libraries that open files themselves; valid until `close`."""
        path = _path(self._descriptor)
        hand(path)
        return path

    @property
    def _descriptor(self) -> int:
        return self._source.fileno() if self._copy is None else self._copy

    def open(self) -> BinaryIO:
        """The held bytes as a file of its own position."""
        return open(os.open(_path(self._descriptor), os.O_RDONLY | os.O_CLOEXEC), "rb")

    def copy(self, *, blake3: bool) -> None:
        """Read the file into a sealed copy, once; with ``blake3`` it is digested while it is in the cores' caches.

        Raises `ChangedError` for a file that shrinks or grows meanwhile.
        """
        if self.fixed:
            return
        descriptor = _anonymous(self.name)
        try:
            if self.size:
                self._fill(descriptor, blake3)
            if os.fstat(self._source.fileno()).st_size != self.size:
                raise ChangedError(f"{self.name!r} changed while it was read")
            _seal(descriptor, _SEALS)
        except BaseException:
            os.close(descriptor)
            raise
        self._copy = descriptor
        if blake3 and not self.size:
            self._blake3 = [_blake3(b"")]

    def _fill(self, descriptor: int, blake3: bool) -> None:
        os.ftruncate(descriptor, self.size)
        with mmap.mmap(descriptor, self.size) as mapping:
            _seal(descriptor, _FUTURE_WRITE | 0x2 | 0x4)  # from here on only this mapping can write it
            view = memoryview(mapping)
            try:

                def read(start: int) -> bytes:
                    with view[start : start + SEGMENT] as part:
                        self._read(part, start)
                        return _blake3(part) if blake3 else b""

                digests = _each(read, range(0, self.size, SEGMENT))
            finally:
                view.release()
        self._blake3 = digests if blake3 else []

    def _read(self, part: memoryview, start: int) -> None:
        done = 0
        while done < len(part):
            try:
                count = os.preadv(self._source.fileno(), [part[done:]], start + done)
            except OSError as error:
                raise TargetError(f"{self.name!r} cannot be read: {error.strerror}") from None
            if not count:
                raise ChangedError(f"{self.name!r} is shorter than it was when it was opened")
            done += count

    def sha256(self) -> bytes:
        """SHA-256 of the fixed bytes."""
        if not self._sha256:
            with self.view() as view:
                self._sha256 = hashlib.sha256(view).digest()
            self._learn()
        return self._sha256

    def blake3(self) -> tuple[bytes, bytes]:
        """Their BLAKE3 as in `Resource`: of the whole (zeros for several segments), and of the segments."""
        if not self._blake3:
            with self.view() as view:

                def one(start: int) -> bytes:
                    return _blake3(view[start : start + SEGMENT])

                self._blake3 = _each(one, range(0, self.size or 1, SEGMENT))
            self._learn()
        return (bytes(32), b"".join(self._blake3)) if len(self._blake3) > 1 else (self._blake3[0], b"")

    def _learn(self) -> None:
        if self.measurement is not None:
            verity.learn(self.measurement, self.size, verity.Digests(self._sha256, tuple(self._blake3)))

    @contextmanager
    def view(self) -> Iterator[memoryview]:
        """The fixed bytes, mapped read-only."""
        assert self.fixed
        if not self.size:
            yield memoryview(b"")
            return
        with mmap.mmap(self._descriptor, self.size, prot=mmap.PROT_READ) as mapping, memoryview(mapping) as view:
            yield view

    def check(self) -> None:
        """Raise `ChangedError` if a watched file is not as it was when it was opened; fixed bytes cannot."""
        if not self.fixed and identity_of(os.fstat(self._source.fileno())) != self.identity:
            raise ChangedError(
                f"{self.name!r} changed while it was loaded, and what was loaded is discarded",
                hint="do not trust the digest cache for files that others write",
            )

    def close(self) -> None:
        """Give the descriptors back; what a library has mapped stays mapped."""
        if self._source.closed:
            return
        take_back(_path(self._source.fileno()))
        self._source.close()
        if self._copy is not None:
            take_back(_path(self._copy))
            os.close(self._copy)
            self._copy = None


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _each(work: Callable[[int], bytes], starts: range) -> list[bytes]:
    if len(starts) <= 2:
        return [work(start) for start in starts]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(work, starts))


def _blake3(part: bytes | memoryview) -> bytes:
    from blake3 import blake3

    digest: bytes = blake3(part).digest()
    return digest


def _anonymous(name: str) -> int:
    """A file without a name: in memory where the system has such, else unlinked."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(os.path.basename(name)[:100], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _seal(descriptor: int, seals: int) -> None:
    import fcntl

    if hasattr(fcntl, "F_ADD_SEALS"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        except OSError:
            if seals & 0x8:  # the last seal must hold; the early one is refused by kernels before 5.1 only
                raise
