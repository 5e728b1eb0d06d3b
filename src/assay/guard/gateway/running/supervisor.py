"""The first process: binds, forks, restarts what dies, passes signals on, and ends last.

It holds no thread and imports no library that starts one, so that forking stays safe. A worker that dies is replaced
within a moment; what its connections were about is lost, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assay.errors import AssayError, UsageError
from assay.guard.gateway.running import rooms
from assay.guard.gateway.running.keeper import Keeper, warn
from assay.guard.gateway.running.processes import DEFECT, SIGNALS, apart, flush
from assay.guard.gateway.running.proving import Prover
from assay.guard.gateway.running.reloading import taken
from assay.guard.gateway.running.state import State
from assay.guard.gateway.running.worker import serve
from assay.guard.gateway.settings import Settings

if TYPE_CHECKING:
    from assay.guard.gateway.limits.shared import Shared

SOON = 2.0
"""Seconds: a process that ends sooner after its start has not really started."""

TRIES = 5
"""So many starts that failed one after another end the gateway."""

KEEPER = -1
"""The keeper's place among the processes; workers count from 0."""


@dataclass(slots=True)
class Child:
    """One process."""

    place: int
    pid: int
    started: float
    failed: int = 0
    """Starts that failed, one after another."""


@dataclass(slots=True)
class Supervisor:
    """A gateway at work."""

    settings: Settings
    """Those that are at work; a child that is started again gets these, whatever the file says by then."""
    load: Callable[[], Settings]
    """Reads the configuration anew. Raises `AssayError`."""
    check: Callable[[Settings], None]
    """Raises `AssayError` for what would only fail later."""
    prover: Callable[[Settings], Prover | None]
    ready: Callable[[Sequence[str]], None]
    """Told once, with the addresses that are listened on."""
    service: str | None = None
    """``unix:PATH`` or ``HOST:PORT`` for the decision service; None: there is none."""
    proxy: bool = True
    """Whether the embedded proxy listens."""
    _children: dict[int, Child] = field(default_factory=dict)
    _missing: dict[int, int] = field(default_factory=dict)
    """Places whose process could not be started, and how many of its starts failed one after another."""
    _told: set[int] = field(default_factory=set)
    """Places of which that was said."""
    _pipe: tuple[int, int] = (-1, -1)
    """Children that have begun write to it."""
    _life: tuple[int, int] = (-1, -1)
    """Only we hold its end for writing: when we are gone, however, children read its end and end, too."""

    def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit code. Raises `AssayError` where it cannot begin."""
        settings = self.settings
        state = State(settings).prepare()
        with _locked(state.lock, state.folder):
            sockets = rooms.sockets(settings) if self.proxy else [[] for _ in range(settings.workers)]
            service = [rooms.listen(self.service, False, 0o660)] if self.service else []
            counters = rooms.counters(settings, state)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they are fetched, and never interrupt
            self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._life = os.pipe2(os.O_CLOEXEC)
            try:
                self._start(KEEPER, counters, sockets, service)
                for place in range(settings.workers):
                    self._start(place, counters, sockets, service)
                return self._watch(counters, sockets, service)
            finally:
                rooms.close([*(one for several in sockets for one in several), *service])  # nobody waits in vain
                self._end(float(self.settings.timeouts.shutdown))
                counters.close()

    def _watch(
        self,
        counters: Shared,
        sockets: Sequence[Sequence[socket.socket]],
        service: Sequence[socket.socket],
    ) -> int:
        begun, settings = 0, self.settings
        while True:
            got = signal.sigtimedwait(SIGNALS, 1.0 if begun < 0 else 0.02)
            if begun >= 0:
                with contextlib.suppress(BlockingIOError):
                    begun += len(os.read(self._pipe[0], 1024))
                if begun >= settings.workers:
                    with contextlib.suppress(OSError, ValueError):  # nobody listens: no reason to end
                        self.ready(
                            [*(settings.listen if self.proxy else ()), *([self.service] if self.service else [])]
                        )
                    begun = -1
            number = got.si_signo if got is not None else 0
            if number in (signal.SIGTERM, signal.SIGINT):
                return 0
            if number == signal.SIGHUP:
                self._pass_on_reload()
            elif number == signal.SIGUSR1:
                self._pass_on(signal.SIGUSR1, [place for place in self._children if place != KEEPER])
            for child, code in [(child, _ended(child.pid)) for child in self._children.values()]:
                if code is None:
                    continue
                failed = child.failed + 1 if time.monotonic() - child.started < SOON else 0
                name = _name(child.place)
                del self._children[child.place]
                if begun >= 0 and 0 < code < DEFECT:
                    return code  # it has said why, and would say the same again
                if failed >= TRIES:
                    warn(f"{name} ended {failed} times right after its start")
                    return code if 0 < code < DEFECT else 3
                warn(f"{name} has ended with {code} and is started again")
                time.sleep(0.1 * failed)
                self._missing[child.place] = failed
            for place, failed in list(self._missing.items()):
                try:
                    self._start(place, counters, sockets, service, failed)
                except OSError as error:  # no memory, or too many processes: others go on, and it may pass
                    if place not in self._told:
                        self._told.add(place)
                        warn(f"{_name(place)} cannot be started at the moment: {error.strerror}")
                else:
                    self._told.discard(place)
                    del self._missing[place]

    def _start(
        self,
        place: int,
        counters: Shared,
        sockets: Sequence[Sequence[socket.socket]],
        service: Sequence[socket.socket],
        failed: int = 0,
    ) -> None:
        flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = DEFECT
            try:
                os.close(self._life[1])
                code = self._child(place, counters, sockets, service, parent)
            except AssayError as error:
                warn(str(error))
                code = error.exit_code
            except BaseException:
                import traceback

                traceback.print_exc()  # a defect of ours: whoever reports it needs all of it
            finally:
                flush()
                os._exit(code)
        self._children[place] = Child(place, pid, time.monotonic(), failed)

    def _child(
        self,
        place: int,
        counters: Shared,
        sockets: Sequence[Sequence[socket.socket]],
        service: Sequence[socket.socket],
        parent: int,
    ) -> int:
        if place != KEEPER:
            for other, several in enumerate(sockets):
                for one in several if other != place else ():
                    if one.family != socket.AF_UNIX:  # one that all share must stay
                        one.close()
            return serve(place, self.settings, self.load, counters, sockets[place], service, self._begun, self._life[0])
        import asyncio

        for one in [*(one for several in sockets for one in several), *service]:
            one.close()

        async def keep() -> None:
            await Keeper(self.settings, self.load, self.check, self.prover, counters, parent).run(self._life[0])

        asyncio.run(keep())
        return 0

    def _begun(self) -> None:
        with contextlib.suppress(BlockingIOError):  # of a worker that was started again, when nobody counts any more
            os.write(self._pipe[1], b".")

    def _pass_on_reload(self) -> None:
        def looked_at() -> Settings:
            read = self.load()
            self.check(taken(self.settings, read)[0])
            return read

        try:
            self.settings, fixed = taken(self.settings, apart(looked_at))
        except (AssayError, OSError) as error:
            warn(f"the new configuration is not used: {error}")
            return
        if fixed:
            warn(f"only a restart changes: {', '.join(fixed)}")
        self._pass_on(signal.SIGHUP, list(self._children))

    def _pass_on(self, number: int, places: Sequence[int]) -> None:
        for place in places:
            _kill(self._children[place].pid, number)

    def _end(self, seconds: float) -> None:
        """Workers first, so that the keeper gets what they still have to say."""
        workers = [place for place in self._children if place != KEEPER]
        for places, patience in ((workers, seconds + 10), ([KEEPER], 15.0)):
            alive = {self._children[place].pid for place in places if place in self._children}
            for pid in alive:
                _kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + patience
            while alive and time.monotonic() < deadline:
                for pid in list(alive):
                    if _ended(pid) is not None:
                        alive.discard(pid)
                time.sleep(0.02)
            for pid in alive:
                _kill(pid, signal.SIGKILL)
                _ended(pid)


def _name(place: int) -> str:
    return "the keeper" if place == KEEPER else f"worker {place}"


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ended(pid: int) -> int | None:
    """Its exit code, or minus the signal that ended it; None while it runs."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 3
    return os.waitstatus_to_exitcode(status) if found == pid else None


class _locked:
    """The folder's lock, held while the gateway runs. Raises `UsageError` where another one holds it."""

    def __init__(self, path: str, folder: str) -> None:
        self._path = path
        self._folder = folder

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise UsageError(
                f"another gateway uses the state folder {self._folder}",
                hint="give this one its own: --state FOLDER, or state: FOLDER",
            ) from None

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
