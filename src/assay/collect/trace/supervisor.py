"""Watches a step through seccomp's user notifications: each watched call waits until this loop has answered it.

No event can be lost, and no program of the step can take the filter off. What the loop must never do is leave a caller
without an answer, or wait for one caller while others wait for it.
"""

from __future__ import annotations

import errno
import gc
import os
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from time import time_ns

from assay.collect.trace import kernel
from assay.collect.trace.calls import Call, GoneError
from assay.collect.trace.ending import Ending
from assay.collect.trace.filters import assemble
from assay.collect.trace.gpu import Sampler
from assay.collect.trace.hooks import environment
from assay.collect.trace.interface import Answer, Arbiter, Launch, Trace
from assay.collect.trace.launching import NotHereError, failure_of, start
from assay.collect.trace.monitor import Monitor
from assay.collect.trace.notifications import EMPTY, NOTIFICATION, send
from assay.collect.trace.plain_opens import attendant
from assay.collect.trace.syscalls import machine
from assay.errors import UndecidedError


class UserNotification:
    """seccomp user notification: the primary mechanism. It needs no privilege (Linux 5.9)."""

    name = "seccomp-unotify"

    def available(self) -> str | None:
        """None when a child of ours can be watched so, else why not."""
        try:
            program = assemble(machine(os.uname().machine), {"execve": [()]}, {})
            true = Launch(["/proc/self/exe", "-c", ""], {}, "/")
            started = start(true, lambda: _install(program))
        except UndecidedError as error:
            return error.message
        try:
            waiting = select.poll()
            if started.listener is None:
                return "the kernel gave no listener"
            waiting.register(started.listener, select.POLLIN)
            started.go()
            if not waiting.poll(10_000):
                return "a watched child made no call"
            notification = ioctl(started.listener, kernel.RECEIVE, EMPTY)
            thread = NOTIFICATION.unpack(notification)[1]
            if not kernel.read_memory(thread, NOTIFICATION.unpack(notification)[6], 8):
                return "the memory of a watched child cannot be read"
        except OSError as error:
            return f"a watched child cannot be supervised: {error.strerror}"
        finally:
            os.kill(started.pid, 9)
            os.waitpid(started.pid, 0)
            started.abandon()
        return None

    def run(self, launch: Launch, arbiter: Arbiter | None) -> Trace:
        """Start the command and watch all of it to its end. Raises `NotHereError` where this cannot be had."""
        return _Supervisor(launch, arbiter).run()


def _install(program: bytes) -> int:
    try:
        return kernel.install_filter(program, kernel.NEW_LISTENER | kernel.WAIT_KILLABLE_RECV)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, "another monitor watches already, and there can be only one") from None
        if error.errno != errno.EINVAL:
            raise
    return kernel.install_filter(program, kernel.NEW_LISTENER)  # before Linux 5.19


