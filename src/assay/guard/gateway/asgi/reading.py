"""From an ASGI scope to a `Context`: what the server has parsed, held against what the core takes for granted.

A head that two readers could read in two ways is refused here, whatever server stands in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from time import time
from typing import Any, TypeAlias
from urllib.parse import quote

from assay.guard.gateway import certificates
from assay.guard.gateway.asgi.types import Pair, Scope
from assay.guard.gateway.headers import LENGTH, host_name, host_names, join, single
from assay.guard.gateway.interface import Certificate, Context, Decision
from assay.guard.gateway.refusing import LARGE_HEAD, LONG_LINE, OTHER_HOST, REPEATED
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Sizes

FRAMING = Decision(False, 400, "framing", "the request's length is said in two ways, or in none that counts")
PATHS = Decision(False, 400, "path", "the server's path and raw_path are not the same path")


REMEMBERED = 2048
"""Heads that are remembered, each of at most `SHORT` bytes; all are forgotten when there are more."""
SHORT = 1024

_BLANK = re.compile(rb"[ \t](?:\0|\Z)")
"""What httptools leaves behind a value, in a text of all names and values."""

Known: TypeAlias = tuple[str, bytes, dict[bytes, bytes], str, str]
"""Method, target, headers, peer and version of a head in which nothing was wrong."""


class Limits:
    """What of one configuration a head is held against."""

    __slots__ = ("bytes", "count", "hosts", "known", "line", "routes", "single", "sizes")

    def __init__(self, settings: Settings) -> None:
        self.sizes = sizes = settings.sizes
        self.line, self.bytes, self.count = int(sizes.line), int(sizes.headers), sizes.count
        """Of the target; of all headers; how many these may be."""
        self.hosts = host_names(settings)
        self.single = single(settings, cookies=True)
        """Names of headers that may not be repeated."""
        self.routes: list[Sizes] = [route.sizes or settings.sizes for route in settings.routes]
        """By the route's index."""
        self.known: dict[tuple[object, ...], Known] = {}
        """By all that they were read from: callers send the same head again and again."""


def context_of(scope: Scope, limits: Limits) -> tuple[Context, Decision | None]:
    """The request as the core reads it, and why it is refused before it is asked."""
    client = scope.get("client")
    peer: str = client[0] if client else "unix:"
    given = tuple(scope["headers"])
    read_from = (scope.get("raw_path"), scope["query_string"], scope.get("method"), scope["http_version"], peer, given)
    problem = None
    try:
        known = limits.known.get(read_from)
    except TypeError:  # a server that gives lists, where tuples are usual
        known = None
    if known is None:
        known, problem = _read(scope, peer, given, limits)
        size = len(known[1]) + sum(map(len, chain.from_iterable(given)))
        if problem is None and read_from[0] and size <= SHORT:
            _remember(limits, read_from, known)
    method, target, headers, peer, http = known
    context = Context(method, target, headers, peer, time(), http)
    if scope.get("scheme") in ("https", "wss"):
        context.tls = True
        context.certificate = _certificate(scope)
    return context, problem


def _remember(limits: Limits, read_from: tuple[object, ...], known: Known) -> None:
    if len(limits.known) >= REMEMBERED:
        limits.known.clear()
    with suppress(TypeError):
        limits.known[read_from] = known


def _read(scope: Scope, peer: str, given: tuple[Pair, ...], limits: Limits) -> tuple[Known, Decision | None]:
    headers = dict(given)
    text = b"\0".join(chain.from_iterable(given))
    problem = None
    if len(headers) != len(given) or _BLANK.search(text):
        headers, problem = _joined(given, limits.single)
    target = scope.get("raw_path") or quote(scope["path"]).encode()
    if query := scope["query_string"]:
        target = b"%b?%b" % (target, query)
    method = scope.get("method", "GET")  # a WebSocket's handshake is always one
    return (method, target, headers, peer, "HTTP/" + scope["http_version"]), problem or _problem(
        target, headers, len(given), len(text) - 2 * len(given) + 1, limits
    )


def _problem(target: bytes, headers: dict[bytes, bytes], count: int, size: int, limits: Limits) -> Decision | None:
    if count > limits.count or size > limits.bytes:
        return LARGE_HEAD
    if len(target) > limits.line:
        return LONG_LINE
    length = headers.get(b"content-length")
    if length is None:
        # Nobody but HTTP/1 has it, and there only this one coding has one meaning.
        if (coding := headers.get(b"transfer-encoding")) is not None and coding.lower() != b"chunked":
            return FRAMING
    elif b"transfer-encoding" in headers or LENGTH.fullmatch(length) is None:
        return FRAMING
    if limits.hosts and host_name(headers.get(b"host", b"")) not in limits.hosts:
        return OTHER_HOST
    return None


def _joined(given: Iterable[tuple[bytes, bytes]], lone: frozenset[bytes]) -> tuple[dict[bytes, bytes], Decision | None]:
    """Repeated headers as one."""
    headers: dict[bytes, bytes] = {}
    problem = None
    for name, value in given:
        value = value.strip()
        if name not in headers:
            headers[name] = value
        elif name in lone:
            problem = REPEATED
        else:
            join(headers, name, value)
    return headers, problem


def _certificate(scope: Scope) -> Certificate | None:
    """The client's certificate, where the server proves one and says so (the ASGI specification's TLS extension)."""
    tls: dict[str, Any] | None = (scope.get("extensions") or {}).get("tls")
    if not tls or tls.get("client_cert_error") is not None:
        return None
    chain = list(tls.get("client_cert_chain") or ())
    return _parsed(chain[0]) if chain else None


@lru_cache(256)
def _parsed(pem: str) -> Certificate | None:
    try:
        return certificates.read(pem.encode())
    except ValueError:
        return None  # nobody is proved by what cannot be read
