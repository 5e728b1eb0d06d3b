"""Sets of networks, asked on every request: a dictionary's look where the address was asked before, else one look for
each length of prefix. Files are read anew when they change, never on a request's way; a file that went bad leaves the
set as it was, because an empty deny list lets everybody in.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from assay.errors import AssayError, DocumentError
from assay.files import read_file
from assay.guard.gateway.stamps import Stamp, stamp

REMEMBERED = 65536
"""Addresses whose answer is remembered; all are forgotten when there are more."""
LARGEST = 64 << 20
"""Bytes of a file of networks."""

_log = logging.getLogger("assay.gateway")


@lru_cache(REMEMBERED)
def canonical(text: str) -> str | None:
    """The one form of an address: IPv4-mapped IPv6 as IPv4, RFC 5952 otherwise. None where it is none, or has a zone,
    which means nothing to anybody else.
    """
    if len(text) > 45 or "%" in text:
        return None
    parsed = _parsed(text)
    return None if parsed is None else str(parsed)


class Networks:
    """An immutable set of networks."""

    def __init__(self, networks: Iterable[str], what: str) -> None:
        """Raises `DocumentError` that begins with ``what`` and names the network."""
        self._by_length: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for text in networks:
            version, shift, prefix = _network(text, what)
            self._by_length[version].setdefault(shift, set()).add(prefix)
        self._four = tuple(self._by_length[4].items())
        self._six = tuple(self._by_length[6].items())
        self._known: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        """Whether an address in its canonical form is inside; ``unix:`` and the like never are."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[address] = self._look(address)
        return known

    def __len__(self) -> int:
        return sum(len(prefixes) for lengths in self._by_length.values() for prefixes in lengths.values())

    def _look(self, address: str) -> bool:
        parsed = _parsed(address)
        if parsed is None:
            return False
        number = int(parsed)
        lengths = self._four if parsed.version == 4 else self._six
        return any(number >> shift in prefixes for shift, prefixes in lengths)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, IPv4 where it is mapped into IPv6 (RFC 4291, 2.5.5.2)."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed if mapped is None else mapped


def _network(text: str, what: str) -> tuple[int, int, int]:
    """Version, how many bits the hosts have, the prefix. Bits set beyond the prefix are a slip, and refused."""
    try:
        if "%" in text:
            raise ValueError
        network = ipaddress.ip_network(text)
    except ValueError:
        hint = None
        with contextlib.suppress(ValueError):
            hint = f"write {ipaddress.ip_network(text, strict=False)}"
        raise DocumentError(f"{what}: {text[:60]!r} is no network", hint=hint) from None
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            return 4, 128 - network.prefixlen, int(mapped) >> (128 - network.prefixlen)
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


class AddressSet:
    """A named set, from the configuration and from files; what `networks` is changes when a file does."""

    def __init__(self, name: str, inline: Sequence[str], files: Sequence[str]) -> None:
        """``files``: absolute paths. Raises `DocumentError` or `UsageError`."""
        self.name = name
        self._what = f"addresses.{name}"
        self._inline = tuple(inline)
        self._files = tuple(files)
        self._seen = self._stamps()
        self.networks = self._read()

    def refresh(self) -> bool:
        """Read files that have changed; true where the set is another now. A bad one is told to the log, once. One that
        was cut to nothing is bad: that is what a download leaves that fails. A set is emptied by a comment.
        """
        found, before = self._stamps(), self._seen
        if found == before:
            return False
        self._seen = found
        try:
            for path, now, was in zip(self._files, found, before, strict=True):
                if now is not None and now[2] == 0 and (was is None or was[2] > 0):
                    raise DocumentError(f"{path} was emptied (to mean that, write a comment: # nobody)")
            self.networks = self._read()
        except AssayError as error:
            _log.warning("%s; the set %s stays as it was", error.message, self.name)
            return False
        return True

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(map(stamp, self._files))

    def _read(self) -> Networks:
        networks = list(self._inline)
        for path in self._files:
            try:
                lines = read_file(path, LARGEST).decode("ascii").splitlines()
            except UnicodeDecodeError:
                raise DocumentError(f"{path} is no list of networks: it is not ASCII") from None
            for number, line in enumerate(lines, 1):
                entry = line.partition("#")[0].partition(";")[0].strip()
                if entry:
                    _network(entry, f"{path}:{number}")
                    networks.append(entry)
        return Networks(networks, self._what)


def address_set(name: str, given: Any, folder: str) -> AddressSet:
    """From the configuration: a list of networks, or ``{file: …}``, ``{files: […], networks: […]}``. Relative paths
    start at ``folder``. Raises `DocumentError`.
    """
    if isinstance(given, list | tuple):
        return AddressSet(name, _texts(name, list(given)), ())
    if not isinstance(given, dict):
        raise DocumentError(f"addresses.{name} is neither a list of networks nor a mapping with 'file'")
    if unknown := set(given) - {"file", "files", "networks"}:
        raise DocumentError(f"addresses.{name}: unknown key {min(map(str, unknown))[:60]!r}")
    files = _texts(name, given.get("files", [])) + ([str(given["file"])] if "file" in given else [])
    return AddressSet(
        name, _texts(name, given.get("networks", [])), [os.path.normpath(os.path.join(folder, path)) for path in files]
    )


def _texts(name: str, values: Any) -> list[str]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise DocumentError(f"addresses.{name}: networks and files are lists of texts")
    return list(values)
