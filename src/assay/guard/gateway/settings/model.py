"""The whole of `gateway.yaml`. Rooms take their own section; relative paths start at the file's folder."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from assay.guard.gateway.settings.words import Bytes, Rate, Seconds, Section

Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


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
    """What is refused because of its size."""

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


class Jwt(Section, frozen=True):
    """Tokens of one issuer (RFC 7519, OIDC)."""

    issuer: str
    """The token's ``iss``, to the letter."""
    audience: tuple[str, ...]
    """One of these is in the token's ``aud``; it also has ``exp`` and ``iat``."""
    jwks: str
    """A file or an ``https://`` address."""
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"], ...] = (
        "RS256",
        "ES256",
        "EdDSA",
    )
    """What tokens may be signed with; symmetric ones never."""
    subject: str = "sub"
    """Claim that says who it is."""
    owner: str | None = None
    """Claim that says to whom callers belong; None: the subject."""
    plan: str = "default"
    """Name of the usage plan."""
    plan_claim: str | None = None
    """Claim that names a plan, where it is one that the file has."""
    groups_claim: str | None = "scope"
    """Claim with scopes, for rules."""
    permissions: tuple[dict[str, str], ...] = ({},)
    """What these callers may do, ``{protocol, model, version, verb}``, each a glob; what is left out is any."""
    leeway: Seconds = Seconds(30)
    """How far clocks may be apart."""
    refresh: Seconds = Seconds(300)
    """How often the key set is fetched; a token with an unknown key asks for it too, at most every 10 seconds."""


class Mutual(Section, frozen=True):
    """Callers by certificate."""

    plan: str = "default"
    """Name of the usage plan."""
    permissions: tuple[dict[str, str], ...] = ({},)
    """As for ``jwt``."""
    subjects: tuple[str, ...] = ("*",)
    """Globs over the subject (RFC 4514) or a name (``DNS:…``, ``URI:spiffe://…``)."""


class Callers(Section, frozen=True):
    """Who may call."""

    anonymous: str | None = None
    """Plan of callers who prove nothing; None: they are refused with 401."""
    keys: str | None = None
    """File of API keys, as `assay gateway keys` writes it."""
    header: str = "x-api-key"
    """Where a key is, beside ``Authorization: Bearer``."""
    jwt: tuple[Jwt, ...] = ()
    """Issuers of tokens that count."""
    mtls: Mutual | None = None
    """Callers by the certificate that ``tls`` asks for."""


class Plan(Section, frozen=True):
    """A usage plan. What is left out is not limited."""

    rate: Rate | None = None
    """Requests, on average."""
    burst: Count | None = None
    """Requests at once; None: as many as `rate` has in its span."""
    concurrent: Count | None = None
    """Requests at the same time."""
    requests: dict[Literal["hour", "day", "week", "month", "life"], Count] = {}
    """Quotas; calendar periods in UTC."""
    rows: dict[Literal["hour", "day", "week", "month", "life"], Count] = {}
    """Predictions, however many are in a request."""
    tokens: dict[Literal["hour", "day", "week", "month", "life"], Count] = {}
    """In and out together; reserved before the answer, settled after it."""
    cost: dict[Literal["hour", "day", "week", "month", "life"], float] = {}
    """In the unit of the route's ``price``."""
    information: dict[Literal["hour", "day", "week", "month", "life"], float] = {}
    """Bits that answers may give away: the sum of what each could have said, by classes and hardening."""
    harden: str | None = None
    """Name of a hardening for every answer to callers of this plan."""
    token_rate: Rate | None = None
    """Tokens, on average."""
    row_rate: Rate | None = None
    """Predictions, on average."""


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
    noise: float | None = None
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
    slack: float = 0.0
    """How far beyond the range of the training data numbers may lie, as a share of that range."""
    leave_out: tuple[str, ...] = ()
    """Columns of the baseline that requests do not have, such as the label."""
    rows: Count = 1000
    """Most rows of a request."""
    mode: Literal["enforce", "count"] = "enforce"
    """``count``: what would be refused is let through."""


class RouteSettings(Section, frozen=True):
    """What is served. Anything else is denied."""

    protocol: Literal["json", "open-inference", "kserve-v1", "sagemaker", "openai"]
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


