"""From an ASGI scope to a `Context`: what the server has parsed, held against what the core takes for granted.

A head that two readers could read in two ways is refused here, whatever server stands in front.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from time import time
from typing import Any
from urllib.parse import quote

from assay.guard.gateway import certificates
from assay.guard.gateway.asgi.types import Scope
from assay.guard.gateway.headers import LENGTH, host_name, host_names, join, single
from assay.guard.gateway.interface import Certificate, Context, Decision
from assay.guard.gateway.refusing import LARGE_HEAD, LONG_LINE, OTHER_HOST, REPEATED
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Sizes

FRAMING = Decision(False, 400, "framing", "the request's length is said in two ways, or in none that counts")
PATHS = Decision(False, 400, "path", "the server's path and raw_path are not the same path")


class Limits:
    """What of one configuration a head is held against."""

    __slots__ = ("bytes", "count", "hosts", "line", "routes", "single", "sizes")

    def __init__(self, settings: Settings) -> None:
        self.sizes = sizes = settings.sizes
        self.line, self.bytes, self.count = int(sizes.line), int(sizes.headers), sizes.count
        """Of the target; of all headers; how many these may be."""
        self.hosts = host_names(settings)
        self.single = single(settings, cookies=True)
        """Names of headers that may not be repeated."""
        self.routes: list[Sizes] = [route.sizes or settings.sizes for route in settings.routes]
        """By the route's index."""


def context_of(scope: Scope, limits: Limits) -> tuple[Context, Decision | None]:
    """The request as the core reads it, and why it is refused before it is asked."""
    given = scope["headers"]
    headers = {name: value.strip() for name, value in given}  # httptools leaves what stands behind a value
    problem = None
    if len(headers) != len(given):
        headers, problem = _joined(given, limits.single)
    target = scope.get("raw_path") or quote(scope["path"]).encode()
    if query := scope["query_string"]:
        target = b"%b?%b" % (target, query)
    client = scope.get("client")
    tls = scope.get("scheme") in ("https", "wss")
    context = Context(
        scope.get("method", "GET"),  # a WebSocket's handshake is always one
        target,
        headers,
        client[0] if client else "unix:",
        time(),
        http="HTTP/" + scope["http_version"],
        tls=tls,
        certificate=_certificate(scope) if tls else None,
    )
    return context, problem or _problem(context, len(given), limits)


def _problem(context: Context, count: int, limits: Limits) -> Decision | None:
    headers = context.headers
    if count > limits.count or len(b"".join(headers.values())) + len(b"".join(headers)) > limits.bytes:
        return LARGE_HEAD
    if len(context.target) > limits.line:
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
