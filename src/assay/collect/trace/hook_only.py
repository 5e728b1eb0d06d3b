"""Records what Python programs say of themselves, where no mechanism of the kernel can be had (macOS, Windows, gVisor).

A program in another language says nothing, and one that does not want to be seen is not: this is never evidence, and
the trace's gaps say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Mapping
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from msgspec.structs import replace

from assay.collect.trace.hooks import Heard, environment
from assay.collect.trace.interface import Arbiter, Contact, Decision, FileUse, Launch, Process, Trace, Usage
from assay.collect.trace.recording import Recording, opened, stat_of
from assay.errors import UndecidedError, UsageError

if TYPE_CHECKING:
    import subprocess

CHANNEL = "ASSAY_AUDIT_FILE"
"""Variable that tells the hook where to write, and so to tell of files and sockets too."""


class AuditHook:
    """Python's audit events alone (PEP 578)."""

    name = "audit-hook"

    def available(self) -> str | None:
        """None: wherever Python runs."""
        return None

    def run(self, launch: Launch, arbiter: Arbiter | None) -> Trace:
        """Start the command and listen. Raises `UndecidedError` with an arbiter: nothing could be decided here."""
        if arbiter is not None and (arbiter.watches or arbiter.blocked):
            raise UndecidedError(
                "calls cannot be decided here: Python's audit events only tell, after the fact, and not all"
            )
        began, clock = time_ns(), monotonic()
        # Behind walls the step can write to no other temporary folder than its own.
        with tempfile.TemporaryDirectory(prefix="assay-", dir=launch.environment.get("TMPDIR")) as folder:
            channel = os.path.join(folder, "events")
            child = _spawn(launch, {**environment(launch.environment), CHANNEL: channel})
            why = _wait(child, launch.seconds)
            try:
                with open(channel, "rb") as file:
                    lines = file.read().splitlines()
            except OSError:
                lines = []
        code = child.returncode
        recording = Recording()
        recording.process(
            Process(child.pid, None, os.fsencode(launch.command[0]), tuple(map(os.fsencode, launch.command)), began)
        )
        heard = Heard()
        for line in lines:
            _hear(line, recording, heard)
        recording.gap(
            "audit-hook-only",
            "only what Python programs told of themselves was recorded; anything else may have happened",
        )
        user, system, memory = _used()
        return Trace(
            self.name, began, time_ns(), code if code >= 0 else None, -code if code < 0 else None,
            tuple(recording.processes), recording.files, tuple(recording.contacts), (), recording.events,
            tuple(recording.gaps.values()), Usage(monotonic() - clock, user, system, memory),
            heard.modules, heard.others, why,
        )  # fmt: skip


def _spawn(launch: Launch, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    import subprocess

    def confine() -> None:
        for each in launch.confine:
            each()

    try:
        return subprocess.Popen(
            launch.command,
            env=variables,
            cwd=launch.directory,
            start_new_session=True,
            preexec_fn=confine if launch.confine else None,
        )
    except OSError as error:
        raise UsageError(f"the step cannot be started: {launch.command[0]}: {error.strerror}") from None
    except subprocess.SubprocessError as error:
        raise UndecidedError(f"the step cannot be confined: {error}") from None


def _wait(child: subprocess.Popen[bytes], seconds: float | None) -> str | None:
    """Wait for the end; why it was ended from outside, if it was."""
    import subprocess

    end = None if seconds is None else monotonic() + seconds
    why = None
    while True:
        try:
            child.wait(None if end is None else max(0.0, end - monotonic()))
            return why
        except subprocess.TimeoutExpired:
            why = why or "time limit"
            _signal_all(child, signal.SIGKILL)
            end = None
        except KeyboardInterrupt:
            _signal_all(child, signal.SIGINT if why is None else signal.SIGKILL)
            why = "interrupted"


def _signal_all(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)


def _used() -> tuple[float, float, int]:
    try:
        import resource
    except ImportError:
        return 0.0, 0.0, 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime, used.ru_stime, used.ru_maxrss * 1024


def _hear(line: bytes, recording: Recording, heard: Heard) -> None:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(told, dict):
        return
    recording.events += 1
    for word in _words(told, "open"):
        flags, _, path = word.partition(" ")
        if flags.isdigit() and path:
            _opened(_file(recording, path), int(flags))
    for word in _words(told, "os.rename"):
        source, _, target = word.partition("\0")
        _file(recording, source).removed += 1
        use = _file(recording, target)
        use.appeared += 1
        use.first = None
    for word in _words(told, "os.remove"):
        _file(recording, word).removed += 1
    for word in _words(told, "socket.connect"):
        address, _, port = word.rpartition(" ")
        family = "inet6" if ":" in address else "inet" if port.isdigit() else "unix"
        recording.contact(
            Contact(
                time_ns(),
                0,
                "connect",
                family,
                "",
                address,
                int(port) if port.isdigit() else None,
                None,
                Decision.SEEN,
                "",
            )
        )
    heard.add(json.dumps(told).encode())


def _words(told: dict[str, object], event: str) -> list[str]:
    """What was said of one event, taken out."""
    words = told.pop(event, ())
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _file(recording: Recording, path: str) -> FileUse:
    """A path's entry. All of it is told when the step has ended, so what was there before it is not known."""
    raw = os.path.abspath(os.fsencode(path))
    try:
        now = stat_of(os.stat(raw))
    except (OSError, ValueError):
        now = None
    return recording.file(raw, 0, now)


def _opened(use: FileUse, flags: int) -> None:
    """Count an open. What was written may be any other file than the one before: no product may pass for unchanged."""
    if flags & os.O_TRUNC or flags & os.O_EXCL:
        use.first = None
    elif flags & os.O_ACCMODE != os.O_RDONLY and use.first is not None:
        use.first = replace(use.first, ctime=0)
    opened(use, flags)
