"""A worker's process: decides, serves and logs. It asks nobody while it answers.

What it needs from the keeper (standings, the model's proof) comes by itself; until it is there nothing is served: who
is blocked must not slip in while the gateway starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from assay.errors import AssayError
from assay.guard.gateway.core import Gate, Proof
from assay.guard.gateway.interface import Decision, Standing
from assay.guard.gateway.running import channel, rooms
from assay.guard.gateway.running.keeper import warn
from assay.guard.gateway.running.processes import SIGNALS
from assay.guard.gateway.running.proving import PENDING, about
from assay.guard.gateway.running.reloading import taken
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings

if TYPE_CHECKING:
    from assay.guard.gateway.limits.shared import Shared

PATIENCE = 600.0
"""Seconds that a worker waits for its keeper's first word before it begins to refuse; callers wait in the queue."""

TURN = 0.1
"""Seconds between two times that samples are sent."""


_UNTOLD = Decision(False, 503, "model", "the gateway does not know yet whom it may serve", retry_after=5)


class Worker:
    """One of several that are alike."""

    def __init__(self, index: int, settings: Settings, load: Callable[[], Settings], counters: Shared) -> None:
        self._index = index
        self._load = load
        self._counters = counters
        self._settings = settings
        self._state = State(settings)
        self._standings: dict[str, Standing] = {}
        self._told = False
        """Whether a keeper has said how callers stand."""
        self._said: channel.Proved | None = None
        """The keeper's last word about a model."""
        self._proof = Proof(_UNTOLD)
        self._made = rooms.make(settings, self._state, counters, self._standings, self._proof)
        self._made.log.start()
        self._gate = Gate(self._made.core)
        self._stop = asyncio.Event()
        self._looked = asyncio.Event()
        self._faces: list[rooms.Face] = []
        self._writer: asyncio.StreamWriter | None = None
        self._dropped = 0
        self._problem = ""

    async def run(
        self, sockets: Sequence[socket.socket], service: Sequence[socket.socket], ready: Callable[[], None], life: int
    ) -> None:
        """Serve until SIGTERM, or until ``life`` can be read, since the supervisor is gone then and nobody could tell
        us anything any more; then finish what is under way. ``ready`` is told when it begins.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._made.log.reopen())
        loop.add_reader(life, self._orphaned, life)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        keeping = asyncio.create_task(self._keep_up())
        stopped = asyncio.create_task(self._stop.wait())
        looked = asyncio.create_task(self._looked.wait())
        await asyncio.wait((stopped, looked), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, looked):
            task.cancel()
        self._faces = await rooms.faces(self._gate, self._settings, sockets, service)
        self._tell()
        ready()
        beat = 0
        try:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TURN)
                self._send_samples()
                beat += 1
                if beat % 10 == 0:
                    if keeping.done():
                        keeping.result()  # nobody would tell us any more who is blocked: rather begin anew
                    self._each_second()
        finally:
            try:
                await asyncio.gather(*(face.drain(float(self._settings.timeouts.shutdown)) for face in self._faces))
                self._send_samples()
                self._tell()
                if self._writer is not None:
                    with contextlib.suppress(ConnectionError, TimeoutError):
                        await asyncio.wait_for(self._writer.drain(), 5)
                        self._writer.close()
                        await self._writer.wait_closed()
            finally:
                keeping.cancel()
                self._made.close()

    def _orphaned(self, life: int) -> None:
        asyncio.get_running_loop().remove_reader(life)
        self._stop.set()

    def _each_second(self) -> None:
        try:
            self._made.refresh()
            self._problem = ""
        except OSError as error:  # what was read before still counts
            if str(error) != self._problem:
                self._problem = str(error)
                warn(f"worker {self._index} cannot look for changed files: {error}")
        self._tell()

    def _tell(self) -> None:
        """The keeper, how it goes."""
        levels = self._made.levels()
        for face in self._faces:
            levels.update(face.figures())
        self._made.figures.total("samples_unsent", float(self._dropped))
        if self._writer is not None:
            channel.send(self._writer, channel.encode(channel.Figures(self._index, self._made.figures.take(), levels)))

    def _send_samples(self) -> None:
        if self._writer is None:
            self._made.core.remembering.flush()
            return  # samples wait, as long as there is room
        samples = self._made.samples()
        if samples and not channel.send(self._writer, channel.encode(channel.Samples(samples))):
            self._dropped += len(samples)

    async def _keep_up(self) -> None:
        """Stay connected to the keeper, whichever it is."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._state.keeper)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            if not channel.same_user(writer):
                writer.close()
                await asyncio.sleep(0.2)
                continue
            self._writer = writer
            if self._faces:
                self._tell()
            first = True
            async for message in channel.messages(reader):
                if isinstance(message, channel.Standings):
                    if first:
                        self._standings.clear()
                        first = False
                    for key, standing in message.changes:
                        if standing is None:
                            self._standings.pop(key, None)
                        else:
                            self._standings[key] = standing
                    self._told = True
                elif isinstance(message, channel.Proved):
                    self._said = message
                self._know()
            self._writer = None
            writer.close()
            await asyncio.sleep(0.2)

    def _know(self) -> None:
        """What may be served, by all that the keeper has said so far."""
        said, model = self._said, about(self._settings)
        fits = said is not None and said.about == model
        if not self._told:
            self._proof.refusal = _UNTOLD
        elif not model:
            self._proof.refusal, self._proof.version = None, ""
        elif said is not None and fits:
            self._proof.refusal, self._proof.version = said.refusal, said.version
        else:  # it is about another model, of before or after a reload
            self._proof.refusal, self._proof.version = PENDING.refusal, ""
        if self._told and (not model or (said is not None and fits and said.known)):
            self._looked.set()

    def _reload(self) -> None:
        before = self._made
        try:
            settings, _ = taken(self._settings, self._load())
            made = rooms.make(settings, self._state, self._counters, self._standings, self._proof, before)
        except (AssayError, OSError) as error:
            warn(f"worker {self._index} goes on with its old configuration: {error}")
            return
        self._made, self._settings = made, settings
        self._know()
        self._gate.core = made.core
        before.core.remembering.end()
        if made.log is not before.log:
            made.log.start()
            before.log.close()  # requests that are under way write to it still
        for face in self._faces:
            face.reload(settings)


def serve(
    index: int,
    settings: Settings,
    load: Callable[[], Settings],
    counters: Shared,
    sockets: Sequence[socket.socket],
    service: Sequence[socket.socket],
    ready: Callable[[], None],
    life: int,
) -> int:
    """The process: returns its exit code."""
    import uvloop

    async def main() -> None:
        await Worker(index, settings, load, counters).run(sockets, service, ready, life)

    try:
        uvloop.run(main())
    except AssayError as error:
        warn(str(error))
        return error.exit_code
    return 0
