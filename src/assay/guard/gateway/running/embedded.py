"""The gateway inside of a Python service: each process of it is a member, and one of them has the keeper in a thread.

Which one, the state folder's lock says; when that process ends, another takes over with what was written down. So the
processes of a service share limits, standings, the administrator's word and the model's proof, as workers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable

from assay.errors import AssayError
from assay.guard.gateway.running import rooms
from assay.guard.gateway.running.keeper import Keeper, warn
from assay.guard.gateway.running.member import TURN, Member
from assay.guard.gateway.running.proving import Prover
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings

PATIENCE = 30.0
"""Seconds that a service's start waits for its keeper's first word; callers get 503 after it, until it comes."""
AGAIN = 1.0
"""Seconds between two looks whether the keeper's process has ended."""
FIRST = 1000
"""From here on processes of a service are numbered, so that they are not taken for a gateway's workers."""


class Embedded:
    """A gateway's core with everything around it. Raises `AssayError` where the settings do not fit together."""

    def __init__(self, settings: Settings, prover: Callable[[Settings], Prover | None]) -> None:
        self._settings = settings
        self._prover = prover
        self._state = State(settings).prepare()
        self._state.reachable()
        self._counters = rooms.counters(settings, self._state)
        number, self._held = self._state.number()
        self._member = Member(FIRST + number, settings, self._state, self._counters)
        self.gate = self._member.gate
        """What a face asks."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._closing = False
        self._known = threading.Event()
        self._failed: AssayError | None = None
        self._thread = threading.Thread(target=self._run, name="assay-gateway", daemon=True)
        self._thread.start()
        self._known.wait(PATIENCE)
        if self._failed is not None:
            self.close()
            raise self._failed

    def close(self) -> None:
        """Everything that has ended is written."""
        self._closing = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended in between
                self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    def _run(self) -> None:
        while not self._closing:
            try:
                asyncio.run(self._live())
            except Exception as error:  # without this thread no key would ever be revoked
                warn(f"the gateway's housekeeping has failed, and is tried again: {type(error).__name__}: {error}")
                time.sleep(AGAIN)
        self._member.made.close()
        self._counters.close()
        os.close(self._held)
        self._known.set()

    async def _live(self) -> None:
        member = self._member
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._closing:
            return
        leading = asyncio.create_task(self._lead())
        keeping = asyncio.create_task(member.keep_up(lambda: member.tell({})))
        beat, strange = 0, False
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), TURN)
            for task in (leading, keeping):
                if task.done():
                    task.result()
            if member.told:
                self._known.set()
                if not strange and (strange := not member.agrees):
                    warn("another process of this service has read another gateway file, and keeps by it: restart all")
            member.send_samples()
            beat += 1
            if beat % 10 == 0:
                member.refresh()
                member.tell({})
        member.send_samples()
        member.tell({})
        await member.hang_up()
        keeping.cancel()
        await leading

    async def _lead(self) -> None:
        """Be the keeper's process, as soon as nobody else is."""
        while not self._over.is_set():
            lock = self._state.lead()
            if lock is not None:
                try:
                    await self._keep()
                except AssayError as error:
                    if not self._known.is_set():
                        self._failed = error
                        self._known.set()
                        return
                    warn(f"the gateway has no keeper, and tries again: {error}")
                finally:
                    self._member.nearby = None
                    os.close(lock)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), AGAIN)

    async def _keep(self) -> None:
        settings = self._settings
        keeper = Keeper(settings, lambda: settings, lambda _settings: None, self._prover, self._counters, None)
        self._member.nearby = keeper.take
        over = asyncio.create_task(self._over.wait())
        over.add_done_callback(lambda _task: keeper.stop())
        try:
            await keeper.run(None)
        finally:
            over.cancel()
