"""How bad it is when a run does what no run did before: by kind, and by what exactly. Data, with the reasons beside it.

ATLAS ids are those of the catalogue in `assay.policy.frameworks`. Severities say how surprising a thing is for a step
that has not changed; what new code explains by itself is lowered where the comparison is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assay.alerts.finding import Severity
from assay.collect.behaviour.interface import Fact, Kind
from assay.collect.behaviour.naming import SYSTEM, place

ALARM = Severity.MEDIUM
"""From here on people are told."""

SEVERE = Severity.HIGH
"""From here on a run fails, and is not learned without somebody's acceptance."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What a new fact means."""

    severity: Severity
    title: str
    atlas: Sequence[str]
    mitigation: str
    excused: bool = False
    """Whether new code explains it: then the severity is one step lower."""


_SHELLS = re.compile(r"/(?:(?:ba|da|z|k|fi|c|tc|mk|a)?sh|busybox|toybox)$")
_REACHING = re.compile(
    r"/(?:curl|wget|nc|ncat|netcat|nc\.openbsd|nc\.traditional|socat|ssh|scp|sftp|rsync|telnet|ftp|dig|nslookup|host|"
    r"aws|gsutil|gcloud|az|rclone|openssl|nmap|crontab|at|systemctl|sudo|su|doas|pkexec|docker|kubectl|nsenter|gdb|"
    r"strace)$"
)
_ASKING = re.compile(
    r"/(?:fc-list|fc-match|uname|ldconfig(?:\.real)?|lscpu|nproc|getconf|lsb_release|nvidia-smi|hostname|true)$"
)
"""Programs that libraries run to learn what machine this is, often only when a cache is cold."""

_METADATA = re.compile(
    r"\b(?:169\.254\.169\.254|169\.254\.170\.2|169\.254\.170\.23|100\.100\.100\.200|168\.63\.129\.16|192\.0\.0\.192|"
    r"metadata\.google\.internal|instance-data)\b|fd00:ec2::"
)
_CONTROL_SOCKETS = re.compile(r"/(?:docker|containerd|crio|podman|cri-dockerd)\.sock$|ssh-[^/]*/agent|S\.gpg-agent")
_HELD_OUT = re.compile(
    r"(?:^|[/_.\-])(?:test|tests|testing|valid|validation|val|eval|evaluation|holdout|hold[_-]out|dev|heldout|"
    r"labels?|answers?|gold|truth)(?:[/_.\-]|$)",
    re.I,
)
_DANGEROUS_CALLS = re.compile(
    r"(?:ptrace|process_vm_|process_madvise|pidfd_getfd|bpf|mount|umount|move_mount|fsmount|fsopen|open_tree|setns|"
    r"init_module|finit_module|kexec|open_by_handle_at|chroot|pivot_root|perf_event_open|kill|tkill|tgkill|rt_)"
)
_QUIET_CALLS = ("seccomp", "memfd_create", "name_to_handle_at", "io_uring_setup")
_UNPICKLED = re.compile(r"(?:builtins|__builtin__|os|posix|nt|subprocess|pty|socket|runpy|ctypes|importlib|shutil)\.")

_LEAST = "run the step with 'assay run --enforce', so that only what it needs is possible"
_LOOK = "look at what asked for it (runtime trace); if it is right, 'assay profile accept' it with a reason"


def weight(fact: Fact) -> Weight:
    """What it means that this fact is new."""
    return _WEIGHTS[fact.kind](fact.text)


def _program(text: str) -> Weight:
    atlas = ("AML.T0050",)
    if _SHELLS.search(text):
        return Weight(Severity.HIGH, "a shell was run", atlas, _LEAST)
    if _REACHING.search(text):
        return Weight(Severity.HIGH, "a program that reaches out or up was run", ("AML.T0050", "AML.T0025"), _LEAST)
    if _ASKING.search(text):
        return Weight(Severity.LOW, "a program that asks about the machine was run", atlas, _LOOK)
    if place(text) == "$ENV" or text.startswith(SYSTEM):
        return Weight(Severity.MEDIUM, "another program was run", atlas, _LOOK, excused=True)
    return Weight(Severity.HIGH, "a program from outside the installation was run", ("AML.T0011", *atlas), _LEAST)


def _destination(text: str) -> Weight:
    way, _, where = text.partition(" ")
    if _METADATA.search(where):
        message = "credentials of the machine were asked for"
        return Weight(Severity.CRITICAL, message, ("AML.T0075", "AML.T0055"), "block the metadata address; --net none")
    if way == "unix":
        if _CONTROL_SOCKETS.search(where):
            return Weight(Severity.CRITICAL, "a control socket of the machine was reached for", ("AML.T0105",), _LEAST)
        quiet = where.startswith(("$TMPDIR", "@"))
        severity = Severity.LOW if quiet else Severity.MEDIUM
        return Weight(severity, "another process was reached over a socket", ("AML.T0112",), _LOOK, excused=quiet)
    if way == "netlink":
        return Weight(Severity.LOW, "the kernel was asked about the network", ("AML.T0089",), _LOOK)
    if where.startswith("localhost:") and way in ("tcp", "udp"):
        severity = Severity.LOW if where.endswith(":*") else Severity.MEDIUM
        return Weight(severity, "this machine was reached over the network", ("AML.T0112",), _LOOK, excused=True)
    return Weight(Severity.HIGH, "a new destination was reached for", ("AML.T0025",), "allow it with --net, or find it")


