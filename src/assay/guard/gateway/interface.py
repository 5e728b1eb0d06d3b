"""The values that the gateway's rooms speak in: a request on its way, who asks, where it goes, what was decided.

One `Context` lives as long as its request and is filled step by step; each attribute says by whom. Nothing here reads
a clock, a socket or a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    import numpy

Headers: TypeAlias = Mapping[bytes, bytes]
"""Names in lower case, values without surrounding white space. A header that came several times is joined as RFC 9110,
5.3 says (``, ``; cookies by ``; ``); a face refuses a request that repeats one that must be alone (`headers.single`).
"""


class Verb(StrEnum):
    """What is asked of a model."""

    INFER = "infer"
    EXPLAIN = "explain"
    CHAT = "chat"
    COMPLETE = "complete"
    EMBED = "embed"
    METADATA = "metadata"
    HEALTH = "health"


class Route(msgspec.Struct, frozen=True):
    """Where a request goes: what its method and path mean in a serving protocol."""

    protocol: str
    """``json``, ``open-inference``, ``kserve-v1``, ``sagemaker`` or ``openai``."""
    verb: Verb
    model: str
    """Empty where only the body says it (``openai``)."""
    version: str
    """Empty where the path does not say it."""
    path: str
    """The path's template, for logs and metrics: ``/v2/models/{model}/infer``. Never what a stranger wrote."""
    index: int = 0
    """Which of the configured routes it is: `settings.Settings.routes`."""


class Permission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller may do; each part is a glob, as `fnmatch` reads it."""

    protocol: str = "*"
    model: str = "*"
    version: str = "*"
    verb: str = "*"


class Caller(msgspec.Struct, frozen=True):
    """Somebody who asks, once it was proved."""

    id: str
    """Stable and public: never a key or a token. ``key:7Qx…``, ``jwt:issuer|subject``, ``mtls:CN=…``, and for those who
    prove nothing ``address:198.51.100.7`` (IPv6: its /64), so that strangers do not share a limit.
    """
    user: str = ""
    """The person or service in the access log."""
    owner: str = ""
    """Who the key, token or certificate belongs to: several callers of one owner are watched together. May be empty."""
    plan: str = "default"
    """Name of the usage plan."""
    permissions: tuple[Permission, ...] = (Permission(),)
    key: str = ""
    """Id of the API key, which is not the key; for the log."""
    groups: tuple[str, ...] = ()
    """For rules: scopes of the token or key."""


class Certificate(msgspec.Struct, frozen=True):
    """A client's certificate that TLS has proved."""

    subject: str
    """RFC 4514."""
    names: tuple[str, ...]
    """Subject alternative names, ``DNS:`` or ``URI:`` or ``email:`` before them."""
    digest: str
    """Hex SHA-256 of its DER form."""
    not_after: float = math.inf
    """UNIX seconds up to which it is valid. Held against each request: connections may live longer."""


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a request."""

    allowed: bool
    status: int = 200
    """HTTP status of the refusal: 400, 401, 403, 404, 405, 413, 415, 422, 429, 503."""
    rule: str = ""
    """What decided: ``rule:no-strangers``, ``plan:rate``, ``plan:quota-day``, ``route``, ``schema``, ``caller``,
    ``permission``, ``model``, ``detect``, ``budget:rows``.
    """
    reason: str = ""
    """A sentence for the caller: printable, without secrets, without what a stranger wrote."""
    retry_after: int = 0
    """Seconds, for ``Retry-After``; 0: not said."""
    challenge: str = ""
    """For ``WWW-Authenticate``; empty: not said."""


ALLOW = Decision(True)
"""The request goes on."""

BODY = 1
"""`admit` needs the whole body before any of it is passed on."""
ANSWER = 2
"""`answer` needs the whole answer before any of it is passed on."""
KEEP_BODY = 4
"""`finish` would like the body."""
KEEP_ANSWER = 8
"""`finish` would like the answer."""
METER = 16
"""A streamed answer goes through `meter`."""


class Level(IntEnum):
    """How a caller is treated, worse with each step; a higher one includes no lower one."""

    OK = 0
    LOG = 1
    SLOW = 2
    """Each answer waits."""
    HARDEN = 3
    """Answers say less."""
    APPROVE = 4
    """Refused until a person approves."""
    BLOCK = 5


class Standing(msgspec.Struct, frozen=True):
    """What detectors came to about a caller, as the hot path sees it."""

    level: Level
    until: float
    """UNIX seconds after which it no longer counts; infinity until a person releases it."""
    why: str
    """Detector and signal: ``residual``, ``near-duplicates``, ``rows``, ``pooled:owner``."""
    by_hand: bool = False
    """A person said it: it holds in every mode, also where detectors only count."""


class Usage(msgspec.Struct):
    """What a request costs, in the protocol's own unit."""

    rows: int = 0
    """Predictions asked for."""
    tokens_in: int = 0
    """Estimated when reserved, as reported when settled."""
    tokens_out: int = 0
    """At most (``max_tokens``) when reserved, as reported when settled."""
    cost: float = 0.0
    """In the plan's own unit, by the route's price."""


