"""What is served, and what is let through: `tls`, `model`, `routes`, `rules` and their like in the gateway file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from assay.guard.gateway.settings.words import Amount, Bytes, Count, Name, Seconds, Section

Spoken: TypeAlias = Literal["json", "open-inference", "kserve-v1", "sagemaker", "openai"]
"""Serving protocols."""


class Tls(Section, frozen=True):
    """TLS 1.2 and newer on the side of the callers. Files are read anew when they change."""

    certificate: str
    """PEM: the certificate and its intermediates."""
    key: str
    """PEM: its private key."""
    client_ca: str | None = None
    """PEM: who may vouch for callers' certificates."""
    client_certificates: Literal["none", "optional", "required"] = "none"
    """Whether callers show one: not asked, asked, or nobody gets in without."""


class Sizes(Section, frozen=True):
    """What is refused because of its size. Of bodies that have to be read whole the proxy holds as much as 32 of the
    largest at the same time in each worker; more are refused with 503.
    """

    line: Bytes = Bytes(8192)
    """Request line."""
    headers: Bytes = Bytes(32 << 10)
    """All headers together."""
    count: Count = 100
    """How many headers."""
    body: Bytes = Bytes(10 << 20)
    """A request's body, as received."""
    decoded: Bytes = Bytes(20 << 20)
    """A compressed body once it is decoded, where somebody has to look into it."""
    response: Bytes | None = None
    """An answer's body; None: any."""
    buffered: Bytes = Bytes(16 << 20)
    """An answer that has to be read whole (hardened, captured); larger ones are refused, or not captured."""


class Timeouts(Section, frozen=True):
    """How long is waited."""

    head: Seconds = Seconds(10)
    """For a complete head, from its first byte or the connection's start."""
    body: Seconds = Seconds(30)
    """For a complete body, plus a second for each 16 KiB of it."""
    idle: Seconds = Seconds(75)
    """Between two requests of a connection, and in a tunnel."""
    connect: Seconds = Seconds(5)
    """To the model server."""
    first_byte: Seconds = Seconds(60)
    """Of the model's answer."""
    stream: Seconds = Seconds(60)
    """Between two pieces of an answer, and for a caller to take one."""
    shutdown: Seconds = Seconds(30)
    """For requests under way when the gateway ends."""


class Model(Section, frozen=True):
    """The model that is served, which has to be proved."""

    target: str
    """As `assay verify` takes it; the gateway looks at these files, not into the model server."""
    policy: str | None = None
    """As ``-p`` takes it; None: the configuration's, else its signature alone."""
    keys: tuple[str, ...] = ()
    """Public key files that are trusted; none: the configuration's."""
    evidence: str | None = None
    """Evidence directory."""
    gate: str | None = None
    """The policy's gate that is asked: ``deploy``."""
    config: str | None = None
    """`assay.yaml` instead of the one that is found."""
    unproved: Literal["refuse", "warn"] = "refuse"
    """What happens while the verdict is not ``pass``."""
    every: Seconds = Seconds(60)
    """How often the files are looked at for changes, and the evidence for its age."""


class Price(Section, frozen=True):
    """What a request costs, in any unit."""

    request: Amount = 0.0
    """Each request."""
    row: Amount = 0.0
    """Each prediction."""
    token_in: Amount = 0.0
    """Each token that is sent."""
    token_out: Amount = 0.0
    """Each token that is answered."""


class Hardening(Section, frozen=True):
    """How an answer is made to say less; several are applied in this order."""

    label_only: bool = False
    """Probabilities are gone, or 1 for the label and 0 for the others where the protocol needs them."""
    top: Count | None = None
    """Only the so many most probable."""
    noise: Amount | None = None
    """Standard deviation of keyed noise, the same for the same input; the most probable class stays so."""
    buckets: Count | None = None
    """Probabilities to the middle of so many equal parts."""
    digits: Annotated[int, Meta(ge=0, le=17)] | None = None
    """Decimal digits that are kept."""

    def covers(self, other: Hardening) -> bool:
        """Whether an answer says no more than with ``other``, in each respect."""
        if self.label_only or other.label_only:
            return self.label_only
        fewer = ((self.top, other.top), (self.buckets, other.buckets), (self.digits, other.digits))
        return (self.noise or 0.0) >= (other.noise or 0.0) and all(
            theirs is None or (ours is not None and ours <= theirs) for ours, theirs in fewer
        )


class Schema(Section, frozen=True):
    """What a request's rows must look like."""

    file: str | None = None
    """A schema in this form, YAML or JSON, as `assay gateway schema` writes it."""
    baseline: str | None = None
    """A baseline file or profile, from which it is inferred."""
    slack: Amount = 0.0
    """How far beyond the range of the training data numbers may lie, as a share of that range."""
    leave_out: tuple[str, ...] = ()
    """Columns of the baseline that requests do not have, such as the label."""
    rows: Count = 1000
    """Most rows of a request."""
    mode: Literal["enforce", "count"] = "enforce"
    """``count``: what would be refused is let through."""


class RouteSettings(Section, frozen=True):
    """What is served. Anything else is denied."""

    protocol: Spoken
    """What is spoken there; ``json`` is your own."""
    path: str | None = None
    """For ``json``: the path (POST); for the others a prefix before the protocol's own paths."""
    models: tuple[str, ...] = ("*",)
    """Globs over model names that are reached."""
    upstream: str | None = None
    """Instead of the gateway's."""
    rows: str = "$.instances"
    """For ``json``: where the rows are (``$``, ``$.a.b``), a list of lists or of objects."""
    answers: str = "$.predictions"
    """For ``json``: where the answers are."""
    verbs: tuple[str, ...] = ()
    """Only these; none: all of the protocol's that are safe."""
    schema: Schema | None = None
    """What rows must look like."""
    harden: str | None = None
    """Name of a hardening for every answer."""
    price: Price = Price()
    """What a request costs, for plans with ``cost``."""
    sizes: Sizes | None = None
    """Instead of the gateway's, as a whole."""
    timeouts: Timeouts | None = None
    """Instead of the gateway's, as a whole."""
    max_tokens: Count = 4096
    """What is reserved where a request sets no limit."""
    websocket: bool = False
    """Whether a connection may be upgraded."""
    classes: Count | None = None
    """How many classes the model knows, for plans that limit `information`; None: two."""
    capture: bool = True
    """Whether it is captured, where the file asks for capture."""


class Rule(Section, frozen=True):
    """One rule; they are asked by rising priority."""

    id: Name
    """Its name in the log, metrics and refusals."""
    priority: int
    """Each another; the lowest is asked first."""
    action: Literal["allow", "block", "count", "challenge"]
    """``allow`` and ``block`` end it, ``count`` goes on, ``challenge`` is 401, or 429 for rates."""
    match: dict[str, Any] = {}
    """A statement, see below; none: every request."""
    rate: dict[str, Any] | None = None
    """Makes it a rate-based rule: ``{limit, window, by, scope-down}``."""
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    """Instead of 403, 401 or 429."""
