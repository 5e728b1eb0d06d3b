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

_GET_DUMPABLE, _SET_DUMPABLE = 3, 4

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave namespaces (``unshare(2)``)."""
    if _libc.unshare(ctypes.c_int(flags)):
        raise _error("unshare")


def new_user() -> None:
    """A user namespace in which everybody keeps the number that they have. It needs no privilege, and gives all of them
    inside only. A second call in the same process does nothing: several walls need it, none must be the first.

    An ordinary user may bring only its own number along (all others' files then belong to ``nobody``); root brings all
    that there are, or it could not read in it what it can read outside.
    """
    global _inside
    if _inside == os.getpid():
        return
    uid, gid = os.geteuid(), os.getegid()
    if _libc.prctl(_GET_DUMPABLE, 0, 0, 0, 0) != 1:  # as after setuid: /proc/self would belong to root
        _libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)
    helper = _Mapper() if uid == 0 else None
    try:
        unshare(NEWUSER)
    except OSError:
        if helper is not None:
            helper.run(b"")
        raise
    if helper is None or not helper.run(b"m"):
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            _write(f"/proc/self/{name}", text)
    _inside = os.getpid()


_inside = 0
"""The process that `new_user` has put into a namespace."""


class _Mapper:
    """A child that stays outside and writes the maps from there, as only root may (user_namespaces(7))."""

    def __init__(self) -> None:
        wait, self._word = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            os.close(wait)
            return
        try:
            os.close(self._word)
            if os.read(wait, 1):
                for name in ("uid_map", "gid_map"):
                    with open(f"/proc/self/{name}", "rb") as own:
                        ranges = [line.decode().split() for line in own]
                    _write(
                        f"/proc/{parent}/{name}", "".join(f"{first} {first} {count}\n" for first, _, count in ranges)
                    )
                os._exit(0)
        finally:
            os._exit(1)

    def run(self, word: bytes) -> bool:
        """Whether the maps have been written; an empty word sends it away."""
        os.write(self._word, word)
        os.close(self._word)
        return os.waitpid(self._pid, 0)[1] == 0


def _write(path: str, text: str) -> None:
    """In one piece, as the kernel wants a map."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


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
