"""A request whose bytes somebody looks into: read whole, decoded, kept, metered, hardened. Most requests have none.

What has to be looked into and cannot be is refused; what is only kept for later is passed on whatever becomes of that.
All that is held of all requests has one bound.
"""

from __future__ import annotations

import logging
import re

from assay.guard.gateway.coding import Decoder, decoded, plain
from assay.guard.gateway.core import Core
from assay.guard.gateway.interface import ANSWER, BODY, KEEP_ANSWER, KEEP_BODY, METER, Context
from assay.guard.gateway.parts import Meter, Unhardened
from assay.guard.gateway.proxy.answer_heads import Answer
from assay.guard.gateway.proxy.refusals import FULL, LARGE_ANSWER
from assay.guard.gateway.proxy.terms import Place
from assay.guard.gateway.refusing import UNHARDENED, Refused

_log = logging.getLogger(__name__)
_READABLE = re.compile(rb"(?:(?:x-gzip|gzip|deflate|identity)(?: ?; ?q=[0-9.]{1,5})?(?:, ?|$))*", re.IGNORECASE)
"""What a caller may accept while somebody reads the answer later."""


class Looking:
    """One request and its answer."""

    __slots__ = (
        "_answer",
        "_body",
        "_coding",
        "_context",
        "_decoder",
        "_held",
        "_kept",
        "_meter",
        "_place",
        "_settled",
        "coded",
        "holding",
        "whole",
    )

    def __init__(self, context: Context, place: Place) -> None:
        """Raises `Refused` where the body has a coding that nobody here can read."""
        coding = context.headers.get(b"content-encoding")
        needs = context.needs
        self._context = context
        self._place = place
        self.whole = bool(needs & (BODY | ANSWER))
        """Whether the body is read before any of it is passed on."""
        self.coded = not plain(coding)
        """Whether the body that came is compressed."""
        self.holding = False
        """Whether the answer is read whole before any of it is passed on."""
        self._decoder = Decoder(coding or b"", place.decoded) if self.whole and self.coded else None
        self._body: list[bytes] | None = [] if self.whole or needs & KEEP_BODY else None
        self._kept = 0
        self._held = 0
        """Our part of `Held.now`."""
        self._answer: list[bytes] | None = None
        self._coding: bytes | None = None
        self._meter: Meter | None = None
        self._settled = False

    def take(self, piece: bytes) -> None:
        """A piece of the request's body. Raises `Refused`."""
        if self._body is None:
            return
        if self._decoder is not None:
            piece = self._decoder.feed(piece)
        elif not self.whole:
            self._kept += len(piece)
            if self._kept > self._place.kept:
                self._body = None
                return
        if self._fits(piece):
            self._body.append(piece)
        elif self.whole:
            raise Refused(FULL)
        else:
            self._body = None

    def body(self) -> bytes:
        """The whole body as those who look into it see it. Raises `Refused` where it is damaged."""
        if self._decoder is not None:
            self._decoder.close()
        assert self._body is not None
        return b"".join(self._body)

    def wants_identity(self) -> bool:
        """Whether the answer must not be compressed. Asked after `Core.admit`."""
        context = self._context
        usage = context.usage
        self._settled = bool(context.needs & BODY) and usage is not None and usage.tokens_in > 0
        if context.needs & (ANSWER | METER) or self._settled:
            return True
        # For those who learn: a coding that nobody here reads would blind them.
        accepted = context.headers.get(b"accept-encoding", b"")
        return bool(context.needs & KEEP_ANSWER) and _READABLE.fullmatch(accepted) is None

    def begin(self, core: Core, answer: Answer) -> bool:
        """The answer's head is there; returns whether its length changes. Raises `Refused` for one that cannot be
        looked into.
        """
        context = self._context
        self._coding = coding = answer.headers.get(b"content-encoding")
        if context.needs & METER:
            if not context.content_type.lower().startswith(b"text/event-stream"):
                context.needs &= ~METER  # no stream: it is settled by the whole of it
                self._settled = True
            elif not plain(coding):
                raise Refused(UNHARDENED)
            else:
                self._meter = core.meter(context)
        self.holding = bool(context.needs & ANSWER)
        self._kept = 0
        if self.holding or self._settled or context.needs & KEEP_ANSWER:
            self._answer = []
        return self._meter is not None

    def pass_on(self, piece: bytes) -> bytes:
        """A piece of an answer that is not held: what of it goes to the caller."""
        if self._answer is not None:
            self._kept += len(piece)
            most = self._place.buffered if self._settled else self._place.kept
            if self._kept > most or not self._fits(piece):
                self._answer = None
            else:
                self._answer.append(piece)
        return piece if self._meter is None else self._meter.feed(piece)

    def hold(self, piece: bytes) -> None:
        """A piece of an answer that is held. Raises `Refused` where it becomes too large."""
        assert self._answer is not None
        self._kept += len(piece)
        if self._kept > self._place.buffered:
            self._answer = None
            raise Refused(LARGE_ANSWER)
        if not self._fits(piece):
            raise Refused(FULL)
        self._answer.append(piece)

    def harden(self, core: Core) -> bytes:
        """The held answer as the caller may see it. Raises `Refused`."""
        assert self._answer is not None
        context = self._context
        try:
            body = decoded(b"".join(self._answer), self._coding, self._place.buffered)
            self._answer, self._coding = [body], None
            if self._meter is not None:
                body = self._meter.feed(body)
            return core.answer(context, context.status, context.content_type, body, b"".join(self._body or ()))
        except (Unhardened, Refused):
            raise Refused(UNHARDENED) from None

    def end(self, complete: bool) -> tuple[bytes | None, bytes | None]:
        """Request and answer for `Core.finish`, decoded; ``complete``: the answer came to its end."""
        context = self._context
        self._place.held.now -= self._held
        if self._meter is not None:
            try:
                self._meter.close(context)
            except Exception:  # the request ends all the same, and what it has reserved is given back
                _log.exception("a stream could not be settled")
        request = response = None
        if context.needs & KEEP_BODY and self._body is not None:
            request = self._plain(self._body, None if self.whole else context.headers.get(b"content-encoding"))
        if complete and self._answer is not None:
            response = self._plain(self._answer, self._coding)
        return request, response

    def _fits(self, piece: bytes) -> bool:
        """Whether one more piece can be held, with all that others hold."""
        held = self._place.held
        self._held += len(piece)
        held.now += len(piece)
        return held.now <= held.most

    def _plain(self, pieces: list[bytes], coding: bytes | None) -> bytes | None:
        try:
            return decoded(b"".join(pieces), coding, self._place.decoded)
        except Refused:
            return None  # it was passed on, and nobody here can read it
