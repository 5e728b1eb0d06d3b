"""The whole of `gateway.yaml`. Rooms take their own section; relative paths start at the file's folder."""

from __future__ import annotations

import os
from typing import Any, Literal

from msgspec import field

from assay.guard.gateway.settings.around import Admin, Edge, Otlp, Redis
from assay.guard.gateway.settings.callers import Callers, Plan
from assay.guard.gateway.settings.keeping import Capture, Detect, Log
from assay.guard.gateway.settings.serving import (
    Hardening,
    Model,
    RouteSettings,
    Rule,
    Sizes,
    Timeouts,
    Tls,
)
from assay.guard.gateway.settings.words import Count, Section


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
    """Most of one address; of IPv6 a /64 is one, but each address at an exported edge."""
    pool: Count = 256
    """Most connections to the model server, of one worker."""
    pending: Count = 1024
    """Most requests that wait for one of them; more are refused with 503."""
    directory: str = field(default="", name="directory")
    """Where the file lies; set while reading."""

    def path(self, value: str) -> str:
        """A path of this file as an absolute one."""
        return os.path.normpath(os.path.join(self.directory or os.getcwd(), os.path.expanduser(value)))
