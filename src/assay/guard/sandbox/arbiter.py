"""What the walls for files and programs leave to the monitor: calls that the kernel's rules know nothing of.

Each is told by registers alone, which no other thread can change, and never left to the kernel after a decision about
memory. Everything else is Landlock's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from time import time_ns

from assay.collect.trace.interface import Answer, Arbiter, Contact, Decision, RareCall, Request, Watch

RULE = "sandbox"

_KEYRING = ("add_key", "keyctl", "request_key")
"""They reach the user's secrets in the kernel, which no file rule guards: refused in every mode."""

_REFUSED = (
    "bpf",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_tree",
    "open_tree_attr",
    "perf_event_open",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_writev",
    "ptrace",
    "setns",
    "umount2",
    "unshare",
    "userfaultfd",
)
"""What no step needs and attacks begin with."""

_UNSEEN = (*_KEYRING, "fsconfig")
"""Those of them that the monitor does not record by itself."""

# linux/sched.h: new mount, cgroup, uts, ipc, user, pid and net namespaces
_NEW = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000

_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_NOEXEC_SEAL = 1, 2, 8  # linux/memfd.h


class Calls:
    """Strict mode: no second way to run a program, no new view of the file system, no hands on other processes. Other
    modes: no keyring.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    @property
    def watches(self) -> Sequence[Watch]:
        """Calls that are decided here."""
        made = [Watch(name) for name in _KEYRING]
        if self._strict:
            made += [*map(Watch, _REFUSED), Watch("memfd_create"), Watch("clone", ((0, "&", _NEW),))]
        return made

    @property
    def blocked(self) -> Mapping[str, int]:
        """None: what the kernel refuses without asking could not be reported."""
        return {}

    def decide(self, request: Request) -> Answer:
        """The answer to one call."""
        if request.call == "memfd_create" and request.arguments[1] & 0xFFFFFFFF in _ORDINARY:
            return _memory_file(request)
        return _refusal(request)

    def pending(self) -> Mapping[int, Callable[[], Sequence[tuple[int, Answer]]]]:
        """Nothing is left for later."""
        return {}

    def told(self) -> Sequence[Contact | RareCall]:
        """Nothing beside what it answered."""
        return ()


_ORDINARY = {a | b | c for a in (0, _MFD_CLOEXEC) for b in (0, _MFD_ALLOW_SEALING) for c in (0, _MFD_NOEXEC_SEAL)}


def _refusal(request: Request) -> Answer:
    if request.call not in _UNSEEN:
        return Answer(error=errno.EPERM)  # the monitor records it, with what its arguments say
    record = RareCall(time_ns(), request.process, request.call, "", Decision.DENIED, RULE)
    return Answer(error=errno.EPERM, records=(record,))


def _memory_file(request: Request) -> Answer:
    """A file in memory that can never be executed (Linux 6.3): Landlock does not see the ordinary kind at all."""
    try:
        made = os.memfd_create("step", _MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_NOEXEC_SEAL)
    except OSError:
        return _refusal(request)
    record = RareCall(time_ns(), request.process, request.call, "", Decision.MEDIATED, RULE)
    close = bool(request.arguments[1] & _MFD_CLOEXEC)
    return Answer(descriptor=made, close_on_exec=close, records=(record,))


class Joined:
    """Several arbiters as one; they decide different calls, and where two name the same one the first decides."""

    def __init__(self, parts: Sequence[Arbiter]) -> None:
        self._parts = parts
        self._by_call: dict[str, Arbiter] = {}
        for part in parts:
            for watch in part.watches:
                self._by_call.setdefault(watch.call, part)

    @property
    def watches(self) -> Sequence[Watch]:
        """Those of all, each only of who decides it."""
        return [watch for part in self._parts for watch in part.watches if self._by_call[watch.call] is part]

    @property
    def blocked(self) -> Mapping[str, int]:
        """Those of all."""
        made: dict[str, int] = {}
        for part in self._parts:
            made |= part.blocked
        return made

    def decide(self, request: Request) -> Answer:
        """Whoever watches the call."""
        return self._by_call[request.call].decide(request)

    def pending(self) -> Mapping[int, Callable[[], Sequence[tuple[int, Answer]]]]:
        """Those of all."""
        made: dict[int, Callable[[], Sequence[tuple[int, Answer]]]] = {}
        for part in self._parts:
            made |= part.pending()
        return made

    def told(self) -> Sequence[Contact | RareCall]:
        """What each of them tells."""
        return [record for part in self._parts for record in part.told()]
