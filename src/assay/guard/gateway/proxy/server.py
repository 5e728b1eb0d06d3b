"""The proxy of one process: its sockets, its connections, and one clock that ends what takes too long.

It starts nothing that it does not end, and everything that strangers can make it hold has a bound.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate

from assay.errors import AssayError
from assay.guard.gateway.core import Gate
from assay.guard.gateway.proxy import tls
from assay.guard.gateway.proxy.answer_heads import AnswerReader
from assay.guard.gateway.proxy.answering import HEAD
from assay.guard.gateway.proxy.client import Client
from assay.guard.gateway.proxy.listening import BACKLOG
from assay.guard.gateway.proxy.pool import Pool
from assay.guard.gateway.proxy.terms import Terms, terms
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.addresses import address
from assay.guard.gateway.stamps import Stamp, stamp

TICK = 0.25
"""Seconds between two looks at the clock: deadlines are that coarse."""
HANDSHAKE = 10.0
"""Seconds for a TLS handshake."""
FRESH = 1.0
"""Seconds that a connection without any request is left open while the gateway ends: one may be on its way."""

_log = logging.getLogger(__name__)


class Server:
    """Serves callers on sockets that are bound already. Every method but `__init__` belongs to one event loop."""

    def __init__(self, gate: Gate, settings: Settings) -> None:
        self.gate = gate
        self.terms: Terms
        """Of the newest configuration that a request came in under."""
        self.loop: asyncio.AbstractEventLoop
        self.now = time.monotonic()
        """A coarse clock."""
        self.date = b""
        """The ``Date`` header."""
        self.draining = False
        self.requests = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.late = 0
        """Deadlines that passed."""
        self.refused: dict[int, int] = {}
        """Refusals by status."""
        self._settings = settings
        self._clients: set[Client] = set()
        self._by_address: dict[str, int] = {}
        self._accepted = 0
        self._turned_away = 0
        self._pools: dict[str, Pool] = {}
        self._old: list[Pool] = []
        self._outgoing: list[tuple[asyncio.WriteTransport, bytes]] = []
        """What is written once everything that has come was read."""
        self._past = [0, 0, 0]
        """Opened, reused and failed connections of pools that are gone."""
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._context: ssl.SSLContext | None = None
        self._stamps: tuple[Stamp, ...] = ()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on listening sockets, with TLS where the settings have it. Raises `UsageError`, `DocumentError`."""
        self.loop = asyncio.get_running_loop()
        self._sockets = list(sockets)
        self._tell_time()
        self._stamps = tuple(map(stamp, tls.files(self._settings)))
        self._context = tls.server_context(self._settings)
        self.terms = terms(self.gate.core.settings, self._pool)
        self._servers = await self._listen()
        self._ticking = self.loop.create_task(self._tick())

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, answer what is under way, end after ``seconds`` at the latest."""
        self.draining = True
        self.loop = asyncio.get_running_loop()
        for server in self._servers:
            server.close()
        for listener in self._sockets:
            listener.close()
        begun = self.loop.time()
        while self._clients and self.loop.time() - begun < seconds:
            for client in list(self._clients):
                idle = client.state == HEAD and not client.buffer
                if idle and (client.request is not None or self.loop.time() - begun > FRESH):
                    client.shut()
            await asyncio.sleep(0.02)
        for client in list(self._clients):
            if client.context is not None:
                client.context.error = client.context.error or "shutdown"
            client.transport.abort()
        for pool in [*self._pools.values(), *self._old]:
            await pool.abort()
        for _ in range(20):  # until the loop has told every connection that it is lost
            if not self._clients and not any(len(pool) for pool in [*self._pools.values(), *self._old]):
                break
            await asyncio.sleep(0.01)
        tasks = [task for task in (self._ticking, self._reloading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def reload(self, settings: Settings) -> None:
        """New limits, upstreams and certificates, for what comes from now on. What cannot be used is told in the log,
        and what was used before stays.
        """
        self._settings = settings
        self._stamps = ()
        try:
            self.current()
        except AssayError:
            _log.exception("the new configuration cannot be served: connections end until there is one that can")

    def figures(self) -> Mapping[str, float]:
        """Levels and totals, by name, for metrics."""
        pools = [*self._pools.values(), *self._old]
        found = {
            "connections_open": float(len(self._clients)),
            "connections_accepted": float(self._accepted),
            "connections_refused": float(self._turned_away),
            "requests": float(self.requests),
            "bytes_in": float(self.bytes_in),
            "bytes_out": float(self.bytes_out),
            "late": float(self.late),
            "upstream_connections": float(sum(len(pool) for pool in pools)),
            "upstream_opened": float(self._past[0] + sum(pool.opened for pool in pools)),
            "upstream_reused": float(self._past[1] + sum(pool.reused for pool in pools)),
            "upstream_failed": float(self._past[2] + sum(pool.failed for pool in pools)),
        }
        found.update((f"refused_{status}", float(number)) for status, number in self.refused.items())
        return found

    # -- for connections ---------------------------------------------------------------------------------------------

    def current(self) -> Terms:
        """The terms of the core's configuration."""
        found = self.terms
        settings = self.gate.core.settings
        if found.settings is settings:
            return found
        old, self._pools = self._pools, {}
        try:
            self.terms = found = terms(settings, self._pool)
        except AssayError:
            self._pools = old
            raise
        for pool in old.values():
            pool.close()
            self._old.append(pool)
        return found

    def send(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write at the end of the loop's turn: whoever is woken by the first of many pieces is awake for the others,
        which makes a turn with many requests cheaper by a third of its system time. Order is kept.
        """
        if not self._outgoing:
            self.loop.call_soon(self.flush)
        self._outgoing.append((transport, data))

    def flush(self) -> None:
        """Write now; before a connection is closed."""
        outgoing, self._outgoing = self._outgoing, []
        for transport, data in outgoing:
            try:  # noqa: SIM105 - `suppress` costs more
                transport.write(data)
            except RuntimeError:
                pass  # uvloop's word for a connection that has ended meanwhile

    def enter(self, client: Client) -> bool:
        """A caller has connected; False: there are too many, of this address or in all."""
        transport = client.transport
        peer = transport.get_extra_info("peername")
        client.peer = host = _plain(peer[0]) if isinstance(peer, tuple) else "unix:"
        client.tls = transport.get_extra_info("sslcontext") is not None
        settings = self.terms.settings
        mine = self._by_address.get(host, 0)
        local = host == "unix:"
        if len(self._clients) >= settings.connections or (mine >= settings.connections_by_address and not local):
            self._turned_away += 1
            return False
        self._accepted += 1
        self._by_address[host] = mine + 1
        self._clients.add(client)
        return True

    def leave(self, client: Client) -> None:
        """A connection has ended."""
        if client not in self._clients:
            return
        self._clients.discard(client)
        left = self._by_address[client.peer] - 1
        if left:
            self._by_address[client.peer] = left
        else:
            del self._by_address[client.peer]

    # -- its own -----------------------------------------------------------------------------------------------------

    def _pool(self, upstream: str) -> Pool:
        settings = self.gate.core.settings
        pool = self._pools.get(upstream)
        if pool is None:
            place = address(upstream)
            pool = Pool(
                place,
                AnswerReader(server=settings.server_header),
                most=settings.pool,
                pending=settings.pending,
                connect=settings.timeouts.connect,
                context=tls.client_context(settings) if place.tls else None,
            )
            self._pools[upstream] = pool
        return pool

    async def _listen(self) -> list[asyncio.Server]:
        """Listen anew on the same sockets. Each server closes its own copy and no connection."""
        found: list[asyncio.Server] = []
        handshake = None if self._context is None else HANDSHAKE
        for listener in self._sockets:
            copy = listener.dup()
            copy.setblocking(False)
            unix = listener.family == socket.AF_UNIX
            make = self.loop.create_unix_server if unix else self.loop.create_server
            made = make(self._client, sock=copy, backlog=BACKLOG, ssl=self._context, ssl_handshake_timeout=handshake)
            found.append(await made)
        return found

    def _client(self) -> Client:
        return Client(self)

    def _tell_time(self) -> None:
        self.now = time.monotonic()
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"

    async def _tick(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(TICK)
            self._tell_time()
            for client in [client for client in self._clients if client.deadline < self.now]:
                try:
                    client.late()
                except Exception:
                    client.broken()
            beat += 1
            try:
                for pool in [*self._pools.values(), *self._old]:
                    pool.sweep(self.loop.time())
                self._forget()
                if beat % 4 == 0 and not self.draining:
                    await self._follow_files()
            except Exception:  # without this clock nothing would ever be late
                _log.exception("the proxy's housekeeping has failed, and is tried again")

    def _forget(self) -> None:
        """Pools of earlier configurations whose last request has ended."""
        for pool in [pool for pool in self._old if not pool.busy()]:
            self._old.remove(pool)
            for i, number in enumerate((pool.opened, pool.reused, pool.failed)):
                self._past[i] += number

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
            return
        if context is None and self._context is None:
            return
        self._context = context
        old, self._servers = self._servers, await self._listen()
        for server in old:
            server.close()


def _plain(host: str) -> str:
    """An IPv4 address that comes in IPv6's form (RFC 4291, 2.5.5.2) as the one it is."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host
