"""Decides what becomes of one call: the sandbox is asked, what was seen is recorded, an answer comes out.

The same for every mechanism that stops calls. An answer is never "go on" where something here failed: a defect of ours
refuses the call.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from time import time_ns

from assay.collect.trace import file_calls, hooks, kernel, rare_calls, socket_calls
from assay.collect.trace.calls import Call, GoneError, World
from assay.collect.trace.filters import Condition
from assay.collect.trace.interface import Answer, Arbiter, Decision, Launch, RareCall, Request
from assay.collect.trace.mediating import may_as_we
from assay.collect.trace.processes import Pending, Processes
from assay.collect.trace.recording import RACING, Recording, opened
from assay.collect.trace.syscalls import UNKNOWN_FROM, WIDE, Machine

GO = Answer()
_REFUSE = Answer(error=errno.EPERM)
_UNKNOWN = Answer(error=errno.ENOSYS)
_LONGEST, _MOST_ARGUMENTS = 4096, 256
_BECOMES_ANOTHER = {"setuid": 1, "setreuid": 2, "setresuid": 3, "setfsuid": 1, "capset": 0}
"""After these a step of root's may be allowed less than we are: call → how many users it names, as 32-bit numbers."""
_NOBODY_ELSE = (0, 0xFFFFFFFF)


