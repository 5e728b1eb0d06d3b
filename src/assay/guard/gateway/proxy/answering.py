"""The half of a caller's connection that answers: the model server's answer, or why there is none.

Back-pressure goes both ways: whoever does not take what is sent makes the other side stop, within bounded buffers.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, time
from typing import TYPE_CHECKING

from assay.guard.gateway import refusing
from assay.guard.gateway.headers import HARMLESS
from assay.guard.gateway.interface import Certificate, Context, Decision
from assay.guard.gateway.proxy import refusals, tls
from assay.guard.gateway.proxy.answer_heads import Answer
from assay.guard.gateway.proxy.chunks import LAST, Chunks, chunk
from assay.guard.gateway.proxy.heads import EXPECT, UPGRADE
from assay.guard.gateway.proxy.looking import Looking
from assay.guard.gateway.proxy.request_heads import Request
from assay.guard.gateway.proxy.websocket import agreed
from assay.guard.gateway.refusing import STATUS, Refused

if TYPE_CHECKING:
    from assay.guard.gateway.core import Core
    from assay.guard.gateway.proxy.server import Server
    from assay.guard.gateway.proxy.terms import Place, Terms
    from assay.guard.gateway.proxy.upstream import Upstream

HEAD, TAKING, BUSY, SKIPPING, LINGERING, CLOSING, TUNNEL = range(7)
"""What comes from the caller next: a head; a body; nothing, as the answer is awaited; the rest of a body that nobody
wants; anything, until the caller has read our last words; nothing any more; a tunnel's bytes.
"""
HELD = 64 << 10
"""Bytes from a caller that are held while they cannot be used; then nothing more is read."""
SKIPPED = 64 << 10
"""Largest rest of a refused body that is read, so that the connection can go on."""
LINGER = 2.0
"""Seconds for a caller to read why the connection ends: closed at once, the system would take the answer back."""

_log = logging.getLogger(__name__)


class Answering(asyncio.Protocol):
    """State of a connection, and its way out."""

    __slots__ = (
        "answer",
        "answered",
        "asked",
        "backlog",
        "backlog_size",
        "bodyless",
        "buffer",
        "certificate",
        "chunking",
        "chunks",
        "close_after",
        "context",
        "core",
        "deadline",
        "left",
        "looking",
        "outgoing",
        "peer",
        "place",
        "reading_stopped",
        "request",
        "retried",
        "server",
        "shared",
        "started",
        "state",
        "taking_since",
        "terms",
        "timer",
        "tls",
        "transport",
        "upstream",
        "waiting",
        "write_paused",
    )

    transport: asyncio.Transport
    request: Request | None
    context: Context | None
    core: Core
    terms: Terms
    place: Place

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state = HEAD
        self.peer = ""
        self.tls = False
        self.certificate: Certificate | None = None
        self.deadline = 0.0
        """When `late` is called, by the server's coarse clock."""
        self.buffer = b""
        """What came and was not read yet."""
        self.close_after = False
        """Whether the connection ends with this answer."""
        self.write_paused = False
        """Whether the caller does not take what was sent."""
        self.reading_stopped = False
        self.request = None
        self.context = None
        """Of the request under way; None between two."""
        self.started = self.asked = self.taking_since = 0.0
        self.upstream: Upstream | None = None
        self.waiting = False
        """Whether the pool has us in its queue."""
        self.timer: asyncio.TimerHandle | None = None
        """Of a caller who is slowed down, or of a tunnel whose caller's certificate ends."""
        self.left = 0
        """Bytes of the request's body that are still to come; negative: it comes in chunks."""
        self.chunks: Chunks | None = None
        self.looking: Looking | None = None
        self.outgoing: bytes | None = None
        """The request as it is sent, while it could be sent again."""
        self.backlog: list[bytes] = []
        """Pieces of the body that wait for a connection."""
        self.backlog_size = 0
        self.retried = False
        self.bodyless = False
        """Whether the answer has no body whatever its head says (``HEAD``)."""
        self.answer: Answer | None = None
        """One that is held."""
        self.answered = False
        """Whether the answer's head was sent."""
        self.chunking = False
        """Whether the answer is sent in chunks."""
        self.shared: tuple[object, str, bytes, bytes, bytes] | None = None
        """Caller, address, ``Host`` and upstream of the last request, and the headers that they make."""

    # -- what comes from the model server ------------------------------------------------------------------------

    def on_answer(self, answer: Answer, piece: bytes, ended: bool) -> None:
        """The head of the answer and what came with it; ``ended``: that is all."""
        context = self.context
        assert context is not None
        context.upstream = perf_counter() - self.asked
        context.status = answer.status
        context.content_type = answer.headers.get(b"content-type", b"")
        self.outgoing = None
        if self.state == TAKING:
            self.close_after = True
        looking = self.looking
        changes = False
        try:
            if answer.length > self.place.response or (ended and len(piece) > self.place.response):
                raise Refused(refusals.LARGE_ANSWER)
            if looking is not None:
                changes = looking.begin(self.core, answer)
                if looking.holding:
                    self.answer = answer
                    self._hold(piece, ended)
                    return
                piece = looking.pass_on(piece)
        except Refused as refused:
            self.fail(refused.decision, refused.decision.rule)
            return
        if ended:
            self._head(answer, answer.front, len(piece), piece)
            self.complete()
        else:
            self.deadline = self.server.now + self.place.stream
            self._head(answer, answer.front, -1 if changes or answer.length < 0 else answer.length, piece)

    def on_piece(self, piece: bytes, ended: bool) -> None:
        """More of the answer."""
        if not self.write_paused:
            self.deadline = self.server.now + self.place.stream
        context = self.context
        assert context is not None
        if self.answer is not None:
            try:
                self._hold(piece, ended)
            except Refused as refused:
                self.fail(refused.decision, refused.decision.rule)
            return
        if self.looking is not None:
            piece = self.looking.pass_on(piece)
        context.bytes_out += len(piece)
        if context.bytes_out > self.place.response:
            self.fail(refusals.LARGE_ANSWER, "size")
            return
        if self.chunking:
            piece = chunk(piece) + LAST if ended else chunk(piece)
        if piece:
            self.server.send(self.transport, piece)
        if ended:
            self.complete()

    def on_broken(self, error: str) -> None:
        """The answer will not come, or not to its end."""
        self.fail(refusals.MALFORMED if error == "upstream-malformed" else refusals.BROKEN, error)

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
        self.server.send(self.transport, STATUS[101] + b"\r\n".join(lines) + b"\r\n\r\n")
        self.outgoing = None
        self.answered = True
        self.state = TUNNEL
        self.deadline = self.server.now + self.place.idle
        self._hold_to_certificate()
        early, self.buffer = self.buffer, b""
        if data:
            self.on_tunnel(data)
        if early and self.upstream is not None:
            self.tunnel(early)

    def on_tunnel(self, data: bytes) -> None:
        """Bytes for the caller, through a tunnel."""
        context = self.context
        assert context is not None
        context.bytes_out += len(data)
        if context.bytes_out > self.place.response:
            self.fail(refusals.LARGE_ANSWER, "size")
            return
        if not self.write_paused:
            self.deadline = self.server.now + self.place.idle
        self.server.send(self.transport, data)

    def on_tunnel_end(self) -> None:
        """The model server has closed the tunnel."""
        self._detach()
        self.complete()

    def _hold_to_certificate(self) -> None:
        """A tunnel ends with the certificate that it was opened by: nobody is asked again who it is."""
        if self.certificate is None:
            return
        left = self.certificate.not_after - time()
        if left > 0:
            self.timer = self.server.loop.call_later(min(left, 3600.0), self._hold_to_certificate)
        else:
            self.timer = None
            self.fail(refusals.CERTIFICATE_ENDED, "certificate-ended")

    def tunnel(self, data: bytes) -> None:
        """Bytes from the caller, through a tunnel."""
        context, upstream = self.context, self.upstream
        assert context is not None and upstream is not None
        context.bytes_in += len(data)
        if context.bytes_in > self.place.body:
            self.fail(refusing.TOO_LARGE, "size")
            return
        self.deadline = self.server.now + self.place.idle
        self.server.send(upstream.transport, data)

    def _hold(self, piece: bytes, ended: bool) -> None:
        looking, answer = self.looking, self.answer
        assert looking is not None and answer is not None
        looking.hold(piece)
        if not ended:
            self.deadline = self.server.now + self.place.stream
            return
        body = looking.harden(self.core)
        self.answer = None
        kept = [line for line in answer.kept if line.partition(b":")[0].lower() in HARMLESS]
        self._head(answer, b"\r\n".join((STATUS[answer.status][:-2], *kept, b"")), len(body), body)
        self.complete()

    # -- what goes to the caller -------------------------------------------------------------------------------------

    def _head(self, answer: Answer, front: bytes, length: int, piece: bytes) -> None:
        """Send the head and the first piece; ``length`` of the body, or -1."""
        context, request = self.context, self.request
        assert context is not None and request is not None
        if self.server.draining:
            self.close_after = True
        framing = ""
        status = answer.status
        if self.bodyless or status == 304:
            if (said := answer.headers.get(b"content-length")) is not None:
                framing = f"content-length: {said.decode()}\r\n"
            piece = b""
        elif status == 204:
            piece = b""
        else:
            context.bytes_out = len(piece)
            if length >= 0:
                framing = f"content-length: {length}\r\n"
            elif request.http == "HTTP/1.1":
                self.chunking = True
                framing = "transfer-encoding: chunked\r\n"
                piece = chunk(piece)
        if self.close_after:
            framing += "connection: close\r\n"
        if b"date" not in answer.headers:
            front += self.server.date
        self.answered = True
        last = f"x-request-id: {context.request_id}\r\n{framing}\r\n"
        self.server.send(self.transport, b"".join((front, last.encode(), piece)))
        context.first_byte = perf_counter() - self.started

    def refuse(self, decision: Decision) -> None:
        """Answer with a refusal, as long as no other answer has begun."""
        context = self.context
        assert context is not None
        self._detach()
        context.status = decision.status
        refused = self.server.refused
        refused[decision.status] = refused.get(decision.status, 0) + 1
        skipping = False
        if self.state == TAKING:
            request = self.request
            skipping = (
                not self.close_after and request is not None and 0 < self.left <= SKIPPED and not request.bits & EXPECT
            )
            self.close_after = self.close_after or not skipping
        self.close_after = self.close_after or self.server.draining
        self.server.send(
            self.transport, refusals.refusal(context, decision, close=self.close_after, date=self.server.date)
        )
        context.first_byte = perf_counter() - self.started
        self.answered = True
        self.complete(skipping)

    def fail(self, decision: Decision, error: str) -> None:
        """No answer, or not all of it: say so, or break off where another answer has begun."""
        context = self.context
        if context is None:
            self.transport.abort()
            return
        context.error = context.error or error
        if decision in (
            refusals.LARGE_ANSWER,
            refusing.UNHARDENED,
        ):  # ours; the others say what became of the model server
            context.decision = decision
        if self.answered:
            self._detach()
            self.finish(False)
            self.state = CLOSING
            self.transport.abort()  # a clean end would make half an answer look whole
        else:
            self.refuse(decision)

    def broken(self) -> None:
        """Something of ours has failed: nothing is let through."""
        _log.exception("a request could not be served")
        try:
            if self.context is None:
                self.state = CLOSING
                self.transport.abort()
            else:
                if not self.answered:
                    self.context.decision = refusing.FAULT
                self.fail(refusing.FAULT, "internal")
        except Exception:
            _log.exception("and that could not be said")
            self.state = CLOSING
            self.transport.abort()

    def complete(self, skipping: bool = False) -> None:
        """The answer was sent: end the request, and go on with the next or close."""
        self.finish(True)
        server = self.server
        if self.close_after:
            if self.state == TAKING:
                self._linger()
            else:
                self.shut()
            return
        if skipping:
            self.state = SKIPPING
            self.deadline = server.now + self.terms.idle
        else:
            self.state = HEAD
            self.deadline = server.now + self.terms.idle
            if self.buffer or self.reading_stopped:
                server.loop.call_soon(self.next_request)

    def next_request(self) -> None:
        """Go on with what was held while the last request was answered."""
        raise NotImplementedError

    def finish(self, complete: bool) -> None:
        """Tell the core that the request has ended; ``complete``: its answer was sent to its end. Once for each."""
        context = self.context
        if context is None:
            return
        self.context = None
        context.ended = perf_counter() - self.started
        self.outgoing = None
        self.answered = self.chunking = self.retried = False
        looking = self.looking
        server = self.server
        server.bytes_in += context.bytes_in
        server.bytes_out += context.bytes_out
        try:
            if looking is None:
                self.core.finish(context)
            else:
                self.looking = self.answer = None
                self.core.finish(context, *looking.end(complete))
        except Exception:
            _log.exception("the end of a request could not be noted")
        if self.chunks is not None or self.backlog:
            self.chunks = None
            self.backlog = []
            self.backlog_size = 0

    def _detach(self) -> None:
        """Let go of the model server: it can stop working on this."""
        if self.upstream is not None:
            upstream, self.upstream = self.upstream, None
            upstream.give_up()
        if self.waiting:
            self.waiting = False
            self.place.pool.leave(self)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def shut(self) -> None:
        """Close once everything was sent, or when the caller does not take it."""
        self.state = CLOSING
        self.buffer = b""
        self.deadline = self.server.now + self.server.terms.stream
        self.server.flush()
        self.transport.close()

    def _linger(self) -> None:
        self.state = LINGERING
        self.buffer = b""
        self.deadline = self.server.now + LINGER
        self.start_reading()
        self.server.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # -- flow ------------------------------------------------------------------------------------------------------

    def stop_reading(self) -> None:
        """Take nothing more from the caller for now."""
        if not self.reading_stopped:
            self.reading_stopped = True
            self.transport.pause_reading()

    def start_reading(self) -> None:
        """Take more again."""
        if self.reading_stopped:
            self.reading_stopped = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Called by the loop: the caller takes nothing more at the moment."""
        self.write_paused = True
        self.deadline = self.server.now + self.server.terms.stream
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.write_paused = False
        if self.upstream is not None:
            self.upstream.transport.resume_reading()
        if self.context is not None:
            self.deadline = self.server.now + self.place.stream
        elif self.state == HEAD:
            self.deadline = self.server.now + self.terms.idle
            self.next_request()

    def watched(self) -> Certificate | None:
        """The caller's certificate, proved by TLS."""
        return tls.certificate(self.transport) if self.tls else None
