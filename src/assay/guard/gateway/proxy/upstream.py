"""One connection to the model server: sends what a client has been allowed to, reads its answer strictly.

It passes nothing on that it has not understood; it never decides anything and never sees a caller's connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, cast

from assay.guard.gateway.proxy.answer_heads import AnswerReader
from assay.guard.gateway.proxy.chunks import Chunks
from assay.guard.gateway.proxy.heads import CLOSE
from assay.guard.gateway.refusing import Refused

if TYPE_CHECKING:
    from assay.guard.gateway.proxy.client import Client
    from assay.guard.gateway.proxy.pool import Pool

IDLE, HEAD, FIXED, CHUNKED, UNTIL_CLOSE, TUNNEL = range(6)
INTERIM = 8
"""Most answers with 1xx before the one that counts; they are dropped."""

_BODYLESS = frozenset({204, 304})
_log = logging.getLogger(__name__)


class Upstream(asyncio.Protocol):
    """Serves one client at a time, then waits in its pool for the next."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_interim",
        "_left",
        "_pool",
        "_reader",
        "_state",
        "client",
        "reused",
        "sending",
        "since",
        "transport",
        "unread",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, pool: Pool, reader: AnswerReader) -> None:
        self._pool = pool
        self._reader = reader
        self._state = IDLE
        self._left = 0
        self._chunks: Chunks | None = None
        self._buffer = b""
        self._interim = 0
        self.client: Client | None = None
        self.reused = False
        """Whether it has answered a request before."""
        self.sending = False
        """Whether more of the request is to come."""
        self.since = 0.0
        """When it became idle, by the loop's clock."""
        self.unread = False
        """Whether the system said that the other end closed without having read what we sent."""
        self.write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, client: Client, more: bool) -> None:
        """A request is sent; ``more``: its body is not complete."""
        self.client = client
        self.sending = more
        self._state = HEAD
        self._interim = 0

    def give_up(self) -> None:
        """Nobody waits for the answer any more: the connection ends, so that the model server can stop working."""
        self.client = None
        self._state = IDLE
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        client = self.client
        if client is None:
            self.transport.abort()  # nobody asked for this: the next answer must not begin with it
            return
        try:
            state = self._state
            if state == HEAD:
                self._head(client, data)
            elif state == FIXED:
                have = len(data)
                if have < self._left:
                    self._left -= have
                    client.on_piece(data, False)
                else:
                    left, self._left = self._left, 0
                    self._done(client, have == left)
                    client.on_piece(data if have == left else data[:left], True)
            elif state == CHUNKED:
                assert self._chunks is not None
                pieces, rest = self._chunks.feed(data)
                done = self._chunks.done
                if done:
                    self._done(client, not rest)
                if pieces or done:
                    client.on_piece(pieces[0] if len(pieces) == 1 else b"".join(pieces), done)
            elif state == UNTIL_CLOSE:
                client.on_piece(data, False)
            elif state == TUNNEL:
                client.on_tunnel(data)
        except Refused:
            self._fail(client, "upstream-malformed")
        except Exception:
            _log.exception("an answer could not be passed on")
            self._fail(client, "internal")

    def _head(self, client: Client, data: bytes) -> None:
        since = 0
        if self._buffer:
            since = len(self._buffer)
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n", max(0, since - 3))
            if end < 0:
                if data:
                    self._reader.partial(data, since)
                self._buffer = data
                return
            answer = self._reader.read(data, end)
            status = answer.status
            position = end + 4
            if status >= 200:
                break
            if status == 101:
                self._state = TUNNEL
                client.on_switch(answer, data[position:])
                return
            self._interim += 1
            if self._interim > INTERIM:
                self._fail(client, "upstream-malformed")
                return
            data = data[position:]
            since = 0
        if answer.bits & CLOSE:
            self.sending = True  # it is not asked again
        length = answer.length
        if status in _BODYLESS or client.bodyless:
            length = 0
        have = len(data) - position
        if length >= 0:
            if have >= length:
                self._done(client, have == length)
                client.on_answer(answer, data[position : position + length], True)
                return
            self._left = length - have
            self._state = FIXED
            client.on_answer(answer, data[position:], False)
        elif length == -1:
            self._chunks = chunks = Chunks(drop_trailers=True)
            pieces, rest = chunks.feed(data[position:])
            if chunks.done:
                self._done(client, not rest)
            else:
                self._state = CHUNKED
            client.on_answer(answer, b"".join(pieces), chunks.done)
        else:
            self._state = UNTIL_CLOSE
            client.on_answer(answer, data[position:], False)

    def _done(self, client: Client, clean: bool) -> None:
        """The answer is complete. What follows it without being asked for makes the connection worthless."""
        self.client = client.upstream = None
        self._state = IDLE
        self._chunks = None
        if clean and not self.sending and not self.write_paused and not self.transport.is_closing():
            self.reused = True
            if client.write_paused:
                self.transport.resume_reading()  # or its end would not be noticed
            self._pool.release(self)
        else:
            self.transport.abort()

    def _fail(self, client: Client, error: str) -> None:
        self.client = client.upstream = None
        self._state = IDLE
        self.transport.abort()
        client.on_broken(error)

    def eof_received(self) -> None:
        """Called by the loop."""
        client = self.client
        if client is not None and self._state == HEAD:
            raw = self.transport.get_extra_info("socket")
            if raw is not None and raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.unread = True  # the system has refused what we sent: nobody can have read it

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the loop."""
        self._pool.lost(self)
        client = self.client
        if client is None:
            return
        self.client = client.upstream = None
        if isinstance(exc, ConnectionResetError | BrokenPipeError):
            self.unread = True
        state, self._state = self._state, IDLE
        if state == UNTIL_CLOSE and exc is None:
            client.on_piece(b"", True)
        elif state == TUNNEL:
            client.on_tunnel_end()
        elif state == HEAD and not self._buffer and not self._interim and self.reused:
            client.on_stale(self.unread)
        else:
            client.on_broken("upstream-reset")

    def pause_writing(self) -> None:
        """Called by the loop: the model server takes nothing more at the moment."""
        self.write_paused = True
        if self.client is not None:
            self.client.hold()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.write_paused = False
        if self.client is not None:
            self.client.unhold()
