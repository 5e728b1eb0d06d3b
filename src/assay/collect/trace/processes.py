"""Who made a call: from the kernel's thread ids to the programs of the trace, with what is known of each process.

A number that was reused must never be taken for its former owner, so each process is held by a pidfd, and threads are
checked against the kernel each time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from time import time_ns

from msgspec import Struct, field

from assay.collect.trace import kernel
from assay.collect.trace.interface import Process, Stat
from assay.collect.trace.paths import link
from assay.collect.trace.recording import Recording

_MANY = 8


class Pending(Struct):
    """An ``execve`` whose end is not known yet."""

    thread: int
    """Who asked for it: as long as it does not ask for anything else, it may yet succeed."""

    program: bytes
    arguments: tuple[bytes, ...]
    started: int
    first: Stat | None


class Known(Struct):
    """One process."""

    pid: int
    handle: int | None
    """Its pidfd."""
    parent: int | None
    """Index of the program that started it."""
    index: int | None = None
    """Its program in the trace."""
    stack: bytes = b""
    """Where its stack begins: each ``execve`` that succeeds puts it somewhere else (address space layout
    randomisation). Empty when that has to be asked for again.
    """
    pending: list[Pending] = field(default_factory=list)
    """What its threads asked to become."""
    memory: int | None = None
    """Its ``/proc/PID/mem``, once that is worth while; never kept over an ``execve``."""
    opens: int = 0
    threads: set[int] = field(default_factory=set)
    directory: bytes | None = None
    """Its working directory, when that cannot be changing at this moment."""
    moving: set[int] = field(default_factory=set)
    """Threads that have asked to change it and have not been heard of since."""


class Processes:
    """All that have been heard of and still live."""

    def __init__(self, recording: Recording, watch: Callable[[int], None], unwatch: Callable[[int], None]) -> None:
        self._recording = recording
        self._watch = watch
        self._unwatch = unwatch
        self._monitor = os.getpid()
        self.threads: dict[int, Known] = {}
        self.handles: dict[int, Known] = {}
        self.shared_directories = False
        """Some process shares its working directory with another one: none of them is remembered any more."""

    def find(self, thread: int) -> Known | None:
        """Whose thread this is; None when it is gone already."""
        known = self.threads.get(thread)
        if known is not None:
            if thread == known.pid or kernel.is_thread_of(known.pid, thread):
                if known.pending:
                    self.settle(known, thread)
                return known
            known.threads.discard(thread)
            del self.threads[thread]
        try:
            handle = os.pidfd_open(thread)  # only a process's first thread has one
        except OSError:
            return self._of_other_thread(thread)
        return self._new(thread, handle)

    def _of_other_thread(self, thread: int) -> Known | None:
        try:
            pid = _process_of(thread)
        except (OSError, ValueError):
            return None
        known = self.threads.get(pid)
        if known is None:
            try:
                handle = os.pidfd_open(pid)
            except OSError:
                handle = None
            known = self._new(pid, handle)
        known.threads.add(thread)
        self.threads[thread] = known
        return known

    def _new(self, pid: int, handle: int | None) -> Known:
        parent, stack = _parent_and_stack(pid)
        known = Known(pid, handle, self._above(parent), stack=stack, threads={pid})
        self.threads[pid] = known
        if handle is not None:
            self.handles[handle] = known
            self._watch(handle)
        return known

    def executes(self, known: Known, pending: Pending) -> None:
        """It asks to become another program; `settle` finds out whether it did."""
        self.forget(known)
        if not known.stack:
            _, known.stack = _parent_and_stack(known.pid)
        known.pending.append(pending)

    def remember(self, known: Known) -> None:
        """Keep the memory of a process that opens many files at hand: that is faster than asking for it each time."""
        known.opens += 1
        if known.opens == _MANY:
            with contextlib.suppress(OSError):
                known.memory = os.open(f"/proc/{known.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def forget(self, known: Known) -> None:
        """Its memory is about to be another."""
        known.opens = 0
        if known.memory is not None:
            os.close(known.memory)
            known.memory = None

    def _above(self, parent: int) -> int | None:
        """The program that a process with this parent comes from; between them may stand some never heard of."""
        for _ in range(64):
            if (above := self.threads.get(parent)) is not None:
                return self.index(above)
            if parent in (0, 1, self._monitor):
                break
            parent, _ = _parent_and_stack(parent)
        return None

    def index(self, known: Known) -> int:
        """The program that a process runs at this moment, as an index into the trace."""
        if known.index is None:
            above = None if known.parent is None else self._recording.processes[known.parent]
            program = above.program if above else link(known.pid, "exe") or b""
            known.index = self._recording.process(
                Process(
                    known.pid,
                    known.parent,
                    program,
                    above.arguments if above else (),
                    time_ns(),
                    above.first if above else None,
                )
            )
        return known.index

    def asker(self, known: Known) -> int:
        """The program that asks for an ``execve``: of a fork that did nothing else, its parent's."""
        if known.index is None and known.parent is not None:
            return known.parent
        if known.index is None and not self._recording.processes:
            return 0  # the command itself, which will be the first
        return self.index(known)

    def settle(self, known: Known, thread: int | None) -> None:
        """Find out whether the last ``execve`` succeeded, and list the new program when it did.

        ``thread``: which one of its threads was heard of since; None when the process has ended, and will not tell.
        """
        if not known.pending:
            return
        if thread is not None and self._unchanged(known):
            # Otherwise this thread would run another program by now.
            known.pending = [pending for pending in known.pending if pending.thread != thread]
            return
        if thread is None:
            known.stack = b""
        pending = known.pending[-1]
        if len(known.pending) > 1:
            running = _program(known.pid)
            for each in known.pending:
                if each.first and (each.first.device, each.first.inode) == running:
                    pending = each
        known.pending = []
        parent = known.index if known.index is not None else known.parent
        known.index = self._recording.process(
            Process(known.pid, parent, pending.program, pending.arguments, pending.started, pending.first)
        )

    def _unchanged(self, known: Known) -> bool:
        """Whether the process is still the program that asked."""
        _, stack = _parent_and_stack(known.pid)
        if stack != known.stack:
            known.stack = stack
            return False
        # The same place: it failed, or nothing is randomised here.
        running = _program(known.pid)
        return running is not None and all(
            each.first is None or running != (each.first.device, each.first.inode) for each in known.pending
        )

    def ended(self, handle: int) -> Known:
        """A process is gone: its numbers may belong to others from now on."""
        known = self.handles[handle]
        self.gone(known)
        return known

    def gone(self, known: Known) -> None:
        """The same, for a process that somebody has heard of otherwise."""
        self.forget(known)
        if known.handle is not None:
            del self.handles[known.handle]
            self._unwatch(known.handle)
            os.close(known.handle)
            known.handle = None
        self.settle(known, None)
        for thread in known.threads:
            if self.threads.get(thread) is known:
                del self.threads[thread]

    def close(self) -> None:
        """All are gone."""
        for handle in list(self.handles):
            self.ended(handle)
        for known in {id(known): known for known in self.threads.values()}.values():
            self.gone(known)
        self.threads.clear()

    def directory(self, known: Known, thread: int) -> bytes:
        """The working directory; empty when it cannot be told."""
        known.moving.discard(thread)  # it could not ask for anything else before that call was over
        if known.directory is not None and not known.moving and not self.shared_directories:
            return known.directory
        found = link(thread, "cwd") or b""
        known.directory = None if known.moving else found
        return found


def _program(pid: int) -> tuple[int, int] | None:
    """Device and inode of what a process runs: of a script, its interpreter."""
    try:
        running = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return None
    return running.st_dev, running.st_ino


def _parent_and_stack(pid: int) -> tuple[int, bytes]:
    """Its parent, and where its stack begins, as text (fields 4 and 28 of ``/proc/PID/stat``, proc_pid_stat(5)); zero
    and empty when it is gone.
    """
    try:
        file = os.open(b"/proc/%d/stat" % pid, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, b""
    try:
        text = os.read(file, 1024)
    except OSError:
        return 0, b""
    finally:
        os.close(file)
    fields = text[text.rindex(b")") :].split(None, 26)
    return int(fields[2]), fields[25]


def _process_of(thread: int) -> int:
    """Which process a thread belongs to, from ``/proc/TID/status`` (proc_pid_status(5)). Raises `OSError`."""
    with open(f"/proc/{thread}/status", "rb", 0) as file:
        text = file.read(1024)
    start = text.index(b"\nTgid:\t") + 7
    return int(text[start : text.index(b"\n", start)])
