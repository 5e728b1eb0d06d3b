"""The sockets of a step as the monitor gets hold of them: by descriptor, by address, by who listens.

What a step says about a socket is never believed: its kind is what the kernel says of the very socket in hand.
Sources: ``pidfd_getfd(2)``, ``unix(7)``, ``socket(7)``, ``sock_diag`` tables in ``proc_net(5)``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from assay.collect.trace import kernel

CREDENTIALS = struct.Struct("iII")
_NUMBERS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE),
    (socket.SOL_SOCKET, socket.SO_PRIORITY),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY),
)
_TIMES = (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO, socket.SO_LINGER)
_BUFFERS = (socket.SO_SNDBUF, socket.SO_RCVBUF)
_TIME = 16  # sizeof(struct timeval)

KEPT = frozenset(_NUMBERS) | {
    (socket.SOL_SOCKET, name) for name in (*_TIMES, *_BUFFERS, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
}
"""(level, name) of the options that a socket in the place of another one has to have as well."""
Options = Mapping[tuple[int, int], bytes]

_NETWORK = 71  # SO_NETNS_COOKIE, asm-generic/socket.h; Linux 5.14

_KINDS = {
    "TCP": (socket.AF_INET, socket.SOCK_STREAM),
    "TCPv6": (socket.AF_INET6, socket.SOCK_STREAM),
    "UNIX-STREAM": (socket.AF_UNIX, socket.SOCK_STREAM),
    "UNIX": (socket.AF_UNIX, socket.SOCK_SEQPACKET),  # datagrams are refused when they are made
}


class Theirs(Struct, frozen=True):
    """A socket of the step."""

    inode: int
    family: int
    kind: int
    blocking: bool
    close_on_exec: bool
    own: socket.socket | None
    """The very socket, where it can be had."""
    options: Options = field(default_factory=dict)
    """What was set on it, where it cannot be had."""

    def close(self) -> None:
        """Let go of it."""
        if self.own is not None:
            self.own.close()


def inode(thread: int, number: int) -> int | None:
    """The kernel's number of the socket behind a descriptor of a thread; None when it is no socket, or gone."""
    try:
        return _inode(thread, number)
    except OSError:
        return None


def theirs(thread: int, number: int, set_on: Mapping[int, Options] | None) -> Theirs | None:
    """What a descriptor of a thread is; None when it is no socket, or gone. ``set_on``: options by inode, where the
    kernel does not let us have the very socket.
    """
    try:
        here = _inode(thread, number)
        flags = _flags(thread, number)
        if set_on is not None:
            name = os.getxattr(f"/proc/{thread}/fd/{number}", "system.sockprotoname").rstrip(b"\0").decode()
            family, kind = _KINDS.get(name, (0, 0))
            blocks, closes = not flags & os.O_NONBLOCK, bool(flags & os.O_CLOEXEC)
            return Theirs(here, family, kind, blocks, closes, None, set_on.get(here, {}))
        own = _fetch(thread, number)
    except (OSError, ValueError):
        return None
    if os.fstat(own.fileno()).st_ino != here:  # a thread with a table of its own, or one that was quicker
        own.close()
        return None
    return Theirs(here, own.family, own.type, not flags & os.O_NONBLOCK, bool(flags & os.O_CLOEXEC), own)


def fresh(model: Theirs) -> socket.socket:
    """A new socket of ours of the same kind and with the options that matter, to take the other one's place."""
    made = socket.socket(model.family, model.kind)
    if model.own is not None:
        _copy(model.own, made)
    for (level, name), value in model.options.items():
        with contextlib.suppress(OSError):
            made.setsockopt(level, name, value)
    os.set_blocking(made.fileno(), model.blocking)
    return made


def listening(port: int, thread: int | None = None) -> set[int]:
    """Inodes of the TCP sockets that listen on a port in our network, or in a thread's."""
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{thread or 'self'}/net/{name}", "rb") as table:
            next(table)
            for line in table:
                words = line.split()
                if words[3] == b"0A" and int(words[1].rpartition(b":")[2], 16) == port:
                    found.add(int(words[9]))
    return found


