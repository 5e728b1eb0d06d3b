"""What of the gateway's settings an edge can do itself, in no edge's language yet, and what it cannot, in words.

An edge may be coarser than the decision service but never refuse what the service would allow, and never let pass what
the service was not asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from math import ceil
from typing import Any

from assay.errors import UsageError
from assay.files import read_file
from assay.guard.gateway.core import needs
from assay.guard.gateway.edge import words
from assay.guard.gateway.edge.paths import pattern
from assay.guard.gateway.edge.words import Address
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Rule, Sizes, Timeouts

Network = IPv4Network | IPv6Network

ASKED = ("authorization", "x-request-id", "user-agent")
"""Headers that the service is told in any case; those that a setting or rule looks at are added."""
_FORWARDED = ("x-forwarded-for", "forwarded")
_SAGEMAKER = ("x-amzn-sagemaker-target-model", "x-amzn-sagemaker-target-variant")


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
class Flood:
    """The first line of a rate-based rule by address: a bucket of ``limit`` that gains ``limit`` each ``window``.

    Such a bucket is empty only when the window before it has let ``limit`` pass, so that it never refuses what the
    exact rule would allow.
    """

    limit: int
    window: int
    """Seconds."""

    @property
    def per_minute(self) -> int:
        """Rounded up, which errs on the side of the caller."""
        return ceil(self.limit * 60 / self.window)


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
    hosts: tuple[str, ...]
    proxies: tuple[Network, ...]
    """Whose ``X-Forwarded-For`` is believed."""
    key_header: str
    asked: tuple[str, ...]
    """Headers that the service is told."""
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
    gateway = words.upstream(place.gateway, "--gateway") if place.gateway else None
    key_header = words.header(settings.callers.header, "callers.header")
    denied, floods = _first_line(settings, notes)
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
        hosts=tuple(words.name(one, "host") for one in settings.host),
        proxies=tuple(words.network(one, "trusted-proxies") for one in settings.trusted_proxies if one != "unix"),
        key_header=key_header,
        asked=_asked(settings, key_header),
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


def _first_line(settings: Settings, notes: list[str]) -> tuple[tuple[Network, ...], tuple[Flood, ...]]:
    """Address sets and rates that the edge may refuse by itself: of rules that nothing before them overrides."""
    denied: list[Network] = []
    floods: list[Flood] = []
    for rule in sorted(settings.rules, key=lambda rule: rule.priority):
        if rule.action in ("allow", "challenge"):
            notes.append(
                f"rules from {rule.id!r} on are left to the decision service: an edge cannot know whom it "
                f"{'lets through' if rule.action == 'allow' else 'challenges'} first."
            )
            break
        names = _address_sets(rule)
        flood = _flood(rule)
        if rule.action != "block":
            continue
        if names is not None:
            for name in names:
                denied += _networks(settings, name)
        elif flood is not None:
            floods.append(flood)
    merged: list[Network] = [
        *collapse_addresses(one for one in denied if isinstance(one, IPv4Network)),
        *collapse_addresses(one for one in denied if isinstance(one, IPv6Network)),
    ]
    return tuple(merged), tuple(dict.fromkeys(floods))


def _address_sets(rule: Rule) -> tuple[str, ...] | None:
    """Names (or networks) of the sets that a rule blocks by nothing but the address."""
    if rule.rate is not None or set(rule.match) != {"address-in"} or rule.status not in (None, 403):
        return None
    said = rule.match["address-in"]
    names = [said] if isinstance(said, str) else said
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _flood(rule: Rule) -> Flood | None:
    rate = rule.rate
    if (
        rate is None
        or rule.match
        or rate.get("scope-down")
        or rate.get("by", "address") not in ("address", ["address"])
    ):
        return None
    limit, window = rate.get("limit"), rate.get("window", 300)
    if type(limit) is not int or type(window) is not int or not (0 < limit < 10**9 and 0 < window <= 86400):
        return None
    return Flood(limit, window)


def _networks(settings: Settings, name: str) -> list[Network]:
    """The networks of a named set, or the one that the name is itself."""
    if name not in settings.addresses:
        return [words.network(name, "rules")]
    given = settings.addresses[name]
    if isinstance(given, list):
        given = {"networks": given}
    files = [*given.get("files", []), *([given["file"]] if "file" in given else [])]
    lines = [str(one) for one in given.get("networks", [])]
    for file in files:
        text = read_file(settings.path(str(file)), 64 << 20).decode("ascii", "replace")
        lines += [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]
    return [words.network(line, f"addresses.{name}") for line in lines]


def _asked(settings: Settings, key_header: str) -> tuple[str, ...]:
    """Headers that the service is told."""
    found = [*ASKED, key_header, *_named(settings)]
    if settings.trusted_proxies:  # nobody else's are believed
        found += _FORWARDED
    if any(route.protocol == "sagemaker" for route in settings.routes):
        found += _SAGEMAKER
    return tuple(dict.fromkeys(found))


def _named(settings: Settings) -> list[str]:
    """Headers that rules look at."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "header":
                    said = inner.get("name") if isinstance(inner, dict) else inner
                    found.extend([words.header(said, "rules: header")] if isinstance(said, str) else [])
                elif key == "cookie":
                    found.append("cookie")
                elif isinstance(key, str) and key.startswith(("header:", "cookie:")):
                    by(key)
                walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            by(value)

    def by(value: str) -> None:
        if value.startswith("header:"):
            found.append(words.header(value.removeprefix("header:"), "rules: by"))
        elif value.startswith("cookie:"):
            found.append("cookie")

    for rule in settings.rules:
        walk(rule.match)
        walk(rule.rate)
    return found


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
    if settings.sizes.response is not None:
        notes.append("sizes.response is not held for answers that the edge passes on itself.")
    if "unix" in settings.trusted_proxies:
        notes.append("trusted-proxies: unix means the edge itself for the gateway; the edge believes no unix socket.")
    if settings.countries is not None:
        notes.append("countries: rules by country are decided by the service, not by the edge.")
    return tuple(notes)
