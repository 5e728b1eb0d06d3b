"""A process that decides, whatever it serves with: what it is told by the keeper, and what it tells the keeper.

It asks nobody while it answers. What it needs (standings, the model's proof) comes by itself, over a unix socket; until
it is there nothing is served: who is blocked must not slip in while the gateway starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from assay.guard.gateway.core import Gate, Proof
from assay.guard.gateway.interface import Decision, Sample, Standing
from assay.guard.gateway.running import channel, rooms
from assay.guard.gateway.running.keeper import warn
from assay.guard.gateway.running.proving import PENDING, about, fingerprint
from assay.guard.gateway.running.reloading import taken
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings

if TYPE_CHECKING:
    from assay.guard.gateway.limits.shared import Shared

TURN = 0.1
"""Seconds between two times that samples are sent."""
AGAIN = 0.05
"""Seconds between two tries to reach a keeper."""

_UNTOLD = Decision(False, 503, "model", "the gateway does not know yet whom it may serve", retry_after=5)


class Member:
    """One of several that are alike. One event loop calls it; faces may ask its `gate` from any thread."""

    def __init__(self, index: int, settings: Settings, state: State, counters: Shared) -> None:
        self.settings = settings
        self.told = False
        """Whether a keeper has said how callers stand."""
        self.looked = asyncio.Event()
        """Set once the model, where one has to be, was looked at."""
        self.nearby: Callable[[list[Sample]], None] | None = None
        """A keeper in this process, which needs no socket for samples."""
        self._index = index
        self._state = state
        self._counters = counters
        self._standings: dict[str, Standing] = {}
        self._said: channel.Proved | None = None
        """The keeper's last word about a model."""
        self._proof = Proof(_UNTOLD)
        self.made = rooms.make(settings, state, counters, self._standings, self._proof)
        self.made.log.start()
        self.gate = Gate(self.made.core)
        self._writer: asyncio.StreamWriter | None = None
        self._dropped = 0
        self._warned: tuple[str, ...] = ()
        """Problems that were said and have not gone since."""

    def refresh(self) -> None:
        """Files that have changed; about once a second. What is wrong with them is said once, by one process of all."""
        try:
            self.made.refresh()
            problems = self.made.callers.figures().problems
        except OSError as error:  # what was read before still counts
            problems = (f"files that may have changed cannot be looked for: {error}",)
        for problem in problems:
            if problem not in self._warned and (self._index == 0 or self.nearby is not None):
                warn(problem)
        self._warned = tuple(problems)

    def tell(self, levels: Mapping[str, float]) -> None:
        """The keeper, how it goes; ``levels`` are the faces'."""
        mine = {**self.made.levels(), **levels}
        self.made.figures.total("samples_unsent", float(self._dropped))
        if self._writer is not None:
            channel.send(self._writer, channel.encode(channel.Figures(self._index, self.made.figures.take(), mine)))

    def send_samples(self) -> None:
        """What has ended. Where no keeper is, samples wait, as long as there is room."""
        if self.nearby is not None:
            self.nearby(self.made.samples())
        elif self._writer is None:
            self.made.core.remembering.flush()
        else:
            samples = self.made.samples()
            if samples and not channel.send(self._writer, channel.encode(channel.Samples(samples))):
                self._dropped += len(samples)

    @property
    def agrees(self) -> bool:
        """Whether the keeper has read the same file."""
        return self._said is None or self._said.file == fingerprint(self.settings)

    async def keep_up(self, known: Callable[[], None] = lambda: None) -> None:
        """Stay connected to the keeper, whichever it is, until cancelled. ``known`` is told when one was reached."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._state.keeper)
            except OSError:
                await asyncio.sleep(AGAIN)
                continue
            if not channel.same_user(writer):
                writer.close()
                await asyncio.sleep(AGAIN)
                continue
            self._writer = writer
            known()
            try:
                await self._listen(reader)
            finally:
                self._writer = None
                writer.close()
            await asyncio.sleep(AGAIN)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
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
                self.told = True
            elif isinstance(message, channel.Proved):
                self._said = message
            self.know()

    def know(self) -> None:
        """What may be served, by all that the keeper has said so far."""
        said, model = self._said, about(self.settings)
        fits = said is not None and said.about == model
        if not self.told:
            self._proof.refusal = _UNTOLD
        elif not model:
            self._proof.refusal, self._proof.version = None, ""
        elif said is not None and fits:
            self._proof.refusal, self._proof.version = said.refusal, said.version
        else:  # it is about another model, of before or after a reload
            self._proof.refusal, self._proof.version = PENDING.refusal, ""
        if self.told and (not model or (said is not None and fits and said.known)):
            self.looked.set()

    def reload(self, new: Settings) -> None:
        """Requests that begin from now on are decided by ``new``. Raises `AssayError` or `OSError`, and changes nothing
        then.
        """
        before = self.made
        settings, _ = taken(self.settings, new)
        made = rooms.make(settings, self._state, self._counters, self._standings, self._proof, before)
        self.made, self.settings = made, settings
        self.know()
        self.gate.core = made.core
        before.core.remembering.end()
        if made.log is not before.log:
            made.log.start()
            before.log.close()  # requests that are under way write to it still

    async def hang_up(self) -> None:
        """Nothing begins any more: all that was told shall arrive."""
        if self._writer is not None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await asyncio.wait_for(self._writer.drain(), 5)
                self._writer.close()
                await self._writer.wait_closed()