def listening_abstract(name: bytes) -> set[int]:
    """Inodes of the Unix sockets that listen under an abstract name here."""
    found = set()
    wanted = b"@" + name.replace(b"\0", b"@")
    with contextlib.suppress(OSError), open("/proc/net/unix", "rb") as table:
        next(table)
        for line in table:
            words = line.rstrip(b"\n").split(None, 7)
            if len(words) == 8 and words[7] == wanted and int(words[3], 16) & 0x10000:  # __SO_ACCEPTCON
                found.add(int(words[6]))
    return found


def in_our_network(sock: socket.socket) -> bool:
    """Whether a socket was made in the network namespace that we are in; True also where the kernel cannot tell."""
    with socket.socket(socket.AF_UNIX) as ours:
        try:
            return sock.getsockopt(socket.SOL_SOCKET, _NETWORK, 8) == ours.getsockopt(socket.SOL_SOCKET, _NETWORK, 8)
        except OSError:
            return True


def peer_is_ours(connected: socket.socket) -> bool:
    """Whether the process that listens at the other end of a Unix socket is of the step: it descends from this one, or
    it is this one, which listens in the step's place.
    """
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid: int = CREDENTIALS.unpack(raw)[0]
    for _ in range(64):
        if pid == os.getpid():
            return True
        if pid <= 1:
            return False
        try:
            pid = _status(pid, b"PPid")
        except (OSError, ValueError):
            return False
    return False


def reach(thread: int, path: bytes, folders: Iterable[str]) -> int | None:
    """A descriptor (``O_PATH``) of the Unix socket that a path of the step's means; None when it lies in none of these
    folders. Raises `OSError` as ``connect`` would.
    """
    if path[:1] != b"/":
        path = os.readlink(b"/proc/%d/cwd" % thread) + b"/" + path
    root = os.open(f"/proc/{thread}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
        handle = kernel.open_how(root, path, os.O_PATH, resolve=resolve)
    finally:
        os.close(root)
    where = os.readlink(f"/proc/self/fd/{handle}")
    inside = any(where.startswith(folder.rstrip("/") + "/") for folder in folders)
    if inside and stat.S_ISSOCK(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    if inside:
        raise ConnectionRefusedError
    return None


def same_user(thread: int) -> bool:
    """Whether the step's thread still acts as the user that we act as: else it would get rights of ours."""
    with contextlib.suppress(OSError, ValueError):
        return _status(thread, b"Uid", 1) == os.geteuid()
    return False


def fetch(thread: int, number: int) -> int:
    """A descriptor of ours for what a thread of the step calls by this number. Raises `OSError`."""
    process = os.pidfd_open(_status(thread, b"Tgid"))
    try:
        return kernel.call("pidfd_getfd", process, number, 0)
    finally:
        os.close(process)


def _fetch(thread: int, number: int) -> socket.socket:
    fetched = fetch(thread, number)
    try:
        return socket.socket(fileno=fetched)
    except OSError:
        os.close(fetched)
        raise


def _inode(thread: int, number: int) -> int:
    found = os.stat(f"/proc/{thread}/fd/{number}")
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError
    return found.st_ino


def _flags(thread: int, number: int) -> int:
    with open(f"/proc/{thread}/fdinfo/{number}", "rb") as file:
        for line in file:
            if line.startswith(b"flags:"):
                return int(line[6:], 8)
    raise ValueError


def _status(thread: int, name: bytes, column: int = 0) -> int:
    """A number from ``/proc/TID/status`` (proc_pid_status(5)). Raises `OSError`, `ValueError`."""
    with open(f"/proc/{thread}/status", "rb", 0) as file:
        text = file.read(4096)
    start = text.index(b"\n" + name + b":") + len(name) + 2
    return int(text[start : text.index(b"\n", start)].split()[column])


def _copy(one: socket.socket, other: socket.socket) -> None:
    for level, name in _NUMBERS:
        with contextlib.suppress(OSError):  # most are only of TCP, or only of one of its families
            value = one.getsockopt(level, name)
            if value != other.getsockopt(level, name):
                other.setsockopt(level, name, value)
    for name in _TIMES:
        with contextlib.suppress(OSError):
            other.setsockopt(socket.SOL_SOCKET, name, one.getsockopt(socket.SOL_SOCKET, name, _TIME))
    for name in _BUFFERS:
        value = one.getsockopt(socket.SOL_SOCKET, name)
        if value != other.getsockopt(socket.SOL_SOCKET, name):
            other.setsockopt(socket.SOL_SOCKET, name, value // 2)  # the kernel doubles what it is told (socket(7))
