"""The network of a step as a flow log: the lines that AWS writes for a VPC, and JSON Lines with what those leave out.

Version 2 lines (docs.aws.amazon.com/vpc, "Flow log records", default format) are read by every SIEM. What is not known
is ``-``: a number of packets is never invented. AWS logs neither DNS nor the metadata address; here both stand.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterator, Mapping

from assay.collect.trace.interface import Contact, Decision, Trace

_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
"""Numbers of the Internet Assigned Numbers Authority."""

_REASONS = {
    "metadata": "it hands out credentials of the cloud",
    "net:none": "no network was asked for",
    "net:not-listed": "it is in no destination of the allow-list",
    "net:loopback": "it is the step's own",
    "net:listen": "a step may listen on the loopback only",
    "net:no-datagrams": "only connections (TCP) can be allowed",
    "rebinding": "a name must not lead into a private network or to this machine",
    "proxy:malformed": "the proxy could not read it in one way only",
    "fast-open": "it connects without being judged",
    "net:polled-before": "it was polled before it was connected, and here nobody can poll the socket in its place",
    "no-mediation": "a debugger can hand no socket to the step",
    "dns": "asked of the monitor, which answers only names of the allow-list",
    "unix:outside": "it lies in no output of the step",
    "unix:name-service": "names and users are looked up without other programs",
    "unix:none": "nothing is there that could be connected to",
    "unix:abstract": "only names that the step listens under may be connected to",
}
"""By rule, in words."""

_NOWHERE = ("unix:name-service", "unix:none")
"""Rules by which the monitor answered that nothing is there: no attempt to get out, but nothing was let through."""


def lines(trace: Trace, run: str) -> bytes:
    """One version 2 line for each contact with an address: ``version account-id interface-id srcaddr dstaddr srcport
    dstport protocol packets bytes start end action log-status``. The interface is the run's, the account is unknown.
    A run without any has one line with NODATA; one whose contacts were too many to list ends with SKIPDATA.
    """
    interface = "eni-" + hashlib.sha256(run.encode()).hexdigest()[:17]
    made = [_line(item, interface) for item in trace.contacts if _is_flow(item)]
    skipped = any(gap.name == "too-many-contacts" for gap in trace.gaps)
    if skipped or not made:
        start, end = trace.started // 10**9, trace.finished // 10**9
        made.append(f"2 - {interface} - - - - - - - {start} {end} - {'SKIPDATA' if skipped else 'NODATA'}")
    return ("\n".join(made) + "\n").encode()


def json_lines(trace: Trace, run: str, digests: Mapping[str, str] | None = None) -> bytes:
    """Every contact as a JSON object: `lines`' facts under their names in versions 2 and 5, with host name, process,
    program (and its SHA-256, from ``digests`` by path), the rule that decided, and names that were asked for.
    """
    made = [json.dumps(entry, sort_keys=True) for entry in _entries(trace, run, digests or {})]
    return ("\n".join(made) + "\n").encode() if made else b""


def _line(item: Contact, interface: str) -> str:
    fields = (
        "2",
        "-",
        interface,
        _plain(item.source) or "-",
        _plain(item.address) or "-",
        _or_dash(item.source_port),
        _or_dash(item.port),
        _or_dash(_PROTOCOLS.get(item.transport)),
        "-",
        _or_dash(_bytes(item)),
        str(item.time // 10**9),
        str((item.finished or item.time) // 10**9),
        _action(item),
        "OK",
    )
    return " ".join(fields)


def _entries(trace: Trace, run: str, digests: Mapping[str, str]) -> Iterator[dict[str, object]]:
    for item in trace.contacts:
        process = trace.processes[item.process] if item.process < len(trace.processes) else None
        program = process.program.decode("utf-8", "backslashreplace") if process else None
        entry: dict[str, object] = {
            "run": run,
            "start": item.time / 1e9,
            "end": item.finished / 1e9 if item.finished else None,
            "flow-direction": "ingress" if item.call == "bind" else "egress",
            "call": item.call,
            "family": item.family,
            "protocol": item.transport,
            "srcaddr": item.source or None,
            "srcport": item.source_port,
            "dstaddr": item.address or None,
            "dstport": item.port,
            "host": item.host,
            "bytes-sent": item.sent,
            "bytes-received": item.received,
            "action": _action(item),
            "rule": item.rule or None,
            "reason": _reason(item),
            "errno": item.error,
            "pid": process.pid if process else None,
            "program": program,
            "program-sha256": digests.get(program) if program else None,
        }
        yield {name: value for name, value in entry.items() if value is not None}


def _action(item: Contact) -> str:
    return "REJECT" if item.decision is Decision.DENIED or item.rule in _NOWHERE else "ACCEPT"


def _is_flow(item: Contact) -> bool:
    """Whether it has another end. What was only made or bound has none."""
    return item.call not in ("socket", "bind") and _plain(item.address) is not None


def _plain(text: str) -> str | None:
    """An address without a scope, which the format has no place for; None for what is none."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _reason(item: Contact) -> str | None:
    if item.rule.startswith("socket:"):
        return "sockets of this kind reach past every allow-list"
    if item.decision is Decision.MEDIATED and item.rule.startswith("net:"):
        return _REASONS.get(item.rule, "it is in the allow-list")
    return _REASONS.get(item.rule)


def _bytes(item: Contact) -> int | None:
    known = [value for value in (item.sent, item.received) if value is not None]
    return sum(known) if known else None


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