class Context(msgspec.Struct, eq=False):
    """A request on its way. Attributes are set by the face, by `core.Core.decide`, by `admit`, and when it ends."""

    # Set by the face.
    method: str
    """As sent; a token of RFC 9110, 5.6.2."""
    target: bytes
    """The request's target as sent: path and query."""
    headers: Headers
    peer: str
    """Address of the other end of the connection; ``unix:`` for a socket."""
    at: float
    """UNIX seconds when the head was complete."""
    http: str = "HTTP/1.1"
    tls: bool = False
    certificate: Certificate | None = None
    # Set by `decide`.
    steady: float = 0.0
    """Seconds by CLOCK_BOOTTIME (clock_gettime(2)), which nobody sets and all processes of a machine share: what rates
    and windows count by, so that a wrong clock neither empties nor stops them.
    """
    id: str = ""
    """Ours, never the caller's: 32 hex digits. The log's ``extendedRequestId``."""
    request_id: str = ""
    """The log's ``requestId``: the caller's ``x-request-id`` where it is a UUID, else `id`."""
    path: str = ""
    """Decoded, in the one form that it has; empty where it has none."""
    query: bytes = b""
    route: Route | None = None
    address: str = ""
    """Who asks, by address: the first hop that is no trusted proxy."""
    forwarded: bool = False
    """Whether `address` comes from a header."""
    caller: Caller | None = None
    counted: tuple[str, ...] = ()
    """Rules that match but only count."""
    decision: Decision = ALLOW
    level: Level = Level.OK
    wait: float = 0.0
    """Seconds that the answer waits, where the caller is slowed down."""
    harden: str = ""
    """Name of the hardening of the answer; empty: as it is."""
    needs: int = 0
    """What the face has to bring: `BODY`, `ANSWER`, `KEEP_BODY`, `KEEP_ANSWER`."""
    drawn: bool = False
    """Whether it was drawn for capture."""
    held: object = None
    """What `core` has reserved for the request and gives back when it ends; nobody else looks into it."""
    # Set by `admit`.
    model: str = ""
    """The route's, else the body's."""
    usage: Usage | None = None
    body: bytes | None = None
    """What is passed on instead of the body that came; None: that one."""
    # Set when it ends.
    content_type: bytes = b""
    """Of the answer."""
    status: int = 0
    bytes_in: int = 0
    """Of the body."""
    bytes_out: int = 0
    """Of the answer's body."""
    upstream: float = 0.0
    """Seconds that the model took to its first byte; 0: it was not asked."""
    first_byte: float = 0.0
    """Seconds from `at` to our first byte."""
    ended: float = 0.0
    """Seconds from `at` to the end."""
    error: str = ""
    """What went wrong beside a decision: ``upstream-timeout``, ``client-gone``, ``upstream-reset``, …"""
    model_version: str = ""
    """Digest of the model that answers, as its evidence says."""
    trace: str = ""
    """``traceparent`` as passed on."""


