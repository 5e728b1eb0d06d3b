"""Answers an edge's question about each request: may it pass. One small server of HTTP/1.1 on a unix socket or, with a
shared secret, on loopback.

It must never answer 2xx to a question that it did not understand, and never to one whose decision failed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from time import time
from typing import TYPE_CHECKING

from assay.errors import MissingExtraError, UsageError
from assay.guard.gateway.core import Core, Gate
from assay.guard.gateway.headers import join, single
from assay.guard.gateway.interface import ANSWER, BODY, Context, Decision
from assay.guard.gateway.refusing import TOO_LARGE
from assay.guard.gateway.service import answering, asking
from assay.guard.gateway.settings import Settings

if TYPE_CHECKING:
    from httptools import HttpRequestParser

_LOG = logging.getLogger(__name__)
_WHOLE = BODY | ANSWER
_IDLE = 300.0
"""Seconds after which a connection that asks nothing is closed; edges keep theirs for a minute."""
_SWEEP = 5.0
_REMEMBERED = 2048
"""Questions that are remembered with what they mean; all are forgotten when there are more."""
_LONG = 2048
"""Bytes of the longest one that is."""

_UNSEEN = Decision(False, 503, "edge", "this is only served through the gateway itself")
_FAILED = Decision(False, 503, "error", "the request could not be judged")


class Service:
    """The decision service of one process. ``secret`` must be in each question that does not come by a unix socket."""

    def __init__(self, gate: Gate, settings: Settings, *, secret: bytes = b"") -> None:
        self.gate = gate
        self.secret = secret
        self.connections: set[Connection] = set()
        self.reload(settings)
        self.asked = self.refused = self.misunderstood = self.failed = 0
        self.draining = False
        self.clock = 0.0
        """Monotonic seconds, coarse: of the last sweep."""
        self.known: tuple[dict[bytes, asking.Question], dict[bytes, asking.Question]] = ({}, {})
        """Questions by their bytes: from those who have to bring the secret, and from the others."""
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on sockets that are bound. Raises `UsageError` for one that others could reach."""
        try:
            import httptools  # noqa: F401
        except ImportError:
            raise MissingExtraError("the decision service", "gateway") from None
        for one in sockets:
            self._check(one)
        loop = asyncio.get_running_loop()
        self.clock = loop.time()
        for one in sockets:
            trusted = one.family == socket.AF_UNIX
            self._servers.append(
                await loop.create_server(lambda trusted=trusted: Connection(self, loop, trusted), sock=one)  # type: ignore[misc]
            )
        self._sweeping = loop.call_later(_SWEEP, self._sweep, loop)

    async def drain(self, seconds: float = 5.0) -> None:
        """Take no new connection, answer what was asked, then end."""
        self.draining = True
        for server in self._servers:
            server.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self.connections):
            connection.end()
        deadline = asyncio.get_running_loop().time() + seconds
        while self.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()

    def reload(self, settings: Settings) -> None:
        """Other bounds, for new questions."""
        self.most, self.head = settings.connections, float(settings.timeouts.head)
        self.largest = settings.sizes.line + settings.sizes.headers + (32 << 10)  # a certificate besides
        self.small = min((one.sizes or settings.sizes).body for one in settings.routes)
        """Bytes of a body that every route takes."""
        self.single = asking.OURS | single(settings, cookies=True)
        """Names of headers that may not be repeated."""

    def figures(self) -> Mapping[str, float]:
        """For metrics: open connections, and questions by what became of them."""
        return {
            "service_connections": len(self.connections),
            "service_asked": self.asked,
            "service_refused": self.refused,
            "service_misunderstood": self.misunderstood,
            "service_failed": self.failed,
        }

    def _check(self, one: socket.socket) -> None:
        if one.family == socket.AF_UNIX:
            return
        address = one.getsockname()[0]
        if address not in ("127.0.0.1", "::1"):
            raise UsageError(
                f"the decision service does not listen on {address}: others could ask it",
                hint="use unix:/path, or 127.0.0.1 with a secret",
            )
        if len(self.secret) < 16:
            raise UsageError(
                "the decision service on a loopback address needs a secret of 16 bytes or more",
                hint="use unix:/path, or name one in the gateway file: service-secret: FILE",
            )

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = loop.time()
        for connection in [one for one in self.connections if one.late(self.clock, self.head)]:
            connection.abort()
        self._sweeping = loop.call_later(_SWEEP, self._sweep, loop)


