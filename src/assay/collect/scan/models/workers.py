"""The workers as their parent sees them: files go out, results come in, and a worker that dies is a finding.

Every file is judged in a process of its own kind: forked from this one where that is safe, spawned elsewhere. What
comes out of a worker is data of an untrusted process: bounded, checked, and never enough to call a file better.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

from assay.collect.scan.models import worker
from assay.collect.scan.models.interface import Finding, Limits, Rules, Severity, Tier
from assay.collect.scan.models.judging import MAX_FINDINGS, Judge, Judged, one_line, trouble
from assay.collect.scan.models.pickle.judging import DENIES, EXECUTES
from assay.errors import AssayError
from assay.targets.digest.pool import can_fork
from assay.targets.interface import DIGEST

_POLL = 0.1
"""Seconds between two looks at the clock."""

_SLOWER = 4
"""How many times its CPU time a file may take by the clock: workers share cores, disks are slow."""

_SPARE = 30.0
"""Seconds by the clock that every file has beside that."""

_SLOWEST = 5_000_000
"""Bytes a second at which even a disk on a network delivers what is digested."""

_MEMORY = 64 << 20
"""Content that is no file on a disk is handed over in memory up to this size."""

_TAKEN_OVER = "made its reader say what no reader says"

_START = """
import sys
sys.path[:] = sys.argv[2:]
from assay.collect.scan.models.worker import main
main(int(sys.argv[1]))
"""

_findings = msgspec.msgpack.Decoder(Finding)
_ends = msgspec.msgpack.Decoder(Judged)

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
"""What only the bytes of the file bring about, in whoever reads it: no accident of the machine ends a process so."""

_ENDS = {
    **dict.fromkeys(_CRASHES, "crashes its reader"),
    signal.SIGBUS: "became shorter while it was read, or the disk failed",
    signal.SIGKILL: "ended its reader, or the machine ran out of memory",
}


@dataclass(frozen=True, slots=True)
class Work:
    """What every file of a run is judged by."""

    rules: Rules
    limits: Limits
    siblings: Mapping[str, int]
    by: Judge


@dataclass(frozen=True, slots=True)
class Item:
    """One file to judge."""

    index: int
    """The caller's number for it."""
    path: str
    size: int
    digest: bool
    """Its SHA-256 is wanted."""
    known: bytes | None = None
    """SHA-256 of the bytes whose result the caller has: if it still has them, the file is digested only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file."""

    index: int
    judged: Judged | None
    """None where nothing is known of it but the findings."""
    findings: tuple[Finding, ...]
    sha256: bytes | None = None
    """Of a file whose worker died after digesting it."""


@dataclass(slots=True)
class _Process:
    """One worker."""

    pid: int
    channel: socket.socket
    spawned: subprocess.Popen[bytes] | None
    item: Item | None = None
    deadline: float = 0.0
    sha256: bytes | None = None
    findings: list[Finding] = field(default_factory=list)
    read: bytearray = field(default_factory=bytearray)


