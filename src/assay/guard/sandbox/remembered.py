"""What worked here the last time, so that a step's start need not try all of it again.

Only a place where everything works is remembered, and only as long as nothing changes that could say otherwise. It
must never make anything weaker: all that is put up raises where it cannot be had, so that a yes that has become wrong
stops the step (and is forgotten); a no is found out anew each time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec
from msgspec import Struct

import assay
from assay.config import cache_home
from assay.files import write_atomic

NEEDED = (
    "seccomp-unotify",
    "landlock",
    "pidfd-getfd",
    "user-namespace",
    "network-namespace",
    "mount-namespace",
    "overlay",
)
"""What has to work: all that the highest tier is made of."""

_SETTINGS = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/sys/user/max_net_namespaces",
    "/proc/thread-self/attr/current",
    "/proc/thread-self/status",
)
_OWN = (b"Uid:", b"Gid:", b"CapPrm:", b"CapEff:", b"CapBnd:", b"NoNewPrivs:", b"Seccomp:", b"Seccomp_filters:")
"""Of ``status``, what decides what we may do (proc_pid_status(5))."""


class Remembered(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    here: str
    """Digest of the circumstances: see `circumstances`."""
    works: dict[str, str | None]


def recall() -> Mapping[str, str | None] | None:
    """What worked here under the very same circumstances; None when that is not known, or not all of it did."""
    try:
        with open(_place(), "rb") as file:
            found = msgspec.json.decode(file.read(1 << 16), type=Remembered)
    except (OSError, msgspec.DecodeError):
        return None
    return found.works if _complete(found.works) and found.here == circumstances() else None


def remember(works: Mapping[str, str | None]) -> None:
    """Keep it for the next time when all of it works, and where this user keeps such things at all."""
    if not _complete(works):
        return
    with suppress(OSError):
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(_place()), 0o700)
        write_atomic(_place(), msgspec.json.encode(Remembered(circumstances(), dict(works))), mode=0o600)


def forget() -> None:
    """Try everything again the next time: something that should work did not."""
    with suppress(OSError):
        os.unlink(_place())


def circumstances() -> str:
    """Hex SHA-256 of all that is known to change what the kernel lets us do: the boot, our user, powers, filters and
    namespaces, the machine's settings, and the program that tried.
    """
    return hashlib.sha256(b"\0".join(_told())).hexdigest()


def _told() -> Iterator[bytes]:
    yield f"{assay.__version__} {os.uname().machine}".encode()
    for name in _SETTINGS:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                text = os.read(descriptor, 8192)
            finally:
                os.close(descriptor)
        except OSError:
            text = b"-"
        if name.endswith("/status"):
            text = b"\n".join(line for line in text.splitlines() if line.startswith(_OWN))
        yield text
    for kind in ("user", "mnt", "net", "pid", "ipc"):
        try:
            yield os.fsencode(os.readlink(f"/proc/thread-self/ns/{kind}"))
        except OSError:
            yield b"-"


def _complete(works: Mapping[str, str | None]) -> bool:
    return all(works.get(name, "untried") is None for name in NEEDED)


def _place() -> str:
    return os.path.join(cache_home(), "place.json")
