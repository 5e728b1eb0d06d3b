"""What an edge refuses by itself, of the rules: address sets, and rates by address as a first coarse line.

It may be coarser than the decision service, but must never refuse what that would allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from math import ceil

from assay.files import read_file
from assay.guard.gateway.edge import words
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Rule

Network = IPv4Network | IPv6Network


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


def first_line(settings: Settings, notes: list[str]) -> tuple[tuple[Network, ...], tuple[Flood, ...]]:
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
        lines += [line for raw in text.splitlines() if (line := raw.partition("#")[0].partition(";")[0].strip())]
    return [words.network(line, f"addresses.{name}") for line in lines]
