"""Requests and answers whose bytes somebody looks into: read whole, replaced, metered, hardened, or kept for later.

What has to be looked into and cannot be is refused; what is only kept for later is passed on whatever becomes of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from assay.guard.gateway.asgi.exchange import Exchange, nothing
from assay.guard.gateway.asgi.types import Message, Pairs, Receive, Scope, Send
from assay.guard.gateway.coding import decoded, plain
from assay.guard.gateway.core import Core
from assay.guard.gateway.headers import HARMLESS, TELLING
from assay.guard.gateway.interface import ANSWER, BODY, KEEP_ANSWER, KEEP_BODY, METER, Context, Decision
from assay.guard.gateway.parts import Meter, Unhardened
from assay.guard.gateway.refusing import SLOW_BODY, TOO_LARGE, UNHARDENED, Refused
from assay.guard.gateway.settings.serving import Sizes, Timeouts

_TELLING = TELLING | {b"content-length"}


class Inspecting(Exchange):
    """An exchange with `Context.needs`."""

    __slots__ = (
        "_answer",
        "_core",
        "_head",
        "_kept",
        "_meter",
        "_pieces",
        "_replay",
        "_sizes",
        "_whole",
        "request",
        "response",
    )

    def __init__(self, core: Core, context: Context, source: Receive, sink: Send, sizes: Sizes, begun: float) -> None:
        super().__init__(context, source, sink, sizes.body, begun)
        self.request = None
        self.response = None
        self._core = core
        self._sizes = sizes
        self._pieces: list[bytes] | None = None
        """Of a request's body that is kept while it passes."""
        self._replay: bytes | None = None
        """The body that the application is given."""
        self._head: Message | None = None
        """Of an answer that is held back."""
        self._answer: list[bytes] | None = None
        self._kept = 0
        self._meter: Meter | None = None
        self._whole = False

    async def prepare(self, scope: Scope, timeouts: Timeouts) -> Scope | None:
        """Read and admit the body where that is needed. The scope for the application; None: it was refused."""
        context = self.context
        needs, coding = context.needs, context.headers.get(b"content-encoding", b"")
        replaced: bytes | None = None
        if needs & BODY or (needs & KEEP_BODY and not plain(coding)):
            body = await self._read(timeouts)
            if type(body) is bytes and not plain(coding):
                try:
                    # The application is given what was looked into, not what it would decode itself.
                    body = replaced = decoded(body, coding, self._sizes.decoded)
                except Refused as refused:
                    body = refused.decision
            if type(body) is not bytes:
                if body is not None:
                    assert isinstance(body, Decision)
                    await self.refuse(body)
                return None
            self.request = self._replay = body
            if needs & BODY:
                if not (decision := self._core.admit(context, body)).allowed:
                    await self.refuse(decision)
                    return None
                if context.body is not None:
                    self._replay = replaced = context.body
        elif needs & KEEP_BODY:
            self._pieces = []
        needs = context.needs  # `admit` may have added to it
        self._whole = bool(needs & ANSWER)
        if needs & KEEP_ANSWER:
            self._answer = []
        return self._scope(scope, replaced, bool(needs & (ANSWER | METER | KEEP_ANSWER)))

    def _scope(self, scope: Scope, body: bytes | None, readable: bool) -> Scope:
        """The scope with headers that fit another body; ``readable``: the answer shall come as plain bytes."""
        left = set()
        if body is not None:
            left |= {b"content-length", b"transfer-encoding", b"content-encoding"}
        if readable:
            left.add(b"accept-encoding")
        headers: Pairs = [(name, value) for name, value in scope["headers"] if name not in left]
        if body is not None:
            headers.append((b"content-length", b"%d" % len(body)))
        scope = {**scope, "headers": headers}
        if readable and scope.get("extensions"):
            # Ways of answering that do not come by here: files that the server sends itself, trailers, pushes.
            scope["extensions"] = {name: what for name, what in scope["extensions"].items() if name == "tls"}
        return scope

    async def _read(self, timeouts: Timeouts) -> bytes | Decision | None:
        """The whole body. None: the caller has gone."""
        pieces: list[bytes] = []
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(timeouts.body) as limit:
                while True:
                    message = await self.source()
                    if message["type"] != "http.request":
                        self.context.error = "client-gone"
                        self.context.status = 499
                        self.started = self.complete = self.refused = True
                        return None
                    piece = message.get("body", b"")
                    self.context.bytes_in += len(piece)
                    if self.context.bytes_in > self.limit:
                        return TOO_LARGE
                    pieces.append(piece)
                    if not message.get("more_body"):
                        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
                    limit.reschedule(begun + timeouts.body + self.context.bytes_in / 16384)
        except TimeoutError:
            return SLOW_BODY

    async def receive(self) -> Message:
        """For the application."""
        if self._replay is not None and not self.refused:
            body, self._replay = self._replay, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await super().receive()
        if self._pieces is not None and message["type"] == "http.request":
            self._pieces.append(message.get("body", b""))
            if not message.get("more_body"):
                self.request, self._pieces = b"".join(self._pieces), None
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """For the application."""
        if self.refused:
            return nothing()
        kind = message["type"]
        if self._whole:
            return self._hold(message)
        if kind == "http.response.body":
            self._keep(message)
            if self._meter is not None:
                message = {**message, "body": self._meter.feed(message.get("body", b""))}
        elif kind == "http.response.start":
            try:
                return self.sink(self._begin(message))
            except Refused as refused:
                self.started = False  # nothing has left yet
                return self.refuse(refused.decision)
        return super().send(message)

    def _begin(self, message: Message) -> Message:
        message = self.start(message)
        context = self.context
        if context.needs & METER and self.meter(message) is not None:
            return {**message, "headers": [pair for pair in message["headers"] if pair[0] not in _TELLING]}
        return message

    def meter(self, message: Message) -> Meter | None:
        """Follow the answer, where it is a stream of events; another one is settled whole. Raises `Refused`
        for one that cannot be looked into.
        """
        context = self.context
        if not context.content_type.lower().startswith(b"text/event-stream"):
            context.needs &= ~METER
            if self._answer is None:
                self._answer = []
        elif not plain(_header(message, b"content-encoding")):
            raise Refused(UNHARDENED)
        else:
            self._meter = self._core.meter(context)
        return self._meter

    def _keep(self, message: Message) -> None:
        """For later; an answer that is larger than what may be held is passed on and not kept."""
        if self._answer is None:
            return
        body = message.get("body", b"")
        self._kept += len(body)
        if self._kept > self._sizes.buffered:
            self._answer = None
            return
        self._answer.append(body)
        if not message.get("more_body"):
            self.response = b"".join(self._answer)
            self._answer = None

    async def _hold(self, message: Message) -> None:
        """For an answer that goes on only as a whole, and as less than it was."""
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = self.start(message)
            self._answer = []
            self.started = False  # nothing has left yet, and may still be refused
            return
        if kind != "http.response.body" or self._head is None or self._answer is None:
            await self.refuse(UNHARDENED)  # a way of answering that nobody can look into
            return
        body = message.get("body", b"")
        self._kept += len(body)
        if self._kept > self._sizes.buffered:
            await self.refuse(UNHARDENED)
            return
        self._answer.append(body)
        if not message.get("more_body"):
            await self._release(b"".join(self._answer))

    async def _release(self, body: bytes) -> None:
        assert self._head is not None
        head, context = self._head, self.context
        if not plain(_header(head, b"content-encoding")):
            await self.refuse(UNHARDENED)
            return
        self.response = body
        if context.needs & METER and (meter := self.meter(head)) is not None:
            body = meter.feed(body)
        try:
            answer = self._core.answer(context, context.status, context.content_type, body, self.request or b"")
        except Unhardened:
            await self.refuse(UNHARDENED)
            return
        headers = [pair for pair in head["headers"] if pair[0].lower() in HARMLESS]
        if context.method == "HEAD":
            answer = b""
        elif context.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(answer)))
        self.passed = len(answer)
        self.started = self.complete = True
        await self.sink({**head, "headers": headers})
        await self.sink({"type": "http.response.body", "body": answer})

    def close(self) -> None:
        """The application has returned."""
        super().close()
        if self._pieces is not None and self.context.bytes_in:
            self._pieces = None  # it was not read to its end: half a body is none
        if self._meter is not None:
            self._meter.close(self.context)


def _header(message: Message, wanted: bytes) -> bytes:
    """A header of an answer; empty where it has none."""
    return next((value for name, value in message.get("headers") or () if name == wanted), b"")
