"""The head that the model server gets: what the caller said, without what is ours to say, and what we know.

Addresses, names and ids that it gets are never a stranger's words. W3C Trace Context, level 1, for ``traceparent``.
"""

from __future__ import annotations

import re

from assay.guard.gateway.headers import field_value
from assay.guard.gateway.interface import Context
from assay.guard.gateway.proxy.request_heads import Request

_TRACE = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def known(context: Context, request: Request, authority: bytes) -> bytes:
    """Headers that are the same for all requests of a connection that have the same caller, address and ``Host``."""
    address = context.address
    host = request.host
    proto = b"https" if context.tls else b"http"
    if context.forwarded and (said := context.headers.get(b"x-forwarded-proto")) in (b"http", b"https"):
        proto = said  # whoever ended TLS before us is trusted with the address too
    plain = field_value("unknown" if address.startswith("unix") else address)
    node = b'"[%b]"' % plain if b":" in plain else plain
    caller = b"" if context.caller is None else b"x-assay-caller: %b\r\n" % field_value(context.caller.id)
    return (
        b"host: %b\r\nx-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n"
        b'forwarded: for=%b;proto=%b;host="%b"\r\n%b' % (authority, plain, proto, host, node, proto, host, caller)
    )


def trace(context: Context) -> str:
    """The caller's ``traceparent`` where it is one, else the beginning of a trace that has our request id."""
    given = context.headers.get(b"traceparent")
    if given is not None and _TRACE.fullmatch(given):
        return given.decode()
    identity = context.id
    return f"00-{identity}-{identity[16:]}-00"


def head(request: Request, context: Context, shared: bytes, *, length: int, identity: bool, decoded: bool) -> bytes:
    """The whole head. ``length`` is -1 for a body in chunks. With ``identity`` the answer must not be compressed; with
    ``decoded`` the body no longer is.
    """
    context.trace = traced = trace(context)
    rest = request.rest
    if identity or decoded or b"tracestate" in request.headers:
        gone = {b"accept-encoding"} if identity else set()
        if decoded:
            gone.add(b"content-encoding")
        if traced.encode() != request.headers.get(b"traceparent"):
            gone.add(b"tracestate")  # it belongs to a trace that does not go on
        lines = [line for line in rest.split(b"\r\n") if line and line.partition(b":")[0].lower() not in gone]
        if identity:
            lines.append(b"accept-encoding: identity")
        rest = b"".join(line + b"\r\n" for line in lines)
    if length > 0:
        ids = f"x-request-id: {context.request_id}\r\ntraceparent: {traced}\r\ncontent-length: {length}\r\n\r\n"
    else:
        framing = "transfer-encoding: chunked\r\n" if length else "content-length: 0\r\n"
        if not length and request.method not in ("POST", "PUT", "PATCH"):
            framing = ""
        ids = f"x-request-id: {context.request_id}\r\ntraceparent: {traced}\r\n{framing}\r\n"
    return b"".join((request.front, shared, rest, ids.encode()))


def tunnel(head: bytes) -> bytes:
    """The head of a request for a WebSocket, from one without."""
    return head[:-2] + b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"
