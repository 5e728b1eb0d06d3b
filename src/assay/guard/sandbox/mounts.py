"""A view of the file system in which everything but the declared outputs is read-only, for a step in namespaces.

Landlock stops writing; only a mount stops what is no writing to it: permissions, owners, times and attributes of files,
and mapping as code what the step has written itself. Sources: ``mount_setattr(2)``, ``open_tree(2)`` and
``move_mount(2)`` (Linux 5.12; the same numbers on every architecture).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from assay.guard.sandbox import namespaces
from assay.guard.sandbox.settling import Layers

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_CLONE, _CLOEXEC = 1, os.O_CLOEXEC  # OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC: linux/mount.h
_FROM_EMPTY_PATH = 4  # MOVE_MOUNT_F_EMPTY_PATH
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8  # MOUNT_ATTR_*
_PRIVATE = 1 << 18  # MS_PRIVATE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Attributes(ctypes.Structure):
    """``struct mount_attr``."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("namespace", ctypes.c_uint64),
    )


def read_only(
    writable: Sequence[str], *, memory: str | None = None, programs: bool, overlaid: Sequence[Layers] = ()
) -> None:
    """Leave the mount namespace for one of our own, in which only ``writable`` folders can be written to, and
    ``memory``, which is empty and the step's alone, as is all shared memory; what is in those can be run as a program
    or mapped as code only with ``programs``. What is written to ``overlaid`` folders, which are among the writable
    ones, goes to their upper layers, which the step cannot see as such. Raises `OSError`.
    """
    namespaces.new_user()
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWIPC)
    _attributes(_AT_FDCWD, "/", _AT_RECURSIVE, propagation=_PRIVATE)
    for layers in overlaid:
        _lay_over(layers)
    folders = [path for path in dict.fromkeys(map(os.path.realpath, writable)) if os.path.isdir(path)]
    kept = [(path, _clone(path)) for path in sorted(folders)]
    _attributes(_AT_FDCWD, "/", _AT_RECURSIVE, _RDONLY | _NOSUID)
    for path, tree in kept:
        _attributes(tree, "", _AT_EMPTY_PATH | _AT_RECURSIVE, _NOSUID | _NODEV | (0 if programs else _NOEXEC))
        _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(path), _FROM_EMPTY_PATH)
        os.close(tree)
    if memory is not None and os.path.isdir(memory):
        flags = namespaces.NOSUID | namespaces.NODEV | (0 if programs else namespaces.NOEXEC)
        namespaces.mount("tmpfs", memory, "tmpfs", flags, "mode=1777")
    for layers in overlaid:
        nothing = namespaces.RDONLY | namespaces.NOSUID | namespaces.NODEV | namespaces.NOEXEC
        namespaces.mount("tmpfs", layers.staging, "tmpfs", nothing, "size=4k,mode=0500")


def _lay_over(layers: Layers) -> None:
    """``volatile``: it would else write all of the file system to the disk when it goes. The layers are named by
    descriptors, since paths can hold what separates options.
    """
    parts = (("lowerdir", layers.folder), ("upperdir", layers.files), ("workdir", layers.work))
    opened = {name: os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for name, path in parts}
    options = ",".join(f"{name}=/proc/self/fd/{descriptor}" for name, descriptor in opened.items())
    namespaces.mount("overlay", layers.folder, "overlay", options=f"{options},userxattr,volatile")
    for descriptor in opened.values():
        os.close(descriptor)


def _clone(path: str) -> int:
    """The folder as a mount of its own, not yet anywhere; a descriptor."""
    return _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _CLONE | _CLOEXEC | _AT_RECURSIVE)


def _attributes(directory: int, path: str, flags: int, wanted: int = 0, *, propagation: int = 0) -> None:
    made = _Attributes(wanted, 0, propagation, 0)
    size = ctypes.sizeof(made)
    _call(_MOUNT_SETATTR, directory, os.fsencode(path), flags, ctypes.byref(made), size)


def _call(number: int, *arguments: object) -> int:
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        failed = ctypes.get_errno()
        raise OSError(failed, f"mounts of its own: {os.strerror(failed)}")
    return result
