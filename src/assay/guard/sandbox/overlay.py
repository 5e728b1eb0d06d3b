"""Output folders laid over for the time of a step: what it writes lands in a folder beside the real one, and that is
exactly the set of its products; afterwards it is moved to its place, each entry by one rename.

Only folders in which an overlay behaves as the folder itself would are laid over (`unfit`): in all others products are
known from opens. Nothing is ever deleted here that the step had not deleted, and what cannot be moved stays where it is
and is named. Sources: ``Documentation/filesystems/overlayfs.rst``, ``rename(2)``, ``path_resolution(7)``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from assay.errors import AssayError, UndecidedError

_MARK = ".assay-"
_FILE_SYSTEMS = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
"""On which an overlay can write, and a rename can refuse to replace."""
_MOST = 1000
"""Entries of a folder that are looked at one by one before each step."""
_NO_REPLACE = 1  # RENAME_NOREPLACE: linux/fs.h
_OWN = "user.overlay."
_ESCAPED = "user.overlay.overlay."
"""How an overlay stores an attribute of the step's that is named like one of its own (Linux 6.7)."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_Same = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Layers:
    """One folder that is laid over."""

    folder: str
    """The real one; links resolved."""
    staging: str
    """Beside it, ours alone, locked as long as the run goes on."""
    lock: int
    before: Mapping[str, _Same] = field(default_factory=dict)
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
        if any(not name.startswith("security.") for name in os.listxattr(folder)) or not _keeps_attributes(folder):
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
        os.getxattr(folder, f"{_OWN}assay")
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


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
            for path, status in _walk(layers.files, deep):
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
                    _settle(layers, self.notes)
            except OSError as error:
                raise AssayError(
                    f"what the step wrote cannot be moved to {layers.folder}: {error.strerror or error}",
                    hint=f"it lies in {layers.files}; nothing is lost",
                ) from None
            self.layers.pop(0)
            if not os.path.isdir(layers.theirs):
                _remove(layers.staging)
            os.close(layers.lock)
        return self.notes


def _stage(folder: str) -> Layers:
    parent, name = os.path.split(folder)
    own = os.stat(folder)
    with os.scandir(folder) as entries:
        before = {entry.name: _same(entry.stat(follow_symlinks=False)) for entry in entries}
    staging = tempfile.mkdtemp(prefix=f".{name[:60]}{_MARK}", dir=parent)
    lock = os.open(staging, _FOLDER)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    layers = Layers(folder, staging, lock, before)
    for path in (layers.files, layers.work):
        os.mkdir(path, 0o700)
    if os.geteuid() == 0:
        os.chown(layers.files, own.st_uid, own.st_gid)
    os.chmod(layers.files, stat.S_IMODE(own.st_mode))  # the overlay shows this one's
    return layers


def _left_behind(folder: str) -> Iterator[str]:
    """What runs that were killed left beside a folder: nobody has its lock any more."""
    parent, name = os.path.split(folder)
    for found in sorted(os.listdir(parent)):
        path = os.path.join(parent, found)
        if found.startswith(f".{name[:60]}{_MARK}"):
            with suppress(OSError), _opened(path) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield f"an interrupted run left what it wrote in {path}: move it or delete it"


def _settle(layers: Layers, notes: list[str]) -> None:
    """Everything of the upper layer to its place."""
    for path, found in _walk(layers.files):
        if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            _clean(path, found.st_mode)
    mode = stat.S_IMODE(os.stat(layers.files).st_mode)
    with _permitted(layers.files), _opened(layers.files) as source, _opened(layers.folder) as target:
        _move(layers, source, target, "", layers.before, notes)
        if mode != stat.S_IMODE(os.fstat(target).st_mode):
            os.fchmod(target, mode)


def _move(layers: Layers, source: int, target: int, base: str, before: Mapping[str, _Same], notes: list[str]) -> None:
    """What is in the folder ``source`` into ``target``, each entry by one rename. It can be begun anew at any moment.
    What somebody else has put there in the meantime gives way to the step's, and is kept.
    """
    for name in os.listdir(source):
        new, old = _look(name, source), _look(name, target)
        if new is None:
            continue
        path = f"{base}/{name}"
        theirs = old is not None and before.get(name) != _same(old)
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
                with _opened(name, source) as inner, _opened(name, target) as other:
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


def _walk(folder: str, deep: list[str] | None = None, *, lock: bool = True) -> Iterator[tuple[str, os.stat_result]]:
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
        if name.startswith(_OWN):
            with _permitted(path, mode):
                value = os.getxattr(path, name, follow_symlinks=False)
                os.removexattr(path, name, follow_symlinks=False)
                if name.startswith(_ESCAPED):
                    os.setxattr(path, _OWN + name.removeprefix(_ESCAPED), value, follow_symlinks=False)


def _synced(path: str) -> None:
    with _opened(path, flags=os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) as handle:
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
    with _opened(path, flags=os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) as handle:
        own = f"/proc/self/fd/{handle}"
        os.chmod(own, stat.S_IMODE(mode) | 0o700)
        try:
            yield
        finally:
            os.chmod(own, stat.S_IMODE(mode))  # under whichever name it has now


@contextmanager
def _opened(path: str, directory: int | None = None, flags: int = _FOLDER) -> Iterator[int]:
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


def _same(found: os.stat_result) -> _Same:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _remove(staging: str) -> None:
    """What is left of it: empty folders, whiteouts, the overlay's workshop, to which it let nobody in."""
    import shutil

    with suppress(OSError, RecursionError):  # an empty folder too many is no reason to fail
        for _ in _walk(staging, lock=False):
            pass
        shutil.rmtree(staging)


def _open(mode: int) -> bool:
    """Whether we may do everything with a folder or file of ours."""
    return mode & 0o700 == 0o700 or os.geteuid() == 0