class Measure(msgspec.Struct, frozen=True):
    """What the head of a body says before it is passed on."""

    rows: int = 0
    tokens_in: int = 0
    """A careful estimate, never below one for each four bytes of text."""
    tokens_out: int = 0
    """What may come at most; 0: the request sets no limit, and the route's default counts."""
    model: str = ""
    """Where the body says it."""
    version: str = ""
    stream: bool = False
    body: bytes | None = None
    """The body to pass on where it has to be another: with ``stream_options.include_usage``."""


class Table(msgspec.Struct, frozen=True):
    """The rows of one request, for those who look at them."""

    features: numpy.ndarray
    """float64, rows by columns; what is no number is NaN in a column that `text` names."""
    names: tuple[str, ...] = ()
    """Of the columns, where the protocol says them."""
    text: Mapping[str, Sequence[str]] = {}
    """Columns of text by name, one value a row."""


class Answers(msgspec.Struct, frozen=True):
    """What the model said to each row."""

    labels: numpy.ndarray | None = None
    """Integers, one a row: the class, as a stable number."""
    probabilities: numpy.ndarray | None = None
    """float64, rows by classes; None where the answer has no such thing."""


class Sample(msgspec.Struct, array_like=True, gc=False):
    """One finished request, as it leaves the hot path for those who remember and learn. Crosses processes."""

    id: str
    at: float
    caller: str
    owner: str
    address: str
    protocol: str
    verb: str
    model: str
    version: str
    model_version: str
    status: int
    rule: str
    """The decision's; empty: it was let through."""
    rows: int
    tokens: int
    request_type: bytes
    """Content type."""
    answer_type: bytes
    request: bytes | None
    """The body; None: it was not kept."""
    response: bytes | None
    capture: bool
    """Drawn for capture."""
    route: int
    """`Route.index`."""
    variant: str = ""
    """``x-target-model`` or the like: which of several models behind one name."""
    request_id: str = ""
    """`Context.request_id`: what the caller knows the request by."""
    unfit: bool = False
    """It was let through although it has not the form that the schema asks for, as the schema only counts."""
    plan: str = ""
    """The caller's."""


class Counters(Protocol):
    """Where limits count: one process, all processes of a machine, or several machines. Keys are short bytes.

    Every method is safe to call from all of the gateway's processes at once, never waits for a network, and treats a
    clock that steps back as one that stands still. ``now`` is `Context.steady`.
    """

    @property
    def refusing(self) -> bool:
        """Whether nothing may be let through for now: other machines are out of reach, and ``gone: closed``."""

    def window(self, key: bytes, now: float, seconds: int, hits: int = 1) -> int:
        """Count ``hits`` and return how many there were in the last ``seconds``, these included; never fewer than
        there were, and at most those of 1.1 times as long. A key always has the same ``seconds``.
        """

    def rate(self, key: bytes, now: float, interval: float, burst: int, cost: int = 1) -> float:
        """Take ``cost`` from a bucket that gains one each ``interval`` seconds and holds ``burst`` (GCRA). Returns 0.0,
        or the seconds to wait, and then nothing was taken; infinity where ``cost`` never fits.
        """

    def spend(self, key: bytes, period: int, amount: float, limit: float) -> float:
        """Add ``amount`` (may be negative, to give back) to what ``key`` has used in ``period`` (a number that names
        the day, month, …) unless that would exceed ``limit``. Returns what is left, or minus one where it was refused.
        Survives a restart.
        """

    def concurrent(self, key: bytes, change: int, limit: int) -> bool:
        """Enter (``change`` 1) unless ``limit`` are inside, or leave (-1). Those of a process that died are let go."""
