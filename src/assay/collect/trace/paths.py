"""Which file a path means: from the caller's words, its working directory and its descriptors to one absolute path.

Links are not followed, but where the words would lead astray: ``..`` behind a link, and ``/proc/self/fd/3`` and its
kin, which are other names of a file that has one. Nothing here opens a file for reading or writing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_MAGIC = re.compile(
    rb"/proc/(self|thread-self|[0-9]+)((?:/task/[0-9]+)?/(?:fd/[0-9]+|exe|cwd|root|map_files/[0-9a-f-]+))(/.*)?"
)
_STANDARD = {b"/dev/stdin": b"/proc/self/fd/0", b"/dev/stdout": b"/proc/self/fd/1", b"/dev/stderr": b"/proc/self/fd/2"}
_DELETED = b" (deleted)"


def plain(path: bytes) -> bool:
    """Whether an absolute path is written in the one way that is recorded, and means no other by magic."""
    if b"//" in path or path[-1] == 47 or path[:6] in (b"/proc/", b"/dev/f", b"/dev/s"):
        return False
    # ``.venv`` and ``.cache`` are names like any other: only whole components of dots mean another path.
    return b"/." not in path or (b"/./" not in path and b"/../" not in path and not path.endswith((b"/.", b"/..")))


def normal(path: bytes, real: dict[bytes, bytes], resolve: Callable[[bytes], bytes] = os.path.realpath) -> bytes:
    """An absolute path without ``.``, ``..``, doubled and trailing slashes.

    What stands before the first ``..`` is resolved with its links, because only so ``..`` means what it meant to the
    kernel; ``real`` remembers that and is emptied by whoever sees a link change. ``resolve`` does it where the caller
    sees other files than we do.
    """
    path = _tidy(path)
    if b"/.." in path:
        parts = path.split(b"/")
        if b".." in parts:
            at = parts.index(b"..")
            before = b"/".join(parts[: at + 1])
            resolved = real.get(before)
            if resolved is None:
                resolved = real[before] = resolve(before)
            path = _tidy(b"/".join([resolved, *parts[at + 1 :]]))
    return path


def _tidy(path: bytes) -> bytes:
    if b"//" in path or b"/." in path or path[-1:] == b"/":
        path = b"/" + b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))
    return path


def absolute(
    path: bytes,
    process: int,
    thread: int,
    real: dict[bytes, bytes],
    resolve: Callable[[bytes], bytes] = os.path.realpath,
) -> bytes:
    """An absolute path of a thread's by the name under which it is recorded: `unmasked` wherever that is needed, so
    that ``/tmp/../proc/self/cwd/file`` and ``//proc/self/cwd/../file`` are not taken for files of ``/proc``.
    """
    while True:
        path = _tidy(path)
        if b"/.." in path and path.startswith((b"/proc/self/", b"/proc/thread-self/")):  # theirs, and not ours
            own = b"%d" % process if path.startswith(b"/proc/self/") else b"%d/task/%d" % (process, thread)
            path = b"/proc/" + own + path[path.index(b"/", 6) :]
        path = unmasked(path, process, thread)
        shorter = normal(path, real, resolve)
        if shorter == path:
            return path
        path = shorter


def unmasked(path: bytes, process: int, thread: int) -> bytes:
    """The file behind ``/dev/fd/N``, ``/proc/self/fd/N``, ``/proc/PID/root/…`` and their kin; else the path itself."""
    if path.startswith(b"/dev/"):
        path = _STANDARD.get(path, path)
        if path.startswith(b"/dev/fd/"):
            path = b"/proc/self/fd/" + path[8:]
    for _ in range(8):
        if not path.startswith(b"/proc/") or not (found := _MAGIC.fullmatch(path)):
            break
        whose, what, rest = found.groups()
        if whose == b"self":
            whose = b"%d" % process
        elif whose == b"thread-self":
            whose = b"%d/task/%d" % (process, thread)
        try:
            target = os.readlink(b"/proc/" + whose + what)
        except OSError:
            break
        if target[:1] != b"/":  # a pipe, a socket
            break
        if target.endswith(_DELETED):
            return target
        path = (target.rstrip(b"/") + (rest or b"")) or b"/"
    return path


def link(process: int, what: str) -> bytes | None:
    """Where ``/proc/PID/WHAT`` points to; None when it cannot be told."""
    try:
        return os.readlink(b"/proc/%d/%s" % (process, what.encode()))
    except OSError:
        return None
