"""A request's body: whole or in pieces, looked into or passed on as it comes, refused as soon as it may not go on."""

from __future__ import annotations

from assay.guard.gateway import refusing
from assay.guard.gateway.interface import BODY, Context, Decision
from assay.guard.gateway.proxy.asking import Asking
from assay.guard.gateway.proxy.chunks import LAST, Chunks, chunk
from assay.guard.gateway.proxy.connection import BUSY, HEAD, HELD, TAKING
from assay.guard.gateway.proxy.heads import EXPECT
from assay.guard.gateway.proxy.looking import Looking
from assay.guard.gateway.proxy.request_heads import Request
from assay.guard.gateway.refusing import Refused

RATE = 16384.0
"""Bytes a second that a body has to come with, beyond its first seconds."""


class Taking(Asking):
    """See the module."""

    __slots__ = ()

    def take_whole(self, body: bytes) -> None:
        """The body came with the head."""
        context = self.context
        assert context is not None
        if context.needs:
            try:
                self.looking = looking = Looking(context, self.place)
                looking.take(body)
            except Refused as refused:
                self.refuse(self.core.refuse(context, refused.decision))
                return
            if looking.whole:
                self._look()
                return
        self._send(body)

    def _look(self) -> None:
        """The body is complete, and somebody looks into it before it goes on."""
        context, looking = self.context, self.looking
        assert context is not None and looking is not None
        try:
            body = looking.body()
        except Refused as refused:
            self.refuse(self.core.refuse(context, refused.decision))
            return
        if context.needs & BODY:
            decision = self.core.admit(context, body)
            if not decision.allowed:
                self.refuse(decision)
                return
            if context.body is not None:
                body = context.body
        self._send(body, decoded=looking.coded)

    def _send(self, body: bytes, *, decoded: bool = False) -> None:
        """Pass the request on, with all of its body."""
        self.outgoing = self.forwarded(len(body), decoded) + body
        self.ask()

    def start_taking(self, request: Request, context: Context, data: bytes) -> None:
        """The body comes in pieces, the first of which is ``data``."""
        self.taking_since = self.shared.now
        self.deadline = self.shared.now + self.place.body_time
        if request.length < 0:
            self.chunks = Chunks()
        looking = None
        if context.needs:
            try:
                self.looking = looking = Looking(context, self.place)
            except Refused as refused:
                self.refuse(self.core.refuse(context, refused.decision))
                return
        if looking is None or not looking.whole:
            self.outgoing = self.forwarded(request.length, False)
            self.ask()
        if self.state != TAKING:
            return  # refused: what is still to come of the body does not include ``data``
        if data:
            self.left = request.length
            self.take(data)
        elif request.bits & EXPECT:
            self.shared.send(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")

    def take(self, data: bytes) -> None:
        """A piece of the body."""
        context, looking = self.context, self.looking
        assert context is not None
        try:
            if self.chunks is None:
                piece = data
                if len(data) >= self.left:
                    piece, self.buffer = data[: self.left], data[self.left :]
                self.left -= len(piece)
                last = not self.left
                out = piece
            else:
                pieces, self.buffer = self.chunks.feed(data)
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                last = self.chunks.done
                out = chunk(piece) + LAST if last else chunk(piece)
            context.bytes_in += len(piece)
            if context.bytes_in > self.place.body:
                raise Refused(refusing.TOO_LARGE)
            if looking is not None and piece:
                looking.take(piece)
        except Refused as refused:
            self.stop(refused.decision)
            return
        self.deadline = self.taking_since + self.place.body_time + context.bytes_in / RATE
        if last:
            self.state = BUSY
            self.deadline = self.shared.now + self.place.first_byte
        if looking is not None and looking.whole:
            if last:
                self._look()
            return
        upstream = self.upstream
        if upstream is not None:
            upstream.sending = not last
            self.outgoing = None  # part of the body is gone: it cannot be sent again
            self.shared.send(upstream.transport, out)
        elif out:
            self.backlog.append(out)
            self.backlog_size += len(out)
            if self.backlog_size > HELD:
                self.stop_reading()

    def stop(self, decision: Decision) -> None:
        """Refuse what has begun to be passed on."""
        context = self.context
        assert context is not None
        self.left = -1  # nothing of the rest is worth reading
        if self.answered:
            self.fail(decision, decision.rule)
        else:
            self.refuse(self.core.refuse(context, decision))

    def skip(self, data: bytes) -> None:
        """The rest of a refused body."""
        if len(data) < self.left:
            self.left -= len(data)
            return
        self.buffer = data[self.left :]
        self.state = HEAD
        self.deadline = self.shared.now + self.terms.idle
        self.next_request()
