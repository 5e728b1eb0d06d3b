"""Watches a step through seccomp's user notifications: each watched call waits until this loop has answered it.

No event can be lost, and no program of the step can take the filter off. What the loop must never do is leave a caller
without an answer, or wait for one caller while others wait for it.
"""

from __future__ import annotations

import errno
import os
import select
import struct
from collections.abc import Callable, Sequence
from fcntl import ioctl
from time import time_ns

from assay.collect.trace import kernel
from assay.collect.trace.calls import Call, GoneError
from assay.collect.trace.ending import Ending
from assay.collect.trace.file_calls import CHANGES_LINKS
from assay.collect.trace.filters import assemble
from assay.collect.trace.gpu import Sampler
from assay.collect.trace.hooks import environment
from assay.collect.trace.interface import Answer, Arbiter, FileUse, Launch, Trace
from assay.collect.trace.launching import NotHereError, failure_of, start
from assay.collect.trace.mediating import beneath
from assay.collect.trace.monitor import GO, Monitor
from assay.collect.trace.paths import plain
from assay.collect.trace.processes import Known
from assay.collect.trace.recording import opened
from assay.collect.trace.syscalls import machine
from assay.errors import UndecidedError

_EMPTY = bytes(80)  # struct seccomp_notif
_NOTIFICATION = struct.Struct("<QIIiIQ6Q")
_SHORT = struct.Struct("<8xI4xiI8xQQQ")  # of it: the thread, the number, the architecture and three arguments
_RESPONSE = struct.Struct("<QqiI")
_ADD = struct.Struct("<QIIII")
_GO_ON = struct.pack("<qiI", 0, 0, 1)  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_ADD_AT, _ADD_AND_SEND = 1, 2
# A plain open for reading: of these flags nothing is recorded beside the open itself.
_NOT_PLAIN = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW


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
            notification = ioctl(started.listener, kernel.RECEIVE, _EMPTY)
            thread = _NOTIFICATION.unpack(notification)[1]
            if not kernel.read_memory(thread, _NOTIFICATION.unpack(notification)[6], 8):
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
        # Opens that take the short way: (number → argument with the path, with the flags), unless the sandbox decides.
        self._short: dict[int, int] = {}
        for name, at in (("open", 0), ("openat", 1)):
            if name in here.numbers and not self._monitor.asks(name):
                self._short[here.numbers[name]] = at
        self._audit = here.audit
        self._quick: dict[bytes | None, FileUse] = {}
        """Files by the one way in which most opens name them."""

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
        attend, recording = self._attendant(), self._monitor.recording
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

    def _attendant(self) -> Callable[[], None]:
        """What takes one notification and answers it: a closure, because this is run for each call of the step.

        Most calls are opens for reading of a file that was read before, by a thread that is known: those take a short
        way. It counts a file only after the kernel took the answer, which proves that the path was the caller's own.
        """
        listener, monitor, quick, short = self._listener, self._monitor, self._quick, self._short
        recording, threads, audit = monitor.recording, monitor.processes.threads, self._audit
        world = monitor.world
        unpack, read_text, pread, send = _SHORT.unpack_from, kernel.read_text, os.pread, kernel.SEND

        def attend() -> None:
            try:
                notification = ioctl(listener, kernel.RECEIVE, _EMPTY)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):  # it was killed, or interrupted, before we could look
                    return
                raise
            recording.events += 1
            thread, number, arch, first, second, third = unpack(notification)
            path = None
            if number in short and arch == audit:
                if short[number]:
                    address, flags = second, third
                else:
                    address, flags = first, second
                known = threads.get(thread)
                if (
                    known is not None
                    and not flags & _NOT_PLAIN
                    and known.pid == thread
                    and not known.pending
                    and known.index is not None
                ):
                    try:
                        if known.memory is None:
                            path = read_text(thread, address)
                        else:
                            path, _, _ = pread(known.memory, 256, address).partition(b"\0")
                    except (OSError, OverflowError):  # it points nowhere
                        path = None
                    use = quick.get(path)
                    if use is not None:
                        try:
                            ioctl(listener, send, notification[:8] + _GO_ON)
                        except OSError as error:
                            if error.errno == errno.ENOENT:
                                return  # it never happened
                            raise
                        use.read += 1
                        use.by.add(known.index)
                        if known.memory is None:
                            monitor.processes.remember(known)
                        return
                    if path and not world.moved and self._is_short(path):
                        self._new(notification[:8], path, flags, known)
                        return
            self._attend(notification, path)

        return attend

    def _is_short(self, path: bytes) -> bool:
        """Whether a path means by itself one file, which the kernel opens."""
        world = self._monitor.world
        return path[0] == 47 and plain(path) and not beneath(path, world.mediate) and not world.turned.on(path)

    def _new(self, cookie: bytes, path: bytes, flags: int, known: Known) -> None:
        """A plain open of a file that was not asked for before."""
        assert known.index is not None
        first = self._monitor.world.look(path, known.pid)
        try:
            ioctl(self._listener, kernel.SEND, cookie + _GO_ON)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return  # it never happened
            raise
        use = self._monitor.recording.file(path, known.index, first)
        opened(use, flags)
        if first is None or first.mode & 0o170000 != 0o040000:
            self._quick[path] = use

    def _attend(self, notification: bytes, path: bytes | None) -> None:
        """The long way."""
        listener, monitor = self._listener, self._monitor
        id, thread, _, number, arch, _, *arguments = _NOTIFICATION.unpack(notification)
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
        if call is not None and call.name in CHANGES_LINKS:
            self._quick.clear()
        self._send(id, answer)
        if path and self._is_short(path):
            use = monitor.recording.files.get(path)
            if use is not None and not (use.first and use.first.mode & 0o170000 == 0o040000):
                self._quick[path] = use
        if self._arbiter is not None and call is not None and monitor.asks(call.name):
            self._refresh()

    def _later(self, id: int, answer: Answer) -> None:
        call = self._waiting.pop(id, None)
        if call is None:
            self._send(id, answer)
            return
        try:
            answer = self._monitor.conclude(call, answer)
        except GoneError:
            if answer.descriptor is not None:
                os.close(answer.descriptor)
            return
        self._send(id, answer)

    def _send(self, id: int, answer: Answer) -> None:
        try:
            if answer is GO:
                ioctl(self._listener, kernel.SEND, _RESPONSE.pack(id, 0, 0, 1))
            elif answer.descriptor is not None:
                self._give(id, answer)
            elif answer.error is not None:
                ioctl(self._listener, kernel.SEND, _RESPONSE.pack(id, 0, -answer.error, 0))
            elif answer.value is not None:
                ioctl(self._listener, kernel.SEND, _RESPONSE.pack(id, answer.value, 0, 0))
            else:
                ioctl(self._listener, kernel.SEND, _RESPONSE.pack(id, 0, 0, 1))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
                raise
        finally:
            if answer.descriptor is not None:
                os.close(answer.descriptor)

    def _give(self, id: int, answer: Answer) -> None:
        """Put our descriptor into the caller's table. A full table is the caller's own error."""
        assert answer.descriptor is not None
        flags = os.O_CLOEXEC if answer.close_on_exec else 0
        try:
            if answer.replace is None:
                _add(self._listener, id, _ADD_AND_SEND, answer.descriptor, 0, flags)
                return
            _add(self._listener, id, _ADD_AT, answer.descriptor, answer.replace, flags)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise
            ioctl(self._listener, kernel.SEND, _RESPONSE.pack(id, 0, -(error.errno or errno.EMFILE), 0))
            return
        ioctl(self._listener, kernel.SEND, _RESPONSE.pack(id, 0, -(answer.error or 0), 0))

    def _refresh(self) -> None:
        """Poll what the sandbox waits for at this moment."""
        pending = dict(self._arbiter.pending()) if self._arbiter is not None else {}
        for descriptor in self._pending.keys() - pending.keys():
            self._others.unregister(descriptor)
        for descriptor in pending.keys() - self._pending.keys():
            self._others.register(descriptor, select.EPOLLIN)
        self._pending = pending


def _add(listener: int, id: int, flags: int, descriptor: int, number: int, new_flags: int) -> None:
    ioctl(listener, kernel.ADD_DESCRIPTOR, _ADD.pack(id, flags, descriptor, number, new_flags))


def with_hook(launch: Launch) -> Launch:
    """The same, with Python programs asked to tell their audit events."""
    from dataclasses import replace

    return replace(launch, environment=environment(launch.environment))
