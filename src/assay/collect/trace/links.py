"""Links and folders that a step turns while it runs: what a path through them means is asked anew at each use.

A link to a harmless file, read, turned to another, read again and turned back would else hide what it led to meanwhile.
Such uses are recorded under the name of the file itself. Nothing here opens a file for reading or writing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

MOST = 100_000
"""Paths that are remembered; a step that turns more is told as a gap, and its other links as paths only."""

_FOLLOWED = 40  # as many links as the kernel follows: MAXSYMLINKS, linux/namei.h
_MAGIC = frozenset((b"proc", b"self", b"thread-self", b"fd"))

Reach = Callable[[bytes, int], int]
"""A descriptor (``O_PATH``) of what an absolute path is for the step, with further flags. Raises `OSError`."""


class Turned:
    """The paths that do not always mean the same."""

    def __init__(self) -> None:
        self._paths: set[bytes] = set()

    def add(self, path: bytes) -> bool:
        """Remember one; False when there are too many."""
        if len(self._paths) < MOST:
            self._paths.add(path)
        return path in self._paths

    def on(self, path: bytes) -> bool:
        """Whether an absolute path goes by way of one of them."""
        if not self._paths:
            return False
        while path:
            if path in self._paths:
                return True
            path = path.rpartition(b"/")[0]
        return False


def magic(target: bytes) -> bool:
    """Whether a link with this text may lead to where only its user gets (``/proc/self/cwd``): nobody else can tell."""
    return not _MAGIC.isdisjoint(target.split(b"/"))


def led(path: bytes, reach: Reach, *, follow: bool = True) -> bytes:
    """What an absolute path leads to at this moment, without links; of what is not there, where it would be made."""
    for _ in range(_FOLLOWED):
        if (found := _where(path, reach, follow=follow)) is not None:
            return found
        folder, _, name = path.rpartition(b"/")
        base = _where(folder or b"/", reach, follow=True)
        if base is None:
            return path
        made = base.rstrip(b"/") + b"/" + name
        target = _target(made, reach) if follow else None
        if target is None:
            return made
        path = os.path.join(base, target)
    return path


def _where(path: bytes, reach: Reach, *, follow: bool) -> bytes | None:
    try:
        descriptor = reach(path, 0 if follow else os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.readlink(b"/proc/self/fd/%d" % descriptor)
    finally:
        os.close(descriptor)


def _target(path: bytes, reach: Reach) -> bytes | None:
    """The text of a link that leads nowhere yet."""
    try:
        descriptor = reach(path, os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.readlink(b"", dir_fd=descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