class Connection(asyncio.Protocol):
    """One connection of an edge: question, answer, question, …"""

    __slots__ = (
        "_bad",
        "_headers",
        "_keep",
        "_known",
        "_loop",
        "_parser",
        "_question",
        "_service",
        "_since",
        "_size",
        "_transport",
        "_trusted",
        "_waiting",
    )

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, trusted: bool) -> None:
        import httptools

        self._service = service
        self._loop = loop
        self._trusted = trusted
        self._known = service.known[trusted]
        self._parser: HttpRequestParser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._headers: dict[bytes, bytes] = {}
        self._question: asking.Question | None = None
        self._bad = False
        self._keep = True
        self._size = 0
        """Bytes of a question that is not complete."""
        self._since = service.clock
        self._waiting: asyncio.TimerHandle | None = None
        """An answer that has to wait."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """An edge has come; one too many is sent away."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's are of no class of asyncio
        service = self._service
        if service.draining or len(service.connections) >= service.most:
            self._transport.abort()
        else:
            service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; what still waited for it is dropped."""
        self._service.connections.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def data_received(self, data: bytes) -> None:
        """A question, or a part of one."""
        service = self._service
        if not self._size:
            self._since = service.clock
            question = self._known.get(data)
            if question is not None and self._waiting is None:
                self._judge(question)
                return
        before = self._size
        self._size += len(data)
        self._question = None
        if self._waiting is not None or self._size > service.largest:
            self._misunderstand()  # no edge asks again before it was answered
            return
        try:
            self._parser.feed_data(data)
            question = self._question
            if question is None:
                return
            if self._size:
                raise ValueError("another question before the answer")
            if not before and self._keep and len(data) <= _LONG:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[bytes(data)] = question
        except Exception:  # whatever cannot be read, or what reading it set off: nothing passes
            self._misunderstand()
            return
        self._judge(question)

    def on_message_begin(self) -> None:
        """Of the parser."""
        if self._question is not None:
            raise ValueError("another question before the answer")
        self._headers = {}
        self._bad = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the parser."""
        name = name.lower()
        headers = self._headers
        if name not in headers:
            headers[name] = value
        elif name in self._service.single:
            self._bad = True
        else:
            join(headers, name, value)

    def on_body(self, body: bytes) -> None:
        """Of the parser."""
        self._bad = True  # a body would have to be judged too

    def on_message_complete(self) -> None:
        """Of the parser: the question is there. Raises `ValueError` where it is none."""
        self._keep = self._parser.should_keep_alive()  # only true in here
        known = self._trusted or compare_digest(self._headers.get(asking.SECRET, b""), self._service.secret)
        if self._bad or not known:
            raise ValueError("no question of an edge's")
        self._question = asking.Question(self._headers)
        self._size = 0

    def late(self, now: float, head: float) -> bool:
        """Whether a question has begun and does not end, or none comes."""
        return self._waiting is None and now - self._since > (head + _SWEEP if self._size else _IDLE)

    def end(self) -> None:
        """Close, once nothing is owed."""
        self._keep = False
        if self._waiting is None and not self._size:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def _judge(self, question: asking.Question) -> None:
        service = self._service
        service.asked += 1
        context = question.context(time())
        core = service.gate.core
        decision = _decide(core, context, question.length, service)
        if decision.allowed:
            answer = answering.allowed(context)
        else:
            service.refused += 1
            answer = answering.refused(context, decision, plain=question.plain)
        if context.wait > 0:
            self._waiting = self._loop.call_later(context.wait, self._answer, answer)
        else:
            self._answer(answer)
        context.ended = context.first_byte = time() - context.at
        context.status = decision.status
        core.finish(context)

    def _answer(self, answer: bytes) -> None:
        self._waiting = None
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        if not self._keep:
            self._transport.close()

    def _misunderstand(self) -> None:
        self._service.misunderstood += 1
        if not self._transport.is_closing():
            self._transport.write(answering.CLOSED)
            self._transport.close()


def _decide(core: Core, context: Context, length: int, service: Service) -> Decision:
    """The core's decision; what it cannot decide without a body, or fails at, is refused. So are bodies that are too
    large: not every edge can hold that limit itself.
    """
    try:
        decision = core.decide(context)
    except Exception:
        service.failed += 1
        _LOG.exception("a request could not be judged")
        return core.refuse(context, _FAILED)
    if decision.allowed and context.needs & _WHOLE:
        return core.refuse(context, _UNSEEN)
    if length > service.small and decision.allowed and context.route is not None:
        sizes = core.settings.routes[context.route.index].sizes or core.settings.sizes
        if length > sizes.body:
            return core.refuse(context, TOO_LARGE)
    return decision
