"""Watches a step as a debugger does: the fallback where the kernel gives no listener (an outer monitor, gVisor).

It sees what the primary mechanism sees, and costs more. It cannot hand descriptors to a caller: where the sandbox wants
to open or connect with one of its own, the call is refused, listed as refused, and a gap says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import struct
from time import monotonic, time_ns

from msgspec.structs import replace

from assay.collect.trace import kernel
from assay.collect.trace.calls import Call, GoneError
from assay.collect.trace.ending import Ending
from assay.collect.trace.filters import TRACE, assemble
from assay.collect.trace.gpu import Sampler
from assay.collect.trace.interface import Answer, Arbiter, Launch, Trace
from assay.collect.trace.launching import NotHereError, Started, failure_of, start
from assay.collect.trace.monitor import Monitor
from assay.collect.trace.supervisor import with_hook
from assay.collect.trace.syscalls import machine
from assay.collect.trace.without_descriptors import WithoutDescriptors
from assay.errors import UndecidedError

# linux/ptrace.h
_CONT, _SYSCALL, _SEIZE, _LISTEN, _GETREGSET, _SETREGSET = 7, 24, 0x4206, 0x4208, 0x4204, 0x4205
_GETEVENTMSG, _INTERRUPT = 0x4201, 0x4207
_OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000  # SYSGOOD FORK VFORK CLONE EXEC SECCOMP EXITKILL
_EVENTS_NEW = (1, 2, 3)  # fork, vfork, clone
_EVENT_EXEC, _EVENT_SECCOMP, _EVENT_STOP = 4, 7, 128
_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_WALL = 0x40000000  # __WALL, linux/wait.h
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404  # linux/elf.h
_REGISTERS = 34  # 8-byte words: 27 of x86-64's struct user_regs_struct, 34 of aarch64's struct user_pt_regs
_NATIVE_SEGMENT = 0x33  # __USER_CS of 64-bit code, arch/x86/include/asm/segment.h
_LONGEST_SLEEP, _SHORTEST_SLEEP = 0.05, 0.002


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_registers = ctypes.create_string_buffer(8 * _REGISTERS)


def _ptrace(request: int, thread: int, address: int = 0, data: object = 0) -> None:
    word = ctypes.c_void_p(data) if isinstance(data, int) else data
    if _libc.ptrace(ctypes.c_long(request), thread, ctypes.c_void_p(address), word) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _message(thread: int) -> int:
    """What an event is about: the number of a thread."""
    number = ctypes.c_ulong(0)
    _ptrace(_GETEVENTMSG, thread, 0, ctypes.byref(number))
    return number.value


class Ptrace:
    """The debugger's interface."""

    name = "ptrace"

    def available(self) -> str | None:
        """None when a child of ours can be traced so, else why not."""
        try:
            trace = self.run(Launch(["/proc/self/exe", "-I", "-S", "-c", ""], {}, "/", hook=False, seconds=20), None)
        except (UndecidedError, OSError) as error:
            return str(error)
        return None if trace.exit_code == 0 and trace.events > 1 else "a traced child's calls were not seen"

    def run(self, launch: Launch, arbiter: Arbiter | None) -> Trace:
        """Start the command and watch all of it to its end. Raises `NotHereError` where this cannot be had."""
        return _Debugger(launch, arbiter).run()


