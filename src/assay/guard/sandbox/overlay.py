"""Output folders laid over for the time of a step: what it writes lands in a folder beside the real one, and that is
exactly the set of its products; afterwards it is moved to its place (`settling`).

Only folders in which an overlay behaves as the folder itself would are laid over (`unfit`): in all others products are
known from opens. A step's ``fsync`` waits until the kernel writes by itself, so a power cut can cost the last seconds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress

from assay.errors import AssayError, UndecidedError
from assay.guard.sandbox.settling import FOLDER, OWN, Layers, opened, remove, same, settle, walk

_MARK = ".assay-"
_FILE_SYSTEMS = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
"""On which an overlay can write, and a rename can refuse to replace."""
_MOST = 1000
"""Entries of a folder that are looked at one by one before each step."""


def unfit(folder: str) -> str | None:
    """Why ``folder`` (links resolved) is better not laid over; None when nobody would notice.

    It may hold no folders (an overlay cannot rename those, EXDEV), no hard links (it would tear them apart) and nothing
    of another owner (it could not be copied), and must be an ordinary folder of a file system that can carry it.
    """
    parent = os.path.dirname(folder)
    try:
        own = os.lstat(folder)
        if not stat.S_ISDIR(own.st_mode) or own.st_mode & 0o700 != 0o700:
            return "it is no folder that can be written to"
        if own.st_dev != os.stat(parent).st_dev or not os.access(parent, os.W_OK | os.X_OK):
            return "nothing can be put beside it"
        if why := _mounts(folder):
            return why
        if not _keeps_attributes(folder) or _attributes(folder) != _labels(parent):
            return "its attributes cannot be kept"
        ours = None if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        if ours is not None and (own.st_uid, own.st_gid) != ours:
            return "it belongs to somebody else"
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                found = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
                    return "it holds folders already"
                if found.st_nlink != 1 or count >= _MOST:
                    return "it holds hard links or many files already"
                if ours is not None and (found.st_uid, found.st_gid) != ours:
                    return "it holds files of somebody else"
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    return None


def _mounts(folder: str) -> str | None:
    best, kind = "", ""
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields = line.split()
            point = os.fsdecode(fields[4].decode("unicode_escape").encode("latin-1"))
            if point == folder or point.startswith(folder + "/"):
                return "something is mounted there"
            if folder.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
                best, kind = point, fields[fields.index(b"-") + 1].decode()
    return None if kind in _FILE_SYSTEMS else f"it lies on {kind or 'an unknown file system'}"


def _keeps_attributes(folder: str) -> bool:
    try:
        os.getxattr(folder, f"{OWN}assay")
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def _attributes(path: str) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def _labels(path: str) -> dict[str, bytes]:
    """What a folder that is made in here gets too, as SELinux does it."""
    return {name: value for name, value in _attributes(path).items() if name.startswith("security.")}


class Overlays:
    """The folders of one step. Made before it starts, settled once after its last process has ended."""

    def __init__(self, folders: Sequence[str]) -> None:
        """Raises `UndecidedError` where nothing can be put beside a folder."""
        self.notes: list[str] = []
        self.layers: list[Layers] = []
        try:
            for folder in folders:
                self.notes += _left_behind(folder)
                self.layers.append(_stage(folder))
        except OSError as error:
            self.settle(keep=False)
            message = f"the output cannot be laid over: {error.strerror or error}: {error.filename or folder}"
            raise UndecidedError(message) from None

    def products(self) -> list[str]:
        """The regular files that the step wrote or replaced, as it named them. Asked for before `settle`."""
        found: list[str] = []
        for layers in self.layers:
            deep: list[str] = []
            for path, status in walk(layers.files, deep):
                if stat.S_ISREG(status.st_mode):
                    found.append(layers.folder + path.removeprefix(layers.files))
            self.notes += [f"a folder in {layers.folder} lies too deep: what is in it is not listed" for _ in deep]
        return found

    def settle(self, keep: bool) -> list[str]:
        """Move what was written to its place, or throw it away; sentences for the user. Raises `AssayError` that names
        where the rest lies when it cannot all be moved: to call it again goes on from there.
        """
        while self.layers:
            layers = self.layers[0]
            try:
                if keep:
                    settle(layers, self.notes)
            except OSError as error:
                raise AssayError(
                    f"what the step wrote cannot be moved to {layers.folder}: {error.strerror or error}",
                    hint=f"it lies in {layers.files}; nothing is lost",
                ) from None
            self.layers.pop(0)
            if not os.path.isdir(layers.theirs):
                remove(layers.staging)
            os.close(layers.lock)
        return self.notes


def _stage(folder: str) -> Layers:
    parent, name = os.path.split(folder)
    own = os.stat(folder)
    with os.scandir(folder) as entries:
        before = {entry.name: same(entry.stat(follow_symlinks=False)) for entry in entries}
    staging = tempfile.mkdtemp(prefix=f".{name[:60]}{_MARK}", dir=parent)
    lock = os.open(staging, FOLDER)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    layers = Layers(folder, staging, lock, before)
    try:
        for path in (layers.files, layers.work):
            os.mkdir(path, 0o700)
        made = os.stat(layers.files)
        if (made.st_uid, made.st_gid) != (own.st_uid, own.st_gid):
            os.chown(layers.files, own.st_uid, own.st_gid)
        os.chmod(layers.files, stat.S_IMODE(own.st_mode))  # the overlay shows this one's
    except BaseException:
        remove(staging)
        os.close(lock)
        raise
    return layers


def _left_behind(folder: str) -> Iterator[str]:
    """What runs that were killed left beside a folder: nobody has its lock any more."""
    parent, name = os.path.split(folder)
    for found in sorted(os.listdir(parent)):
        path = os.path.join(parent, found)
        if found.startswith(f".{name[:60]}{_MARK}"):
            with suppress(OSError), opened(path) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield f"an interrupted run left what it wrote in {path}: move it or delete it"
