"""What stands beside a gateway: `redis`, `admin`, `edges` and `otlp` of the gateway file."""

from __future__ import annotations

from typing import Literal

from assay.guard.gateway.settings.words import Seconds, Section


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
