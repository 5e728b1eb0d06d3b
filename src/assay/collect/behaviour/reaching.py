"""From a trace to facts about what a run reached for beyond its files: sockets, and rare system calls."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.collect.behaviour.interface import Kind
from assay.collect.behaviour.naming import Names, printable
from assay.collect.trace.interface import Contact, Decision, Trace

_EPHEMERAL = 32768
"""Ports from here on are handed out by the kernel (net.ipv4.ip_local_port_range)."""

_QUIET = ("/run/nscd/socket", "/var/run/nscd/socket")
"""Asked by the C library for every user's name, whoever runs."""

_DETAILED = ("unshare", "clone")
"""Calls whose detail is words from a short list, and matters."""

_VARYING = re.compile(r"[0-9a-fA-F]{8,}|\d+")


def reached(trace: Trace, names: Names) -> Iterator[tuple[Kind, str, bool]]:
    """Kind, text, and whether it went through."""
    own = {contact.port for contact in trace.contacts if contact.call == "bind" and contact.port}
    for contact in trace.contacts:
        yield from _contact(contact, names, own)
    for call in trace.calls:
        words = f"{call.call} {call.detail}".strip() if call.call in _DETAILED else call.call
        yield Kind.CALL, printable(words), call.decision is not Decision.DENIED


def _contact(contact: Contact, names: Names, own: set[int]) -> Iterator[tuple[Kind, str, bool]]:
    went = contact.decision is not Decision.DENIED
    if contact.call == "dns":
        yield Kind.DESTINATION, f"dns {printable(contact.host or contact.address)}", went
    elif contact.family == "unix":
        if contact.address in _QUIET or not contact.address:
            return
        kind = Kind.LISTEN if contact.call == "bind" else Kind.DESTINATION
        yield kind, f"unix {_unix(contact.address, names)}", went
    elif contact.family in ("inet", "inet6"):
        loopback = contact.address.startswith("127.") or contact.address in ("::1", "localhost")
        host = "localhost" if loopback else printable(contact.host or contact.address)
        host = f"[{host}]" if ":" in host else host
        port = "" if contact.port is None else str(contact.port)
        if contact.call == "bind":
            port = "*" if not contact.port or contact.port >= _EPHEMERAL else port
            yield Kind.LISTEN, f"{contact.transport} {host}:{port}", went
            return
        if loopback and contact.port is not None and (contact.port in own or contact.port >= _EPHEMERAL):
            port = "*"  # two processes of one step, or of one machine, that agreed on a port for this run
        yield Kind.DESTINATION, f"{contact.transport} {host}:{port}" if port else f"{contact.transport} {host}", went
    else:
        yield Kind.DESTINATION, printable(f"{contact.family} {contact.transport}".strip()), went


def _unix(address: str, names: Names) -> str:
    """A socket's path by its place; an abstract one's name without what varies."""
    if address.startswith("@"):
        return printable(_VARYING.sub("<n>", address))
    name = names.symbolic(names.real(address))
    return "$TMPDIR/*" if name.startswith("$TMPDIR/") else name
