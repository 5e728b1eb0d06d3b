"""The keeper's process: takes samples and figures from workers, learns, proves the model, answers the administrator.

Workers come and go; each is told the whole state when it connects. A keeper that is gone costs nobody an answer:
workers go on with what they know, and a new one begins where the last wrote down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from assay.errors import AssayError
from assay.guard.gateway.core import Proof
from assay.guard.gateway.interface import Sample
from assay.guard.gateway.running import channel, denied, rooms
from assay.guard.gateway.running.observation import Change
from assay.guard.gateway.running.patience import Patient
from assay.guard.gateway.running.processes import SIGNALS
from assay.guard.gateway.running.proving import LATE, PENDING, STALE, Prover, Watcher, about, fingerprint
from assay.guard.gateway.running.reloading import taken
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings

if TYPE_CHECKING:
    from assay.guard.gateway.admin.server import AdminServer
    from assay.guard.gateway.limits.shared import Shared

Result = TypeVar("Result")


class Keeper:
    """One of them for each gateway."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        check: Callable[[Settings], None],
        prover: Callable[[Settings], Prover | None],
        counters: Shared,
        supervisor: int | None,
    ) -> None:
        self.settings = settings
        self.load = load
        self.check = check
        self._prover = prover
        self.counters = counters
        self.supervisor = supervisor
        """Process id of who started us; None: a service, in one of whose processes we are a thread."""
        self.state = State(self.settings)
        self.proof = PENDING if self.settings.model is not None else Proof()
        self.checked = 0.0
        """UNIX seconds of the last answer about the model; 0: there was none."""
        self.patient = Patient()
        """By which what an administrator denied is over."""
        self.figures = rooms.Total()
        """What all workers counted, added up."""
        self.levels: dict[int, dict[str, float]] = {}
        """What each worker said last."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: Watcher | None = None
        self._stop = asyncio.Event()
        self.observation = rooms.observation(self.settings, self.state, self._broadcast_standings, warn)

    async def run(self, life: int | None) -> None:
        """Until SIGTERM, or until ``life`` can be read because the supervisor is gone; without it, until `stop`. What
        workers sent before is taken in first.
        """
        loop = self._loop = asyncio.get_running_loop()
        if life is not None:
            loop.add_signal_handler(signal.SIGTERM, self._stop.set)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            for number in (signal.SIGINT, signal.SIGUSR1):  # of the terminal, and for workers: the supervisor tells us
                loop.add_signal_handler(number, lambda: None)
            loop.add_reader(life, self._orphaned, life)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.state.keeper)
        server = await asyncio.start_unix_server(self._worker, self.state.keeper, limit=1 << 20)
        os.chmod(self.state.keeper, 0o600)  # whoever came before had to get into the folder, which is ours alone
        admin = sync = None
        try:
            self._watch()
            admin = self._administrator()
            sync = rooms.synchronised(self.settings, self.counters)
            export = rooms.exporter(self, warn)
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), 1.0)
                try:
                    self._mind_the_proof(time.time())  # what guards comes first: what is behind may fail
                    self.counters.sync()
                    self.counters.let_go_of_dead()
                    self.observation.tick(time.time())
                    if denied.expire(self.state.denied, self.patient()):
                        await loop.run_in_executor(None, self._tell_edges)
                    if export is not None:
                        export(time.time())
                except Exception as error:  # a disk that is full, no room for a thread: it may pass
                    self.observation.say_once(f"the keeper could not do all that it does each second: {error}")
        finally:
            server.close()
            # Workers have ended before us: what they sent last is still to be read. Other processes of a service go on.
            for _ in range(100 if life is not None else 20):
                if not self._writers:
                    break
                await asyncio.sleep(0.05)
            for writer in self._writers:
                writer.close()
            self.observation.close()  # before whatever may have to be waited for
            if admin is not None:
                admin.stop()
            if sync is not None:
                sync.stop()
            if self._watcher is not None:
                self._watcher.stop()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.state.keeper)

    def stop(self) -> None:
        """End, as SIGTERM would have it. Called in the keeper's own thread."""
        self._stop.set()

    def take(self, samples: Sequence[Sample]) -> None:
        """From the process that we are in: what has ended there."""
        self.observation.take(samples)

    def _orphaned(self, life: int) -> None:
        asyncio.get_running_loop().remove_reader(life)
        self._stop.set()

    def ask(self, call: Callable[[], Result]) -> Result:
        """Run ``call`` in the keeper's own thread, from another one, and return what it returns."""
        assert self._loop is not None

        async def asked() -> Result:
            return call()

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(10)

    async def _worker(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not channel.same_user(writer):
            writer.close()
            return
        self._writers.add(writer)
        worker = -1
        try:
            channel.send(writer, self._proved())
            channel.send(writer, channel.encode(channel.Standings(list(self.observation.standings.items()))))
            async for message in channel.messages(reader):
                if isinstance(message, channel.Samples):
                    for start in range(0, len(message.samples), 256):
                        self.observation.take(message.samples[start : start + 256])
                        await asyncio.sleep(0)  # the administrator and other workers wait, too
                elif isinstance(message, channel.Figures):
                    worker = message.worker
                    self.figures.add(message.deltas)
                    self.levels[worker] = message.levels
        except asyncio.CancelledError:
            return  # the keeper ends; asyncio would log it as a failure
        except (LookupError, TypeError, ValueError) as error:
            warn(f"worker {worker} said what is no message, and is hung up on: {type(error).__name__}")
        finally:
            self._writers.discard(writer)
            self.levels.pop(worker, None)
            writer.close()

    def _tell_edges(self) -> None:
        try:
            denied.push(self.settings, self.state.denied, self.patient())
        except AssayError as error:
            warn(str(error))

    def _administrator(self) -> AdminServer | None:
        if self.settings.admin is None:
            return None
        from assay.guard.gateway.admin import places
        from assay.guard.gateway.admin.server import AdminServer
        from assay.guard.gateway.running import operations

        server = AdminServer(operations.Operations(self), *places.configured(self.settings))
        server.start()
        return server

    def _watch(self) -> None:
        prover = self._prover(self.settings) if self.settings.model is not None else None
        if prover is None or self.settings.model is None:
            return
        loop, model = asyncio.get_running_loop(), about(self.settings)
        self._watcher = Watcher(
            prover,
            float(self.settings.model.every),
            lambda proof: loop.call_soon_threadsafe(self._know, proof, model),  # type: ignore[arg-type]
            warn,
        )
        self._watcher.start()

    def _mind_the_proof(self, now: float) -> None:
        """A prover that hangs must not leave an old answer standing."""
        model = self.settings.model
        if model is None or not self.checked or self.proof.refusal is not None:
            return
        if now - self.checked > max(600.0, LATE * float(model.every)):
            self._know(STALE, about(self.settings))

    def _proved(self) -> bytes:
        known = self.proof is not PENDING
        return channel.encode(
            channel.Proved(
                self.proof.refusal, self.proof.version, about(self.settings), known, fingerprint(self.settings)
            )
        )

    def _know(self, proof: Proof, model: str) -> None:
        """An answer; one about the model of an earlier configuration comes too late."""
        if model != about(self.settings):
            return
        self.checked = time.time()
        if proof != self.proof or self.proof is PENDING:
            self.proof = proof
            self._broadcast(self._proved())

    def _reload(self) -> None:
        """The supervisor has read the file and found it good."""
        before = self.settings
        try:
            settings, _ = taken(before, self.load())
            self.observation.close()
            self.observation = rooms.observation(
                settings, self.state, self._broadcast_standings, warn, before=self.observation
            )
        except (AssayError, OSError) as error:
            warn(f"the keeper goes on with its old configuration: {error}")
            return
        self.settings = settings
        if settings.model == before.model and settings.directory == before.directory:
            if self._watcher is not None:
                self._watcher.now()  # the policy's file, or a key's, may be another
            return
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        if about(settings) != about(before):
            self.proof = PENDING if settings.model is not None else Proof()
            self._broadcast(self._proved())
        self._watch()

    def _broadcast_standings(self, changes: Sequence[Change]) -> None:
        self._broadcast(channel.encode(channel.Standings(list(changes))))

    def _broadcast(self, data: bytes) -> None:
        for writer in list(self._writers):
            if not channel.send(writer, data):
                writer.close()  # it reconnects, and is told the whole state


def warn(sentence: str) -> None:
    """Say it to whoever reads the gateway's errors, printable and on one line."""
    from assay.evidence.predicates import printable

    one = sentence.replace("\n  ", "; ")  # an error's hint
    with contextlib.suppress(OSError, ValueError):  # nobody reads them any more: no reason to end
        print(f"assay: {printable(one)}", file=sys.stderr, flush=True)
