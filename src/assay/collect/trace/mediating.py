"""Opens a declared input on the step's behalf, with the monitor's own copy of the path.

The caller gets the very file that was looked at. It must never get more than it could have opened itself: what leads
out of the declared folders, through a link or by magic, is left to the kernel, which judges the caller.
"""

from __future__ import annotations

import os
import stat

from assay.collect.trace import kernel
from assay.collect.trace.calls import AT_FDCWD, Call, World
from assay.collect.trace.interface import Stat
from assay.collect.trace.recording import stat_of

_PASSED_ON = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOATIME | os.O_DIRECT | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_SYNC
_DAC = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_FD = b"/proc/self/fd/%d"


def beneath(path: bytes, folders: tuple[bytes, ...]) -> bool:
    """Whether a path is one of these, which all end in a slash, or lies in one of them."""
    return (path + b"/").startswith(folders)


def opened_beneath(world: World, path: bytes, flags: int) -> tuple[int, Stat] | None:
    """A descriptor of what lies at a plain path beneath `World.mediate`, and which bytes it is.

    None where `mediated` has to look closer: with no link on the way, the path itself says that it does not lead out.
    Raises `FileNotFoundError` where nothing is.
    """
    resolve = kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
    root = world.root
    if root is None:
        root = AT_FDCWD
    else:
        resolve |= kernel.RESOLVE_IN_ROOT
    try:
        handle = kernel.open_how(root, path, os.O_PATH, resolve=resolve)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            return None
        return os.open(_FD % handle, (flags & _PASSED_ON) | os.O_CLOEXEC), stat_of(found)
    except OSError:
        return None
    finally:
        os.close(handle)


def mediated(
    call: Call, descriptor: int, raw: bytes, path: bytes, flags: int, resolve: int
) -> tuple[int | None, Stat | None]:
    """A descriptor of the file for the caller, and which bytes it is; (None, None) when the kernel shall do it."""
    if resolve or not beneath(path, call.world.mediate) or not _trusted(call):
        return None, None
    try:
        handle = _reach(call, descriptor, raw, flags)
    except OSError:
        return None, None  # the caller gets the error from the kernel itself
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            return None, None  # a pipe would block us, a device might act
        if not beneath(os.readlink(_FD % handle), call.world.mediate):
            return None, None
        opened = os.open(_FD % handle, os.O_RDONLY | (flags & _PASSED_ON & ~os.O_NOFOLLOW) | os.O_CLOEXEC)
        return opened, stat_of(found)
    except OSError:
        return None, None
    finally:
        os.close(handle)


def may_as_we(thread: int) -> bool:
    """Whether a thread may open for reading what we may: a step of root's can have become somebody else, or have given
    up the right to pass over permissions. Of an ordinary user's nothing of that kind can be.
    """
    if os.geteuid() != 0:
        return True
    try:
        user, rights = _user_and_rights(thread)
    except OSError:
        return False
    return user == 0 and (rights or not _user_and_rights(os.getpid())[1])


def _user_and_rights(thread: int) -> tuple[int, bool]:
    """For whom it opens files, and whether whatever their permissions (capabilities(7)), from ``/proc/TID/status``."""
    with open(f"/proc/{thread}/status", "rb", 0) as file:
        text = file.read(8192)
    users, capabilities = (_field(text, name) for name in (b"Uid", b"CapEff"))
    return int(users.split()[3]), bool(int(capabilities, 16) & _DAC)


def _field(text: bytes, name: bytes) -> bytes:
    start = text.index(b"\n" + name + b":\t") + len(name) + 3
    return text[start : text.index(b"\n", start)]


def _trusted(call: Call) -> bool:
    return (call.world.as_us and not call.world.moved) or may_as_we(call.thread)


def _reach(call: Call, descriptor: int, raw: bytes, flags: int) -> int:
    wanted = flags & (os.O_NOFOLLOW | os.O_DIRECTORY)
    if raw[:1] == b"/":
        return call.reach(raw, wanted, kernel.RESOLVE_NO_MAGICLINKS)
    where = "cwd" if descriptor == AT_FDCWD else f"fd/{descriptor}"
    base = os.open(f"/proc/{call.thread}/{where}", os.O_PATH | os.O_CLOEXEC)
    try:
        # A link in there that starts at the root would start at ours: it leads out, and is left to the kernel.
        return kernel.open_how(base, raw, os.O_PATH | wanted, resolve=kernel.RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(base)
