"""Calls that name files: which are watched, and what each says about the files it names.

Reading, writing and asking for a file's properties are never watched: the open before them was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from msgspec import Struct

from assay.collect.trace.calls import AT_FDCWD, Call, GoneError
from assay.collect.trace.interface import FileUse, Stat
from assay.collect.trace.links import magic
from assay.collect.trace.mediating import mediated
from assay.collect.trace.recording import opened

# linux/fcntl.h, linux/fs.h
_AT_EMPTY_PATH = 0x1000
_AT_REMOVEDIR = 0x200
_RENAME_EXCHANGE = 2
_O_LARGEFILE = 0o100000

OPENS = ("open", "openat", "openat2", "creat")

_Places = Sequence[tuple[str, int | None, int | None]]

NAMED: dict[str, _Places] = {
    "truncate": (("written", None, 0),),
    "rename": (("removed", None, 0), ("appeared", None, 1)),
    "renameat": (("removed", 0, 1), ("appeared", 2, 3)),
    "renameat2": (("removed", 0, 1), ("appeared", 2, 3)),
    "link": (("named", None, 0), ("appeared", None, 1)),
    "linkat": (("named", 0, 1), ("appeared", 2, 3)),
    "symlink": (("appeared", None, 1),),
    "symlinkat": (("appeared", 1, 2),),
    "unlink": (("removed", None, 0),),
    "unlinkat": (("removed", 0, 1),),
    "rmdir": (("removed", None, 0),),
    "mkdir": (("made", None, 0),),
    "mkdirat": (("made", 0, 1),),
    "mknod": (("made", None, 0),),
    "mknodat": (("made", 0, 1),),
    "chmod": (("changed", None, 0),),
    "fchmod": (("changed", 0, None),),
    "fchmodat": (("changed", 0, 1),),
    "fchmodat2": (("changed", 0, 1),),
    "chown": (("changed", None, 0),),
    "lchown": (("changed", None, 0),),
    "fchown": (("changed", 0, None),),
    "fchownat": (("changed", 0, 1),),
    "setxattr": (("changed", None, 0),),
    "lsetxattr": (("changed", None, 0),),
    "fsetxattr": (("changed", 0, None),),
    "setxattrat": (("changed", 0, 1),),
    "removexattr": (("changed", None, 0),),
    "lremovexattr": (("changed", None, 0),),
    "fremovexattr": (("changed", 0, None),),
    "removexattrat": (("changed", 0, 1),),
    "file_setattr": (("changed", 0, 1),),
}
"""Call → what it does to which file: (what, argument with the directory's descriptor, argument with the path)."""

_FOLLOWING = ("written", "changed")
"""Of these, what follows a link at the end of its path."""

CHANGES_LINKS = {"rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"}
"""Calls after which a path may mean something else."""

WATCHED = (*OPENS, *NAMED, "chdir", "fchdir")


class Opening(Struct, frozen=True):
    """The arguments of an open, read once."""

    descriptor: int
    raw: bytes
    flags: int
    mode: int
    resolve: int


def opening(call: Call) -> Opening:
    """What an open asks for."""
    match call.name:
        case "open":
            return Opening(AT_FDCWD, call.text(call.arguments[0]), call.number(1), call.number(2), 0)
        case "creat":
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
            return Opening(AT_FDCWD, call.text(call.arguments[0]), flags, call.number(1), 0)
        case "openat":
            return Opening(call.number(0), call.text(call.arguments[1]), call.number(2), call.number(3), 0)
    how = call.memory(call.arguments[2], 24).ljust(24, b"\0")
    flags, mode, resolve = (int.from_bytes(how[at : at + 8], "little") for at in (0, 8, 16))
    return Opening(call.number(0), call.text(call.arguments[1]), flags, mode, resolve)


def handle(call: Call, *, denied: bool = False, taken: bool = False) -> int | None:
    """Record it (``taken``: somebody else did it for the caller already).

    The result is a descriptor for the caller where the monitor opened the file itself. Raises `GoneError` when the
    caller does not wait any more; nothing has been recorded then.
    """
    if call.name in OPENS:
        return _open(call, denied=denied, taken=taken)
    if call.name in ("chdir", "fchdir"):
        if not denied:
            call.known.directory = None
            call.known.moving.add(call.thread)
        return None
    places = NAMED[call.name]
    found = [
        (what, call.led(call.path(directory, argument), follow=what in _FOLLOWING))
        for what, directory, argument in places
    ]
    firsts = [call.look(path, follow=what in _FOLLOWING) for what, path in found]
    if not call.alive():
        raise GoneError
    if call.name in CHANGES_LINKS:
        call.world.real.clear()
        _turned(call, found, firsts)
    index = call.index
    exchange = call.name == "renameat2" and call.number(4) & _RENAME_EXCHANGE
    for (what, path), first in zip(found, firsts, strict=True):
        if not path:
            _unplaced(call)
            continue
        use = call.world.recording.file(path, index, first)
        if denied:
            use.denied += 1
        else:
            _count(use, what)
            if exchange:
                _count(use, "removed" if what == "appeared" else "appeared")
    return None


def _turned(call: Call, found: Sequence[tuple[str, bytes]], firsts: Sequence[Stat | None]) -> None:
    """Which of these paths may mean something else from now on: links, and folders that are moved."""
    symbolic = call.name.startswith("symlink")
    if symbolic and magic(call.text(call.arguments[0])):
        call.world.recording.gap(
            "links-into-proc",
            "the step made a link that only its user can follow (to /proc/self or the like): what was used through it "
            "is not listed",
            "files",
        )
    if symbolic or any(first and stat.S_IFMT(first.mode) in (stat.S_IFLNK, stat.S_IFDIR) for first in firsts):
        for _, path in found:
            call.world.turn(path)


def _count(use: FileUse, what: str) -> None:
    match what:
        case "removed":
            use.removed += 1
        case "appeared":
            use.appeared += 1
        case "changed":
            use.changed += 1
        case "written":
            use.written += 1
        case "made":
            use.exclusive |= use.first is None
            use.written += 1


def closes(call: Call) -> bool:
    """Whether an open asks for a descriptor that ends at the next ``execve``."""
    at = {"open": 1, "openat": 2}.get(call.name)
    if at is not None:
        return bool(call.arguments[at] & os.O_CLOEXEC)
    return bool(int.from_bytes(call.memory(call.arguments[2], 8), "little") & os.O_CLOEXEC)


def _open(call: Call, *, denied: bool, taken: bool) -> int | None:
    asked = opening(call)
    exclusive = asked.flags & os.O_CREAT and asked.flags & os.O_EXCL
    named = call.absolute(asked.descriptor, asked.raw)
    path = call.led(named, follow=not (asked.flags & os.O_NOFOLLOW or exclusive))
    use = call.world.recording.files.get(path)
    first = None
    descriptor = None
    if use is None or not use.mediated:
        first = call.look(path, follow=not asked.flags & os.O_NOFOLLOW) if use is None else use.first
    if (
        not denied
        and not taken
        and call.world.mediate
        and asked.flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_PATH) == 0
    ):
        # By the step's own name: a link of its own could be turned between the look at it and the open.
        descriptor, really = mediated(call, asked.descriptor, asked.raw, named, asked.flags, asked.resolve)
        if really is not None and use is None:
            first = really
    if not call.alive():
        if descriptor is not None:
            os.close(descriptor)
        raise GoneError
    if not path:
        _unplaced(call)
        return None
    index = call.index
    if use is None:
        use = call.world.recording.file(path, index, first)
        use.mediated = descriptor is not None
    else:
        use.by.add(index)
        _compare(call, named, use)
        if descriptor is None and not denied and asked.flags & (os.O_WRONLY | os.O_PATH) == 0:
            use.mediated = False
    if denied:
        use.denied += 1
    else:
        opened(use, asked.flags)
    return descriptor


def _compare(call: Call, named: bytes, use: FileUse) -> None:
    """Say so when folders that the step moves about have brought another file under a name that was used before."""
    if use.first is None or not call.world.turned.on(named):
        return
    now = call.look(use.path)
    if now is not None and (now.device, now.inode) != (use.first.device, use.first.inode):
        call.world.recording.gap(
            "moved-folders",
            "the step moved folders so that one path meant several files: only the first of them is listed",
            "files",
        )


def _unplaced(call: Call) -> None:
    call.world.recording.gap(
        "unknown-paths",
        "some paths could not be read or made absolute, so the files that they mean are not listed",
        "files",
    )
