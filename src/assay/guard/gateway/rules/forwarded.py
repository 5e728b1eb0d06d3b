"""Who asks, where proxies stand in front: the right-most hop that is no trusted proxy. Nothing further left is looked
at, because anybody can have written it; a header that a trusted proxy would not write leaves the peer itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.errors import DocumentError
from assay.guard.gateway.rules.addresses import Networks, canonical

HOPS = 16
"""Trusted proxies in a row that are believed."""
LONGEST = 4096
"""Bytes of a header that are looked at, from its end."""


class Trusted:
    """The proxies whose header is believed."""

    def __init__(self, proxies: tuple[str, ...], header: str) -> None:
        """``header``: ``x-forwarded-for`` or ``forwarded`` (RFC 7239); the other one is never looked at, because a
        proxy passes on unread what it does not write itself. Raises `DocumentError`.
        """
        if header not in ("x-forwarded-for", "forwarded"):
            raise DocumentError(f"trusted-header: {header[:60]!r} is neither x-forwarded-for nor forwarded")
        self._unix = "unix" in proxies
        self._networks = Networks((proxy for proxy in proxies if proxy != "unix"), "trusted-proxies")
        self.header = header.encode()
        self._standard = header == "forwarded"

    def __bool__(self) -> bool:
        return self._unix or len(self._networks) > 0

    def believes(self, peer: str) -> bool:
        """Whether a header from this peer (in canonical form, or ``unix:…``) counts."""
        return self._unix if peer.startswith("unix:") else peer in self._networks

    def client(self, value: bytes) -> str | None:
        """The address that ``value`` tells, or None where it tells none."""
        hops = _elements(value[-LONGEST:], cut=len(value) > LONGEST)
        address = None
        for _, element in zip(range(HOPS), hops, strict=False):
            text = _standard(element) if self._standard else element
            address = None if text is None else _address(text)
            if address is None or address not in self._networks:
                return address
        # All hops are trusted: a proxy itself asks. More of them than are believed tell nothing.
        return address if next(hops, None) is None else None


def _elements(value: bytes, *, cut: bool) -> Iterator[str]:
    """From right to left; the left-most is left out where the header was longer than is looked at."""
    parts = value.decode("latin-1").split(",")
    for part in reversed(parts[1:] if cut else parts):
        yield part.strip(" \t")


def _standard(element: str) -> str | None:
    """The ``for`` of an element of RFC 7239, 4. A quoted comma would be cut; an address has none."""
    found = None
    for pair in element.split(";"):
        name, sign, value = pair.strip(" \t").partition("=")
        if sign and name.lower() == "for":
            if found is not None:
                return None
            found = value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
    return found


def _address(text: str) -> str | None:
    """An address, also with a port: ``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    if text.startswith("["):
        inside, sign, port = text[1:].partition("]")
        if not sign or ":" not in inside or (port and not _port(port)):
            return None
        return canonical(inside)
    if text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _port(":" + port):
            return None
    return canonical(text)


def _port(text: str) -> bool:
    return text[0] == ":" and 1 <= len(text) - 1 <= 5 and text[1:].isascii() and text[1:].isdigit()
