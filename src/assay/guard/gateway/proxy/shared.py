"""What all callers' connections of one process share: the configuration, the ways to the model servers, a coarse clock,
one place to write, and what is counted. It knows no connection of a caller's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from email.utils import formatdate

from assay.errors import AssayError
from assay.guard.gateway.core import Gate
from assay.guard.gateway.proxy import tls
from assay.guard.gateway.proxy.answer_heads import AnswerReader
from assay.guard.gateway.proxy.pool import Pool
from assay.guard.gateway.proxy.terms import Terms, terms
from assay.guard.gateway.settings.addresses import address


class Shared:
    """Made inside the event loop that every method belongs to. Raises `UsageError`, `DocumentError`."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.loop = asyncio.get_running_loop()
        self.now = 0.0
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
        self._pools: dict[str, Pool] = {}
        self._old: list[Pool] = []
        """Of earlier configurations, while something is under way in them."""
        self._past = [0, 0, 0]
        """Opened, reused and failed connections of pools that are gone."""
        self._outgoing: list[tuple[asyncio.WriteTransport, bytes]] = []
        """What is written once everything that has come was read."""
        self.tell_time()
        self.terms = terms(gate.core.settings, self._pool)
        """Of the newest configuration that a request came in under."""

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

    def tell_time(self) -> None:
        """Set the clock."""
        self.now = time.monotonic()
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"

    def sweep(self) -> None:
        """Close connections that were idle for too long; forget pools whose last request has ended."""
        for pool in self._all_pools():
            pool.sweep(self.loop.time())
        for pool in [pool for pool in self._old if not pool.busy()]:
            self._old.remove(pool)
            for i, number in enumerate((pool.opened, pool.reused, pool.failed)):
                self._past[i] += number

    async def abort(self) -> None:
        """End every connection to a model server."""
        for pool in [*self._all_pools()]:
            await pool.abort()

    def connections(self) -> int:
        """Open connections to model servers."""
        return sum(len(pool) for pool in self._all_pools())

    def figures(self) -> dict[str, float]:
        """Levels and totals, by name, for metrics."""
        pools = [*self._all_pools()]
        found = {
            "requests": float(self.requests),
            "bytes_in": float(self.bytes_in),
            "bytes_out": float(self.bytes_out),
            "late": float(self.late),
            "upstream_connections": float(self.connections()),
            "upstream_opened": float(self._past[0] + sum(pool.opened for pool in pools)),
            "upstream_reused": float(self._past[1] + sum(pool.reused for pool in pools)),
            "upstream_failed": float(self._past[2] + sum(pool.failed for pool in pools)),
        }
        found.update((f"refused_{status}", float(number)) for status, number in self.refused.items())
        return found

    def _all_pools(self) -> Iterator[Pool]:
        yield from self._pools.values()
        yield from self._old

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
