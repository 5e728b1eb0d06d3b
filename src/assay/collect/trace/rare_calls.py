"""Calls that ordinary steps do not make, and those that would blind or harm the monitor.

The second kind is refused whatever is asked for: each is told by registers alone, which no other thread can change.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from time import time_ns

from assay.collect.trace.calls import Call, GoneError
from assay.collect.trace.filters import Condition
from assay.collect.trace.interface import Answer, Decision, Launch, RareCall

# linux/sched.h
_CLONE_FS, _CLONE_THREAD = 0x200, 0x10000
_NAMESPACES = {0x20000: "mount", 0x2000000: "cgroup", 0x4000000: "uts", 0x8000000: "ipc", 0x10000000: "user",
               0x20000000: "pid", 0x40000000: "net", 0x80: "time"}  # fmt: skip
_NEW = sum(flag for flag in _NAMESPACES if flag != 0x80)  # with clone, 0x80 belongs to the signal's number
_F_SETOWN = 8

_ALWAYS = [
    "acct",
    "bpf",
    "clock_settime",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "memfd_create",
    "memfd_secret",
    "modify_ldt",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_tree",
    "open_tree_attr",
    "perf_event_open",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "reboot",
    "seccomp",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "umount2",
    "userfaultfd",
]
_REFUSED = {
    "chroot": errno.EPERM,  # paths would mean other files than their words say
    "pivot_root": errno.EPERM,
    "open_by_handle_at": errno.EPERM,  # opens files without naming them
}
_MOVES = {"mount", "umount2", "move_mount", "mount_setattr", "fsmount", "open_tree", "open_tree_attr"}
_TEXT = {
    "memfd_create": (0,),
    "mount": (0, 1, 2),
    "umount2": (0,),
    "fsopen": (0,),
    "name_to_handle_at": (1,),
    "move_mount": (1, 3),
    "open_tree": (1,),
    "open_tree_attr": (1,),
    "mount_setattr": (1,),
    "fspick": (1,),
    "chroot": (0,),
    "pivot_root": (0, 1),
    "swapon": (0,),
    "acct": (0,),
}
"""Arguments that are strings, and say more than numbers."""

REFUSED_IN_KERNEL: Mapping[str, int] = {"clone3": errno.ENOSYS}
"""Its flags lie in memory, where they cannot be trusted; C libraries fall back to ``clone``, as they do in Docker."""


def watched(monitor: int, session: int) -> dict[str, Sequence[Sequence[Condition]]]:
    """Calls → conditions. ``monitor``, ``session``: our process and our process group."""
    signals: list[Condition] = [(0, "==", monitor), (0, "==", -1), (0, "==", -session)]
    return {
        **dict.fromkeys((*_ALWAYS, *_REFUSED), ((),)),
        "clone": (((0, "&", _NEW | _CLONE_FS),),),
        "unshare": ((),),
        "kill": tuple((condition,) for condition in signals),
        "tkill": (((0, "==", monitor),),),
        "tgkill": (((0, "==", monitor),),),
        "rt_sigqueueinfo": (((0, "==", monitor),),),
        "rt_tgsigqueueinfo": (((0, "==", monitor),),),
        "pidfd_open": (((0, "==", monitor),),),
        "prlimit64": (((0, "==", monitor), (2, "!=", 0)),),
        "fcntl": (((1, "==", _F_SETOWN), (2, "==", monitor)), ((1, "==", _F_SETOWN), (2, "==", -session))),
    }


_GUARDED = {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "prlimit64", "fcntl"}
_AIMED = {"ptrace": 1, "process_vm_writev": 0, "process_vm_readv": 0}
"""Calls that name a process in this argument."""


def handle(call: Call, launch: Launch, error: int | None) -> Answer:
    """Record it, and say whether it may go on. ``error``: the sandbox refuses it with this ``errno``.

    Raises `GoneError` when the caller does not wait any more.
    """
    name = call.name
    if name == "clone" and not call.arguments[0] & _NEW:
        if not call.arguments[0] & _CLONE_THREAD:
            call.world.processes.shared_directories = True
        return Answer()
    if name in ("tkill", "tgkill", "kill") and call.number(1 if name != "tgkill" else 2) == 0 and call.number(0) != -1:
        return Answer()  # asks only whether it is there
    detail = _detail(call)
    if not call.alive():
        raise GoneError
    if error is None:
        error = _own_refusal(call, launch)
    call.world.recording.rare(
        RareCall(time_ns(), call.index, name, detail, Decision.SEEN if error is None else Decision.DENIED)
    )
    if error is not None:
        return Answer(error=error)
    if name in _MOVES or (
        name in ("unshare", "clone", "setns") and (name == "setns" or call.arguments[0] & 0x10020000)
    ):
        call.world.moved = True
        if name in _MOVES:
            call.world.recording.gap(
                "mounts", "the step changed what is mounted where: a path may have meant several files", "files"
            )
    return Answer()


def _own_refusal(call: Call, launch: Launch) -> int | None:
    name = call.name
    if name == "io_uring_setup":
        if not launch.allow_io_uring:
            return errno.ENOSYS
        call.world.recording.gap("io_uring", "the step used io_uring: what it opened and sent through it is not seen")
        return None
    if name in _REFUSED:
        return _REFUSED[name]
    if name in _GUARDED or (name in _AIMED and call.number(_AIMED[name]) == call.world.monitor):
        return errno.EPERM
    return None


def _detail(call: Call) -> str:
    name = call.name
    if name in _TEXT:
        texts = [os.fsdecode(call.text(call.arguments[at])) if call.arguments[at] else "" for at in _TEXT[name]]
        return " ".join(text[:200].encode("unicode_escape", "replace").decode() for text in texts)
    if name in ("clone", "unshare"):
        flags = call.arguments[0] & 0xFFFFFFFF
        return " ".join(
            sorted(word for flag, word in _NAMESPACES.items() if flags & flag and (flag != 0x80 or name != "clone"))
        )
    if name in ("kill", "tkill", "rt_sigqueueinfo"):
        return f"{call.number(0)} {_signal(call.number(1))}"
    if name in ("tgkill", "rt_tgsigqueueinfo"):
        return f"{call.number(0)} {_signal(call.number(2))}"
    if name == "ptrace":
        return f"request {call.number(0):#x} of {call.number(1)}"
    return " ".join(str(call.number(at)) for at in range(2))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