def _listen(text: str) -> Weight:
    quiet = text.startswith("unix ") or "localhost:" in text
    severity = Severity.LOW if quiet else Severity.MEDIUM
    return Weight(severity, "it listens for connections", ("AML.T0072",), _LOOK, excused=quiet)


def _sensitive(text: str) -> Weight:
    if text.endswith(" (absent)"):
        return Weight(Severity.LOW, "a place of secrets was looked for", ("AML.T0055",), _LOOK, excused=True)
    if text.startswith("/proc/"):
        return Weight(Severity.CRITICAL, "secrets of processes were looked at", ("AML.T0090", "AML.T0055"), _LEAST)
    return Weight(Severity.CRITICAL, "a place of secrets was touched", ("AML.T0055", "AML.T0037"), _LEAST)


def _call(text: str) -> Weight:
    if _DANGEROUS_CALLS.match(text):
        return Weight(Severity.HIGH, "a call that attacks other processes or the kernel", ("AML.T0105",), _LEAST)
    if text.startswith(_QUIET_CALLS):
        return Weight(Severity.LOW, "a rare system call", ("AML.T0107",), _LOOK, excused=True)
    return Weight(Severity.MEDIUM, "a rare system call", ("AML.T0107",), _LOOK, excused=True)


def _pickle(text: str) -> Weight:
    if _UNPICKLED.match(text):
        message = "a dangerous function was unpickled"
        return Weight(Severity.HIGH, message, ("AML.T0011.000", "AML.T0018.002"), "scan what it loads: assay scan")
    return Weight(Severity.LOW, "objects of another package were unpickled", ("AML.T0011.000",), _LOOK, excused=True)


def _read(text: str) -> Weight:
    where = place(text)
    if where in ("$IN", "$CODE", "$OUT"):
        if _HELD_OUT.search(text):
            message = "data that looks held out was read"
            return Weight(Severity.HIGH, message, ("AML.T0031", "AML.T0042"), "keep the test set out of --inputs")
        severity = Severity.LOW if where == "$OUT" else Severity.MEDIUM
        return Weight(severity, "data with another name was read", ("AML.T0035",), _LOOK, excused=True)
    return Weight(Severity.HIGH, "a file that nobody declared was read", ("AML.T0037",), _LEAST)


def _list(text: str) -> Weight:
    quiet = place(text) in ("$IN", "$CODE", "$OUT")
    severity = Severity.INFO if quiet else Severity.LOW
    return Weight(severity, "another folder was listed", ("AML.T0007",), _LOOK, excused=True)


def _write(text: str) -> Weight:
    where = place(text)
    if where == "$IN":
        return Weight(Severity.HIGH, "an input was changed", ("AML.T0059", "AML.T0020"), "declare inputs read-only")
    if where == "$ENV" or text.startswith(SYSTEM):
        return Weight(Severity.HIGH, "the installation was changed", ("AML.T0010.001",), _LEAST)
    if where == "$CODE":
        return Weight(Severity.MEDIUM, "a file beside the code was written", ("AML.T0112",), _LOOK, excused=True)
    if text.startswith("/dev/shm/") or text.endswith("/<passing>"):  # noqa: S108
        return Weight(Severity.LOW, "a passing file was made", ("AML.T0112",), _LOOK, excused=True)
    return Weight(Severity.HIGH, "a file outside the declared outputs was written", ("AML.T0112",), _LEAST)


def _deletion(text: str) -> Weight:
    where = place(text)
    if where == "$OUT":
        return Weight(Severity.LOW, "an earlier output was removed", ("AML.T0101",), _LOOK, excused=True)
    severity = Severity.CRITICAL if where == "$IN" else Severity.HIGH
    return Weight(severity, "a file was removed that was there before", ("AML.T0101", "AML.T0059"), _LEAST)


def _module(text: str) -> Weight:
    return Weight(Severity.MEDIUM, "another package was loaded", ("AML.T0011.001",), _LOOK, excused=True)


def _code(text: str) -> Weight:
    return Weight(Severity.HIGH, "a source file that was never part of it was loaded", ("AML.T0011",), _LOOK)


def _library(text: str) -> Weight:
    severity = Severity.LOW if text.startswith("$TMPDIR/") else Severity.HIGH
    title = "a shared library from outside the installation was loaded"
    return Weight(severity, title, ("AML.T0011", "AML.T0010.001"), _LEAST, excused=severity is Severity.LOW)


def _persistence(text: str) -> Weight:
    title = "something was written that runs later by itself"
    return Weight(Severity.CRITICAL, title, ("AML.T0112", "AML.T0010.001"), _LEAST)


def _quiet(text: str) -> Weight:
    return Weight(Severity.LOW, "other files than before were touched", ("AML.T0037",), _LOOK, excused=True)


def _output(text: str) -> Weight:
    return Weight(Severity.INFO, "an output of another kind was written", ("AML.T0112",), _LOOK)


_WEIGHTS = {
    Kind.PROGRAM: _program,
    Kind.DESTINATION: _destination,
    Kind.LISTEN: _listen,
    Kind.SENSITIVE: _sensitive,
    Kind.PERSISTENCE: _persistence,
    Kind.DELETION: _deletion,
    Kind.CALL: _call,
    Kind.PICKLE: _pickle,
    Kind.LIBRARY: _library,
    Kind.CODE: _code,
    Kind.MODULE: _module,
    Kind.READ: _read,
    Kind.LIST: _list,
    Kind.CONFIGURATION: _quiet,
    Kind.WRITE: _write,
    Kind.OUTPUT: _output,
    Kind.CACHE: _quiet,
}
