"""Opening files beneath a root, one path component after the other, so that no symbolic link can lead out of it.

Every read of a local target goes through here. It must never follow a link, block on a FIFO, or accept ``..``.
"""

from __future__ import annotations

import errno
import os

from assay.errors import ChangedError, TargetError

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
# O_PATH needs the permission to search a folder only, as an ordinary open of the file would.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY

_MOVED = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ESTALE, errno.ENXIO, errno.EISDIR})
"""What open says when a name no longer stands for the regular file that was listed."""


def unreadable(name: str, error: OSError) -> TargetError:
    """The error to raise for ``name`` (``repr`` keeps its bytes from reaching a terminal)."""
    if error.errno in _MOVED:
        return ChangedError(
            f"{name!r} is no longer the file that was listed ({os.strerror(error.errno or 0)})",
            hint="something changes the target while it is read; try again when it is at rest",
        )
    return TargetError(f"{name!r} cannot be read: {os.strerror(error.errno or 0)}")


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if not all(parts) or "." in parts or ".." in parts:
        raise TargetError(f"{path!r} is not a plain path beneath the target")
    return parts


def open_root(root: str) -> int:
    """Descriptor of the folder ``root``, for `open_beneath`."""
    try:
        return os.open(root, _FOLDER)
    except OSError as error:
        raise TargetError(f"the folder {root!r} cannot be opened: {error.strerror}") from None


def open_beneath(root: int, path: str, *, folder: bool = False) -> int:
    """Open the file (or folder) ``path`` beneath the folder ``root``; every component with O_NOFOLLOW.

    Raises `OSError` as open(2) does (ELOOP for a link), and `TargetError` for a path that is not a plain one. The
    caller checks with fstat that a file is a regular one: O_NONBLOCK keeps a FIFO from blocking here.
    """
    *folders, last = _parts(path)
    at = root
    try:
        for part in folders:
            inner = os.open(part, _FOLDER, dir_fd=at)
            if at != root:
                os.close(at)
            at = inner
        if folder:
            return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY, dir_fd=at)
        return os.open(last, _FILE, dir_fd=at)
    finally:
        if at != root:
            os.close(at)


class Beneath:
    """Opens many files beneath one root, and keeps the folders of the last one open for the next.

    In a sorted listing neighbours share their folder, so that a file costs one open(2) however deep it lies.
    """

    def __init__(self, root: str) -> None:
        self._fds = [open_root(root)]
        self._folders: list[str] = []
        self._prefix = ""

    def open(self, path: str) -> int:
        """As `open_beneath`."""
        base = self._base(path)
        return os.open(base, _FILE, dir_fd=self._fds[-1])

    def stat(self, path: str) -> os.stat_result:
        """What lies at ``path``, without following a link."""
        base = self._base(path)
        return os.stat(base, dir_fd=self._fds[-1], follow_symlinks=False)

    def _base(self, path: str) -> str:
        """The last component, with the folder above it open."""
        cut = path.rfind("/") + 1
        if path[:cut] != self._prefix:
            self._enter(path, cut)
        base = path[cut:]
        if base in ("", ".", ".."):
            raise TargetError(f"{path!r} is not a plain path beneath the target")
        return base

    def _enter(self, path: str, cut: int) -> None:
        folders = _parts(path)[:-1]
        common = 0
        for ours, theirs in zip(self._folders, folders, strict=False):
            if ours != theirs:
                break
            common += 1
        self._prefix = "/"  # equals no path's prefix, should an open below fail
        while len(self._folders) > common:
            self._folders.pop()
            os.close(self._fds.pop())
        for part in folders[common:]:
            self._fds.append(os.open(part, _FOLDER, dir_fd=self._fds[-1]))
            self._folders.append(part)
        self._prefix = path[:cut]

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            os.close(self._fds.pop())
