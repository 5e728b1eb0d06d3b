"""The handshake of a WebSocket (RFC 6455, 4), checked on both sides. A tunnel opens only where both agree."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode

from assay.guard.gateway.proxy.answer_heads import Answer
from assay.guard.gateway.proxy.heads import UPGRADE
from assay.guard.gateway.proxy.request_heads import Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def asked(request: Request) -> bool:
    """Whether a caller's ``Upgrade`` is the opening handshake of a WebSocket, and nothing else."""
    headers = request.headers
    try:
        key = b64decode(headers.get(b"sec-websocket-key", b""), validate=True)
    except binascii.Error:
        return False
    return (
        request.method == "GET"
        and request.http == "HTTP/1.1"
        and request.length == 0
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in _tokens(headers.get(b"connection", b""))
        and headers.get(b"sec-websocket-version") == b"13"
        and len(key) == 16
    )


def agreed(request: Request, answer: Answer) -> bool:
    """Whether the model server's 101 answers exactly this handshake (RFC 6455, 4.1)."""
    headers = answer.headers
    expected = b64encode(hashlib.sha1(request.headers[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest())
    protocol = headers.get(b"sec-websocket-protocol")
    offered = request.headers.get(b"sec-websocket-protocol", b"")
    extensions = {part.partition(b";")[0].strip() for part in _parts(headers.get(b"sec-websocket-extensions", b""))}
    known = {part.partition(b";")[0].strip() for part in _parts(request.headers.get(b"sec-websocket-extensions", b""))}
    return (
        bool(answer.bits & UPGRADE)
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in _tokens(headers.get(b"connection", b""))
        and headers.get(b"sec-websocket-accept") == expected
        and (protocol is None or protocol in _parts(offered))
        and extensions <= known
    )


def _parts(value: bytes) -> list[bytes]:
    return [part.strip(b" \t") for part in value.split(b",") if part.strip(b" \t")]


def _tokens(value: bytes) -> list[bytes]:
    return _parts(value.lower())
