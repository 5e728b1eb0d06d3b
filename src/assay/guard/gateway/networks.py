"""Which addresses count as one: what one customer, household, office or attacker commonly has."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(4096)
def network(address: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 address; anything else as it is."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


@lru_cache(4096)
def household(address: str) -> str:
    """The /64 of an IPv6 address (RFC 6177: nobody gets less); one that maps an IPv4 address is that address, and
    anything else is as it is.
    """
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(ipaddress.IPv6Network((parsed, 64), strict=False)) if mapped is None else str(mapped)
