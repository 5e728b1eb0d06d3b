"""A WebSocket's bytes, which pass both ways and nobody looks into, once both sides have agreed to the tunnel."""

from __future__ import annotations

from time import perf_counter, time

from assay.guard.gateway import refusing
from assay.guard.gateway.proxy import refusals
from assay.guard.gateway.proxy.answer_heads import Answer
from assay.guard.gateway.proxy.answering import Answering
from assay.guard.gateway.proxy.connection import LINGER, TUNNEL
from assay.guard.gateway.proxy.heads import UPGRADE
from assay.guard.gateway.proxy.websocket import agreed
from assay.guard.gateway.refusing import STATUS


class Tunnelling(Answering):
    """See the module."""

    __slots__ = ()

    def on_switch(self, answer: Answer, data: bytes) -> None:
        """The model server agrees to a tunnel."""
        request, context = self.request, self.context
        assert request is not None and context is not None and self.upstream is not None
        if not request.bits & UPGRADE or not agreed(request, answer):
            self.fail(refusals.MALFORMED, "upstream-malformed")
            return
        now = perf_counter()
        context.upstream = now - self.asked
        context.first_byte = now - self.started
        context.status = 101
        lines = [
            b"connection: Upgrade",
            b"upgrade: websocket",
            *answer.kept,
            b"x-request-id: " + context.request_id.encode(),
        ]
        self.shared.send(self.transport, STATUS[101] + b"\r\n".join(lines) + b"\r\n\r\n")
        self.outgoing = None
        self.answered = True
        self.state = TUNNEL
        self.deadline = self.shared.now + self.place.idle
        self._hold_to_certificate()
        self.hold_answer()
        early, self.buffer = self.buffer, b""
        if data:
            self.on_tunnel(data)
        if early and self.upstream is not None:
            self.tunnel(early)

    def on_tunnel(self, data: bytes) -> None:
        """Bytes for the caller."""
        context = self.context
        assert context is not None
        context.bytes_out += len(data)
        if context.bytes_out > self.place.response:
            self.fail(refusals.LARGE_ANSWER, "size")
            return
        if not self.write_paused:
            self.deadline = self.shared.now + self.place.idle
        self.shared.send(self.transport, data)

    def tunnel(self, data: bytes) -> None:
        """Bytes from the caller."""
        context, upstream = self.context, self.upstream
        assert context is not None and upstream is not None
        context.bytes_in += len(data)
        if context.bytes_in > self.place.body:
            self.fail(refusing.TOO_LARGE, "size")
            return
        self.deadline = self.shared.now + self.place.idle
        self.shared.send(upstream.transport, data)

    def on_tunnel_end(self) -> None:
        """The model server has closed the tunnel."""
        self.detach()
        self.complete()

    def leave_tunnel(self) -> None:
        """The caller is gone: what it has said last is still sent, as far as the model server takes it soon."""
        if self.upstream is not None:
            upstream, self.upstream = self.upstream, None
            upstream.client = None
            self.shared.flush()
            upstream.transport.close()
            self.shared.loop.call_later(LINGER, upstream.transport.abort)

    def _hold_to_certificate(self) -> None:
        """A tunnel ends with the certificate that it was opened by: nobody is asked again who it is."""
        if self.certificate is None:
            return
        left = self.certificate.not_after - time()
        if left > 0:
            self.timer = self.shared.loop.call_later(min(left, 3600.0), self._hold_to_certificate)
        else:
            self.timer = None
            self.fail(refusals.CERTIFICATE_ENDED, "certificate-ended")
