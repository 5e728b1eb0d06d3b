"""What a step asks of the proxy: one request head, read so strictly that no other reader could read it differently.

Pure: bytes in, bytes out. It must never pass on a byte of the head that was not understood: a request that two programs
read in two ways is how one is smuggled to a host that was not judged (RFC 9112, sections 2.2, 3.2, 5 and 6.3).
"""

from __future__ import annotations

import re

from msgspec import Struct

from assay.guard.sandbox.network.destinations import address

LONGEST = 32 * 1024
"""Bytes of a head."""
_MOST_FIELDS = 100

_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8000}) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"proxy-authenticate",
        b"te",
        b"upgrade",
    )
)
"""Meant for us, not for the host (RFC 9110, 7.6.1)."""


class BadRequestError(ValueError):
    """A head that is not exactly what it must be; the message is for the step."""


class Request(Struct, frozen=True):
    """A request that was understood."""

    host: str
    """Lower case, without a final dot; an address without brackets."""
    port: int
    head: bytes
    """What goes to the host; empty for ``CONNECT``."""
    length: int | None = None
    """Bytes of the body that follow; None when its end is marked by chunks."""


def parse(head: bytes) -> Request:
    """A head up to and with its empty line. Raises `BadRequestError`."""
    if len(head) > LONGEST or not head.endswith(b"\r\n\r\n"):
        raise BadRequestError("the head of the request is too long or has no end")
    lines = head[:-4].split(b"\r\n")
    first = _LINE.fullmatch(lines[0])
    if first is None or len(lines) > _MOST_FIELDS + 1:
        raise BadRequestError("the request line is not METHOD TARGET HTTP/1.1")
    method, target = first[1].decode(), first[2].decode()
    fields = [_field(line) for line in lines[1:]]
    if method == "CONNECT":
        host, port = _authority(target, None)
        _same_host(fields, host, port, None)
        return Request(host, port, b"", 0)
    scheme, mark, rest = target.partition("://")
    if scheme.lower() != "http" or not mark:
        raise BadRequestError("the target has to be an absolute http:// address, or HOST:PORT with CONNECT")
    at = min((rest.find(sign) for sign in "/?" if sign in rest), default=len(rest))
    if "#" in rest:
        raise BadRequestError("the target has a fragment")
    host, port = _authority(rest[:at], 80)
    _same_host(fields, host, port, 80)
    length = _length(fields)
    path = rest[at:] if rest[at : at + 1] == "/" else "/" + rest[at:]
    # The host that was judged is the host that is named, whatever the step had written.
    name = f"[{host}]" if ":" in host else host
    kept = [f"{method} {path} HTTP/1.1".encode(), f"Host: {name if port == 80 else f'{name}:{port}'}".encode()]
    kept += [key + b": " + value for key, value in fields if key.lower() not in _HOP | {b"host"}]
    kept.append(b"Connection: close")
    return Request(host, port, b"\r\n".join(kept) + b"\r\n\r\n", length)


def _field(line: bytes) -> tuple[bytes, bytes]:
    found = _FIELD.fullmatch(line)
    if found is None:
        raise BadRequestError("a header field is malformed")
    return found[1], found[2].rstrip(b" \t")


def _authority(text: str, default: int | None) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        raise BadRequestError("the target is no HOST:PORT, or bears credentials")
    name, written = found[1], found[2]
    port = int(written) if written else default
    if port is None or not 0 < port < 65536:
        raise BadRequestError("the target has no port")
    if name.startswith("[") and address(name[1:-1]) is None:
        raise BadRequestError("the target is no address")
    host = name.strip("[]").rstrip(".")
    if not host:
        raise BadRequestError("the target has no host")
    return host, port


def _same_host(fields: list[tuple[bytes, bytes]], host: str, port: int, default: int | None) -> None:
    hosts = [value for key, value in fields if key.lower() == b"host"]
    if len(hosts) > 1:
        raise BadRequestError("there is more than one Host")
    for value in hosts:
        named, other = _authority(value.decode("latin-1"), default or port)
        if (named, other) != (host, port):
            raise BadRequestError("Host and target differ")


def _length(fields: list[tuple[bytes, bytes]]) -> int | None:
    lengths = [value for key, value in fields if key.lower() == b"content-length"]
    codings = [value for key, value in fields if key.lower() == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise BadRequestError("the length of the body is told more than once")
    if codings:
        if codings[0].lower() != b"chunked":
            raise BadRequestError("only chunked is understood as transfer encoding")
        return None
    if lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise BadRequestError("the length of the body is no number")
    return int(lengths[0]) if lengths else 0
