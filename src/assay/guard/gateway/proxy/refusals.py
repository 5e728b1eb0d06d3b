"""What the proxy itself refuses, and how a refusal is written. Nothing that a stranger wrote is ever repeated."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from assay.guard.gateway.interface import Context, Decision


class Refused(Exception):
    """Bytes that are not read: the decision says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


def malformed(reason: str, status: int = 400, rule: str = "framing") -> Refused:
    """A head or body that is not what it must be."""
    return Refused(Decision(False, status, rule, reason))


STATUS = {
    code: b"HTTP/1.1 %d %b\r\n" % (code, HTTPStatus(code).phrase.encode() if code in set(HTTPStatus) else b"Status")
    for code in range(100, 600)
}
"""Status lines; a reason phrase is ours and never the model server's."""

TOO_LARGE = Decision(False, 413, "size", "the body is too large")
SLOW_HEAD = Decision(False, 408, "timeout", "the request's head did not arrive in time")
SLOW_BODY = Decision(False, 408, "timeout", "the request's body did not arrive in time")
FAULT = Decision(False, 500, "fault", "the gateway has failed, and lets nothing through while it does")
BUSY = Decision(False, 503, "upstream", "too many requests wait for the model server", retry_after=1)
UNREACHABLE = Decision(False, 502, "upstream", "the model server cannot be reached")
BROKEN = Decision(False, 502, "upstream", "the model server broke off")
MALFORMED = Decision(False, 502, "upstream", "the model server's answer is malformed")
LATE = Decision(False, 504, "upstream", "the model server did not answer in time")
LARGE_ANSWER = Decision(False, 502, "size", "the model's answer is larger than may be passed on")
UNHARDENED = Decision(
    False, 502, "harden", "the model's answer cannot be passed on in the form that this caller may see"
)
NO_TUNNEL = Decision(False, 400, "upgrade", "connections cannot be upgraded here")
UNSEEN_TUNNEL = Decision(False, 403, "upgrade", "what is sent here has to be looked into, so it cannot be a tunnel")


def refusal(context: Context, decision: Decision, *, close: bool, date: bytes) -> bytes:
    """The whole answer to a refused request; without its body where the method is ``HEAD``."""
    body = msgspec.json.encode(
        {
            "error": {
                "code": decision.status,
                "rule": decision.rule,
                "message": decision.reason,
                "request_id": context.request_id,
            }
        }
    )
    head = [
        STATUS[decision.status],
        date,
        b"content-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n" % len(body),
        b"x-request-id: %b\r\n" % context.request_id.encode(),
    ]
    if decision.retry_after:
        head.append(b"retry-after: %d\r\n" % decision.retry_after)
    if decision.challenge:
        head.append(b"www-authenticate: %b\r\n" % field_value(decision.challenge))
    head.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    if context.method != "HEAD":
        head.append(body)
    context.bytes_out = len(body) if context.method != "HEAD" else 0
    return b"".join(head)


def field_value(text: str) -> bytes:
    """Any text as a header's value: what is no printable ASCII gets ``%`` escapes, and so does ``%``."""
    return (
        "".join(
            char
            if " " <= char <= "~" and char != "%"
            else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))
            for char in text[:512]
        )
        .strip()
        .encode("ascii")
    )
