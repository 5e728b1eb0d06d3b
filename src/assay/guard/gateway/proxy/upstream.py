"""One connection to the model server: sends what a client has been allowed to, reads its answer strictly.

It passes nothing on that it has not understood; it never decides anything and never sees a caller's connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from assay.guard.gateway.proxy.answer_heads import Answer, AnswerReader
from assay.guard.gateway.proxy.chunks import Chunks
from assay.guard.gateway.proxy.heads import CLOSE
from assay.guard.gateway.refusing import Refused

IDLE, HEAD, FIXED, CHUNKED, UNTIL_CLOSE, TUNNEL = range(6)
INTERIM = 8
"""Most answers with 1xx before the one that counts; they are dropped."""

_BODYLESS = frozenset({204, 304})


class Asker(Protocol):
    """Who asks for connections, and is told of what comes through them."""

    bodyless: bool
    """Whether the answer has no body whatever its head says."""
    write_paused: bool
    """Whether it takes nothing more at the moment."""
    upstream: Upstream | None
    """Its connection, which it loses as soon as the answer is complete."""

    def on_connection(self, upstream: Upstream) -> None:
        """There is a connection for whoever waited for one."""

    def on_unreachable(self, late: bool) -> None:
        """There is none to be had; ``late``: not in time."""

    def on_answer(self, answer: Answer, piece: bytes, ended: bool) -> None:
        """The head of the answer and what came with it; ``ended``: that is all."""

    def on_piece(self, piece: bytes, ended: bool) -> None:
        """More of the answer."""

    def on_stale(self, unread: bool) -> None:
        """A connection that had been used before ended without an answer; ``unread``: nobody has read the request."""

    def on_broken(self, error: str) -> None:
        """The answer will not come, or not to its end."""

    def on_switch(self, answer: Answer, data: bytes) -> None:
        """The model server agrees to a tunnel."""

    def on_tunnel(self, data: bytes) -> None:
        """Bytes through the tunnel."""

    def on_tunnel_end(self) -> None:
        """The model server has closed the tunnel."""

    def hold(self) -> None:
        """The model server takes nothing more at the moment."""

    def unhold(self) -> None:
        """It does again."""

    def broken(self) -> None:
        """What it was told of has made it raise."""


class Upstream(asyncio.Protocol):
    """Serves one client at a time, then waits in its pool for the next."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_interim",
        "_left",
        "_lost",
        "_reader",
        "_release",
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

    def __init__(
        self, reader: AnswerReader, release: Callable[[Upstream], None], lost: Callable[[Upstream], None]
    ) -> None:
        """``release`` takes it back when an answer is complete, ``lost`` is told of its end."""
        self._reader = reader
        self._release = release
        self._lost = lost
        self._state = IDLE
        self._left = 0
        self._chunks: Chunks | None = None
        self._buffer = b""
        self._interim = 0
        self.client: Asker | None = None
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

    def ask(self, client: Asker, more: bool) -> None:
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
            self._let_go(client)
            client.broken()

    def _head(self, client: Asker, data: bytes) -> None:
        since = 0
        if self._buffer:
            since = len(self._buffer)
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n", since - 3 if since > 3 else 0)
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

    def _done(self, client: Asker, clean: bool) -> None:
        """The answer is complete. What follows it without being asked for makes the connection worthless."""
        self.client = client.upstream = None
        self._state = IDLE
        self._chunks = None
        if clean and not self.sending and not self.write_paused and not self.transport.is_closing():
            self.reused = True
            if client.write_paused:
                self.transport.resume_reading()  # or its end would not be noticed
            self._release(self)
        else:
            self.transport.abort()

    def _fail(self, client: Asker, error: str) -> None:
        self._let_go(client)
        client.on_broken(error)

    def _let_go(self, client: Asker) -> None:
        """End the connection, unless it is somebody else's by now: it is given back before an answer is passed on."""
        if self.client is client:
            self.client = client.upstream = None
            self._state = IDLE
            self.transport.abort()

    def eof_received(self) -> None:
        """Called by the loop."""
        client = self.client
        if client is not None and self._state == HEAD:
            raw = self.transport.get_extra_info("socket")
            if raw is not None and raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.unread = True  # the system has refused what we sent: nobody can have read it

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the loop."""
        self._lost(self)
        client = self.client
        if client is None:
            return
        self.client = client.upstream = None
        if isinstance(exc, ConnectionResetError | BrokenPipeError):
            self.unread = True
        state, self._state = self._state, IDLE
        try:
            if state == UNTIL_CLOSE and exc is None:
                client.on_piece(b"", True)
            elif state == TUNNEL:
                client.on_tunnel_end()
            elif state == HEAD and not self._buffer and not self._interim and self.reused:
                client.on_stale(self.unread)
            else:
                client.on_broken("upstream-reset")
        except Exception:
            client.broken()

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
