"""``net.cidr_*``: arithmetic with address ranges. Nothing here looks up a name or asks a network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def contains(one: str, other: str) -> bool:
    """``net.cidr_contains`` (and v0's ``net.cidr_overlap``): whether a range has another, or an address, in it."""
    return _within(_network(other, address=True), _network(one))


def intersects(one: str, other: str) -> bool:
    """``net.cidr_intersects``."""
    first, second = _network(one), _network(other)
    return first.version == second.version and first.overlaps(second)


def merge(items: Any) -> set[str]:
    """``net.cidr_merge``: the fewest ranges that hold the same addresses."""
    if not isinstance(items, list | set):
        raise TypeError("net.cidr_merge: the argument is neither an array nor a set")
    networks = [_network(item, address=True) for item in items]
    if any(network.version == 6 and "/" not in item for item, network in zip(items, networks, strict=True)):
        raise ValueError("net.cidr_merge: an IPv6 address without the length of its prefix")
    four = ipaddress.collapse_addresses(item for item in networks if isinstance(item, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(item for item in networks if isinstance(item, ipaddress.IPv6Network))
    return {str(item) for item in (*four, *six)}


def contains_matches(ranges: Any, others: Any) -> Any:
    """``net.cidr_contains_matches``: pairs of the keys of a range and of what lies in it."""
    first = [(key, _network(text)) for key, text in _entries(ranges)]
    second = [(key, _network(text, address=True)) for key, text in _entries(others)]
    return {(one, other) for one, outer in first for other, inner in second if _within(inner, outer)}


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _entries(items: Any) -> Iterator[tuple[Any, str]]:
    """Keys and texts: of a string itself, of an array its indices, of a set its members, of an object its keys."""
    if isinstance(items, str):
        yield items, items
        return
    if isinstance(items, dict):
        pairs: Any = items.items()
    elif isinstance(items, list):
        pairs = enumerate(items)
    elif isinstance(items, set):
        pairs = ((item, item) for item in items)
    else:
        raise TypeError("net.cidr_contains_matches: an argument is neither text nor a collection")
    for key, item in pairs:
        text = item[0] if isinstance(item, list | tuple) and item else item
        if not isinstance(text, str):
            raise TypeError("net.cidr_contains_matches: an element is neither a string nor a non-empty array")
        yield key, text


def _network(text: Any, *, address: bool = False) -> Network:
    if not isinstance(text, str) or (not address and "/" not in text):
        raise ValueError("net.cidr: not a range of addresses")
    return ipaddress.ip_network(text, strict=False)
