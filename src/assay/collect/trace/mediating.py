"""Opens a declared input on the step's behalf, with the monitor's own copy of the path.

The caller gets the very file that was looked at. It must never get more than it could have opened itself: what leads
out of the declared folders, through a link or by magic, is left to the kernel, which judges the caller.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from assay.collect.trace import kernel
from assay.collect.trace.calls import AT_FDCWD, Call
from assay.collect.trace.interface import Stat
from assay.collect.trace.recording import stat_of

_PASSED_ON = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOATIME | os.O_DIRECT | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_SYNC
_FD = b"/proc/self/fd/%d"


def beneath(path: bytes, folders: Sequence[bytes]) -> bool:
    """Whether a path is one of these or lies in one of them."""
    return any(path == folder or path.startswith(folder.rstrip(b"/") + b"/") for folder in folders)


def mediated(
    call: Call, descriptor: int, raw: bytes, path: bytes, flags: int, resolve: int
) -> tuple[int | None, Stat | None]:
    """A descriptor of the file for the caller, and which bytes it is; (None, None) when the kernel shall do it."""
    if resolve or not beneath(path, call.world.mediate) or not _as_us(call):
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


def _as_us(call: Call) -> bool:
    """Whether the caller may do what we may: a step of root's can have become somebody else."""
    return os.geteuid() != 0 or os.stat(f"/proc/{call.thread}").st_uid == 0


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
