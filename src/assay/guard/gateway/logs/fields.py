"""What the access log says about a request: its fields by name, as text, before any format is given to them.

A value is never longer than its bound and never empty: what is not known is ``-``, as in API Gateway's logs. No key,
token, query or body is ever a field.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

from assay.errors import DocumentError
from assay.guard.gateway.interface import Caller, Context, Route, Verb

ARTICLE = (
    "requestId",
    "ip",
    "caller",
    "user",
    "requestTime",
    "httpMethod",
    "resourcePath",
    "status",
    "protocol",
    "responseLength",
)
"""The ten of API Gateway's presets, in their order."""

MORE = (
    "extendedRequestId",
    "apiKeyId",
    "requestTimeEpoch",
    "integrationLatency",
    "responseLatency",
    "requestLength",
    "rows",
    "tokensIn",
    "tokensOut",
    "model",
    "modelVersion",
    "decision",
    "rule",
    "counted",
    "level",
    "harden",
    "error",
    "verb",
    "route",
    "trace",
    "userAgent",
)
"""Ours. Latencies are milliseconds with three decimals, lengths bytes of bodies, `requestTimeEpoch` milliseconds."""

FIELDS = ARTICLE + MORE

CHANGING = (
    "requestId",
    "requestTime",
    "responseLength",
    "extendedRequestId",
    "requestTimeEpoch",
    "integrationLatency",
    "responseLatency",
    "requestLength",
    "rows",
    "tokensIn",
    "tokensOut",
    "trace",
)
"""Fields that are another in nearly each request. All others repeat, and are remembered in the form they take."""

BOUNDS = (512, 128, 32, 8)
"""Most characters of a field's text; the next smaller one where the whole line would be longer than `LINE`."""

LINE = 3072
"""Bytes that a line's repeating part may have, so that a line never exceeds 4096: what a pipe takes at once."""

EMPTY = "-"

Text = Callable[[str], str]
Key = tuple[object, ...]

_NOBODY = Caller("")
_NOWHERE = Route("", Verb.INFER, "", "", "", -1)


def key(context: Context) -> Key:
    """All that the repeating fields are made of; equal keys, equal fields. On the hot path."""
    caller, route, decision = context.caller, context.route, context.decision
    if caller is None:
        caller = _NOBODY
    if route is None:
        route = _NOWHERE
    return (
        context.path or context.target,
        context.address,
        caller.id,
        caller.user,
        caller.key,
        route.path,  # which says the verb, with the index
        route.index,
        context.method,
        context.status,
        context.http,
        context.model,
        context.model_version,
        decision.rule,
        decision.allowed,
        context.counted,
        +context.level,  # a member of an Enum has a slow hash
        context.harden,
        context.error,
        context.headers.get(b"user-agent"),
    )


def repeating(context: Context) -> dict[str, str]:
    """The other fields, unbounded; of a target that has no normal form, the path as it was sent."""
    caller, route, decision = context.caller, context.route, context.decision
    path = context.path or context.target.partition(b"?")[0].decode(errors="backslashreplace")
    agent = context.headers.get(b"user-agent", b"").decode(errors="backslashreplace")
    return {
        "ip": context.address,
        "caller": caller.id if caller else "",
        "user": caller.user if caller else "",
        "httpMethod": context.method,
        "resourcePath": path,
        "status": str(context.status or ""),
        "protocol": context.http,
        "apiKeyId": caller.key if caller else "",
        "model": context.model,
        "modelVersion": context.model_version,
        "decision": "allow" if decision.allowed else "deny",
        "rule": decision.rule,
        "counted": ",".join(context.counted),
        "level": context.level.name.lower(),
        "harden": context.harden,
        "error": context.error,
        "verb": route.verb.value if route else "",
        "route": route.path if route else "",
        "userAgent": agent,
    }


def clf_time(at: float) -> str:
    """``22/Nov/2026:13:23:11 +0000``; the months' names are English whatever the locale."""
    moment = time.gmtime(at)
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[moment.tm_mon * 3 - 3 : moment.tm_mon * 3]
    return f"{moment.tm_mday:02}/{month}/{moment.tm_year:04}:" + time.strftime("%H:%M:%S +0000", moment)


def iso_time(at: float) -> str:
    """``2026-11-22T13:23:11Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def privacy(drop: tuple[str, ...], hashed: tuple[str, ...], secret: bytes) -> dict[str, Text]:
    """What becomes of fields that are dropped or of which only a keyed digest is kept (BLAKE2b, 128 bits), by name.

    Raises `DocumentError` for a name that is no field: a field that was to be hidden would show.
    """
    for section, names in (("drop", drop), ("hash", hashed)):
        for name in names:
            if name not in FIELDS:
                raise DocumentError(
                    f"log.{section}: there is no field {name[:100]!r} in the access log", hint=f"there are: {_NAMES}"
                )

    def digest(value: str) -> str:
        if value in ("", EMPTY):
            return value
        return blake2b(value.encode(errors="surrogatepass"), key=secret[:64], digest_size=16).hexdigest()

    return dict.fromkeys(hashed, digest) | dict.fromkeys(drop, lambda _: "")


_NAMES = ", ".join(FIELDS)
