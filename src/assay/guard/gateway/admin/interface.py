"""What the admin API asks of the gateway, and the documents that it takes and gives. No I/O.

Every document is a struct that knows its fields; the OpenAPI document is written from the same limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from assay.guard.gateway.interface import Level, Standing

WORDS = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"
"""Text that steers no terminal and no log: no control characters, no change of direction."""
_WORDS = WORDS[:-1] + r"\Z"
"""Python's ``$`` would let a line end through, which JSON Schema's does not."""
LONGEST = 10 * 365 * 86400.0
"""Seconds; longer is said as null: until a person ends it."""

Key = Annotated[str, Meta(min_length=1, max_length=1024, pattern=_WORDS)]
Why = Annotated[str, Meta(min_length=1, max_length=500, pattern=_WORDS)]
Span = Annotated[float, Meta(gt=0, le=LONGEST)]
LevelName = Literal["ok", "log", "slow", "harden", "approve", "block"]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of what crosses the socket."""


class SetLevel(Document, frozen=True):
    """Treat a caller so from now on, whatever detectors say."""

    key: Key
    """A caller's id, ``owner:…`` or ``net:…``."""
    level: LevelName
    why: Why
    seconds: Span | None = None
    """None: until a person releases it."""


class Named(Document, frozen=True):
    """A caller, and why something is done about it."""

    key: Key
    why: Why


class Deny(Document, frozen=True):
    """Refuse an address or network from now on."""

    address: Annotated[str, Meta(min_length=2, max_length=49)]
    why: Why
    seconds: Span | None = None


class Address(Document, frozen=True):
    """An address or network of the list."""

    address: Annotated[str, Meta(min_length=2, max_length=49)]


class Reset(Document, frozen=True):
    """Forget what a caller has used."""

    key: Key


class Nothing(Document, frozen=True):
    """An empty object."""


class Health(Document, frozen=True):
    """How the gateway is."""

    ready: bool
    """Whether it serves; false is answered with 503."""
    problems: Sequence[str] = ()
    """Sentences for whoever runs it; secrets are not in them."""
    workers: int = 1
    """Processes that serve at the moment."""


class Denied(Document, frozen=True):
    """One entry of the list of refused addresses."""

    address: str
    """In its normal form."""
    until: float | None
    """UNIX seconds; None: until it is removed."""
    why: str


class CallerFigures(Document, frozen=True):
    """What is known of one caller."""

    id: str
    owner: str = ""
    plan: str = ""
    level: LevelName = "ok"
    why: str = ""
    requests: int = 0
    refused: int = 0
    rows: int = 0
    tokens: int = 0
    seen: float = 0.0
    """UNIX seconds of the newest request."""
    scores: Mapping[str, float] = {}
    """By signal: 1 and more flags the caller."""


class Proof(Document, frozen=True):
    """What is known of the served model."""

    version: str
    """Digest of its contents; empty where it is not known."""
    verdict: str
    """``pass``, ``fail``, ``undecided``, or ``none`` where no proof is asked for."""
    serving: bool
    reason: str = ""
    checked: float = 0.0
    """UNIX seconds; 0: never."""


class Operations(Protocol):
    """What the gateway does when it is asked; each method may be called from several threads at once.

    An `AssayError` is told to whoever asked, as a sentence (409). Nothing here may wait longer than a few seconds.
    """

    def health(self) -> Health:
        """How it is."""

    def metrics_text(self) -> str:
        """Prometheus' text format, version 0.0.4."""

    def standings(self) -> Mapping[str, Standing]:
        """Who is treated otherwise than others, by key; those that are over may be left out."""

    def set_level(self, key: str, level: Level, seconds: float | None, why: str) -> Standing:
        """Treat a caller so; None: until released."""

    def release(self, key: str, why: str) -> bool:
        """Treat a caller as any other; detectors begin anew with it. False: nothing stood against it."""

    def approve(self, key: str, why: str) -> bool:
        """Let a caller at level ``approve`` go on. False: it does not wait for that."""

    def callers(self) -> Sequence[CallerFigures]:
        """The most remarkable first; a bounded number."""

    def denied(self) -> Sequence[Denied]:
        """The list of refused addresses, as far as it was changed here."""

    def deny(self, address: str, seconds: float | None, why: str) -> Denied:
        """Refuse a network (normal form); an entry that is there is replaced."""

    def undeny(self, address: str) -> bool:
        """Take a network from the list. False: it is not on it."""

    def reset(self, key: str) -> bool:
        """Forget what a caller has used of its quotas and rates. False: nothing was known."""

    def reload(self) -> Sequence[str]:
        """Read the configuration anew; what is worth saying about it. A bad one changes nothing: `AssayError`."""

    def configuration(self) -> Mapping[str, Any]:
        """What is at work, without secrets: `redaction.shown`."""

    def proof(self) -> Proof:
        """What is known of the served model."""
