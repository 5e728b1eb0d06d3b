"""Brings what a step wrote in an overlay to its place, each entry by one rename, however it locked itself out of it.

Nothing is ever deleted here that the step had not deleted, no link of the step's is followed, and what cannot be moved
stays where it is. To be killed in the middle leaves every file in one of the two places. Sources:
``Documentation/filesystems/overlayfs.rst``, ``rename(2)``, ``path_resolution(7)``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from msgspec import Struct, field

OWN = "user.overlay."
"""Beginning of the attributes that an overlay keeps its notes in."""
_ESCAPED = "user.overlay.overlay."
"""How it stores one of the step's that is named like its own (Linux 6.7)."""
_NO_REPLACE = 1  # RENAME_NOREPLACE: linux/fs.h
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
Same = tuple[int, int, int, int]
"""Inode, size, times: by which a file is known to be unchanged."""


class Layers(Struct, frozen=True):
    """One folder that is laid over."""

    folder: str
    """The real one; links resolved."""
    staging: str
    """Beside it, ours alone, locked as long as the run goes on."""
    lock: int
    before: Mapping[str, Same] = field(default_factory=dict)
    """What lay in it, so that nobody else's changes of the meantime are taken for the step's."""

    @property
    def files(self) -> str:
        """What the step writes: the upper layer."""
        return f"{self.staging}/files"

    @property
    def work(self) -> str:
        """The overlay's own workshop."""
        return f"{self.staging}/work"

    @property
    def theirs(self) -> str:
        """What gave way to the step's and was not its own; only when there is such a thing."""
        return f"{self.staging}/theirs"


def settle(layers: Layers, notes: list[str]) -> None:
    """Everything of the upper layer to its place."""
    for path, found in walk(layers.files):
        if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            _clean(path, found.st_mode)
    mode = stat.S_IMODE(os.stat(layers.files).st_mode)
    with _permitted(layers.files), opened(layers.files) as source, opened(layers.folder) as target:
        _move(layers, source, target, "", layers.before, notes)
        if mode != stat.S_IMODE(os.fstat(target).st_mode):
            os.fchmod(target, mode)


def _move(layers: Layers, source: int, target: int, base: str, before: Mapping[str, Same], notes: list[str]) -> None:
    """What is in the folder ``source`` into ``target``, each entry by one rename. It can be begun anew at any moment.
    What somebody else has put there in the meantime gives way to the step's, and is kept.
    """
    for name in os.listdir(source):
        new, old = _look(name, source), _look(name, target)
        if new is None:
            continue
        path = f"{base}/{name}"
        theirs = old is not None and before.get(name) != same(old)
        if stat.S_ISCHR(new.st_mode) and new.st_rdev == 0:  # a whiteout: the step deleted it
            if theirs:
                notes.append(
                    f"{layers.folder}{path} was deleted by the step, and changed by somebody else: it was left"
                )
            elif old is not None:
                os.unlink(name, dir_fd=target)
            continue
        with _permitted(layers.files + path, new.st_mode):
            if old is not None and theirs and stat.S_ISDIR(new.st_mode) and stat.S_ISDIR(old.st_mode):
                with opened(name, source) as inner, opened(name, target) as other:
                    _move(layers, inner, other, path, {}, notes)
                continue
            if theirs:
                notes.append(
                    f"{layers.folder}{path} was changed by somebody else too: theirs is {_aside(layers, target, name)}"
                )
            elif old is not None and stat.S_ISDIR(new.st_mode):
                os.unlink(name, dir_fd=target)
            elif old is not None:
                if stat.S_ISREG(new.st_mode):
                    _synced(layers.files + path)  # the overlay had every fsync of the step's wait until now
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                continue
            _rename(source, target, name)


def _aside(layers: Layers, target: int, name: str) -> str:
    """Where that of somebody else lies now."""
    os.makedirs(layers.theirs, 0o700, exist_ok=True)
    folder = tempfile.mkdtemp(dir=layers.theirs)
    os.rename(name, f"{folder}/{name}", src_dir_fd=target)
    return f"{folder}/{name}"


def _rename(source: int, target: int, name: str) -> None:
    """Never over anything: ``renameat2(2)``."""
    raw = os.fsencode(name)
    if _libc.renameat2(ctypes.c_int(source), raw, ctypes.c_int(target), raw, ctypes.c_uint(_NO_REPLACE)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def walk(folder: str, deep: list[str] | None = None, *, lock: bool = True) -> Iterator[tuple[str, os.stat_result]]:
    """All beneath a folder of the step's; links are not followed. Folders that it has locked itself out of are open
    meanwhile, and then locked again. Those whose path is too long to be a path go into ``deep``.
    """
    waiting = [(folder, os.lstat(folder).st_mode)]
    closed: list[tuple[str, int]] = []
    try:
        while waiting:
            base, mode = waiting.pop()
            try:
                if not _open(mode):
                    os.chmod(base, stat.S_IMODE(mode) | 0o700)
                    closed.append((base, stat.S_IMODE(mode)))
                with os.scandir(base) as entries:
                    found = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                if deep is not None:
                    deep.append(base)
                continue
            for path, status in found:
                yield path, status
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((path, status.st_mode))
    finally:
        for path, mode in reversed(closed if lock else ()):
            os.chmod(path, mode)


def _clean(path: str, mode: int) -> None:
    """Take away the overlay's own notes, and give the step's back their names."""
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith(OWN):
            with _permitted(path, mode):
                value = os.getxattr(path, name, follow_symlinks=False)
                os.removexattr(path, name, follow_symlinks=False)
                if name.startswith(_ESCAPED):
                    os.setxattr(path, OWN + name.removeprefix(_ESCAPED), value, follow_symlinks=False)


def _synced(path: str) -> None:
    with opened(path, flags=os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) as handle:
        os.fsync(handle)


@contextmanager
def _permitted(path: str, mode: int | None = None) -> Iterator[None]:
    """Its owner may do everything with it meanwhile: to move a folder takes the right to write to it. Links have no
    permissions, and other things can be moved without.
    """
    mode = os.lstat(path).st_mode if mode is None else mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or _open(mode):
        yield
        return
    with opened(path, flags=os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) as handle:
        own = f"/proc/self/fd/{handle}"
        os.chmod(own, stat.S_IMODE(mode) | 0o700)
        try:
            yield
        finally:
            os.chmod(own, stat.S_IMODE(mode))  # under whichever name it has now


@contextmanager
def opened(path: str, directory: int | None = None, flags: int = FOLDER) -> Iterator[int]:
    """A descriptor for as long as it is needed."""
    handle = os.open(path, flags, dir_fd=directory)
    try:
        yield handle
    finally:
        os.close(handle)


def _look(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def same(found: os.stat_result) -> Same:
    """What two looks at an unchanged file have in common."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def remove(staging: str) -> None:
    """What is left of it: empty folders, whiteouts, the overlay's workshop, to which it let nobody in."""
    import shutil

    with suppress(OSError, RecursionError):  # an empty folder too many is no reason to fail
        for _ in walk(staging, lock=False):
            pass
        shutil.rmtree(staging)


def _open(mode: int) -> bool:
    """Whether we may do everything with a folder or file of ours."""
    return mode & 0o700 == 0o700 or os.geteuid() == 0
