"""Landlock: the kernel's own rules for files, TCP and signals, which a process puts on itself and never gets off.

It works without root, in containers, and on every thread's and descendant's call. What the running kernel's version of
it cannot do is returned by name, never left out silently. Sources: ``Documentation/userspace-api/landlock.rst`` and
``include/uapi/linux/landlock.h`` (ABI 1–7).
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import NoReturn

from msgspec import Struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_NO_NEW_PRIVS = 38


class Access(IntFlag):
    """What may be done with files (``LANDLOCK_ACCESS_FS_*``)."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    """Rename and link between folders; ABI 2."""
    TRUNCATE = 1 << 14
    """ABI 3."""
    IOCTL_DEV = 1 << 15
    """ABI 5."""


LIST = Access.READ_DIR
READ = Access.READ_FILE | Access.READ_DIR
RUN = READ | Access.EXECUTE
WRITE = (
    READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.REMOVE_DIR
    | Access.REMOVE_FILE
    | Access.MAKE_DIR
    | Access.MAKE_REG
    | Access.MAKE_SOCK
    | Access.MAKE_FIFO
    | Access.MAKE_SYM
    | Access.REFER
)
"""Everything but programs and devices."""
USE = Access.READ_FILE | Access.WRITE_FILE | Access.IOCTL_DEV
"""For devices such as ``/dev/null``."""

_ON_FILES = int(Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV)
_SINCE = {1: Access(0x1FFF), 2: Access.REFER, 3: Access.TRUNCATE, 5: Access.IOCTL_DEV}
_SCOPES = 0b11
"""Abstract Unix sockets and signals out of the domain; ABI 6."""


class Rules(Struct, frozen=True):
    """What a process may still do after `restrict`."""

    paths: Sequence[tuple[str, Access]]
    """Files and folders with everything beneath them; what does not exist is left out."""
    connect: Sequence[int] | None = ()
    """TCP ports that may be connected to; None: not restricted."""
    bind: Sequence[int] | None = ()
    """TCP ports that may be bound."""
    scoped: bool = True
    """No signals to processes and no abstract sockets outside."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Version of the running kernel's Landlock; 0 where there is none, or where a filter refuses it."""
    return int(max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))))


def handled(version: int) -> Access:
    """The accesses to files that ABI ``version`` knows."""
    known = Access(0)
    for since, accesses in _SINCE.items():
        known |= accesses if version >= since else Access(0)
    return known


def restrict(rules: Rules, version: int) -> None:
    """Put the rules on this thread and all that it starts. Raises `OSError` when the kernel refuses: then nothing may
    be started. It sets ``no_new_privs``: setuid programs lose their power from here on.
    """
    if not version:
        raise OSError("this kernel has no Landlock")
    known = int(handled(version))  # a flag's own operators cost more than the rule, and there are hundreds
    net = (0b10 if rules.connect is not None else 0) | (0b01 if rules.bind is not None else 0)
    wanted = _Ruleset(known, net if version >= 4 else 0, _SCOPES if rules.scoped and version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _libc.syscall(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        _fail("landlock_create_ruleset")
    try:
        for path, access in rules.paths:
            _allow_path(ruleset, path, int(access) & known)
        if version >= 4:
            for bit, ports in ((0b10, rules.connect), (0b01, rules.bind)):
                _allow_ports(ruleset, bit, ports or ())
        if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            _fail("prctl(PR_SET_NO_NEW_PRIVS)")
        if _libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)):
            _fail("landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow_path(ruleset: int, path: str, access: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what cannot even be named cannot be used either
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            access &= _ON_FILES
        if not access:
            return
        rule = _PathBeneath(access, parent)
        if _libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)):
            _fail(f"landlock_add_rule for {path!r}")
    finally:
        os.close(parent)


def _allow_ports(ruleset: int, bit: int, ports: Iterable[int]) -> None:
    for port in ports:
        rule = _NetPort(bit, port)
        if _libc.syscall(_ADD_RULE, ctypes.c_int(ruleset), _NET_PORT, ctypes.byref(rule), ctypes.c_uint32(0)):
            _fail(f"landlock_add_rule for port {port}")


def _fail(what: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
