"""One caller's connection: reads requests, asks the core, passes on what it allows.

The order is the security argument: framing, then `Core.decide`, then (where it looks into bodies) `Core.admit`, and
only then is a byte sent to the model server. `Core.finish` is called exactly once for each request, however it ends.
"""

from __future__ import annotations

import asyncio
from time import perf_counter, time
from typing import TYPE_CHECKING, cast

from assay.guard.gateway import refusing
from assay.guard.gateway.headers import host_name
from assay.guard.gateway.interface import ANSWER, BODY, METER, Context, Decision, Verb
from assay.guard.gateway.proxy import forwarding, refusals, websocket
from assay.guard.gateway.proxy.answering import (
    BUSY,
    CLOSING,
    HEAD,
    HELD,
    SKIPPING,
    TAKING,
    TUNNEL,
    Answering,
)
from assay.guard.gateway.proxy.chunks import LAST, Chunks, chunk
from assay.guard.gateway.proxy.heads import CLOSE, EXPECT, UPGRADE
from assay.guard.gateway.proxy.looking import Looking
from assay.guard.gateway.proxy.request_heads import Request
from assay.guard.gateway.refusing import Refused

if TYPE_CHECKING:
    from assay.guard.gateway.proxy.upstream import Upstream

RATE = 16384.0
"""Bytes a second that a body has to come with, beyond its first seconds."""

_AFTER_THE_END = Decision(False, 400, "framing", "more follows a request that ends the connection")


