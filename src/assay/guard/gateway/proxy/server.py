"""The proxy of one process: its sockets, its connections, and one clock that ends what takes too long.

It starts nothing that it does not end, and everything that strangers can make it hold has a bound.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence

from assay.errors import AssayError
from assay.guard.gateway.core import Gate
from assay.guard.gateway.proxy import tls
from assay.guard.gateway.proxy.connection import HEAD
from assay.guard.gateway.proxy.entrance import Entrance
from assay.guard.gateway.proxy.shared import Shared
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.stamps import Stamp, stamp

TICK = 0.25
"""Seconds between two looks at the clock: deadlines are that coarse."""
FRESH = 1.0
"""Seconds that a connection without any request is left open while the gateway ends: one may be on its way."""

_log = logging.getLogger(__name__)


class Server:
    """Serves callers on sockets that are bound already. Every method but `__init__` belongs to one event loop."""

    def __init__(self, gate: Gate, settings: Settings) -> None:
        self.gate = gate
        self.shared: Shared
        self.entrance: Entrance
        self._settings = settings
        self._ticking: asyncio.Task[None] | None = None
        self._stamps: tuple[Stamp, ...] | None = None
        """Of TLS's files as they were read last; None: they are to be read anew."""

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on listening sockets, with TLS where the settings have it. Raises `UsageError`, `DocumentError`."""
        self._stamps = tuple(map(stamp, tls.files(self._settings)))
        context = tls.server_context(self._settings)
        self.shared = Shared(self.gate)
        self.entrance = Entrance(self.shared, sockets)
        await self.entrance.serve(context)
        self._ticking = self.shared.loop.create_task(self._tick())

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, answer what is under way, end after ``seconds`` at the latest."""
        if self._ticking is None:
            return  # it was never started
        shared, clients, loop = self.shared, self.entrance.clients, self.shared.loop
        shared.draining = True
        await self.entrance.close()
        begun = loop.time()
        while clients and loop.time() - begun < seconds:
            for client in list(clients):
                idle = client.state == HEAD and not client.buffer
                if idle and (client.request is not None or loop.time() - begun > FRESH):
                    client.shut()
            await asyncio.sleep(0.02)
        for client in list(clients):
            if client.context is not None:
                client.context.error = client.context.error or "shutdown"
            client.transport.abort()
        await shared.abort()
        for _ in range(20):  # until the loop has told every connection that it is lost
            if not clients and not shared.connections():
                break
            await asyncio.sleep(0.01)
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)

    def reload(self, settings: Settings) -> None:
        """New limits, upstreams and certificates, for what comes from now on. What cannot be used is told in the log,
        and what was used before stays.
        """
        self._settings = settings
        self._stamps = None
        try:
            self.shared.current()
        except AssayError:
            _log.exception("the new configuration cannot be served: connections end until there is one that can")

    def figures(self) -> Mapping[str, float]:
        """Levels and totals, by name, for metrics."""
        entrance = self.entrance
        return {
            "connections_open": float(entrance.open),
            "connections_accepted": float(entrance.accepted),
            "connections_refused": float(entrance.turned_away),
        } | self.shared.figures()

    async def _tick(self) -> None:
        shared = self.shared
        beat = 0
        while True:
            await asyncio.sleep(TICK)
            shared.tell_time()
            for client in [client for client in self.entrance.clients if client.deadline < shared.now]:
                try:
                    client.late()
                except Exception:
                    client.broken()
            beat += 1
            try:
                shared.sweep()
                if beat % 4 == 0 and not shared.draining:
                    await self._follow_files()
            except Exception:  # without this clock nothing would ever be late
                _log.exception("the proxy's housekeeping has failed, and is tried again")

    async def _follow_files(self) -> None:
        """Take certificates anew once their files have changed; ones that cannot be used change nothing."""
        found = tuple(map(stamp, tls.files(self._settings)))
        if found == self._stamps:
            return
        self._stamps = found
        try:
            context = tls.server_context(self._settings)
        except AssayError as error:
            _log.warning("the old certificate stays: %s", error)
        else:
            await self.entrance.serve(context)
