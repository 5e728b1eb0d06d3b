"""One caller's connection: reads requests, asks the core, passes on what it allows.

The order is the security argument: framing, then `Core.decide`, then (where it looks into bodies) `Core.admit`, and
only then is a byte sent to the model server. `Core.finish` is called exactly once for each request, however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter, time
from typing import cast

from assay.guard.gateway import refusing
from assay.guard.gateway.headers import host_name
from assay.guard.gateway.interface import ANSWER, BODY, METER, Context, Decision, Verb
from assay.guard.gateway.proxy import forwarding, refusals, tls, websocket
from assay.guard.gateway.proxy.connection import BUSY, CLOSING, HEAD, HELD, SKIPPING, TAKING, TUNNEL
from assay.guard.gateway.proxy.heads import CLOSE, UPGRADE
from assay.guard.gateway.proxy.request_heads import Request
from assay.guard.gateway.proxy.shared import Shared
from assay.guard.gateway.proxy.taking import Taking
from assay.guard.gateway.refusing import Refused

_AFTER_THE_END = Decision(False, 400, "framing", "more follows a request that ends the connection")


class Client(Taking):
    """See the module."""

    __slots__ = ("_enter", "_leave")

    def __init__(self, shared: Shared, enter: Callable[[Client], bool], leave: Callable[[Client], None]) -> None:
        """``enter`` is asked once it is connected, and says whether it may stay; ``leave`` is told of its end."""
        super().__init__(shared)
        self._enter = enter
        self._leave = leave

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop, after the handshake where there is one."""
        self.transport = cast(asyncio.Transport, transport)
        self.terms = terms = self.shared.terms
        self.deadline = self.shared.now + terms.head
        if not self._enter(self):
            self.abort()
        elif transport.get_extra_info("sslcontext") is not None:
            self.tls = True
            self.certificate = tls.certificate(transport)

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
                self.take(data)
            elif state == TUNNEL:
                self.tunnel(data)
            elif state == SKIPPING:
                self.skip(data)
            elif state in (BUSY, HEAD):
                self.buffer += data
                if len(self.buffer) > HELD:
                    self.stop_reading()
        except Exception:
            self.broken()

    def next_request(self) -> None:
        """Go on with what was held while the last request was answered."""
        if self.state == BUSY and self.context is None:
            self.state = HEAD
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
        state, self.state = self.state, CLOSING
        context = self.context
        if context is not None:
            if not context.status:
                context.status = 499
            if state == TUNNEL:
                self.leave_tunnel()
            else:
                context.error = context.error or "client-gone"
            self.detach()
            self.finish(False)
        self._leave(self)

    def late(self) -> None:
        """The deadline has passed."""
        state, context = self.state, self.context
        self.shared.late += 1
        if context is None:
            if state == HEAD and self.buffer and not self.write_paused:
                self._reject(refusals.SLOW_HEAD, "head-timeout")
            elif state == HEAD and not self.transport.get_write_buffer_size():
                self.shut()
            else:
                self.transport.abort()
        elif state == TUNNEL:
            context.error = "idle"
            self.detach()
            self.complete()
        elif self.write_paused:
            self.fail(refusals.BROKEN, "client-slow")
        elif state == TAKING and not self.reading_stopped and not self.answered:
            context.error = "body-timeout"
            self.stop(refusing.SLOW_BODY)
        else:
            self.fail(refusals.LATE, "upstream-stalled" if self.answered else "upstream-timeout")

    # -- a head ------------------------------------------------------------------------------------------------------

    def _heads(self, data: bytes, since: int) -> None:
        """A head and what follows it; the first ``since`` bytes of it came earlier, and its end was not among them."""
        end = data.find(b"\r\n\r\n", since - 3 if since > 3 else 0)
        shared = self.shared
        self.terms = terms = shared.current()
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
            self.deadline = shared.now + terms.head

    def _reject(self, decision: Decision, error: str = "") -> None:
        """Bytes that are no request: what follows them is not read as one either."""
        self.request = None
        self.context = context = Context("-", b"", {}, self.peer, time(), tls=self.tls, certificate=self.certificate)
        context.error = error
        self.core = self.shared.gate.core
        self.started = perf_counter()
        self.close_after = True
        self.state = TAKING
        self.refuse(self.core.refuse(context, decision))

    def _begin(self, request: Request, data: bytes, position: int) -> None:
        shared = self.shared
        self.request = request
        self.core = core = shared.gate.core
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
        shared.requests += 1
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
            self.take_whole(data[position : position + length] if length else b"")
        else:
            self.start_taking(request, context, data[position:])

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
            self.outgoing = forwarding.tunnel(self.forwarded(0, False))
            self.ask()
