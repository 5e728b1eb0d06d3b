"""What the service says to an edge: bytes. Nothing that a stranger wrote stands in them unescaped."""

from __future__ import annotations

import json
from functools import lru_cache
from urllib.parse import quote

from assay.guard.gateway.interface import Context, Decision

CLOSED = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n"
    b"x-assay-status: 503\r\nx-assay-rule: edge\r\n\r\n"
)
"""Where there is nothing to decide about: the edge did not say what it has to."""

_SAFE = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"} | {
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def allowed(context: Context) -> bytes:
    """The request goes on; who asks and what it is called is for the model server and the edge's log."""
    caller = context.caller
    index = context.route.index if context.route is not None else -1
    head = _head(caller.id, caller.user, index) if caller is not None else _head("", "", index)
    identity, said = context.id, context.request_id
    if identity == said:
        return b"%bx-assay-request-id: %b\r\n\r\n" % (head, identity.encode())
    return b"%bx-assay-request-id: %b\r\nx-assay-id: %b\r\n\r\n" % (head, said.encode(), identity.encode())


def refused(context: Context, decision: Decision, *, plain: bool) -> bytes:
    """The request ends at the edge. nginx takes 401 and 403 only, so that the status stands in a header too."""
    status = decision.status
    said = status if plain or status in (401, 403) else 403
    body = refusal(context, decision)
    caller = context.caller
    lines = [
        f"HTTP/1.1 {said} {_REASONS.get(said, 'Refused')}",
        f"content-length: {len(body)}",
        "content-type: application/json",
        f"x-assay-status: {status}",
        f"x-assay-rule: {header(decision.rule)}",
        f"x-assay-request-id: {context.request_id}",
        f"x-assay-id: {context.id}",
        f"x-assay-body: {body}",
    ]
    if caller is not None:
        lines += [f"x-assay-caller: {header(caller.id)}", f"x-assay-user: {header(caller.user)}"]
    if decision.retry_after:
        lines.append(f"retry-after: {decision.retry_after}")
    if decision.challenge:
        lines.append(f"www-authenticate: {header(decision.challenge, quotes=True)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def refusal(context: Context, decision: Decision) -> str:
    """The body of a refusal: JSON on one line, in ASCII, so that it can be a header on its way to an edge."""
    error = {
        "code": decision.status,
        "rule": decision.rule,
        "message": decision.reason,
        "request_id": context.request_id,
    }
    return json.dumps({"error": error}, ensure_ascii=True)


def header(value: str, *, quotes: bool = False) -> str:
    """A header's value from any text: what is no plain ASCII gets ``%`` escapes."""
    return quote(value[:512], safe=_SAFE + '"' if quotes else _SAFE)


@lru_cache(4096)
def _head(caller: str, user: str, route: int) -> bytes:
    lines = f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-assay-route: {route}\r\nx-assay-caller: {header(caller)}\r\n"
    return (lines + (f"x-assay-user: {header(user)}\r\n" if user else "")).encode()
