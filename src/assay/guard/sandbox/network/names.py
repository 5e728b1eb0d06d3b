"""Whether an address may be reached, and by which rule: the allow-list, and the names that were resolved for the step.

A name leads only where it led when we resolved it. It must never lead into a private network, to this machine or to
credentials, whatever its owner answers (DNS rebinding); only an address that is written out does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from assay.guard.sandbox.interface import Destination
from assay.guard.sandbox.network.destinations import (
    METADATA,
    METADATA_NAMES,
    Address,
    address,
    allows_address,
    allows_name,
    reachable_by_name,
)

_MOST = 50_000
"""Addresses that are remembered."""


class Verdict(Struct, frozen=True):
    """What was decided about one address or name."""

    allowed: bool
    rule: str
    """``net:DESTINATION``, ``net:none``, ``net:not-listed``, ``metadata`` or ``rebinding``."""
    host: str | None = None


class Names:
    """The allow-list with its memory."""

    def __init__(self, destinations: Sequence[Destination], hosts: Iterable[str] = ()) -> None:
        """``hosts``: lines of this machine's ``/etc/hosts``: what its administrator wrote there counts as resolved."""
        self.destinations = tuple(destinations)
        self._names: dict[Address, dict[str, None]] = {}
        for line in hosts:
            first, *names = line.partition("#")[0].split() or [""]
            found = address(first)
            if found is None or found.is_loopback or found in METADATA:
                continue
            for name in names:
                if allows_name(self.destinations, name, None):
                    self._remember(name.lower().rstrip("."), found)

    def name(self, name: str, port: int | None = None) -> Verdict:
        """Whether a name may be resolved (and, with a port, reached if its address may)."""
        if item := allows_name(self.destinations, name, port):
            return Verdict(True, f"net:{item}", name)
        return Verdict(False, "metadata" if name in METADATA_NAMES else self._other(), name)

    def resolved(self, name: str, found: Iterable[Address]) -> list[Address]:
        """Of the addresses that a name was found to have, those that it may lead to; they are remembered. Empty when
        all of them were refused.
        """
        kept = [item for item in found if self._leads(item)]
        for item in kept:
            self._remember(name, item)
        return kept

    def address(self, found: Address, port: int) -> Verdict:
        """Whether this address and port may be reached."""
        names = tuple(self._names.get(found, ()))  # a copy: the proxy's threads add to it
        host = names[0] if names else None
        if item := allows_address(self.destinations, found, port):
            return Verdict(True, f"net:{item}", host)
        for name in names:
            if item := allows_name(self.destinations, name, port):
                return Verdict(True, f"net:{item}", name)
        return Verdict(False, "metadata" if found in METADATA else self._other(), host)

    def _leads(self, found: Address) -> bool:
        return reachable_by_name(found) or any(
            allows_address([item], found, port)
            for item in self.destinations
            for port in (item.port or 1,)
            if item.host != "localhost"
        )

    def _remember(self, name: str, found: Address) -> None:
        if found in self._names or len(self._names) < _MOST:
            self._names.setdefault(found, {})[name] = None

    def _other(self) -> str:
        return "net:not-listed" if self.destinations else "net:none"
