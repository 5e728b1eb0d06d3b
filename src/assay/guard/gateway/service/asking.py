"""What an edge says of a request, as a `Question`. The words here are a contract with the generated configurations.

Each of them is set by the edge itself, in place of whatever the caller sent under that name. One that is missing, comes
twice or makes no sense ends the question: it must never be guessed.
"""

from __future__ import annotations

import re
from base64 import b64decode
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from assay.guard.gateway import certificates
from assay.guard.gateway.headers import LENGTH as NUMBER
from assay.guard.gateway.interface import Certificate, Context

METHOD = b"x-original-method"
TARGET = b"x-original-uri"
"""Path and query as the caller sent them."""
PEER = b"x-real-ip"
"""The other end of the edge's connection; whom it speaks for is told from ``x-forwarded-for`` by our own rules."""
PROTOCOL = b"x-original-protocol"
"""``HTTP/1.1``, ``HTTP/2.0``."""
SCHEME = b"x-original-scheme"
"""``http`` or ``https``."""
LENGTH = b"x-original-length"
"""The body's declared size; absent where there is none, or none is declared."""
CERTIFICATE = b"x-client-cert"
"""A caller's certificate that the edge has verified: PEM with ``%`` escapes, or DER in base64."""
SECRET = b"x-edge-secret"
"""What the edge knows, where a socket's mode does not keep others away."""
PLAIN = b"x-edge-answer"
"""``status``: the edge takes any status, not only 200, 401 and 403."""

OURS = frozenset({METHOD, TARGET, PEER, PROTOCOL, SCHEME, LENGTH, CERTIFICATE, SECRET, PLAIN})
"""Headers that come once, beside those of `headers.single`."""

_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PROTOCOLS = {b"HTTP/1.0": "HTTP/1.0", b"HTTP/1.1": "HTTP/1.1", b"HTTP/2.0": "HTTP/2.0", b"HTTP/2": "HTTP/2.0"} | {
    b"HTTP/3.0": "HTTP/3.0",
    b"HTTP/3": "HTTP/3.0",
}
_SCHEMES = {b"http": False, b"https": True}


class Question:
    """What an edge asks, read and checked. It asks the same again and again, so that the time is no part of it."""

    __slots__ = ("_certificate", "_headers", "_method", "_peer", "_protocol", "_target", "_tls", "length", "plain")

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        """Uses ``headers`` up. Raises `ValueError` where the edge said too little, or what cannot be."""
        take = headers.pop
        take(SECRET, None)
        self.plain = take(PLAIN, b"") == b"status"
        self._method = _method(take(METHOD, b""))
        self._target = take(TARGET, b"")
        self._peer = _peer(take(PEER, b""))
        protocol, tls = _PROTOCOLS.get(take(PROTOCOL, b"")), _SCHEMES.get(take(SCHEME, b""))
        length, shown = take(LENGTH, b""), take(CERTIFICATE, b"")
        if protocol is None or tls is None or not self._target or (shown and not tls):
            raise ValueError
        self._protocol, self._tls = protocol, tls
        self._certificate = certificate(shown) if shown else None
        take(b"content-length", None)  # of the edge's own request
        self.length = 0
        """Of the body, as declared."""
        if length:
            if NUMBER.fullmatch(length) is None:
                raise ValueError
            headers[b"content-length"] = length
            self.length = int(length)
        self._headers = headers

    def context(self, at: float) -> Context:
        """For one more request of this form, which was asked at ``at`` (UNIX seconds)."""
        return Context(
            self._method,
            self._target,
            self._headers,
            self._peer,
            at,
            http=self._protocol,
            tls=self._tls,
            certificate=self._certificate,
        )


@lru_cache(1024)
def certificate(shown: bytes) -> Certificate:
    """As an edge hands it on: PEM with ``%`` escapes (nginx, Envoy) or DER in base64 (HAProxy). Raises `ValueError`."""
    escaped = shown.startswith(b"-----")
    return certificates.read(unquote_to_bytes(shown) if escaped else b64decode(shown, validate=True))


@lru_cache(64)
def _method(value: bytes) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError
    return value.decode()


@lru_cache(4096)
def _peer(value: bytes) -> str:
    return "unix:" if value == b"unix:" else str(ip_address(value.decode("ascii")))
