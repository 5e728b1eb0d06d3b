"""A request on its way to the model server: its head, a connection of the pool, and again where that is harmless."""

from __future__ import annotations

from time import perf_counter

from assay.guard.gateway.proxy import forwarding, refusals
from assay.guard.gateway.proxy.connection import BUSY, HELD, TAKING, TUNNEL
from assay.guard.gateway.proxy.tunnelling import Tunnelling
from assay.guard.gateway.proxy.upstream import Upstream


class Asking(Tunnelling):
    """See the module."""

    __slots__ = ()

    def forwarded(self, length: int, decoded: bool) -> bytes:
        """The head that the model server gets."""
        request, context, known = self.request, self.context, self.known
        assert request is not None and context is not None
        authority = self.place.pool.address.authority
        host = request.host
        if (
            known is None
            or context.forwarded
            or known[0] is not context.caller
            or known[1] != context.address
            or known[2] != host
            or known[3] is not authority
        ):
            lines = forwarding.known(context, request, authority)
            self.known = known = (context.caller, context.address, host, authority, lines)
            if context.forwarded:
                self.known = None  # the next request's headers may say other things
        identity = self.looking is not None and self.looking.wants_identity()
        return forwarding.head(request, context, known[4], length=length, identity=identity, decoded=decoded)

    def ask(self) -> None:
        """Send the request, now or when the caller has waited as long as it must."""
        context = self.context
        assert context is not None
        if context.wait > 0:
            self.timer = self.shared.loop.call_later(context.wait, self._connect)
            self.deadline = self.shared.now + context.wait + self.place.first_byte
        else:
            self._connect()

    def _connect(self) -> None:
        self.timer = None
        if self.state == BUSY:
            self.deadline = self.shared.now + self.place.first_byte
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
        self.shared.send(upstream.transport, data)
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