class Monitor:
    """The judge of one step."""

    def __init__(
        self,
        launch: Launch,
        arbiter: Arbiter | None,
        machine: Machine,
        watch: Callable[[int], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self.launch = launch
        self.arbiter = arbiter
        self.machine = machine
        self.recording = Recording()
        self.processes = Processes(self.recording, watch, unwatch)
        self.world = World(self.recording, self.processes, _folders(launch.mediate))
        self.hooks = hooks.Heard()
        self.recording.gaps[RACING.name] = RACING
        self._blocked = dict(arbiter.blocked) if arbiter else {}
        self._asked: dict[str, list[Sequence[Condition]]] = {}
        for watched in arbiter.watches if arbiter else ():
            self._asked.setdefault(watched.call, []).append(watched.conditions)
        self._rare = rare_calls.watched(self.world.monitor, os.getpgrp())
        self._started = False
        self._may_become_another = os.geteuid() == 0 and bool(launch.mediate)

    def watches(self) -> dict[str, list[Sequence[Condition]]]:
        """All calls that have to come here."""
        watches: dict[str, list[Sequence[Condition]]] = {}
        for name in (*file_calls.WATCHED, "execve", "execveat"):
            watches.setdefault(name, []).append(())
        if self._may_become_another:
            for name in _BECOMES_ANOTHER:
                watches.setdefault(name, []).append(())
        for family in (socket_calls.WATCHED, self._rare, self._asked):
            for name, alternatives in family.items():
                watches.setdefault(name, []).extend(alternatives)
        return watches

    def errors(self) -> Mapping[str, int]:
        """Calls that the kernel's filter refuses by itself."""
        return {**self._blocked, **rare_calls.REFUSED_IN_KERNEL}

    def asks(self, name: str) -> bool:
        """Whether the sandbox decides some calls of this name."""
        return name in self._asked or name in self._blocked

    def foreign(self, thread: int, number: int, arch: int) -> Answer:
        """A call of another instruction set, of x32, or newer than our table: refused, and said."""
        known = self.processes.find(thread)
        if known is not None:
            what = f"syscall-{number}" if arch == self.machine.audit else "foreign-syscall"
            detail = f"{number:#x} of architecture {arch:#x}"
            index = self.processes.index(known)
            self.recording.rare(RareCall(time_ns(), index, what, detail, Decision.DENIED))
        return _UNKNOWN

    def answer(
        self, id: int, thread: int, number: int, arch: int, arguments: tuple[int, ...], alive: Callable[[], bool]
    ) -> tuple[Answer, Call | None]:
        """What to tell the caller. Raises `GoneError` when there is nobody to tell."""
        if arch != self.machine.audit or number >= UNKNOWN_FROM or number < 0:
            return self.foreign(thread, number, arch), None
        known = self.processes.find(thread)
        if known is None:
            raise GoneError
        call = Call(id, thread, known, self.machine.names[number], arguments, self.world, alive)
        try:
            return self._answer(call), call
        except GoneError:
            raise
        except Exception as error:
            self.recording.gap(
                "defect",
                f"the monitor failed on a call of {call.name} and refused it: {type(error).__name__}: {error}"[:500],
            )
            return _REFUSE, call

    def _answer(self, call: Call) -> Answer:
        if not self._started:
            return self._start(call)
        if (count := _BECOMES_ANOTHER.get(call.name)) is not None:
            users = [argument & 0xFFFFFFFF for argument in call.arguments[:count]]
            self.world.as_us &= bool(users) and all(user in _NOBODY_ELSE for user in users)
        error = self._blocked.get(call.name)
        if error is None and call.name in self._asked and self._matches(call):
            answer = self._ask(call)
            if answer.later:
                return answer
            return self.conclude(call, answer)
        return self.conclude(call, GO if error is None else Answer(error=error))

    def conclude(self, call: Call, answer: Answer) -> Answer:
        """Record what became of a call that the sandbox has decided, and complete its answer."""
        for record in answer.records:
            self.recording.keep(record)
        name = call.name
        taken = answer.value is not None or answer.descriptor is not None
        denied = answer.error is not None
        if name in file_calls.OPENS or name in file_calls.NAMED or name in ("chdir", "fchdir"):
            if name in file_calls.OPENS and self._heard(call):
                return Answer(error=errno.ENOENT)
            descriptor = file_calls.handle(call, denied=denied, taken=taken)
            return (
                answer if descriptor is None else Answer(descriptor=descriptor, close_on_exec=file_calls.closes(call))
            )
        if name in ("execve", "execveat"):
            self._execute(call, denied=denied or taken)
            return answer
        if answer.records:
            return answer
        if name in socket_calls.WATCHED and self._holds(socket_calls.WATCHED[name], call):
            decision = Decision.DENIED if denied else Decision.MEDIATED if taken else Decision.SEEN
            socket_calls.handle(call, decision, error=answer.error)
            return answer
        if name in self._rare and not taken and self._holds(self._rare[name], call):
            own = rare_calls.handle(call, self.launch, answer.error)
            return answer if own.error is None else own
        return answer

    def _ask(self, call: Call) -> Answer:
        request = Request(
            call.id, call.thread, call.index, call.name, call.arguments, call.memory, call.alive
        )  # fmt: skip
        assert self.arbiter is not None
        return self.arbiter.decide(request)

    def _matches(self, call: Call) -> bool:
        return self._holds(self._asked[call.name], call)

    @staticmethod
    def _holds(alternatives: Sequence[Sequence[Condition]], call: Call) -> bool:
        """Whether the filter sent it for one of these: more than one may want the same call."""
        return any(all(_true(call, condition) for condition in conditions) for conditions in alternatives)

    def _heard(self, call: Call) -> bool:
        """Whether this is no open at all but the audit hook telling something."""
        if not self.launch.hook or call.name == "creat":
            return False
        address = call.arguments[0 if call.name == "open" else 1]
        if call.memory(address, len(hooks.MARK)) != hooks.MARK:
            return False
        text = call.text(address, hooks.LONGEST)
        if not call.alive():
            raise GoneError
        self.hooks.add(text[len(hooks.MARK) :])
        return True

    def _start(self, call: Call) -> Answer:
        """The first call of all is the launcher's ``execve`` of the command."""
        self._started = True
        self._find_root(call.thread)
        self.world.as_us = may_as_we(call.thread)
        self._execute(call, denied=False)
        for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            path = call.absolute(number, b"")
            first = call.look(path)
            # What the step was given already open is used without any open of its own.
            if first is not None and first.mode & 0o170000 == 0o100000:
                opened(self.recording.file(path, 0, first), flags)
        return GO

    def _find_root(self, thread: int) -> None:
        """Whether the step sees other files than we do under the same names."""
        try:
            ours, theirs = (os.readlink(f"/proc/{who}/ns/mnt") for who in ("self", thread))
            root, other = os.stat("/"), os.stat(f"/proc/{thread}/root")
            if ours != theirs or (root.st_dev, root.st_ino) != (other.st_dev, other.st_ino):
                self.world.root = os.open(f"/proc/{thread}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self.world.moved = True

    def _execute(self, call: Call, *, denied: bool) -> None:
        arguments = call.arguments
        at = 0 if call.name == "execve" else 1
        written = call.text(arguments[at])
        path = call.absolute(-100 if at == 0 else call.number(0), written)
        first = call.look(path)
        runs = not denied and first is not None and first.mode & 0o111 and first.mode & 0o170000 == 0o100000
        argv = self._strings(call, arguments[at + 1]) if runs else ()
        if not call.alive():
            raise GoneError
        if not path:
            self.recording.gap(
                "unknown-paths", "some paths could not be read, so what they mean is not listed", "programs"
            )
            return
        if not runs:
            use = self.recording.file(path, self.processes.asker(call.known), first)
            use.denied += denied
            return
        pending = Pending(call.thread, path, argv, time_ns(), first)
        self.recording.file(path, self.processes.asker(call.known), first).executed += 1
        self.processes.executes(call.known, pending)

    @staticmethod
    def _strings(call: Call, address: int) -> tuple[bytes, ...]:
        """``argv``: pointers up to a null one, and the strings behind them, within bounds."""
        found: list[int] = []
        pointers = b""
        while len(found) < _MOST_ARGUMENTS:
            if len(pointers) < 8:
                size = min(512, 4096 - address % 4096)
                pointers = call.memory(address, size)
                address += len(pointers)
                if len(pointers) < 8:
                    break
            pointer, pointers = int.from_bytes(pointers[:8], "little"), pointers[8:]
            if not pointer:
                break
            found.append(pointer)
        texts = kernel.read_texts(call.thread, found) if found else []
        return tuple(
            call.text(pointer, _LONGEST) if text is None else text for pointer, text in zip(found, texts, strict=True)
        )

    def close(self) -> None:
        """Let go of everything that is held open, and take what the sandbox still has to tell."""
        self.processes.close()
        for record in self.arbiter.told() if self.arbiter else ():
            self.recording.keep(record)
        self.recording.contacts.sort(key=lambda contact: contact.time)
        if self.world.root is not None:
            os.close(self.world.root)
            self.world.root = None


def _folders(paths: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(os.path.realpath(path).rstrip(b"/") + b"/" for path in paths)


def _true(call: Call, condition: Condition) -> bool:
    argument, operator, value = condition
    mask = (1 << 64) - 1 if argument in WIDE.get(call.name, ()) else 0xFFFFFFFF
    have, value = call.arguments[argument] & mask, value & mask
    match operator:
        case "==":
            return have == value
        case "!=":
            return have != value
        case "<":
            return have < value
        case ">=":
            return have >= value
    return bool(have & value)
