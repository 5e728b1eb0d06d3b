"""How a step ends: by itself, with what it left running, by its time limit, or because we were told to stop.

Whatever ends it, all of its processes end, also those that have run away from their parents: the monitor becomes their
parent, and knows them by their session, which is never its own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from time import monotonic, sleep, time_ns
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from assay.collect.trace import kernel
from assay.collect.trace.interface import Launch, Trace
from assay.collect.trace.recording import Recording
from assay.collect.trace.usage import Account

if TYPE_CHECKING:
    from assay.collect.trace.monitor import Monitor

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_GRACE = 10.0
"""Seconds that a step has to end by itself after it was asked to."""
_ROUND = 0.2
_LONGEST = 1 << 30
"""Milliseconds: what poll(2) takes is an ``int``."""
_LAST_MOMENT = 2.0
"""Seconds that the last processes have to be dead after they have let go of their filter."""


class Ending:
    """Watches over the end of one step. To be entered before it is started: signals are held from then on."""

    def __init__(self, launch: Launch, recording: Recording) -> None:
        self._launch = launch
        self._recording = recording
        self._account = Account()
        self._pid = 0
        self.handle = -1
        """pidfd of the command."""
        self.wake = -1
        """Readable when a signal has arrived."""
        self.gpu: tuple[float, int] | None = None
        """Seconds and bytes of GPUs, where somebody could tell."""
        self._waker = -1
        self._arrived: list[int] = []
        self._former: dict[int, Any] = {}
        self._began = monotonic()
        self._kill_at: float | None = None
        self._why: str | None = None
        self._status: int | None = None
        self._killing = False
        self._debugged = False
        self._used_before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._others: set[int] = set()
        self._was_subreaper = True
        self._was_dumpable = 1
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)

    def __enter__(self) -> Ending:
        self._others = set(_descendants(os.getpid()))
        self._was_subreaper = kernel.is_subreaper()
        self._was_dumpable = kernel.prctl(kernel.PR_GET_DUMPABLE)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        if threading.current_thread() is threading.main_thread():
            for number in _PASSED_ON:
                self._former[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, int(self._was_subreaper))
        with contextlib.suppress(OSError):
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1 if self._was_dumpable == 1 else 0)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, self._descriptors)
        for descriptor in (self.wake, self._waker, self.handle):
            if descriptor >= 0:
                os.close(descriptor)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append(number)
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"x")

    def watch(self, pid: int) -> None:
        """This is the command, which has not been let go yet. From now on no process of the step can look into ours."""
        self._pid = pid
        self.handle = os.pidfd_open(pid)
        self._began = monotonic()
        if self._launch.seconds is not None:
            self._kill_at = self._began + self._launch.seconds
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        # Two descriptors for each process of the step; it was started before, so its own limit is another.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors[1], self._descriptors[1]))

    def timeout(self) -> int | None:
        """Milliseconds until this has to be looked after again."""
        if self._killing or self._status is not None:
            return int(_ROUND * 1000)
        if self._kill_at is None:
            return None
        return min(max(0, int((self._kill_at - monotonic()) * 1000) + 1), _LONGEST)

    def woken(self) -> None:
        """Pass on the signals that have arrived; a second one ends it for good."""
        os.read(self.wake, 64)
        self.deliver()

    def deliver(self) -> None:
        """What `woken` does, for a loop that does not poll."""
        while self._arrived:
            number = self._arrived.pop(0)
            if self._why == "interrupted":
                self._killing = True
                continue
            self._stop_by(_GRACE, "interrupted")
            with contextlib.suppress(OSError):
                os.killpg(self._pid, number)

    def _stop_by(self, seconds: float, why: str) -> None:
        at = monotonic() + seconds
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)
        self._why = why

    def command_ended(self) -> None:
        """The command itself is over; what it left running may go on for a while."""
        status = self._account.reap(self._pid, block=True)
        self._status = 0 if status is None else status
        self._leave()

    def _leave(self) -> None:
        if self._why is None and self._launch.linger is not None:
            self._kill_at = min(self._kill_at or float("inf"), monotonic() + self._launch.linger)

    def ended(self, pid: int) -> None:
        """A process of the step is over. If its parent was before it, it is ours to bury."""
        if pid != self._pid:
            self._account.reap(pid)

    def buried(self, pid: int, status: int, used: resource.struct_rusage) -> None:
        """A process of the step is over, and a debugger has waited for it. Whether its parent waits for it too, and
        counts it then, nobody can tell by now: the kernel's own sum over what was ours to bury is right.
        """
        self._account.memory = max(self._account.memory, used.ru_maxrss * 1024)
        self._debugged = True
        if pid == self._pid:
            self._status = status
            self._leave()

    def look_after(self, *, reap: bool = True) -> None:
        """Kill what is due, and bury orphans that never made a watched call (unless somebody waits for all of them)."""
        if self._kill_at is not None and monotonic() >= self._kill_at and not self._killing:
            if self._why is None:
                limit = self._launch.seconds
                late = limit is not None and monotonic() >= self._began + limit
                self._why = "time limit" if late else "left processes running"
            self._killing = True
        if self._killing:
            self.kill(reap=reap)
        elif self._status is not None and reap:
            for pid in self._step():
                self._account.reap(pid)

    def kill(self, *, reap: bool = True) -> None:
        """Kill every process of the step. It has to be called again until none is left: one may fork meanwhile."""
        for pid in self._step():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            if reap and pid != self._pid:
                self._account.reap(pid)

    def _step(self) -> list[int]:
        ours = os.getsid(0)
        found = []
        for pid in _descendants(os.getpid()):
            if pid in self._others:
                continue
            with contextlib.suppress(OSError):
                if os.getsid(pid) != ours:
                    found.append(pid)
        return found

    def finish(self) -> None:
        """All of it has ended: the last accounts. A process lets go of its filter a moment before it can be buried, and
        what nobody has buried has cost nothing.
        """
        if self._status is None:
            self.command_ended()
        until = monotonic() + _LAST_MOMENT
        while [pid for pid in self._step() if self._account.reap(pid) is None] and monotonic() < until:
            sleep(0.002)
        if self._debugged:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._account.user = used.ru_utime - self._used_before.ru_utime
            self._account.system = used.ru_stime - self._used_before.ru_stime

    def trace(self, mechanism: str, began: int, monitor: Monitor) -> Trace:
        """What was seen, for good."""
        status = self._status or 0
        recording = monitor.recording
        return Trace(
            mechanism=mechanism,
            started=began,
            finished=time_ns(),
            exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            processes=tuple(recording.processes),
            files=recording.files,
            contacts=tuple(recording.contacts),
            calls=tuple(recording.calls),
            events=recording.events,
            gaps=tuple(recording.gaps.values()),
            usage=self._account.usage(monotonic() - self._began, self.gpu),
            modules=monitor.hooks.modules,
            hooks=monitor.hooks.others,
            interrupted=self._why,
        )


def _descendants(pid: int) -> list[int]:
    """All processes that come from one, nearest first, from ``/proc/PID/stat`` (proc_pid_stat(5))."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb", 0) as file:
            text = file.read(1024)
            parent = int(text[text.rindex(b")") + 4 :].split(None, 1)[0])
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        waiting = [child for parent in waiting for child in children.get(parent, ())]
        found += waiting
    return found