class _Supervisor:
    def __init__(self, launch: Launch, arbiter: Arbiter | None) -> None:
        self._launch = launch
        self._arbiter = arbiter
        self._others = select.epoll()
        """All that may happen beside calls, as one descriptor: the fewer are polled, the faster each call is."""
        here = machine(os.uname().machine)
        self._monitor = Monitor(
            launch, arbiter, here, lambda handle: self._others.register(handle, select.EPOLLIN), self._others.unregister
        )
        self._program = assemble(here, self._monitor.watches(), self._monitor.errors())
        self._waiting: dict[int, Call] = {}
        self._pending: dict[int, Callable[[], Sequence[tuple[int, Answer]]]] = {}
        self._listener = -1

    def run(self) -> Trace:
        launch = self._launch
        if launch.hook:
            launch = with_hook(launch)
        began = time_ns()
        with Ending(launch, self._monitor.recording) as ending:
            started = start(launch, lambda: _install(self._program))
            try:
                if started.listener is None:
                    raise NotHereError("the kernel gave no listener")
                self._listener = started.listener
                kernel.set_sync_wake_up(self._listener)
                ending.watch(started.pid)
                gpu = Sampler(lambda: list(self._monitor.processes.threads))
                started.go()
                with _unburdened():
                    self._loop(started.failure, ending)
                ending.gpu = gpu.finish()
                if told := os.read(started.failure, 4096):  # said and ended, both before we looked
                    raise failure_of(told)
            except BaseException:
                ending.kill()
                raise
            finally:
                started.abandon()
                self._monitor.close()
                self._others.close()
            ending.finish()
            return ending.trace(UserNotification.name, began, self._monitor)

    def _loop(self, failure: int, ending: Ending) -> None:
        listener = self._listener
        for descriptor in (failure, ending.wake, ending.handle):
            self._others.register(descriptor, select.EPOLLIN)
        self._refresh()
        poll = select.poll()  # never epoll for the listener: the kernel would not know whom to wake on this processor
        poll.register(listener, select.POLLIN)
        poll.register(self._others, select.POLLIN)
        wait, alone = poll.poll, [(listener, select.POLLIN)]
        attend = attendant(listener, self._monitor, self._attend)
        recording = self._monitor.recording
        timeout = ending.timeout()
        while True:
            ready = wait(timeout)
            if ready == alone:
                attend()
                if recording.events & 0xFF == 0:  # a busy step must not outlive its time
                    ending.look_after()
                continue
            event = dict(ready).get(listener, 0)
            for descriptor, _ in self._others.poll(0):
                self._other(descriptor, failure, ending)
            if event and not event & select.POLLIN:  # nobody is left who could make a call
                return
            ending.look_after()
            timeout = ending.timeout()
            if event:  # after those that ended, whose numbers it could bear
                attend()

    def _other(self, descriptor: int, failure: int, ending: Ending) -> None:
        """Something else than a call has happened."""
        if descriptor == failure:
            self._others.unregister(failure)
            if told := os.read(failure, 4096):
                raise failure_of(told)
        elif descriptor == ending.wake:
            ending.woken()
        elif descriptor == ending.handle:
            self._others.unregister(descriptor)
            ending.command_ended()
        elif descriptor in self._pending:
            for id, answer in self._pending[descriptor]():
                self._later(id, answer)
            self._refresh()
        else:
            ending.ended(self._monitor.processes.ended(descriptor).pid)

    def _attend(self, notification: bytes) -> None:
        """The long way of a call."""
        listener, monitor = self._listener, self._monitor
        id, thread, _, number, arch, _, *arguments = NOTIFICATION.unpack(notification)
        try:
            answer, call = monitor.answer(
                id, thread, number, arch, tuple(arguments), lambda: kernel.still_waiting(listener, notification[:8])
            )
        except GoneError:
            return
        if answer.later and call is not None:
            self._waiting[id] = call
            self._refresh()
            return
        send(listener, id, answer)
        if self._arbiter is not None and call is not None and monitor.asks(call.name):
            self._refresh()

    def _later(self, id: int, answer: Answer) -> None:
        call = self._waiting.pop(id, None)
        if call is None:
            send(self._listener, id, answer)
            return
        try:
            answer = self._monitor.conclude(call, answer)
        except GoneError:
            if answer.descriptor is not None:
                os.close(answer.descriptor)
            return
        send(self._listener, id, answer)

    def _refresh(self) -> None:
        """Poll what the sandbox waits for at this moment."""
        pending = dict(self._arbiter.pending()) if self._arbiter is not None else {}
        for descriptor in self._pending.keys() - pending.keys():
            self._others.unregister(descriptor)
        for descriptor in pending.keys() - self._pending.keys():
            self._others.register(descriptor, select.EPOLLIN)
        self._pending = pending


@contextmanager
def _unburdened() -> Iterator[None]:
    """What was there before the step is not searched for garbage again and again while files are listed."""
    mine = gc.isenabled() and not gc.get_freeze_count()
    if mine:
        gc.freeze()
    try:
        yield
    finally:
        if mine:
            gc.unfreeze()


def with_hook(launch: Launch) -> Launch:
    """The same, with Python programs asked to tell their audit events."""
    from msgspec.structs import replace

    return replace(launch, environment=environment(launch.environment))
