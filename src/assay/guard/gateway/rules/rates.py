"""Rate-based rules: who is counted together, in which window, and what of it is counted at all.

As in AWS WAF: a request that lacks what is counted by does not meet the rule; only what the scope-down statement
matches is counted and limited; and blocked hits count, so a flood stays out until it stops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import Any, TypeAlias

import msgspec

from assay.errors import DocumentError
from assay.guard.gateway.interface import Context, Counters
from assay.guard.gateway.rules.addresses import REMEMBERED
from assay.guard.gateway.rules.statements import Surroundings, Test, compile_statement
from assay.guard.gateway.settings.telling import told

Key: TypeAlias = Callable[[Context], bytes | None]
"""What a request is counted by; None: it lacks it."""

LONGEST = 64
"""Bytes of a value that are part of a key as they are; of longer ones a digest is."""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The ``rate`` of a rule."""

    limit: int
    """Hits in any window that the rule lets through; at least one."""
    window: int = 300
    """Seconds, 1 to 86400; WAF knows 60, 120, 300 and 600."""
    by: str | tuple[str, ...] = "address"
    """``address`` (IPv6 by /64, which is what one customer has), ``forwarded`` (only where a trusted proxy told the
    address), ``caller``, ``owner``, ``header:NAME``, ``cookie:NAME``, ``constant``, or several of them together.
    """
    scope_down: dict[str, Any] = {}
    """A statement: only what it matches is counted."""


def compile_rate(
    given: dict[str, Any], identity: str, counters: Counters, around: Surroundings, what: str
) -> tuple[Test, int]:
    """The function that counts a request and says whether it exceeds the limit, and after how many seconds of silence
    it no longer would. Raises `DocumentError` that begins with ``what``.
    """
    try:
        rate = msgspec.convert(given, Rate)
    except msgspec.ValidationError as error:
        raise told(error, given, f"{what}: rate", None, lambda raw: msgspec.convert(raw, Rate), Rate) from None
    if rate.limit < 1:
        raise DocumentError(f"{what}: rate: the limit is at least 1")
    if not 1 <= rate.window <= 86400:
        raise DocumentError(f"{what}: rate: the window is 1 to 86400 seconds")
    scope = compile_statement(rate.scope_down, around, f"{what}: scope-down")
    # Another limit, window or key begins anew, as a changed rule of WAF does.
    parts = rate.by if isinstance(rate.by, tuple) else (rate.by,)
    name = blake2b(repr((identity, rate.window, parts)).encode(), digest_size=8).digest()
    exceeded = _by_address(rate, name, counters) if parts == ("address",) else _by(rate, parts, name, counters, what)
    return _in(scope, exceeded), math.ceil(rate.window * 13 / 12)


def _in(scope: Test | None, exceeded: Test) -> Test:
    return exceeded if scope is None else lambda context: scope(context) and exceeded(context)


def _by(rate: Rate, parts: tuple[str, ...], name: bytes, counters: Counters, what: str) -> Test:
    if not parts or len(set(parts)) < len(parts):
        raise DocumentError(f"{what}: rate: 'by' names nothing, or something twice")
    key = _key([_reader(part, what) for part in parts], name)
    limit, window, count = rate.limit, rate.window, counters.window

    def exceeded(context: Context) -> bool:
        counted_by = key(context)
        return counted_by is not None and count(counted_by, context.steady, window) > limit

    return exceeded


def _by_address(rate: Rate, name: bytes, counters: Counters) -> Test:
    """The usual case, with a dictionary's look for the key."""
    known: dict[str, bytes] = {}
    limit, window, count = rate.limit, rate.window, counters.window

    def exceeded(context: Context) -> bool:
        address = context.address
        key = known.get(address)
        if key is None:
            if len(known) >= REMEMBERED:
                known.clear()
            key = known[address] = name + _address(context)
        return count(key, context.steady, window) > limit

    return exceeded


def _key(readers: list[Key], name: bytes) -> Key:
    def key(context: Context) -> bytes | None:
        values = [name]
        for read in readers:
            value = read(context)
            if value is None:
                return None
            values.append(value if len(value) <= LONGEST else blake2b(value, digest_size=16).digest())
            values.append(b"%d" % len(value))  # so that no two combinations look the same
        return b"\0".join(values)

    return key


def _address(context: Context) -> bytes:
    address = context.address
    if ":" not in address:
        return address.encode()
    try:
        return IPv6Address(address).packed[:8]
    except ValueError:
        return address.encode()  # a unix socket


def _reader(part: str, what: str) -> Key:
    if part in _READERS:
        return _READERS[part]
    kind, _, name = part.partition(":")
    if kind == "header" and name:
        lower = name.lower().encode("latin-1", "replace")
        return lambda context: context.headers.get(lower)
    if kind == "cookie" and name:
        wanted = name.encode("latin-1", "replace")
        return lambda context: _cookie(context.headers.get(b"cookie"), wanted)
    known = ", ".join([*_READERS, "header:NAME", "cookie:NAME"])
    raise DocumentError(f"{what}: rate: nothing is counted by {part[:60]!r}", hint=f"known: {known}")


def _cookie(header: bytes | None, wanted: bytes) -> bytes | None:
    """The first of that name (RFC 6265, 4.2)."""
    if header is not None:
        for pair in header.split(b";"):
            name, sign, value = pair.strip().partition(b"=")
            if sign and name == wanted:
                return value
    return None


def _caller(context: Context) -> bytes | None:
    return None if context.caller is None else context.caller.id.encode("utf-8", "surrogatepass")


def _owner(context: Context) -> bytes | None:
    caller = context.caller
    return caller.owner.encode("utf-8", "surrogatepass") if caller is not None and caller.owner else None


_READERS: dict[str, Key] = {
    "address": _address,
    "forwarded": lambda context: _address(context) if context.forwarded else None,
    "caller": _caller,
    "owner": _owner,
    "constant": lambda context: b"",
}