class Log(Section, frozen=True):
    """The access log."""

    file: str | None = None
    """None: none; ``-``: standard output."""
    format: Literal["json", "clf", "csv", "xml", "cloudtrail"] = "json"
    """The ten fields of API Gateway's logs; ``json`` and ``cloudtrail`` have more."""
    rotate: Bytes = Bytes(100 << 20)
    """A new file begins at this size."""
    keep: Count = 10
    """So many old files are kept."""
    compress: bool = True
    """Whether old files are packed (gzip)."""
    drop: tuple[str, ...] = ()
    """Fields that are left empty."""
    hash: tuple[str, ...] = ()
    """Fields of which only a keyed digest is kept."""


class Masking(Section, frozen=True):
    """What becomes of a field of captured data."""

    field: str
    """A glob over names of columns or paths (``$.instances[*].email``)."""
    do: Literal["drop", "hash", "mask"]
    """``drop`` it, keep a keyed digest (``hash``), or write ``***`` (``mask``)."""
    model: str = "*"
    """A glob over names of models."""


class Capture(Section, frozen=True):
    """Inputs and outputs that are kept, for `assay monitor`."""

    folder: str
    """Where files lie: ``FORMAT/ENDPOINT/MODEL/YYYY/MM/DD/HH``."""
    format: tuple[Literal["parquet", "jsonl"], ...] = ("parquet", "jsonl")
    """Parquet has a row for each prediction, JSON Lines an event for each request (SageMaker's form)."""
    sample: Annotated[float, Meta(ge=0, le=100)] = 100.0
    """Percentage of requests."""
    input: bool = True
    """Whether requests are kept."""
    output: bool = True
    """Whether answers are kept."""
    limit: Bytes = Bytes(64 << 10)
    """Bodies beyond it are not captured (and counted)."""
    roll: Seconds = Seconds(300)
    """After so long a file is closed and gets its name."""
    masking: tuple[Masking, ...] = ()
    """What becomes of fields."""
    endpoint: str = "assay"
    """The first folder, as SageMaker names it."""
    keep: Seconds | None = None
    """Older files are deleted."""


class Reactions(Section, frozen=True):
    """What a score leads to: the caller's level, by detector, and how long it lasts."""

    default: Literal["log", "slow", "harden", "approve", "block"] = "harden"
    """For signals that ``by-signal`` does not name."""
    by_signal: dict[str, Literal["log", "slow", "harden", "approve", "block"]] = {}
    """For ``near``, ``far``, ``outlying``, ``residual``, ``margin``, ``flip``, ``rejected``, ``rows``, ``bits``,
    ``tokens``, ``pooled:owner``, ``pooled:net``.
    """
    lasts: Seconds | None = Seconds(86400)
    """None: until a person releases it."""
    slow: Seconds = Seconds(1)
    """How long each answer waits at the level ``slow``."""
    harden: str = "label-only"
    """Name of the hardening."""
    escalate: bool = True
    """A caller who is flagged again goes up one level."""


class Detect(Section, frozen=True):
    """What callers learn."""

    mode: Literal["off", "count", "enforce"] = "count"
    """``count`` treats nobody otherwise and says what would have been; what a person decides holds in both."""
    calibration: str | None = None
    """File that `assay gateway calibrate` writes; without it only signals that need none are used."""
    signals: tuple[str, ...] = ()
    """Only these; none: all."""
    callers: Count = 10_000
    """Most callers that are remembered; the one not seen for longest goes first."""
    false_alarms: float = 0.01
    """Share of honest callers who may be flagged in their first thousand queries, for ``simulate``."""
    reactions: Reactions = Reactions()
    """What becomes of somebody who is flagged."""
    encoder: str | None = None
    """For texts: ``module:function`` from a list of texts to an array of embeddings."""


class Redis(Section, frozen=True):
    """Counters of several machines, brought together from time to time."""

    url: str
    """``redis://``, ``rediss://`` or ``unix://``; Valkey speaks the same."""
    every: Seconds = Seconds(0.2)
    """At most ``machines * rate * every`` more than a limit are let through."""
    gone: Literal["local", "closed"] = "local"
    """When it does not answer: count alone, or refuse with 503."""
    prefix: str = "assay:"
    """Before the names of keys there."""
    after: Seconds = Seconds(5)
    """How long it must not have answered before ``closed`` refuses."""


class Admin(Section, frozen=True):
    """The admin API: health, metrics, callers' standings, reload. Never on an address that others reach."""

    listen: str = "unix:gateway-admin.sock"
    """A unix socket, or a loopback address."""
    token: str = "gateway-admin.token"  # noqa: S105 - the name of a file
    """File with the token that each request brings; written (mode 600) where it is not there."""


