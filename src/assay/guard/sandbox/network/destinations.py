"""Where a step may connect to, as people write it: ``pypi.org:443``, ``*.example.com:443``, ``10.0.0.0/8:5432``.

A destination never means more than it says: a name is no address, a port is always named or ``*``, and addresses that
give away credentials count only when they are written out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from assay.errors import UsageError
from assay.guard.sandbox.interface import Destination

METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "100.100.100.200",
         "168.63.129.16", "192.0.0.192"),
    )
)  # fmt: skip
"""Where clouds hand out credentials to whoever asks (AWS, GCP, Azure, Alibaba, Oracle)."""

METADATA_NAMES = frozenset({"metadata.google.internal", "metadata", "instance-data", "instance-data.ec2.internal"})

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")

_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*")
"""A last label that the C library takes for (part of) an address: ``0x7f.1`` is 127.0.0.1."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(text: str) -> Destination:
    """One destination. Raises `UsageError` that says what is missing."""
    host, port = _split(text)
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"{text!r}: there is no port {port}")
    if "/" in host:
        try:
            return Destination(str(ipaddress.ip_network(host)), port)
        except ValueError as error:
            raise UsageError(f"{text!r} is no network: {error}") from None
    if (found := address(host)) is not None:
        return Destination(str(found), port)
    name = host.lower().rstrip(".")
    try:
        name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        raise UsageError(f"{text!r} is no host name") from None
    if len(name) > 253 or not _NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise UsageError(f"{text!r} is no HOST:PORT", hint="pypi.org:443, *.example.com:443, 10.0.0.0/8:5432, [::1]:80")
    return Destination(name, port)


def address(text: str) -> Address | None:
    """An IP address in its usual form, IPv4 in IPv6 as IPv4; None for anything else."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def carried(found: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for on its way (NAT64, RFC 6052; 6to4, RFC 3056), else itself."""
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.sixtofour or found
    return found


def allows_address(destinations: Iterable[Destination], found: Address, port: int) -> Destination | None:
    """The destination that names this address itself, or a network that it is in. Credentials' addresses must be named
    one by one.
    """
    for item in destinations:
        if item.port not in (None, port):
            continue
        if address(item.host) == found:
            return item
        if "/" in item.host and carried(found) not in METADATA:
            network = ipaddress.ip_network(item.host)
            if found.version == network.version and found in network:
                return item
        if item.host == "localhost" and found.is_loopback:
            return item
    return None


def allows_name(destinations: Iterable[Destination], name: str, port: int | None) -> Destination | None:
    """The destination that names this host. ``*.example.com`` is every name below it, and not ``example.com``. Without
    a port (a question to the resolver) any port's destination counts.
    """
    wanted = name.lower().rstrip(".")
    for item in destinations:
        if port is not None and item.port not in (None, port):
            continue
        if item.host == wanted:
            return item
        if item.host.startswith("*.") and wanted.endswith(item.host[1:]) and wanted not in METADATA_NAMES:
            return item
    return None


def reachable_by_name(found: Address) -> bool:
    """Whether a name may lead here. A name that somebody else controls must not lead into the private network, to this
    machine, or to credentials (DNS rebinding).
    """
    found = carried(found)
    return found.is_global and not found.is_multicast and found not in METADATA


def _split(text: str) -> tuple[str, int | None]:
    host, mark, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or not mark:
        raise UsageError(f"{text!r} has no port", hint="HOST:PORT, or HOST:* for all of them; [::1]:80 for IPv6")
    if not host:
        raise UsageError(f"{text!r} has no host")
    if port == "*":
        return host, None
    if not re.fullmatch("[0-9]{1,5}", port):
        raise UsageError(f"{text!r}: {port!r} is no port", hint="a number, or * for all of them")
    return host, int(port)
