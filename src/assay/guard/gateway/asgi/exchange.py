"""One request between server and application: counts what passes, ends what is too large, and tells how it ended.

Whatever passes here is passed on at once and in its order; `inspecting` is for those whose bytes somebody looks into.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter

from assay.guard.gateway.asgi.types import Message, Receive, Send
from assay.guard.gateway.interface import Context, Decision
from assay.guard.gateway.refusing import TOO_LARGE, refusal

GONE: Message = {"type": "http.disconnect"}


class Exchange:
    """Stands in for the server's ``receive`` and ``send``."""

    __slots__ = ("asked", "begun", "complete", "context", "limit", "passed", "refused", "sink", "source", "started")

    request: bytes | None = None
    """The body, where somebody would like it."""
    response: bytes | None = None
    """The model's own answer, where somebody would like it."""

    def __init__(self, context: Context, source: Receive, sink: Send, limit: int, begun: float) -> None:
        self.context = context
        self.source = source
        self.sink = sink
        self.limit = limit
        """Most bytes of the request's body."""
        self.begun = self.asked = begun
        """Both by `perf_counter`: when the request came, and when the application was asked."""
        self.passed = 0
        """Bytes of the answer's body, as the application sent them."""
        self.started = False
        """Whether the answer's head is on its way to the caller, or what stands for it."""
        self.complete = False
        self.refused = False
        """Whether the answer is ours; the application's then goes nowhere."""

    async def receive(self) -> Message:
        """For the application."""
        if self.refused:
            return GONE
        message = await self.source()
        if message["type"] == "http.request":
            context = self.context
            context.bytes_in += len(message.get("body", b""))
            if context.bytes_in > self.limit:
                await self.refuse(TOO_LARGE)
                return GONE
        elif not self.complete:
            self.context.error = "client-gone"
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """For the application. No coroutine of its own: that would cost as much as all the rest."""
        if self.refused:
            return nothing()
        kind = message["type"]
        if kind == "http.response.start":
            message = self.start(message)
        elif kind == "http.response.body":
            self.passed += len(message.get("body", b""))
            if not message.get("more_body"):
                self.complete = True
        elif kind != "http.response.trailers":
            self.complete = True  # the server reads a file itself: its length is not known here
        return self.sink(message)

    def start(self, message: Message) -> Message:
        """Note the answer's head; the head to pass on."""
        context = self.context
        now = perf_counter()
        context.status = message["status"]
        context.upstream = now - self.asked
        context.first_byte = now - self.begun
        self.started = True
        headers = message.get("headers") or ()
        named = dict(headers)
        context.content_type = named.get(b"content-type", b"")
        if b"x-request-id" in named:
            return message
        return {**message, "headers": [*headers, (b"x-request-id", context.request_id.encode())]}

    async def refuse(self, decision: Decision) -> None:
        """Answer instead of the application, unless its answer is on the way: then it stops there, and a server that
        counts bytes ends the connection.
        """
        self.refused = True
        context = self.context
        if self.started:
            context.error = decision.rule  # what it has had is not given back
            return
        context.decision = decision
        self.started = True
        self.complete = True
        context.status = decision.status
        context.first_byte = perf_counter() - self.begun
        headers, body = refusal(context, decision)
        if decision.status in (413, 408) and context.http.startswith("HTTP/1"):
            headers.append((b"connection", b"close"))
        self.passed = len(body)
        if context.method == "HEAD":
            body = b""
        await self.sink({"type": "http.response.start", "status": decision.status, "headers": headers})
        await self.sink({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """The application has returned; called before the request is told of."""
        context = self.context
        context.ended = perf_counter() - self.begun
        if context.method != "HEAD":
            context.bytes_out = self.passed
        if not self.started:
            context.status = 500  # what servers then say
            context.error = context.error or "app-error"
        elif not self.complete:
            context.error = context.error or "app-error"


async def nothing() -> None:
    """What becomes of an answer that nobody waits for."""
