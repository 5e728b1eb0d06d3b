"""``isolated``: that a step ran without the network, or reached only the hosts that the rule names.

It reads what the step's monitor or supervisor recorded. A record that is not there is no evidence that nothing
happened, and a monitor that lists gaps did not see everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from assay.policy.checks.arguments import Arguments, Unknown, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, listed, show, string, told
from assay.policy.verdict import Violation

TRACE = "https://in-toto.io/attestation/runtime-trace/v0.1"
LINK = "https://in-toto.io/attestation/link/v0.3"
SLSA = ("https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v1.*")

_DENIED = ("deny", "denied", "block", "blocked", "refused", "reject", "rejected")


class Isolated(Arguments, frozen=True):
    """Without arguments: no contact with any host."""

    hosts: Annotated[Words, Meta(description="Hosts that may be reached: pypi.org, *.example.com:443 (globs).")] = ()
    gaps: Annotated[Unknown, Meta(description="Whether the monitor may have had blind spots.")] = "fail"
    monitors: Annotated[Words, Meta(description="Kinds of monitor that count (globs over the type's URI).")] = ()


class _Check:
    name = "isolated"
    types: tuple[str, ...] = (TRACE, LINK, *SLSA)
    schema = schema(Isolated)

    def prepare(self, arguments: Any, place: str) -> Isolated:
        """See `Check.prepare`."""
        return convert(Isolated, arguments, place)

    def violations(self, document: Document, arguments: Isolated) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, arguments))


def _wrong(document: Document, wanted: Isolated) -> Iterator[Violation]:
    predicate = document.predicate
    if document.predicate_type == TRACE:
        contacts, path = dig(predicate, "monitorLog", "network"), "monitorLog.network"
        gaps, gaps_path = dig(predicate, "monitor", "tracePolicy", "gaps"), "monitor.tracePolicy.gaps"
        monitor = string(dig(predicate, "monitor", "type"))
    else:
        # Link and provenance have no field for it: the one place that each leaves to the producer holds the same facts.
        parent = "environment" if document.predicate_type == LINK else "buildDefinition.internalParameters"
        held = dig(predicate, *parent.split("."), "isolation")
        contacts, path = dig(held, "network"), f"{parent}.isolation.network"
        gaps, gaps_path = dig(held, "gaps"), f"{parent}.isolation.gaps"
        monitor = string(dig(held, "monitor"))
    if wanted.monitors and (monitor is None or not first(wanted.monitors, monitor)):
        yield Violation(f"the monitor is {show(monitor)}, which does not count", path.partition(".")[0])
    if wanted.gaps == "fail":
        if not isinstance(gaps, list):
            yield Violation("nothing says that the monitor had no gaps", gaps_path)
        for i, gap in enumerate(listed(gaps)):
            about = dig(gap, "about")
            if isinstance(about, list) and about and "network" not in about:
                continue  # a gap in what was recorded of files says nothing about the network
            told_gap = string(gap) or string(dig(gap, "message")) or string(dig(gap, "name"))
            yield Violation(f"the monitor had a gap: {show(told_gap)}", f"{gaps_path}[{i}]")
    if not isinstance(contacts, list):
        yield Violation("there is no record of the network", path)
    for i, contact in enumerate(listed(contacts)):
        if (wrong := _contact(contact, wanted.hosts)) is not None:
            yield Violation(wrong, f"{path}[{i}]", {"contact": wrong[:300]})


def _contact(contact: Any, hosts: Words) -> str | None:
    """What is wrong with a contact: text ``HOST:PORT``, or an object with host or address, port and decision."""
    names = list(_names(contact))
    if not names:
        return "a contact with the network can't be read"
    if isinstance(contact, Mapping) and str(contact.get("decision", contact.get("action"))).lower() in _DENIED:
        return None  # it was tried, and stopped
    if isinstance(contact, Mapping) and contact.get("scope") == "step":
        return None  # between the step's own processes, as the monitor that joined them says
    if all(any(first(hosts, form) for form in forms) for forms in names):
        return None
    return f"{show(names[0][0])} was reached"


def _names(contact: Any) -> Iterator[tuple[str, ...]]:
    """The ways to write each thing that a contact names: with its port, and without."""
    if text := string(contact):
        host, mark, port = text.rpartition(":")
        bare = host.strip("[]") if mark and port.isdigit() and (host.startswith("[") or ":" not in host) else text
        yield (text, bare)
    elif isinstance(contact, Mapping):
        number = contact.get("port")
        for name in _first_of(contact, ("host", "hostname", "destination"), ("address", "ip")):
            yield (f"{name}:{number}", name) if isinstance(number, int) and 0 <= number < 65536 else (name,)


def _first_of(contact: Mapping[str, Any], *groups: tuple[str, ...]) -> list[str]:
    """What the first group of keys with anything under it names: an address counts where no host is named."""
    for keys in groups:
        found = [name for name in map(string, map(contact.get, keys)) if name is not None]
        if found:
            return found
    return []


CHECK = _Check()
