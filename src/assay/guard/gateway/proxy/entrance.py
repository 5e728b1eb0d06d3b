"""Where callers connect: accepts them within bounds in all and by address, and lets them in once TLS was agreed on.

Connections are counted from the moment that they are accepted. The loop's own servers tell of a connection only after
its handshake, so one that never ends would count nowhere: for TLS we accept ourselves. Nothing that a stranger sends is
read here.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Sequence

from assay.guard.gateway.networks import household
from assay.guard.gateway.proxy.client import Client
from assay.guard.gateway.proxy.listening import BACKLOG
from assay.guard.gateway.proxy.shared import Shared

HANDSHAKE = 10.0
"""Seconds for a TLS handshake."""
AT_ONCE = 64
"""Most connections that are accepted in one turn of the loop."""
PAUSE = 0.5
"""Seconds in which nobody is accepted after the system had nothing left for one more connection."""

_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
                   errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH})  # fmt: skip
"""What accept(2) says of a connection that has ended before it was accepted."""

_log = logging.getLogger(__name__)


class Entrance:
    """All connections of callers, of one process. Every method belongs to one event loop."""

    def __init__(self, shared: Shared, sockets: Sequence[socket.socket]) -> None:
        self.clients: set[Client] = set()
        """Those who were let in."""
        self.open = 0
        """Connections that were accepted and have not ended."""
        self.accepted = 0
        self.turned_away = 0
        self._shared = shared
        self._sockets = list(sockets)
        self._serving = False
        self._context: ssl.SSLContext | None = None
        self._by_address: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        """Of the loop, where there is no TLS; each has a copy of its socket, which it closes."""
        self._tasks: set[asyncio.Task[None]] = set()
        """Handshakes."""
        for listener in self._sockets:
            listener.setblocking(False)

    async def serve(self, context: ssl.SSLContext | None) -> None:
        """Accept callers, with TLS or without it. May be called again: that is for those who connect from then on."""
        before, self._context = self._context, context
        if self._serving and (before is None) == (context is None):
            return
        self._serving = True
        self._stop()
        for listener in self._sockets:
            if context is not None:
                self._listen(listener)
            else:
                unix = listener.family == socket.AF_UNIX
                make = self._shared.loop.create_unix_server if unix else self._shared.loop.create_server
                self._servers.append(await make(self._client, sock=listener.dup(), backlog=BACKLOG))

    async def close(self) -> None:
        """Accept nobody more, and end handshakes."""
        self._stop()
        for listener in self._sockets:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def enter(self, client: Client) -> bool:
        """Somebody is connected, after the handshake where there is one; False: it may not stay."""
        if not client.peer and not self._count(client, _address(client.transport)):
            return False
        self.clients.add(client)
        return True

    def leave(self, client: Client) -> None:
        """A connection has ended, let in or not; told once or twice."""
        self.clients.discard(client)
        host, client.peer = client.peer, ""
        if not host:
            return
        self.open -= 1
        one = household(host)
        left = self._by_address[one] - 1
        if left:
            self._by_address[one] = left
        else:
            del self._by_address[one]

    def _count(self, client: Client, host: str) -> bool:
        """Give the client its address, unless there are too many connections, of this address or in all."""
        settings = self._shared.terms.settings
        one = household(host)
        mine = self._by_address.get(one, 0)
        full = self.open >= settings.connections or (mine >= settings.connections_by_address and host != "unix:")
        if full or not host:
            self.turned_away += 1
            return False
        self.open += 1
        self.accepted += 1
        self._by_address[one] = mine + 1
        client.peer = host
        return True

    def _client(self) -> Client:
        return Client(self._shared, self.enter, self.leave)

    def _stop(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for listener in self._sockets:
            if listener.fileno() >= 0:
                self._shared.loop.remove_reader(listener)

    # -- with TLS ----------------------------------------------------------------------------------------------------

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0 and self._context is not None:
            self._shared.loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Called by the loop: somebody connects."""
        for _ in range(AT_ONCE):
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                _log.warning("nobody can be accepted for the moment: %s", error.strerror)
                self._shared.loop.remove_reader(listener)
                self._shared.loop.call_later(PAUSE, self._listen, listener)
                return
            client = self._client()
            if not self._count(client, _plain(address)):
                accepted.close()
                continue
            task = self._shared.loop.create_task(self._shake_hands(client, accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, client: Client, accepted: socket.socket) -> None:
        try:
            await self._shared.loop.connect_accepted_socket(
                lambda: client, accepted, ssl=self._context, ssl_handshake_timeout=HANDSHAKE
            )
        except OSError:  # what TLS says is one, and a time-out too
            self.leave(client)
        except BaseException:
            self.leave(client)
            raise


def _address(transport: asyncio.BaseTransport) -> str:
    """Of the other end. A caller who is gone already has none, and is not to be taken for one on a local socket."""
    peer = transport.get_extra_info("peername")
    local = getattr(transport.get_extra_info("socket"), "family", None) == socket.AF_UNIX
    return _plain(peer) if local or isinstance(peer, tuple) else ""


def _plain(address: object) -> str:
    """An IPv4 address that comes in IPv6's form (RFC 4291, 2.5.5.2) is the one it is."""
    if not isinstance(address, tuple):
        return "unix:"
    host = str(address[0])
    return host[7:] if host.startswith("::ffff:") and "." in host else host
