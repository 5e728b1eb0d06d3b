"""Connections to one model server: kept, bounded, the last used first; who waits for one, in order.

Idle ones are closed before a server would, so that a request is not sent into a connection that is ending.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque

from assay.guard.gateway.proxy.answer_heads import AnswerReader
from assay.guard.gateway.proxy.upstream import Asker, Upstream
from assay.guard.gateway.settings.addresses import Address

KEPT = 4.0
"""Seconds that a connection waits unused; model servers close theirs after five and more."""

_log = logging.getLogger(__name__)


class Pool:
    """All connections to one address."""

    def __init__(
        self,
        address: Address,
        reader: AnswerReader,
        *,
        most: int,
        pending: int,
        connect: float,
        context: ssl.SSLContext | None,
    ) -> None:
        """``connect`` in seconds."""
        self.address = address
        self.reader = reader
        self.most = most
        self.pending = pending
        self.connect = connect
        self.opened = 0
        self.reused = 0
        self.failed = 0
        """Attempts to connect that came to nothing."""
        self._context = context
        self._idle: list[Upstream] = []
        self._all: set[Upstream] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Asker] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._all)

    def busy(self) -> bool:
        """Whether somebody still has or awaits a connection."""
        return bool(self._all or self._opening or self._waiting)

    def take(self) -> Upstream | None:
        """An idle connection, if there is one."""
        idle = self._idle
        while idle:
            found = idle.pop()
            if not found.transport.is_closing():
                self.reused += 1
                return found
        return None

    def wait(self, client: Asker) -> bool:
        """Call `Asker.on_connection` or `Asker.on_unreachable` later; False: too many wait already."""
        if len(self._waiting) >= self.pending + self.most - len(self._all):
            return False
        self._waiting.append(client)
        self._open()
        return True

    def leave(self, client: object) -> None:
        """The client waits no longer."""
        self._waiting = deque(one for one in self._waiting if one is not client)

    def release(self, upstream: Upstream, *, fresh: bool = False) -> None:
        """A connection whose answer is complete, or a ``fresh`` one that was asked nothing yet."""
        if self._waiting:
            self.reused += not fresh
            self._waiting.popleft().on_connection(upstream)
        elif self._closed:
            upstream.transport.close()
        else:
            upstream.since = self._loop.time()
            self._idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        """A connection that has ended."""
        self._all.discard(upstream)
        if upstream in self._idle:
            self._idle.remove(upstream)
        self._open()

    def sweep(self, now: float) -> None:
        """Close what was idle for too long; ``now`` by the loop's clock."""
        idle = self._idle
        while idle and (self._closed or idle[0].since + KEPT < now):
            idle.pop(0).transport.close()

    def close(self) -> None:
        """No connection is kept any more; those at work end their request first."""
        self._closed = True
        self.sweep(0.0)

    async def abort(self) -> None:
        """End everything at once."""
        self.close()
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for upstream in list(self._all):
            upstream.transport.abort()

    def _open(self) -> None:
        """Open another connection where more wait than are being opened."""
        if len(self._waiting) > len(self._opening) and len(self._all) + len(self._opening) < self.most:
            task = self._loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._open()

    async def _connect(self) -> None:
        place = self.address
        try:
            async with asyncio.timeout(self.connect):
                if place.path:
                    _, upstream = await self._loop.create_unix_connection(self._make, place.path)
                else:
                    host = place.host if self._context is not None else None
                    _, upstream = await self._loop.create_connection(
                        self._make, place.host, place.port, ssl=self._context, server_hostname=host
                    )
        except Exception as error:  # whoever waits is told, whatever it was: it would be tried again at once, for ever
            if not isinstance(error, OSError):
                _log.error("there is no way to the model server: %s", error)
            self._unreachable(isinstance(error, TimeoutError))
            return
        if upstream.transport.is_closing():  # it ended before we were told of it
            self._unreachable(False)
            return
        self.opened += 1
        self._all.add(upstream)
        self.release(upstream, fresh=True)

    def _unreachable(self, late: bool) -> None:
        self.failed += 1
        if self._waiting:
            self._waiting.popleft().on_unreachable(late)

    def _make(self) -> Upstream:
        return Upstream(self.reader, self.release, self.lost)
