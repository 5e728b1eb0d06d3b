"""What a refused caller is told, whichever way it came: a status, a sentence, the request's id.

Nothing that a stranger wrote is ever repeated. What only one face refuses stands there.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus

import msgspec

from assay.guard.gateway.headers import field_value
from assay.guard.gateway.interface import Context, Decision

REPEATED = Decision(False, 400, "framing", "a header that must be alone comes twice")
LONG_LINE = Decision(False, 414, "size", "the request line is too long")
LARGE_HEAD = Decision(False, 431, "size", "the request's headers are too many or too large")
OTHER_HOST = Decision(False, 421, "host", "this host is not served here")
TOO_LARGE = Decision(False, 413, "size", "the body is too large")
SLOW_BODY = Decision(False, 408, "timeout", "the request's body did not arrive in time")
UNHARDENED = Decision(
    False, 502, "harden", "the model's answer cannot be passed on in the form that this caller may see"
)
FAULT = Decision(False, 500, "fault", "the gateway has failed, and lets nothing through while it does")

STATUS = {
    code: b"HTTP/1.1 %d %b\r\n" % (code, HTTPStatus(code).phrase.encode() if code in set(HTTPStatus) else b"Status")
    for code in range(100, 600)
}
"""Status lines; a reason phrase is ours and never the model server's."""

_PRINTABLE = re.compile(rb"[ -~]*")


class Refused(Exception):
    """Bytes that are not read: the decision says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


def body(decision: Decision, request_id: str) -> bytes:
    """JSON on one line, in printable ASCII: on its way to an edge it is a header itself."""
    error = {
        "code": decision.status,
        "rule": decision.rule,
        "message": decision.reason,
        "request_id": request_id,
    }
    said = msgspec.json.encode({"error": error})
    return said if _PRINTABLE.fullmatch(said) is not None else json.dumps({"error": error}).encode()


def refusal(context: Context, decision: Decision) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the answer."""
    said = body(decision, context.request_id)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(said)),
        (b"x-request-id", context.request_id.encode()),
    ]
    if decision.retry_after:
        headers.append((b"retry-after", b"%d" % decision.retry_after))
    if decision.challenge:
        headers.append((b"www-authenticate", field_value(decision.challenge, quotes=True)))
    return headers, said
