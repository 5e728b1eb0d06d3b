"""Where Envoy passes requests on. What is chosen before the decision service is asked must hold after it, too."""

from __future__ import annotations

from typing import Any

from assay.guard.gateway.edge.envoy_answers import ASKED, FILTERS, told
from assay.guard.gateway.edge.envoy_filters import MEASURED, header, scheme, span, unmeasured
from assay.guard.gateway.edge.plan import FORGED, Location, Plan
from assay.guard.gateway.service import asking

_UNASKED = {ASKED: {"@type": f"{FILTERS}.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}}
"""Of a route about which the service is not asked."""
NOWHERE = "assay_nowhere"
"""A cluster without a server: 503."""
_SIZED = {"name": "content-length", "present_match": True}
_UPGRADE = [
    {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}},
    {"name": "connection", "string_match": {"contains": "upgrade", "ignore_case": True}},
]


def stranger() -> dict[str, Any]:
    """Whoever asks for another host; the service is not asked."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 421}, "typed_per_filter_config": _UNASKED}
    return {"name": "stranger", "domains": ["*"], "routes": [route]}


def host(plan: Plan) -> dict[str, Any]:
    """Whoever asks for ours."""
    routes: list[dict[str, Any]] = []
    for i, one in enumerate(plan.locations):
        made = _route(plan, i, one)
        if one.through:
            whole = _upgrading(made) if one.websocket else made
            routes.append(_matched(one, [], whole | {"typed_per_filter_config": _UNASKED | unmeasured(plan)}))
        else:
            chosen = {"name": "x-assay-route", "string_match": {"exact": str(i)}}
            routes += _framed(one, [chosen] if len(plan.upstreams) > 1 else [], made)
    if len(plan.upstreams) > 1:
        # Chosen anew after the answer: a request goes where the service's own route leads, or nowhere.
        for one in plan.locations:
            routes += [] if one.through else _framed(one, [], {"route": {"cluster": NOWHERE}})
    # Nothing else leads anywhere, but it is asked about too.
    routes.append({"match": {"prefix": "/"}, "direct_response": {"status": 404}})
    return {"name": "assay", "domains": list(plan.hosts) or ["*"], "routes": routes}


def _framed(one: Location, headers: list[dict[str, Any]], made: dict[str, Any]) -> list[dict[str, Any]]:
    """Only a body whose length is not declared has to be waited for; what follows an upgrade is none."""
    upgrade = [_matched(one, [*headers, *_UPGRADE], _upgrading(made))] if one.websocket else []
    sized = _matched(one, [*headers, _SIZED], made)
    return [*upgrade, sized, _matched(one, headers, made | {"typed_per_filter_config": MEASURED})]


def _upgrading(made: dict[str, Any]) -> dict[str, Any]:
    return made | {"route": made["route"] | {"upgrade_configs": [{"upgrade_type": "websocket"}]}}


def _matched(one: Location, headers: list[dict[str, Any]], made: dict[str, Any]) -> dict[str, Any]:
    return {"match": {"safe_regex": {"regex": one.pattern}, "headers": headers}, **made}


def _route(plan: Plan, i: int, one: Location) -> dict[str, Any]:
    gone = [*(name.decode() for name in sorted(asking.OURS)), "te"]
    add = {
        "x-forwarded-for": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "x-forwarded-proto": scheme(plan),
        "x-forwarded-host": "%REQ(:AUTHORITY)%",
        "x-forwarded-port": "%DOWNSTREAM_LOCAL_PORT%",
        "x-real-ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    action: dict[str, Any] = {
        "cluster": f"assay_model_{i}",
        "timeout": "0s",
        "idle_timeout": span(max(one.timeouts.stream, one.timeouts.first_byte)),
    }
    made: dict[str, Any] = {"route": action}
    if not one.through:
        action["host_rewrite_literal"] = one.upstream.authority
        gone += ["x-assay-route", *FORGED, "authorization", plan.key_header]
        add["x-request-id"] = told("x-assay-request-id")
        made["response_headers_to_add"] = [header("x-request-id", add["x-request-id"])]
    made["request_headers_to_remove"] = list(dict.fromkeys(gone))
    made["request_headers_to_add"] = [header(name, value) for name, value in add.items()]
    return made
