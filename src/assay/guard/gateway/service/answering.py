"""What the service says to an edge: bytes. Nothing that a stranger wrote stands in them unescaped."""

from __future__ import annotations

from functools import lru_cache

from assay.guard.gateway.headers import field_value
from assay.guard.gateway.interface import Context, Decision
from assay.guard.gateway.refusing import STATUS, refusal

CLOSED = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n"
    b"x-assay-status: 503\r\nx-assay-rule: edge\r\n\r\n"
)
"""Where there is nothing to decide about: the edge did not say what it has to."""


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
    headers, body = refusal(context, decision)
    said = status if plain or status in (401, 403) else 403
    headers += [
        (b"x-assay-status", b"%d" % status),
        (b"x-assay-rule", field_value(decision.rule)),
        (b"x-assay-request-id", context.request_id.encode()),
        (b"x-assay-id", context.id.encode()),
        (b"x-assay-body", body),
    ]
    if (caller := context.caller) is not None:
        headers += [(b"x-assay-caller", field_value(caller.id)), (b"x-assay-user", field_value(caller.user))]
    return b"%b%b\r\n\r\n%b" % (STATUS[said], b"\r\n".join(map(b": ".join, headers)), body)


@lru_cache(4096)
def _head(caller: str, user: str, route: int) -> bytes:
    known = (b"x-assay-route: %d" % route, b"x-assay-caller: " + field_value(caller))
    named = (b"x-assay-user: " + field_value(user),) if user else ()
    return b"\r\n".join((b"HTTP/1.1 200 OK\r\ncontent-length: 0", *known, *named, b""))