class Pool:
    """Up to ``count`` workers for one run. Use it as a context manager: none of them outlives it."""

    def __init__(self, work: Work, count: int) -> None:
        self._work = work
        self._count = count
        self._processes: dict[int, _Process] = {}
        self._may_fork = can_fork()

    def run(self, items: Iterable[Item], open_file: Callable[[str], BinaryIO]) -> Iterator[Outcome]:
        """Judge all items, in any order. A file that cannot be opened or that kills its worker has an outcome too."""
        waiting = iter(items)
        poll = select.poll()
        done = False
        while True:
            while not done and (process := self._idle(poll)) is not None:
                item = next(waiting, None)
                if item is None:
                    done = True
                    break
                failed = self._hand_out(process, item, open_file)
                if failed is not None:
                    yield failed
            busy = [process for process in self._processes.values() if process.item is not None]
            if not busy:
                if done:
                    return
                continue
            for descriptor, _ in poll.poll(_POLL * 1000):
                process = self._processes[descriptor]
                yield from self._read(process, poll)
            now = time.monotonic()
            for process in busy:
                if process.item is not None and now > process.deadline:
                    yield self._lost(process, poll, "takes longer than a file of its size may")

    def _idle(self, poll: select.poll) -> _Process | None:
        for process in self._processes.values():
            if process.item is None:
                return process
        if len(self._processes) >= self._count:
            return None
        process = self._fork() if self._may_fork else self._spawn()
        self._processes[process.channel.fileno()] = process
        poll.register(process.channel, select.POLLIN)
        return process

    def _hand_out(self, process: _Process, item: Item, open_file: Callable[[str], BinaryIO]) -> Outcome | None:
        """Give a file to an idle worker; the outcome where it cannot even be opened."""
        try:
            with open_file(item.path) as file:
                descriptor, owned = _descriptor(file)
                try:
                    request = worker.Request(item.path, item.size, item.digest, item.known)
                    worker.send(process.channel, worker.FILE, msgspec.msgpack.encode(request), [descriptor])
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it died idle: reading from it says so, and the file gets its finding
                finally:
                    if owned:
                        os.close(descriptor)
        except AssayError as error:
            return Outcome(item.index, None, (trouble("scan/unreadable", f"it cannot be read: {error.message}"),))
        except OSError as error:
            return Outcome(item.index, None, (trouble("scan/unreadable", f"it cannot be read: {error.strerror}"),))
        process.item = item
        process.findings = []
        process.sha256 = None
        process.deadline = self._deadline(item) + (item.size / _SLOWEST if item.digest else 0)
        return None

    def _deadline(self, item: Item) -> float:
        return time.monotonic() + _SPARE + _SLOWER * worker.seconds_for(item.size, self._work.limits)

    def _read(self, process: _Process, poll: select.poll) -> Iterator[Outcome]:
        """What a worker has to say."""
        try:
            data = process.channel.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            yield self._lost(process, poll, None)
            return
        process.read += data
        try:
            for kind, payload in _frames(process.read):
                if kind == worker.DIGEST and len(payload) == DIGEST and process.sha256 is None:
                    process.sha256 = payload
                    process.deadline = self._deadline(process.item) if process.item is not None else 0.0
                elif kind == worker.FINDING and len(process.findings) < 2 * MAX_FINDINGS and process.item is not None:
                    process.findings.append(_findings.decode(payload))
                elif kind == worker.DONE and process.item is not None:
                    judged = _ends.decode(payload)
                    item, process.item = process.item, None
                    if item.size >= worker.LARGE:
                        self._forget(process, poll)  # what the file made stays with it: see `pickle.machine.kept`
                        _kill(process)
                    yield Outcome(item.index, judged, tuple(process.findings))
                else:
                    raise ValueError("it says what no worker says")
        except (ValueError, msgspec.MsgspecError):
            # Whoever speaks here may be the file itself, with the worker's voice.
            yield self._lost(process, poll, _TAKEN_OVER, Tier.MALICIOUS)

    def _lost(self, process: _Process, poll: select.poll, why: str | None, tier: Tier = Tier.UNREADABLE) -> Outcome:
        """End a worker, and say so about the file that it was at. What the file itself brought about is malicious."""
        self._forget(process, poll)
        status = _end(process)
        said = _last_words(process)
        item, process.item = process.item, None
        rule = "scan/limit"
        if why is None and status == signal.SIGXCPU and item is not None:
            bomb = worker.is_bomb(item.size, self._work.limits)
            why = "takes more CPU time than any honest file of its size" if bomb else "takes more CPU time than one may"
            tier = Tier.MALICIOUS if bomb else tier
        elif why is None:
            rule, why = "scan/crashed", _epitaph(status) + said
            tier = Tier.MALICIOUS if status in _CRASHES else tier
        if item is None:
            raise AssayError(
                f"a worker that scans files ended before it was given one (it {why})",
                hint="if memory is short, try fewer workers with --workers",
            )
        malicious = tier is Tier.MALICIOUS
        atlas = (EXECUTES if why == _TAKEN_OVER else DENIES) if malicious else ()
        finding = Finding(
            rule,
            tier,
            Severity.CRITICAL if malicious else Severity.HIGH,
            f"it {why}: nothing that was not found before that is known about it",
            atlas=atlas,
            mitigation="Do not load it: no honest model does that."
            if malicious
            else "Do not load it before it is known why; scan it again where there is more memory and time.",
        )
        return Outcome(item.index, None, (*process.findings, finding), process.sha256)

    def _forget(self, process: _Process, poll: select.poll) -> None:
        poll.unregister(process.channel)
        del self._processes[process.channel.fileno()]

    def _fork(self) -> _Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        work = self._work
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            gc.freeze()  # a collection in a child would copy every page of the parent's objects
            pid = os.fork()
            if not pid:
                worker.live(theirs, work.rules, work.limits, work.siblings, work.by)
            gc.unfreeze()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        theirs.close()
        return _Process(pid, ours, None)

    def _spawn(self) -> _Process:
        """A worker where this process has threads, whose locks a fork would copy, held for ever."""
        import pickle

        import assay

        work = self._work
        # Not the current folder, which a relative entry means: it may be the model's, with a module of its own.
        root = os.path.dirname(os.path.dirname(os.path.abspath(assay.__file__)))
        search = [root, *(path for path in sys.path if os.path.isabs(path))]
        start = worker.Start(pickle.dumps((work.rules, work.limits, dict(work.siblings), work.by)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            spawned = subprocess.Popen(
                # -S: the parent says what is on the path, and no `.pth` file starts anything in a worker; that of
                # `assay protect install` would refuse the pickle that the worker is told its work in.
                [sys.executable, "-I", "-S", "-c", _START, str(theirs.fileno()), *search],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # until `worker.settle`, which closes it
            )
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is over: reading from it says so
            worker.send(ours, worker.START, msgspec.msgpack.encode(start))
        return _Process(spawned.pid, ours, spawned)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._processes.values():
            _kill(process)
        self._processes.clear()


def _descriptor(file: BinaryIO) -> tuple[int, bool]:
    """A descriptor with the bytes of ``file``, and whether the caller has to close it."""
    try:
        return file.fileno(), False
    except (OSError, AttributeError):
        pass  # an object in memory: its bytes go into a file without a name
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    if size <= _MEMORY and hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("assay-scan", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as temporary:
            descriptor = os.dup(temporary.fileno())
    while data := file.read(1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor, True


def _frames(read: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """The frames that have come completely, taken out of ``read``. Raises `ValueError` for one that is too large."""
    at = 0
    header = worker.HEADER
    try:
        while len(read) - at >= header.size:
            kind, length = header.unpack_from(read, at)
            if length > worker.FRAME:
                raise ValueError("a frame of a worker is too large")
            if len(read) - at - header.size < length:
                return
            at += header.size + length
            yield kind, bytes(read[at - length : at])
    finally:
        del read[:at]


def _kill(process: _Process) -> None:
    process.channel.close()
    _stop(process)
    _last_words(process)


def _stop(process: _Process) -> int | None:
    """Kill a worker and wait for it; the signal that had ended it before, if another one had."""
    one = 0
    if process.spawned is not None:
        process.spawned.kill()
        one = -process.spawned.wait()
    else:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(process.pid, signal.SIGKILL)
            one = os.WTERMSIG(os.waitpid(process.pid, 0)[1])
    return one if one > 0 and one != signal.SIGKILL else None


def _end(process: _Process) -> int | None:
    """Kill a worker and wait for it; the signal that had ended it before, if one had."""
    process.channel.close()
    for _ in range(20):  # it closed its end while dying: how it died is known in a moment
        if process.spawned is not None:
            code = process.spawned.poll()
            if code is not None:
                return -code if code < 0 else None
        else:
            try:
                pid, status = os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid:
                return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        time.sleep(0.01)
    # It may be on its way out still, where the machine is busy: that it is killed now does not change how it died.
    return _stop(process)


def _last_words(process: _Process) -> str:
    """What a spawned worker said before it could work; nobody else would tell the user why."""
    if process.spawned is None or process.spawned.stderr is None or process.spawned.stderr.closed:
        return ""
    with process.spawned.stderr as stream:
        lines = stream.read(1 << 16).decode("utf-8", "replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), "")
    return f" ({one_line(said, 200)})" if said else ""


def _epitaph(status: int | None) -> str:
    return _ENDS.get(status, f"ends its reader by signal {status}") if status else "ends its reader"  # type: ignore[call-overload]
