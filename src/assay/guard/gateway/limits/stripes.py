"""Locks between processes that a killed holder cannot keep: POSIX semaphores, and one rule for the case.

The rule: who holds a stripe for `PATIENCE` seconds (a critical section takes a microsecond) is taken for dead, and
exactly one of those who wait lets it go. If it only slept, what others counted of that key meanwhile may be lost, and
nothing else.
"""

from __future__ import annotations

import fcntl
import os
from _multiprocessing import SemLock, sem_unlink  # type: ignore[import-not-found]
from collections.abc import Callable
from typing import Any

PATIENCE = 0.25
"""Seconds."""
STRIPES = 16

_SEMAPHORE = 1


class Stripes:
    """`STRIPES` locks that all processes share that know ``token``."""

    def __init__(self, token: str, path: str, *, create: bool) -> None:
        """``path``: with ``.recovery``, a file whose lock (flock, which ends with its process) makes recoveries take
        turns.
        """
        self._path = path + ".recovery"
        self._locks: list[Any] = []
        for i in range(STRIPES):
            name = f"/assay-{token}-{i}"
            made = SemLock(_SEMAPHORE, 1, 1, name, False) if create else SemLock._rebuild(0, _SEMAPHORE, 1, name)
            self._locks.append(made)
        self._token = token
        self.acquire: list[Callable[..., bool]] = [lock.acquire for lock in self._locks]
        """``acquire[i](False)``: whether it was had at once; else `wait`."""
        self.release: list[Callable[[], None]] = [lock.release for lock in self._locks]

    def wait(self, stripe: int) -> None:
        """Have it, however long somebody else does."""
        if self.acquire[stripe](True, PATIENCE):
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            while not self.acquire[stripe](True, PATIENCE):
                let_go(self.release[stripe])
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Forget the names, when nobody needs them any more."""
        for i in range(STRIPES):
            try:
                sem_unlink(f"/assay-{self._token}-{i}")
            except FileNotFoundError:
                continue


def let_go(release: Callable[[], None]) -> None:
    """Release a lock that somebody may have let go in one's name."""
    try:
        release()
    except ValueError:
        return  # it is free already
