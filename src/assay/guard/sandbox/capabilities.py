"""Takes root's dangerous powers from a step: what is left is what working with files takes.

A step of root's could otherwise load a kernel module, read any file by its handle, or see raw packets. For anybody else
there is nothing to take. Sources: ``capabilities(7)``, ``linux/capability.h``.
"""

from __future__ import annotations

import ctypes
import os

_KEPT = {0: "chown", 1: "dac_override", 3: "fowner", 4: "fsetid", 5: "kill", 6: "setgid", 7: "setuid"}
"""Numbers of what a step keeps. Not ``dac_read_search`` (2): it opens files by their handles."""

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_BOUNDING_DROP, _AMBIENT, _AMBIENT_CLEAR = 24, 47, 4  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop() -> None:
    """Give up, for this process and all that it starts, every capability but `_KEPT`. Raises `OSError`."""
    header, sets = _Header(_VERSION, 0), (_Sets * 2)()
    _check(_libc.capget(ctypes.byref(header), sets), "capget")
    if not any(part.permitted for part in sets):
        return
    _libc.prctl(_AMBIENT, _AMBIENT_CLEAR, 0, 0, 0)  # Linux 4.3 has it; an older one has no ambient ones
    number = 0
    while number < 64:
        if number not in _KEPT and _libc.prctl(_BOUNDING_DROP, ctypes.c_ulong(number), 0, 0, 0):
            break  # EINVAL: the kernel has no more of them; EPERM: without setpcap nothing can be gained either
        number += 1
    mask = sum(1 << kept for kept in _KEPT)
    for at, part in enumerate(sets):
        kept = mask >> 32 * at & 0xFFFFFFFF
        part.effective &= kept
        part.permitted &= kept
        part.inheritable = 0
    _check(_libc.capset(ctypes.byref(header), sets), "capset")


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