class Edge(Section, frozen=True):
    """An nginx or HAProxy that runs with what `assay gateway export` wrote."""

    kind: Literal["nginx", "haproxy"]
    """Which one."""
    folder: str
    """Of the export."""


class Otlp(Section, frozen=True):
    """Metrics to an OpenTelemetry collector."""

    endpoint: str
    """``http://`` or ``https://`` address that takes OTLP over HTTP."""
    every: Seconds = Seconds(15)
    """How often they are sent."""


class Settings(Section, frozen=True):
    """Keys of the file itself."""

    assay_gateway: Literal[1] = 1
    """Version of this format."""
    upstream: str = ""
    """``http://host:port``, ``https://…`` or ``unix:/path``."""
    listen: tuple[str, ...] = ("127.0.0.1:8000",)
    """``HOST:PORT`` or ``unix:/path``."""
    workers: Count = 1
    """Processes that answer; they share all counters."""
    state: str = "gateway-state"
    """Folder for counters, quotas and what detectors remember; made with mode 700."""
    tls: Tls | None = None
    """HTTPS for callers."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose ``X-Forwarded-For`` is believed; ``unix`` for callers on a unix socket."""
    trusted_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """Which header trusted proxies write; the other one is never looked at, because they pass it on unread."""
    host: tuple[str, ...] = ()
    """Names that ``Host`` may have; none: any."""
    model: Model | None = None
    """The model that is served; left out: it is not proved."""
    callers: Callers = Callers()
    """Who may call; left out: nobody."""
    plans: dict[str, Plan] = field(default_factory=lambda: {"default": Plan()})
    """How much, by name."""
    routes: tuple[RouteSettings, ...] = ()
    """None: all protocols but ``json``, at their own paths."""
    addresses: dict[str, Any] = {}
    """Named sets for rules: lists of networks, or ``{file: …}`` with one on each line, read anew when it changes."""
    countries: str | None = None
    """A MaxMind DB file."""
    rules: tuple[Rule, ...] = ()
    """What is let through, blocked or counted."""
    default: Literal["allow", "block"] = "allow"
    """What becomes of requests that no rule decides."""
    hardenings: dict[str, Hardening] = {}
    """By name; ``label-only`` is always there."""
    log: Log = Log()
    """The access log."""
    capture: Capture | None = None
    """Inputs and outputs that are kept."""
    detect: Detect = Detect()
    """What callers learn, and what becomes of those who learn too much."""
    alerts: dict[str, Any] = {}
    """Who is told of flagged callers: ``{sinks: …}`` as in ``assay.yaml``."""
    sizes: Sizes = Sizes()
    """What is refused because of its size."""
    timeouts: Timeouts = Timeouts()
    """How long is waited."""
    redis: Redis | None = None
    """Limits of several machines."""
    admin: Admin | None = None
    """An API for ``assay gateway status``, ``callers``, ``block``, ``deny``, ``reload``, and metrics."""
    otlp: Otlp | None = None
    """Metrics to an OpenTelemetry collector."""
    service_secret: str | None = None
    """File with the secret (16 bytes or more) that an edge brings, where the decision service listens on a loopback
    address and not on a unix socket.
    """
    metrics_by_caller: bool = False
    """Whether metrics have each caller's id as a label: only where there are few of them."""
    edges: tuple[Edge, ...] = ()
    """Who is told of addresses that an administrator denies, without a restart."""
    upstream_ca: str | None = None
    """PEM: who may vouch for an ``https://`` model server; None: whom the system trusts."""
    pass_credentials: bool = False
    """Whether the model server gets callers' keys and tokens."""
    server_header: bool = False
    """Whether the model server's ``Server`` header is passed on."""
    connections: Count = 10_000
    """Most open connections of callers, of one worker."""
    connections_by_address: Count = 512
    """Most of one address."""
    pool: Count = 256
    """Most connections to the model server, of one worker."""
    pending: Count = 1024
    """Most requests that wait for one of them; more are refused with 503."""
    directory: str = field(default="", name="directory")
    """Where the file lies; set while reading."""

    def path(self, value: str) -> str:
        """A path of this file as an absolute one."""
        return os.path.normpath(os.path.join(self.directory or os.getcwd(), os.path.expanduser(value)))
