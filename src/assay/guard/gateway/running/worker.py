"""A worker's process: what listens on the gateway's sockets, with a `Member` that decides."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from assay.errors import AssayError
from assay.guard.gateway.running import rooms
from assay.guard.gateway.running.keeper import warn
from assay.guard.gateway.running.member import TURN, Member
from assay.guard.gateway.running.processes import SIGNALS
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings

if TYPE_CHECKING:
    from assay.guard.gateway.limits.shared import Shared

PATIENCE = 600.0
"""Seconds that a worker waits for its keeper's first word before it begins to refuse; callers wait in the queue."""


class Worker:
    """One of several that are alike."""

    def __init__(self, index: int, settings: Settings, load: Callable[[], Settings], counters: Shared) -> None:
        self._index = index
        self._load = load
        self._member = Member(index, settings, State(settings), counters)
        self._stop = asyncio.Event()
        self._faces: list[rooms.Face] = []

    async def run(
        self, sockets: Sequence[socket.socket], service: Sequence[socket.socket], ready: Callable[[], None], life: int
    ) -> None:
        """Serve until SIGTERM, or until ``life`` can be read, since the supervisor is gone then and nobody could tell
        us anything any more; then finish what is under way. ``ready`` is told when it begins.
        """
        member = self._member
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGUSR1, lambda: member.made.log.reopen())
        loop.add_reader(life, self._orphaned, life)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        keeping = asyncio.create_task(member.keep_up(lambda: self._tell() if self._faces else None))
        stopped = asyncio.create_task(self._stop.wait())
        looked = asyncio.create_task(member.looked.wait())
        await asyncio.wait((stopped, looked), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, looked):
            task.cancel()
        self._faces = await rooms.faces(member.gate, member.settings, sockets, service)
        self._tell()
        ready()
        beat = 0
        try:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TURN)
                member.send_samples()
                beat += 1
                if beat % 10 == 0:
                    if keeping.done():
                        keeping.result()  # nobody would tell us any more who is blocked: rather begin anew
                    member.refresh()
                    self._tell()
        finally:
            try:
                patience = float(member.settings.timeouts.shutdown)
                await asyncio.gather(*(face.drain(patience) for face in self._faces))
                member.send_samples()
                self._tell()
                await member.hang_up()
            finally:
                keeping.cancel()
                member.made.close()

    def _orphaned(self, life: int) -> None:
        asyncio.get_running_loop().remove_reader(life)
        self._stop.set()

    def _tell(self) -> None:
        levels: dict[str, float] = {}
        for face in self._faces:
            levels.update(face.figures())
        self._member.tell(levels)

    def _reload(self) -> None:
        try:
            self._member.reload(self._load())
        except (AssayError, OSError) as error:
            warn(f"worker {self._index} goes on with its old configuration: {error}")
            return
        for face in self._faces:
            face.reload(self._member.settings)


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
