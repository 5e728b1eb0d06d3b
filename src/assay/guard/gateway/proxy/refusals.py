"""What only the proxy refuses, and how a refusal is written to a connection."""

from __future__ import annotations

from assay.guard.gateway.interface import Context, Decision
from assay.guard.gateway.refusing import STATUS, Refused
from assay.guard.gateway.refusing import refusal as said

SLOW_HEAD = Decision(False, 408, "timeout", "the request's head did not arrive in time")
BUSY = Decision(False, 503, "upstream", "too many requests wait for the model server", retry_after=1)
UNREACHABLE = Decision(False, 502, "upstream", "the model server cannot be reached")
BROKEN = Decision(False, 502, "upstream", "the model server broke off")
MALFORMED = Decision(False, 502, "upstream", "the model server's answer is malformed")
LATE = Decision(False, 504, "upstream", "the model server did not answer in time")
LARGE_ANSWER = Decision(False, 502, "size", "the model's answer is larger than may be passed on")
FULL = Decision(False, 503, "size", "too much is being held for others at the moment", retry_after=1)
NO_TUNNEL = Decision(False, 400, "upgrade", "connections cannot be upgraded here")
CERTIFICATE_ENDED = Decision(False, 401, "caller", "the certificate has ended")
UNSEEN_TUNNEL = Decision(False, 403, "upgrade", "what is sent here has to be looked into, so it cannot be a tunnel")


def malformed(reason: str, status: int = 400, rule: str = "framing") -> Refused:
    """A head or body that is not what it must be."""
    return Refused(Decision(False, status, rule, reason))


def refusal(context: Context, decision: Decision, *, close: bool, date: bytes) -> bytes:
    """The whole answer to a refused request; without its body where the method is ``HEAD``."""
    headers, body = said(context, decision)
    if close:
        headers.append((b"connection", b"close"))
    if context.method == "HEAD":
        body = b""
    context.bytes_out = len(body)
    return b"%b%b%b\r\n\r\n%b" % (STATUS[decision.status], date, b"\r\n".join(map(b": ".join, headers)), body)
