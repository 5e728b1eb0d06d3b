"""Which addresses count as one neighbour: what one household, office or attacker commonly has."""

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