class Client(Answering):
    """See the module."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self.deadline = self.server.now + self.server.terms.head
        if self.server.enter(self):
            self.certificate = self.watched()
        else:
            self.state = CLOSING
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            state = self.state
            if state == HEAD and not self.write_paused:
                if self.buffer:
                    since = len(self.buffer)
                    data, self.buffer = self.buffer + data, b""
                    self._heads(data, since)
                else:
                    self._heads(data, 0)
            elif state == TAKING:
                self._take(data)
            elif state == TUNNEL:
                self.tunnel(data)
            elif state == SKIPPING:
                self._skip(data)
            elif state in (BUSY, HEAD):
                self.buffer += data
                if len(self.buffer) > HELD:
                    self.stop_reading()
        except Exception:
            self.broken()

    def next_request(self) -> None:
        """Go on with what was held while the last request was answered."""
        if self.state != HEAD or self.write_paused:
            return
        if self.buffer:
            data, self.buffer = self.buffer, b""
            try:
                self._heads(data, 0)
            except Exception:
                self.broken()
        if len(self.buffer) <= HELD and (self.upstream is None or not self.upstream.write_paused):
            self.start_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the loop: the caller is gone, or we have closed."""
        self.server.leave(self)
        state, self.state = self.state, CLOSING
        if self.context is not None:
            if not self.context.status:
                self.context.status = 499
            if state == TUNNEL:
                if self.upstream is not None:
                    upstream, self.upstream = self.upstream, None
                    upstream.client = None
                    self.server.flush()
                    upstream.transport.close()  # what the caller has said last is still sent
            else:
                self.context.error = self.context.error or "client-gone"
            self._detach()
            self.finish(False)

    # -- a head ------------------------------------------------------------------------------------------------------

    def _heads(self, data: bytes, since: int) -> None:
        """A head and what follows it; the first ``since`` bytes of it came earlier."""
        end = data.find(b"\r\n\r\n", max(0, since - 3))
        self.terms = terms = self.server.current()
        try:
            if end >= 0:
                request = terms.reader.read(data, end)
            else:
                terms.reader.partial(data, since)
        except Refused as refused:
            self._reject(refused.decision)
            return
        if end >= 0:
            self._begin(request, data, end + 4)
            return
        self.buffer = data
        if not since:
            self.deadline = self.server.now + terms.head

    def _reject(self, decision: Decision, error: str = "") -> None:
        """Bytes that are no request: what follows them is not read as one either."""
        self.request = None
        self.context = context = Context("-", b"", {}, self.peer, time(), tls=self.tls, certificate=self.certificate)
        context.error = error
        self.core = self.server.gate.core
        self.started = perf_counter()
        self.close_after = True
        self.state = TAKING
        self.refuse(self.core.refuse(context, decision))

    def _begin(self, request: Request, data: bytes, position: int) -> None:
        server = self.server
        self.request = request
        self.core = core = server.gate.core
        self.context = context = Context(
            request.method,
            request.target,
            request.headers,
            self.peer,
            time(),
            http=request.http,
            tls=self.tls,
            certificate=self.certificate,
        )
        self.started = perf_counter()
        server.requests += 1
        self.close_after = bool(request.bits & CLOSE)
        self.bodyless = request.method == "HEAD"
        length = request.length
        have = len(data) - position
        if 0 <= length <= have:
            self.state = BUSY
            if have > length:
                self.buffer = data[position + length :]
        else:
            self.state = TAKING
            self.left = length - have if length >= 0 else -1
        terms = self.terms
        decision = core.decide(context)
        if not decision.allowed:
            self.refuse(decision)
            return
        assert context.route is not None
        self.place = place = terms.places[context.route.index]
        if terms.hosts and host_name(request.host) not in terms.hosts:
            self.refuse(core.refuse(context, refusing.OTHER_HOST))
        elif self.buffer and request.bits & CLOSE:
            self.refuse(core.refuse(context, _AFTER_THE_END))
        elif length > place.body:
            self.refuse(core.refuse(context, refusing.TOO_LARGE))
        elif request.bits & UPGRADE:
            self._upgrade(request, context)
        elif self.state == BUSY:
            context.bytes_in = length
            self._whole(data[position : position + length] if length else b"")
        else:
            self._start_taking(request, context, data[position:])

    # -- a body ------------------------------------------------------------------------------------------------------

    def _whole(self, body: bytes) -> None:
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
        self.outgoing = self._forwarded(len(body), decoded) + body
        self._ask()

    def _start_taking(self, request: Request, context: Context, data: bytes) -> None:
        """The body comes in pieces."""
        self.taking_since = self.server.now
        self.deadline = self.server.now + self.place.body_time
        self.left = request.length
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
            self.outgoing = self._forwarded(request.length, False)
            self._ask()
        if request.bits & EXPECT and not data and self.state == TAKING:
            self.server.send(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")
        if data and self.state == TAKING:
            self._take(data)

    def _take(self, data: bytes) -> None:
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
            self._stop(refused.decision)
            return
        self.deadline = self.taking_since + self.place.body_time + context.bytes_in / RATE
        if last:
            self.state = BUSY
            self.deadline = self.server.now + self.place.first_byte
        if looking is not None and looking.whole:
            if last:
                self._look()
            return
        upstream = self.upstream
        if upstream is not None:
            upstream.sending = not last
            self.outgoing = None  # part of the body is gone: it cannot be sent again
            self.server.send(upstream.transport, out)
        elif out:
            self.backlog.append(out)
            self.backlog_size += len(out)
            if self.backlog_size > HELD:
                self.stop_reading()

    def _stop(self, decision: Decision) -> None:
        """Refuse what has begun to be passed on."""
        context = self.context
        assert context is not None
        self.left = -1  # nothing of the rest is worth reading
        if self.answered:
            self.fail(decision, decision.rule)
        else:
            self.refuse(self.core.refuse(context, decision))

    def _skip(self, data: bytes) -> None:
        """The rest of a refused body."""
        if len(data) < self.left:
            self.left -= len(data)
            return
        self.buffer = data[self.left :]
        self.state = HEAD
        self.deadline = self.server.now + self.terms.idle
        self.next_request()

    # -- the model server --------------------------------------------------------------------------------------------

    def _forwarded(self, length: int, decoded: bool) -> bytes:
        """The head that the model server gets."""
        request, context, shared = self.request, self.context, self.shared
        assert request is not None and context is not None
        authority = self.place.pool.address.authority
        host = request.host
        if (
            shared is None
            or context.forwarded
            or shared[0] is not context.caller
            or shared[1] != context.address
            or shared[2] != host
            or shared[3] is not authority
        ):
            known = forwarding.known(context, request, authority)
            self.shared = shared = (context.caller, context.address, host, authority, known)
            if context.forwarded:
                self.shared = None  # the next request's headers may say other things
        identity = self.looking is not None and self.looking.wants_identity()
        return forwarding.head(request, context, shared[4], length=length, identity=identity, decoded=decoded)

    def _upgrade(self, request: Request, context: Context) -> None:
        """A request for a tunnel. Whatever is answered, the caller may already think that it has one."""
        self.close_after = True
        route = context.route
        # Of a health check nobody has asked who may; a tunnel is no health check.
        closed = not self.place.websocket or route is None or route.verb is Verb.HEALTH
        if closed or not websocket.asked(request):
            self.refuse(self.core.refuse(context, refusals.NO_TUNNEL))
        elif context.needs & (ANSWER | BODY | METER):
            self.refuse(self.core.refuse(context, refusals.UNSEEN_TUNNEL))
        else:
            self.outgoing = forwarding.tunnel(self._forwarded(0, False))
            self._ask()

    def _ask(self) -> None:
        """Send the request, now or when the caller has waited as long as it must."""
        context = self.context
        assert context is not None
        if context.wait > 0:
            self.timer = self.server.loop.call_later(context.wait, self._connect)
            self.deadline = self.server.now + context.wait + self.place.first_byte
        else:
            self._connect()

    def _connect(self) -> None:
        self.timer = None
        if self.state == BUSY:
            self.deadline = self.server.now + self.place.first_byte
        pool = self.place.pool
        upstream = pool.take()
        if upstream is not None:
            self.on_connection(upstream)
        elif pool.wait(self):
            self.waiting = True
        else:
            self.fail(refusals.BUSY, "upstream-busy")

    def on_connection(self, upstream: Upstream) -> None:
        """A connection to the model server is ours."""
        self.waiting = False
        self.upstream = upstream
        assert self.outgoing is not None
        self.asked = perf_counter()
        data = self.outgoing
        if self.backlog:
            data += b"".join(self.backlog)
            self.backlog = []
            self.backlog_size = 0
            self.outgoing = None
        upstream.ask(self, self.state == TAKING)
        self.server.send(upstream.transport, data)
        if self.reading_stopped and len(self.buffer) <= HELD and not upstream.write_paused:
            self.start_reading()

    def on_unreachable(self, late: bool) -> None:
        """There is no connection to be had."""
        self.waiting = False
        if late:
            self.fail(refusals.LATE, "upstream-timeout")
        else:
            self.fail(refusals.UNREACHABLE, "upstream-refused")

    def on_stale(self, unread: bool) -> None:
        """A connection that had been used before ended without an answer. Sent again, once, where that cannot make the
        model server do the same work twice: RFC 9110, 9.2.2; RFC 9112, 9.3.1.
        """
        request = self.request
        assert request is not None
        if self.outgoing is None or self.retried or not (unread or request.method in ("GET", "HEAD")):
            self.on_broken("upstream-reset")
            return
        self.retried = True
        if self.place.pool.wait(self):
            self.waiting = True
        else:
            self.fail(refusals.BUSY, "upstream-busy")

    def hold(self) -> None:
        """The model server takes nothing more at the moment."""
        if self.state in (TAKING, TUNNEL):
            self.stop_reading()

    def unhold(self) -> None:
        """It does again."""
        if self.state in (TAKING, TUNNEL):
            self.start_reading()

    # -- time --------------------------------------------------------------------------------------------------------

    def late(self) -> None:
        """The deadline has passed."""
        state, context = self.state, self.context
        self.server.late += 1
        if context is None:
            if state == HEAD and self.buffer and not self.write_paused:
                self._reject(refusals.SLOW_HEAD, "head-timeout")
            elif state == HEAD and not self.transport.get_write_buffer_size():
                self.shut()
            else:
                self.transport.abort()
        elif state == TUNNEL:
            context.error = "idle"
            self._detach()
            self.complete()
        elif self.write_paused:
            self.fail(refusals.BROKEN, "client-slow")
        elif state == TAKING and not self.reading_stopped and not self.answered:
            context.error = "body-timeout"
            self._stop(refusing.SLOW_BODY)
        else:
            self.fail(refusals.LATE, "upstream-stalled" if self.answered else "upstream-timeout")
