"""The kernel's calls that Python has no function for, through ``ctypes``; each raises `OSError` with its ``errno``.

Only thin wrappers live here: what to do with them, and what may go wrong, is known to their callers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from fcntl import ioctl
from functools import cache
from itertools import chain

from assay.collect.trace.syscalls import machine

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
PR_SET_NO_NEW_PRIVS = 38

# linux/seccomp.h
_SET_MODE_FILTER = 1
NEW_LISTENER = 1 << 3
WAIT_KILLABLE_RECV = 1 << 5
RECEIVE = 0xC0502100
SEND = 0xC0182101
_ID_VALID = 0x40082102
ADD_DESCRIPTOR = 0x40182103
_SET_FLAGS = 0x40082104
_SYNC_WAKE_UP = 1

# linux/openat2.h
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _Span(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _FilterProgram(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _OpenHow(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _number(name: str) -> ctypes.c_long:
    return ctypes.c_long(machine(os.uname().machine).numbers[name])


def call(name: str, *arguments: object) -> int:
    """A system call by its name. Raises `OSError`."""
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _syscall(_number(name), *words)
    if result == -1:
        raise _failure(name)
    return result


_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int = 0) -> int:
    """``prctl(option, value)``."""
    result: int = _libc.prctl(option, *(ctypes.c_ulong(word) for word in (value, 0, 0, 0)))
    if result == -1:
        raise _failure("prctl")
    return result


def is_subreaper() -> bool:
    """Whether orphans of our descendants become our children already."""
    value = ctypes.c_int(0)
    _libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), *(ctypes.c_ulong(0) for _ in range(3)))
    return bool(value.value)


def install_filter(program: bytes, flags: int) -> int:
    """``seccomp(SECCOMP_SET_MODE_FILTER)``; with `NEW_LISTENER` the result is the listener's descriptor."""
    packed = _FilterProgram(len(program) // 8, program)
    return call("seccomp", _SET_MODE_FILTER, flags, ctypes.byref(packed))


def set_sync_wake_up(listener: int) -> bool:
    """Have caller and monitor wake each other on one processor (Linux 6.6); False where the kernel cannot."""
    try:
        ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)
    except OSError:
        return False
    return True


def still_waiting(listener: int, cookie: bytes) -> bool:
    """Whether the notification with this 8-byte id is still unanswered and its caller alive."""
    try:
        ioctl(listener, _ID_VALID, bytearray(cookie))
    except OSError:
        return False
    return True


def is_thread_of(process: int, thread: int) -> bool:
    """Whether that thread belongs to that process at this moment (``tgkill`` with signal 0)."""
    return _libc.tgkill(process, thread, 0) == 0 or ctypes.get_errno() == errno.EPERM


_how = _OpenHow()
_how_reference = ctypes.byref(_how)
_how_size = ctypes.c_size_t(ctypes.sizeof(_how))


def open_how(directory: int, path: bytes, flags: int, *, resolve: int = 0, mode: int = 0) -> int:
    """``openat2``: a descriptor of ours. What is passed lies in one place: only the monitor's thread may call this."""
    _how.flags = flags | os.O_CLOEXEC
    _how.mode = mode
    _how.resolve = resolve
    descriptor: int = _syscall(_number("openat2"), directory, path, _how_reference, _how_size)
    if descriptor == -1:
        raise _failure("openat2")
    return descriptor


def share_descriptors() -> int:
    """Fork with a shared table of descriptors: 0 in the child, which may only read, write, send and ``_exit``.

    For a process with one thread that itself came out of ``os.fork``: no lock can be held by anybody else.
    """
    return call("clone", 0x400 | 17, 0, 0, 0, 0)  # CLONE_FILES | SIGCHLD


_BLOCK = 1 << 20
_buffer = ctypes.create_string_buffer(_BLOCK)
_local = _Span(ctypes.addressof(_buffer), _BLOCK)
_remote = _Span(0, 0)
_local_reference = ctypes.byref(_local)
_remote_reference = ctypes.byref(_remote)
_one = ctypes.c_ulong(1)
_zero = ctypes.c_ulong(0)
_readv = _libc.process_vm_readv
_readv.restype = ctypes.c_ssize_t


def read_text(thread: int, address: int) -> bytes | None:
    """The bytes up to the first NUL within 256 at an address of another process; None when that was not enough or the
    memory cannot be read. The buffer is shared: only the monitor's one thread may call this.
    """
    _remote.base = address
    _remote.length = _local.length = 256
    count = _readv(thread, _local_reference, _one, _remote_reference, _one, _zero)
    if count < 1:
        return None
    text: bytes = _buffer.value  # up to the first NUL, or on into what an earlier read left
    return text if len(text) < count else None


def read_texts(thread: int, addresses: Sequence[int]) -> list[bytes | None]:
    """What `read_text` would say of each, in one call; all None when one of them cannot be read. At most 256."""
    # None of them goes over the end of a page, so that each can be read to its end or not at all.
    lengths = [min(256, 4096 - address % 4096) for address in addresses]
    spans = struct.pack(f"={2 * len(addresses)}Q", *chain.from_iterable(zip(addresses, lengths, strict=True)))
    _local.length = sum(lengths)
    count = _readv(thread, _local_reference, _one, spans, ctypes.c_ulong(len(addresses)), _zero)
    if count != _local.length:
        return [None] * len(addresses)
    data = ctypes.string_at(_buffer, count)
    found: list[bytes | None] = []
    at = 0
    for length in lengths:
        text, end, _ = data[at : at + length].partition(b"\0")
        found.append(text if end else None)
        at += length
    return found


def read_memory(thread: int, address: int, length: int) -> bytes:
    """Up to ``length`` bytes (at most 1 MiB) of another process's memory; short at an unmapped page, empty when there
    is none. Raises `OSError` when it may not be read at all.
    """
    _remote.base = address
    _remote.length = _local.length = min(length, _BLOCK)
    count = _readv(thread, _local_reference, _one, _remote_reference, _one, _zero)
    if count >= 0:
        return ctypes.string_at(_buffer, count)
    failure = ctypes.get_errno()
    if failure == errno.EFAULT:
        return b""
    raise OSError(failure, os.strerror(failure))
