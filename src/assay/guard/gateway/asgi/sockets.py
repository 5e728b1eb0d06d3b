"""WebSockets behind the middleware: a handshake that is decided, then messages that are counted and bounded.

Nothing in them is validated, hardened or captured; a route whose bodies must be looked into has none.
"""

from __future__ import annotations

from time import perf_counter, time

from assay.guard.gateway.asgi.types import Message, Receive, Scope, Send
from assay.guard.gateway.interface import Context, Decision
from assay.guard.gateway.refusing import refusal

NO_SOCKET = Decision(False, 403, "route", "this route takes no WebSocket connections")


class Socket:
    """Stands in for the server's ``receive`` and ``send``."""

    __slots__ = ("asked", "begun", "closed", "context", "limit", "sink", "source")

    request: bytes | None = None
    response: bytes | None = None

    def __init__(self, context: Context, source: Receive, sink: Send, limit: int, begun: float) -> None:
        self.context = context
        self.source = source
        self.sink = sink
        self.limit = limit
        """Most bytes of one message."""
        self.begun = self.asked = begun
        self.closed = 0
        """The code with which it was ended by us; 0: it was not."""

    async def receive(self) -> Message:
        """For the application."""
        message = self._gone() if self.closed else await self.source()
        if message["type"] == "websocket.receive":
            size = _size(message)
            self.context.bytes_in += size
            if size > self.limit:
                await self._end(1009, "message-size", "the message is too large")
            elif self._outlived():
                await self._end(1008, "certificate-ended", "the certificate has ended")
        return self._gone() if self.closed else message

    async def send(self, message: Message) -> None:
        """For the application."""
        if self.closed:
            return
        context, kind = self.context, message["type"]
        if kind == "websocket.send":
            if self._outlived():
                await self._end(1008, "certificate-ended", "the certificate has ended")
                return
            context.bytes_out += _size(message)
        elif kind == "websocket.accept":
            self._begin(101)
            identity = (b"x-request-id", context.request_id.encode())
            message = {**message, "headers": [*(message.get("headers") or ()), identity]}
        elif kind == "websocket.http.response.start":
            self._begin(message["status"])
        elif kind == "websocket.http.response.body":
            context.bytes_out += len(message.get("body", b""))
        elif kind == "websocket.close" and not context.status:
            self._begin(403)  # what a server answers to a handshake that is not accepted
        await self.sink(message)

    async def refuse(self, decision: Decision, scope: Scope) -> None:
        """Answer the handshake: with our words where the server can send them, else with its 403."""
        self.context.decision = decision
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            self._begin(403)
            await self.sink({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        self._begin(decision.status)
        headers, body = refusal(self.context, decision)
        self.context.bytes_out = len(body)
        await self.sink({"type": "websocket.http.response.start", "status": decision.status, "headers": headers})
        await self.sink({"type": "websocket.http.response.body", "body": body})

    def close(self) -> None:
        """The application has returned."""
        self.context.ended = perf_counter() - self.begun
        if not self.context.status:
            self.context.status = 500

    def _outlived(self) -> bool:
        """Whether the caller's certificate has ended: nobody is asked again who it is."""
        certificate = self.context.certificate
        return certificate is not None and certificate.not_after < time()

    async def _end(self, code: int, error: str, reason: str) -> None:
        self.closed = code
        self.context.error = error
        await self.sink({"type": "websocket.close", "code": code, "reason": reason})

    def _gone(self) -> Message:
        return {"type": "websocket.disconnect", "code": self.closed, "reason": ""}

    def _begin(self, status: int) -> None:
        now = perf_counter()
        self.context.status = status
        self.context.upstream = now - self.asked
        self.context.first_byte = now - self.begun


def _size(message: Message) -> int:
    text = message.get("text")
    return len(text.encode()) if text is not None else len(message.get("bytes") or b"")
