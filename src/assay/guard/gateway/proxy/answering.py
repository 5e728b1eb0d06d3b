"""What a caller is answered: what the model server says, or why there is nothing of it.

Half an answer never looks whole, and nothing of an answer is sent before all that has to be seen of it was seen.
"""

from __future__ import annotations

import logging
from time import perf_counter

from assay.guard.gateway import refusing
from assay.guard.gateway.headers import HARMLESS
from assay.guard.gateway.interface import Decision
from assay.guard.gateway.proxy import refusals
from assay.guard.gateway.proxy.answer_heads import Answer
from assay.guard.gateway.proxy.chunks import LAST, chunk
from assay.guard.gateway.proxy.connection import TAKING, Connection
from assay.guard.gateway.proxy.heads import EXPECT
from assay.guard.gateway.refusing import STATUS, Refused

SKIPPED = 64 << 10
"""Largest rest of a refused body that is read, so that the connection can go on."""

_OURS = (refusals.LARGE_ANSWER, refusals.FULL, refusing.UNHARDENED, refusing.FAULT)
"""Failures that we decide on; the others say what became of the model server."""
_log = logging.getLogger(__name__)


class Answering(Connection):
    """See the module."""

    __slots__ = ()

    # -- what comes from the model server ----------------------------------------------------------------------------

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
            self.deadline = self.shared.now + self.place.stream
            self._head(answer, answer.front, -1 if changes or answer.length < 0 else answer.length, piece)
            self.hold_answer()

    def on_piece(self, piece: bytes, ended: bool) -> None:
        """More of the answer."""
        if not self.write_paused:
            self.deadline = self.shared.now + self.place.stream
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
            self.shared.send(self.transport, piece)
        if ended:
            self.complete()

    def on_broken(self, error: str) -> None:
        """The answer will not come, or not to its end."""
        self.fail(refusals.MALFORMED if error == "upstream-malformed" else refusals.BROKEN, error)

    def hold_answer(self) -> None:
        """More of the answer is to come. Who stopped reading before the model server was asked made nobody wait yet."""
        if self.write_paused and self.upstream is not None:
            self.upstream.transport.pause_reading()

    def _hold(self, piece: bytes, ended: bool) -> None:
        looking, answer = self.looking, self.answer
        assert looking is not None and answer is not None
        looking.hold(piece)
        if not ended:
            self.deadline = self.shared.now + self.place.stream
            return
        body = looking.harden(self.core)
        self.answer = None
        kept = [line for line in answer.kept if line.partition(b":")[0].lower() in HARMLESS]
        self._head(answer, b"\r\n".join((STATUS[answer.status][:-2], *kept, b"")), len(body), body)
        self.complete()

    # -- what goes to the caller -------------------------------------------------------------------------------------

    def _head(self, answer: Answer, front: bytes, length: int, piece: bytes) -> None:
        """Send the head and the first piece; ``length`` of the body, or -1."""
        context, request, shared = self.context, self.request, self.shared
        assert context is not None and request is not None
        if shared.draining:
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
            front += shared.date
        self.answered = True
        last = f"x-request-id: {context.request_id}\r\n{framing}\r\n"
        shared.send(self.transport, b"".join((front, last.encode(), piece)))
        context.first_byte = perf_counter() - self.started

    def refuse(self, decision: Decision) -> None:
        """Answer with a refusal, as long as no other answer has begun."""
        context, shared = self.context, self.shared
        assert context is not None
        self.detach()
        context.status = decision.status
        refused = shared.refused
        refused[decision.status] = refused.get(decision.status, 0) + 1
        skipping = False
        if self.state == TAKING:
            request = self.request
            skipping = (
                not self.close_after and request is not None and 0 < self.left <= SKIPPED and not request.bits & EXPECT
            )
            self.close_after = self.close_after or not skipping
        self.close_after = self.close_after or shared.draining
        shared.send(self.transport, refusals.refusal(context, decision, close=self.close_after, date=shared.date))
        context.first_byte = perf_counter() - self.started
        self.answered = True
        self.complete(skipping)

    def fail(self, decision: Decision, error: str) -> None:
        """No answer, or not all of it: say so, or break off where another answer has begun."""
        context = self.context
        if context is None:
            self.abort()
            return
        context.error = context.error or error
        if decision in _OURS:
            context.decision = decision
        if self.answered:
            self.detach()
            self.finish(False)
            self.abort()
        else:
            self.refuse(decision)

    def broken(self) -> None:
        """Something of ours has failed: nothing is let through."""
        _log.exception("a request could not be served")
        try:
            self.fail(refusing.FAULT, "internal")
        except Exception:
            _log.exception("and that could not be said")
            self.abort()
