"""A caller's connection: what it knows, how its requests end, and how it closes.

The ground of a state machine in layers, each of which knows those before it only: this one, `Answering`, `Tunnelling`,
`Asking`, `Taking`, `Client`. Back-pressure goes both ways: whoever does not take what is sent makes the other side
stop, within bounded buffers.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from time import perf_counter
from typing import TYPE_CHECKING

from assay.guard.gateway.interface import Certificate, Context
from assay.guard.gateway.proxy.answer_heads import Answer
from assay.guard.gateway.proxy.chunks import Chunks
from assay.guard.gateway.proxy.looking import Looking
from assay.guard.gateway.proxy.request_heads import Request
from assay.guard.gateway.proxy.shared import Shared
from assay.guard.gateway.proxy.terms import Place, Terms
from assay.guard.gateway.proxy.upstream import Upstream

if TYPE_CHECKING:
    from assay.guard.gateway.core import Core

HEAD, TAKING, BUSY, SKIPPING, LINGERING, CLOSING, TUNNEL = range(7)
"""What comes from the caller next: a head; a body; nothing, as the answer is awaited; the rest of a body that nobody
wants; anything, until the caller has read our last words; nothing any more; a tunnel's bytes.
"""
HELD = 64 << 10
"""Bytes from a caller that are held while they cannot be used; then nothing more is read."""
LINGER = 2.0
"""Seconds for the other side to take our last words: closed at once, the system would take them back."""

_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """See the module."""

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
        "known",
        "left",
        "looking",
        "outgoing",
        "peer",
        "place",
        "reading_stopped",
        "request",
        "retried",
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

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.state = HEAD
        self.peer = ""
        """The caller's address; ``unix:`` for a local socket."""
        self.tls = False
        self.certificate: Certificate | None = None
        self.deadline = 0.0
        """When `late` is called, by the shared coarse clock."""
        self.buffer = b""
        """What came and was not used yet. In the state `HEAD`, and unless writing is paused: the beginning of a head,
        without its end.
        """
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
        self.known: tuple[object, str, bytes, bytes, bytes] | None = None
        """Caller, address, ``Host`` and upstream of the last request, and the headers that they make."""

    @abstractmethod
    def next_request(self) -> None:
        """Go on with what was held while the last request was answered."""

    # -- the end of a request ----------------------------------------------------------------------------------------

    def complete(self, skipping: bool = False) -> None:
        """The answer was sent: end the request, and go on with the next or close."""
        self.finish(True)
        shared = self.shared
        if self.close_after:
            if self.state == TAKING:
                self._linger()
            else:
                self.shut()
            return
        self.deadline = shared.now + self.terms.idle
        if skipping:
            self.state = SKIPPING
            self.start_reading()
        elif self.buffer or self.reading_stopped:
            self.state = BUSY  # what else comes in this turn of the loop stands behind what is held
            shared.loop.call_soon(self.next_request)
        else:
            self.state = HEAD

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
        shared = self.shared
        shared.bytes_in += context.bytes_in
        shared.bytes_out += context.bytes_out
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

    def detach(self) -> None:
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

    # -- the end of the connection -----------------------------------------------------------------------------------

    def shut(self) -> None:
        """Close once everything was sent, or when the caller does not take it."""
        self.state = CLOSING
        self.buffer = b""
        self.deadline = self.shared.now + self.shared.terms.stream
        self.shared.flush()
        self.transport.close()

    def abort(self) -> None:
        """Close at once: a clean end would make half an answer look whole."""
        self.state = CLOSING
        self.transport.abort()

    def _linger(self) -> None:
        self.state = LINGERING
        self.buffer = b""
        self.deadline = self.shared.now + LINGER
        self.start_reading()
        self.shared.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # -- flow --------------------------------------------------------------------------------------------------------

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
        self.deadline = self.shared.now + self.shared.terms.stream
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.write_paused = False
        if self.upstream is not None:
            self.upstream.transport.resume_reading()
        if self.context is not None:
            self.deadline = self.shared.now + self.place.stream
        elif self.state == HEAD:
            self.deadline = self.shared.now + self.terms.idle
            self.next_request()