class _Debugger:
    def __init__(self, launch: Launch, arbiter: Arbiter | None) -> None:
        self._launch = launch
        self._machine = machine(os.uname().machine)
        asked = replace(launch, mediate=())
        self._arbiter = None if arbiter is None else WithoutDescriptors(arbiter)
        self._monitor = Monitor(asked, self._arbiter, self._machine, lambda handle: None, lambda handle: None)
        self._watched = {
            self._machine.numbers[name] for name in self._monitor.watches() if name in self._machine.numbers
        }  # fmt: skip
        self._errors = {
            self._machine.numbers[name]: error
            for name, error in self._monitor.errors().items()
            if name in self._machine.numbers
        }
        self._program = assemble(self._machine, self._monitor.watches(), self._monitor.errors(), action=TRACE)
        self._all = _outer_monitor(self._program)
        self._alive: set[int] = set()
        self._born: set[int] = set()
        """Threads whose beginning was told by who made them."""
        self._early: set[int] = set()
        """Threads whose end was told before their beginning: a thread and its maker are told of in any order."""
        self._inside: set[int] = set()
        """Threads that are between the entry and the exit of a call, where each call stops twice."""
        self._waiting: dict[int, Call] = {}
        """Stopped threads whose calls the arbiter answers later."""

    def run(self) -> Trace:
        began = time_ns()
        recording = self._monitor.recording
        recording.gap(
            "no-mediation",
            "a debugger can hand the step no descriptor: inputs were not opened in its place, and where it needed a "
            "socket of the monitor's (names over UDP, allow-lists) it was refused",
            "files",
        )
        launch = with_hook(self._launch) if self._launch.hook else self._launch
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        try:
            with Ending(launch, recording) as ending:
                started = start(launch, self._install)
                try:
                    _ptrace(_SEIZE, started.pid, 0, _OPTIONS)
                    self._alive.add(started.pid)
                    self._born.add(started.pid)
                    ending.watch(started.pid)
                    if self._all:
                        _ptrace(_INTERRUPT, started.pid)  # it stops, and goes on call by call
                    gpu = Sampler(lambda: list(self._monitor.processes.threads))
                    started.go()
                    self._loop(started, ending)
                    ending.gpu = gpu.finish()
                    if told := os.read(started.failure, 4096):
                        raise failure_of(told)
                except OSError as error:
                    ending.kill()
                    raise NotHereError(f"the step cannot be traced: {error.strerror}") from None
                except BaseException:
                    ending.kill()
                    raise
                finally:
                    started.abandon()
                    self._monitor.close()
                ending.finish()
                return ending.trace(Ptrace.name, began, self._monitor)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _install(self) -> None:
        if not self._all:
            kernel.install_filter(self._program, 0)

    def _loop(self, started: Started, ending: Ending) -> None:
        checked = monotonic()
        while self._alive:
            try:
                thread, status, used = os.wait4(-1, _WALL | os.WNOHANG)
            except ChildProcessError:
                return
            if not thread:
                signal.sigtimedwait([signal.SIGCHLD], _LONGEST_SLEEP if not self._waiting else _SHORTEST_SLEEP)
            elif os.WIFSTOPPED(status):
                self._alive.add(thread)
                self._stopped(thread, status)
            else:
                if thread not in self._born:
                    self._early.add(thread)
                self._over(thread)
                known = self._monitor.processes.threads.get(thread)
                if known is not None and known.pid == thread:
                    self._monitor.processes.gone(known)
                ending.buried(thread, status, used)
            if not thread or self._waiting:
                self._ask()
            if not thread or monotonic() - checked > _LONGEST_SLEEP:
                checked = monotonic()
                ending.deliver()
                ending.look_after(reap=False)

    def _stopped(self, thread: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        go_on, deliver = (_SYSCALL if self._all else _CONT), 0
        try:
            if event == _EVENT_SECCOMP:
                if not self._attend(thread):
                    return
            elif number == signal.SIGTRAP | 0x80:
                if thread in self._inside:
                    self._inside.discard(thread)
                else:
                    self._inside.add(thread)
                    if not self._attend(thread):
                        return
            elif event == _EVENT_STOP and number in _STOPS:
                go_on = _LISTEN
            elif event == 0:
                deliver = number
            elif event in _EVENTS_NEW:
                self._begun(thread)
            elif event == _EVENT_EXEC:
                self._executed(thread)
            _ptrace(go_on, thread, 0, deliver)
        except OSError as error:
            if error.errno != errno.ESRCH:  # killed meanwhile
                raise

    def _over(self, thread: int) -> None:
        """It is no more."""
        self._born.discard(thread)
        self._alive.discard(thread)
        self._inside.discard(thread)
        self._waiting.pop(thread, None)

    def _begun(self, thread: int) -> None:
        """A new thread or process: it counts from now on, though it has not stopped yet."""
        number = _message(thread)
        if number in self._early:
            self._early.discard(number)
        else:
            self._born.add(number)
            self._alive.add(number)

    def _executed(self, thread: int) -> None:
        """Another program: all other threads of the process are gone, and the one that asked for it has the first one's
        number now (ptrace(2), "execve(2) under ptrace"). Of its own former number nothing is told any more.
        """
        former = _message(thread)
        if former != thread:
            self._over(former)
        known = self._monitor.processes.threads.get(thread)
        if known is not None:
            self._monitor.processes.settle(known, None)

    def _attend(self, thread: int) -> bool:
        """One call, at its entry; whether it can go on now."""
        count = self._registers(thread)
        words = struct.unpack_from(f"<{count}Q", _registers)
        if self._machine.name == "x86_64":
            number = words[15]
            arguments = tuple(words[at] for at in (14, 13, 12, 7, 9, 8))
            arch = self._machine.audit if words[17] == _NATIVE_SEGMENT else 0x40000003  # AUDIT_ARCH_I386
        else:
            number, arguments = words[8], words[:6]
            arch = self._machine.audit if count == _REGISTERS else 0x40000028  # AUDIT_ARCH_ARM
        number &= 0xFFFFFFFF
        if number >> 31:
            return True  # already skipped
        native = arch == self._machine.audit and number < 470
        if native and number not in self._watched:
            if number in self._errors:
                self._skip(thread, -self._errors[number])
            return True
        self._monitor.recording.events += 1
        try:
            answer, call = self._monitor.answer(thread, thread, number, arch, arguments, _always)
        except GoneError:
            return True
        if answer.later and call is not None:
            self._waiting[thread] = call
            return False
        self._apply(thread, answer)
        return True

    def _ask(self) -> None:
        """Take the answers that the arbiter has found meanwhile; their threads have been standing still."""
        handles = dict(self._arbiter.pending()) if self._arbiter is not None else {}
        if not handles:
            return
        ready, _, _ = select.select(list(handles), (), (), 0)
        for handle in ready:
            for thread, answer in handles[handle]():
                call = self._waiting.pop(thread, None)
                if call is None:
                    continue
                try:
                    self._apply(thread, self._monitor.conclude(call, answer))
                    _ptrace(_SYSCALL if self._all else _CONT, thread)
                except GoneError:
                    continue
                except OSError as error:
                    if error.errno != errno.ESRCH:
                        raise

    def _apply(self, thread: int, answer: Answer) -> None:
        if answer.error is not None:
            self._skip(thread, -answer.error)
        elif answer.value is not None:
            self._skip(thread, answer.value)

    def _registers(self, thread: int) -> int:
        """Read them; how many words there were."""
        span = _Span(ctypes.addressof(_registers), len(_registers))
        _ptrace(_GETREGSET, thread, _NT_PRSTATUS, ctypes.byref(span))
        return int(span.length) // 8

    def _skip(self, thread: int, result: int) -> None:
        """Let the call return this without being made."""
        count = self._registers(thread)
        if self._machine.name == "x86_64":
            struct.pack_into("<q", _registers, 8 * 15, -1)
            struct.pack_into("<q", _registers, 8 * 10, result)
        else:
            none = ctypes.c_int(-1)
            span = _Span(ctypes.addressof(none), ctypes.sizeof(none))
            _ptrace(_SETREGSET, thread, _NT_ARM_SYSTEM_CALL, ctypes.byref(span))
            struct.pack_into("<q", _registers, 0, result)
        span = _Span(ctypes.addressof(_registers), 8 * count)
        _ptrace(_SETREGSET, thread, _NT_PRSTATUS, ctypes.byref(span))


def _always() -> bool:
    return True  # a stopped thread goes nowhere


def _outer_monitor(program: bytes) -> bool:
    """Whether another monitor has its filter on us: its notifications would come instead of our stops."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.install_filter(program, kernel.NEW_LISTENER)
        except OSError as error:
            code = 1 if error.errno == errno.EBUSY else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.WEXITSTATUS(status) == 1
