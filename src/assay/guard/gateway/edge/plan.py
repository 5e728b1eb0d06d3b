"""What of the gateway's settings an edge can do itself, in no edge's language yet, and what it cannot, in words.

An edge may be coarser than the decision service but never refuse what the service would allow, and never let pass what
the service was not asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import UsageError
from assay.guard.gateway import ruled
from assay.guard.gateway.core import needs
from assay.guard.gateway.edge import words
from assay.guard.gateway.edge.first_line import Flood, Network, first_line
from assay.guard.gateway.edge.paths import pattern
from assay.guard.gateway.edge.told import header, told
from assay.guard.gateway.edge.words import Address
from assay.guard.gateway.headers import OURS
from assay.guard.gateway.service import asking
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Sizes, Timeouts

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
"""Whom the system trusts: no edge finds that by itself."""
FORGED = tuple(sorted(name.decode() for name in (OURS | asking.OURS) - {b"x-request-id", b"traceparent"}))
"""What the model server never gets in a caller's words: who asks, where from, what for. See `headers.OURS`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the edge finds the others. Texts as the command line takes them."""

    service: str
    """The decision service: ``unix:/path`` or ``127.0.0.1:port``."""
    gateway: str = ""
    """The gateway itself, for routes whose bodies or answers have to be read; empty: those routes are refused."""
    secret: str = ""
    """What the service asks for on a loopback address."""
    user: str = ""
    """Account that the edge's workers run as; empty: the edge's own choice."""
    file: str = "gateway.yaml"
    """The gateway file, for the words on how to run it."""


@dataclass(frozen=True, slots=True)
class Location:
    """Paths that lead somewhere."""

    pattern: str
    """Anchored regular expression over the decoded path."""
    upstream: Address
    through: bool
    """Passed on to the gateway itself, which decides; else the service is asked, and the edge passes it on."""
    websocket: bool
    sizes: Sizes
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the three languages are written from."""

    settings: Settings
    service: Address
    gateway: Address | None
    secret: str
    user: str
    file: str
    """The gateway file, as the command line named it."""
    listens: tuple[Address, ...]
    certificate: str
    """PEM files, empty without TLS."""
    key: str
    client_ca: str
    client_certificates: str
    """``none``, ``optional`` or ``required``."""
    upstream_ca: str
    """PEM file: who may vouch for model servers."""
    hosts: tuple[str, ...]
    proxies: tuple[Network, ...]
    """Whose ``X-Forwarded-For`` is believed."""
    key_header: str
    asked: tuple[str, ...]
    """Headers that the service is told."""
    measured: bool
    """Whether rules look at a body's size: then one that is not known has no business here."""
    locations: tuple[Location, ...]
    denied: tuple[Network, ...]
    """What the edge refuses without asking."""
    floods: tuple[Flood, ...]
    notes: tuple[str, ...]
    """What the edge does not do, each a sentence."""

    @property
    def upstreams(self) -> tuple[Address, ...]:
        """All model servers, each once."""
        return tuple(dict.fromkeys(one.upstream for one in self.locations))


def plan(settings: Settings, place: Place) -> Plan:
    """Settings for an edge. Raises `DocumentError` for what cannot be written into one."""
    notes: list[str] = []
    tls = settings.tls
    service = words.listens(place.service, "--service")
    if service.host and service.host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(
            f"--service {place.service}: the decision service is a unix socket or on this machine",
            hint="--service unix:/run/assay/decide.sock",
        )
    if service.host and len(place.secret) < 16:
        raise UsageError(
            "a service on a loopback address needs a secret of 16 characters or more", hint="--secret FILE"
        )
    if settings.trusted_proxies and settings.trusted_header != "x-forwarded-for":
        raise UsageError(
            f"trusted-header: {settings.trusted_header} is read by no edge, which would take X-Forwarded-For from "
            "proxies that do not write it",
            hint="let the proxies write X-Forwarded-For, or let the edge itself be the first one",
        )
    gateway = words.upstream(place.gateway, "--gateway") if place.gateway else None
    denied, floods = first_line(settings, notes)
    return Plan(
        settings=settings,
        service=service,
        gateway=gateway,
        secret=words.secret(place.secret, "--secret") if place.secret else "",
        user=words.account(place.user, "--user") if place.user else "",
        file=place.file,
        listens=tuple(words.listens(one, "listen") for one in settings.listen),
        certificate=words.file(settings.path(tls.certificate), "tls.certificate") if tls else "",
        key=words.file(settings.path(tls.key), "tls.key") if tls else "",
        client_ca=words.file(settings.path(tls.client_ca), "tls.client-ca") if tls and tls.client_ca else "",
        client_certificates=tls.client_certificates if tls else "none",
        upstream_ca=words.file(settings.path(settings.upstream_ca), "upstream-ca") if settings.upstream_ca else SYSTEM,
        hosts=tuple(words.name(one, "host") for one in settings.host),
        proxies=tuple(words.network(one, "trusted-proxies") for one in settings.trusted_proxies if one != "unix"),
        key_header=header(settings.callers.header, "callers.header"),
        asked=told(settings),
        measured=ruled.sizes(settings),
        locations=_locations(settings, gateway, notes),
        denied=denied,
        floods=floods,
        notes=tuple(notes) + _unsaid(settings, gateway),
    )


def _locations(settings: Settings, gateway: Address | None, notes: list[str]) -> tuple[Location, ...]:
    found = []
    for i, route in enumerate(settings.routes):
        key = f"routes[{i}]"
        said = route.upstream or settings.upstream
        if not said:
            raise UsageError(f"{key} leads nowhere: there is no upstream", hint="set upstream: http://HOST:PORT")
        whole = bool(needs(settings, i) or route.harden)
        if whole and gateway is None:
            notes.append(
                f"{key} ({route.protocol}): bodies or answers have to be read (schema, rows, tokens, hardening), which "
                "an edge does not do; its requests are refused with 503. Give --gateway to pass them to the gateway."
            )
        found.append(
            Location(
                pattern=pattern(route, words.path(route.path or "", f"{key}.path")),
                upstream=words.upstream(said, f"{key}.upstream"),
                through=whole and gateway is not None,
                websocket=route.websocket,
                sizes=route.sizes or settings.sizes,
                timeouts=route.timeouts or settings.timeouts,
            )
        )
    return tuple(found)


def _unsaid(settings: Settings, gateway: Address | None) -> tuple[str, ...]:
    """What the settings say and no edge does."""
    notes = [
        "The service is told of a request's head only, and not of its end: its log has the decisions, and the edge's "
        "log has status, length and time of each answer, with the same extendedRequestId."
    ]
    if settings.capture is not None or settings.detect.mode != "off":
        notes.append("Capture and detectors see no bodies and answers of requests that the edge passes on itself.")
    if any(plan.concurrent for plan in settings.plans.values()):
        notes.append("plans: concurrent is not held for requests that the edge passes on: their end is not known.")
    if gateway is not None and settings.callers.mtls is not None:
        notes.append("callers.mtls: certificates end at the edge; routes that go through the gateway do not see them.")
    if settings.pass_credentials:
        notes.append(
            "pass-credentials: callers' keys and tokens end at the edge, also where it passes requests on itself."
        )
    if settings.sizes.response is not None:
        notes.append("sizes.response is not held for answers that the edge passes on itself.")
    if "unix" in settings.trusted_proxies:
        notes.append("trusted-proxies: unix means the edge itself for the gateway; the edge believes no unix socket.")
    if settings.countries is not None:
        notes.append("countries: rules by country are decided by the service, not by the edge.")
    return tuple(notes)
