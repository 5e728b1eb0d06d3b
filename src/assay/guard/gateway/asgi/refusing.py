"""What a refused caller is told: a status, a sentence, the request's id. Nothing of what was asked is repeated."""

from __future__ import annotations

import msgspec

from assay.guard.gateway.asgi.types import Pairs
from assay.guard.gateway.interface import Context, Decision

FAULT = Decision(False, 500, "fault", "the gateway has failed, and lets nothing through while it does")
UNHARDENED = Decision(
    False, 502, "harden", "the model's answer cannot be passed on in the form that this caller may see"
)


def refusal(context: Context, decision: Decision, *, close: bool = False) -> tuple[Pairs, bytes]:
    """Headers and body of the answer; with ``close`` the connection ends with it (HTTP/1 only)."""
    error = {
        "code": decision.status,
        "rule": decision.rule,
        "message": decision.reason,
        "request_id": context.request_id,
    }
    body = msgspec.json.encode({"error": error})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", context.request_id.encode()),
        (b"cache-control", b"no-store"),
    ]
    if decision.retry_after:
        headers.append((b"retry-after", b"%d" % decision.retry_after))
    if decision.challenge:
        headers.append((b"www-authenticate", decision.challenge.encode()))
    if close and context.http.startswith("HTTP/1"):
        headers.append((b"connection", b"close"))
    return headers, body
