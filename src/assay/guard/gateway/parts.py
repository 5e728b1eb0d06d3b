"""What the core asks of each room: one protocol a room, in the order in which a request meets them.

Everything here is called on the hot path: it never blocks, never does I/O, and keeps what it remembers bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from assay.guard.gateway.interface import Answers, Caller, Context, Decision, Measure, Route, Sample, Standing, Table

COUNTED = "schema"
"""What `Context.counted` gets where a schema only counts."""


class Routes(Protocol):
    """`protocols`: which request is served at all, and what it means."""

    def route(self, method: str, path: str) -> Route | Decision:
        """Where ``path`` (decoded, normal form) leads, or why nowhere (404, 405). Pure; the core remembers answers."""

    def measure(self, context: Context, body: bytes) -> Measure | Decision:
        """What a request asks for, and whether it has the form that it must have (400, 413, 415, 422)."""

    def harden(self, context: Context, status: int, content_type: bytes, body: bytes, question: bytes) -> bytes:
        """The answer with `Context.harden` applied; ``question`` is the request's body, for keyed noise. Raises
        `Unhardened` where the answer cannot be understood: it is then not passed on.
        """

    def meter(self, context: Context) -> Meter | None:
        """For answers that tell what they cost at their end; None: this one does not."""

    def settle(self, context: Context, content_type: bytes, body: bytes) -> None:
        """Correct `Context.usage` by an answer that was not streamed."""

    def table(self, sample: Sample) -> Table | None:
        """The rows of a request, out of band. None: it has none that can be read."""

    def answers(self, sample: Sample) -> Answers | None:
        """What was answered, out of band."""


class Unhardened(Exception):
    """An answer that cannot be made to say less, with the reason."""


class Meter(Protocol):
    """Follows one streamed answer."""

    def feed(self, data: bytes) -> bytes:
        """A piece of the answer; returns what is passed on (a usage event that the caller did not ask for is not)."""

    def close(self, context: Context) -> None:
        """The answer has ended, or was broken off: correct `Context.usage` by what is known."""


class Callers(Protocol):
    """`callers`: who asks."""

    def identify(self, context: Context) -> Caller | Decision:
        """Who it is, proved; else 401 with a challenge, or 403. Unknown and wrong credentials look the same."""


class Rules(Protocol):
    """`rules`: what is blocked, counted, challenged."""

    def address(self, context: Context) -> Decision | None:
        """Set `Context.address` and `Context.forwarded` from headers that trusted proxies wrote, and ask the rules that
        come first and look at nothing else.
        """

    def decide(self, context: Context) -> Decision | None:
        """The first of the other rules that ends it; None: none does. Sets `Context.counted`."""


class Plans(Protocol):
    """`limits`: what callers may use."""

    def enter(self, context: Context) -> Decision | None:
        """Rate, concurrency, quotas of requests. Sets `Context.held`."""

    def charge(self, context: Context) -> Decision | None:
        """Rows, tokens, cost and information by `Context.usage`, as reserved."""

    def leave(self, context: Context) -> None:
        """Give back what was reserved and not used; let go. Called once for whatever has entered."""


class Log(Protocol):
    """`logs`: the access log."""

    def write(self, context: Context) -> None:
        """Remember one finished request; written soon, out of the request's way."""


class Observer(Protocol):
    """Those who capture and learn, in another thread or process."""

    def draw(self, context: Context) -> int:
        """What of this request they would like (`KEEP_BODY` | `KEEP_ANSWER`); it was let through so far."""

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None:
        """One finished request, refused ones too. Never waits: what does not fit is dropped and counted."""


class Standings(Protocol):
    """What detectors came to, by key: a caller's id, ``owner:…``, ``net:…``."""

    def get(self, key: str) -> Standing | None:
        """O(1)."""

    def __len__(self) -> int: ...


class Detector(Protocol):
    """`detect`: consumes samples in order, out of band."""

    def see(self, sample: Sample, table: Table | None, answers: Answers | None) -> Iterable[tuple[str, Standing]]:
        """Standings that change because of this sample, by key."""
