"""Finished requests for the tests of what is remembered of them."""

from __future__ import annotations

import uuid
from typing import Any

from assay.guard.gateway.interface import Caller, Context, Route, Usage, Verb

ROUTE = Route("open-inference", Verb.INFER, "m", "", "/v2/models/{model}/infer", 0)
CALLER = Caller("key:7Qx", "ada", "team", key="7Qx")
AT = 1_790_000_000.25


def finished(number: int = 0, **changed: Any) -> Context:
    """A request that was answered; ``changed`` are attributes of the context that are others."""
    headers = changed.pop("headers", {b"user-agent": b"curl/8.5"})
    context = Context("POST", b"/v2/models/m/infer?token=secret", headers, "192.0.2.7", AT + number / 1000)
    context.address = context.peer
    context.id = context.request_id = uuid.UUID(int=number + 1).hex
    context.path, context.route, context.caller, context.model = "/v2/models/m/infer", ROUTE, CALLER, "m"
    context.model_version, context.status, context.usage = "sha256:ab", 200, Usage(4, 10, 20)
    context.bytes_in, context.bytes_out = 95, 101
    context.upstream, context.first_byte, context.ended = 0.0012, 0.0013, 0.0014
    for name, value in changed.items():
        setattr(context, name, value)
    return context
