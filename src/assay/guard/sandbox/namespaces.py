"""Linux namespaces by system call: a view of users, mounts and the network of one's own, where an ordinary user may.

Only calls; what they are used for stands in `mounts` and `network`. Everything raises `OSError`: a wall that could not
be put up must end the step before it starts. Sources: ``namespaces(7)``, ``user_namespaces(7)``, ``mount(2)``.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave namespaces (``unshare(2)``)."""
    if _libc.unshare(ctypes.c_int(flags)):
        raise _error("unshare")


def new_user() -> None:
    """A user namespace in which we keep our own numbers. It needs no privilege, and gives all of them inside only."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """``mount(2)``."""
    name = os.fsencode(kind) if kind else None
    if _libc.mount(
        os.fsencode(source), os.fsencode(target), name, ctypes.c_ulong(flags), os.fsencode(options) if options else None
    ):
        raise _error(f"mounting {target}")


def unmount(target: str) -> None:
    """Take it out of the tree at once, and away when nobody uses it any more."""
    if _libc.umount2(os.fsencode(target), ctypes.c_int(DETACH)):
        raise _error(f"unmounting {target}")


def loopback_up() -> None:
    """Bring up ``lo`` of a new network namespace: it starts down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        request = struct.pack("16sH14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(channel, 0x8914, request)  # SIOCSIFFLAGS


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
