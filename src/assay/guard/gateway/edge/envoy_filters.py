"""What Envoy does with a request before it goes anywhere: forget what the caller wrote under our names, refuse, ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assay.guard.gateway.edge.envoy_answers import ADDRESS, ASKED, FILTERS, LENGTH, REFUSED, TOLD
from assay.guard.gateway.edge.first_line import Network
from assay.guard.gateway.edge.plan import Plan
from assay.guard.gateway.headers import LISTS
from assay.guard.gateway.service import asking

_BUFFER = "envoy.filters.http.buffer"
BUFFERED = 1 << 20
"""Bytes that a connection holds; Envoy knows no smaller bound for one of its requests."""
MEASURED = {_BUFFER: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}}
"""Of a route whose requests declare no length: it is told from the whole body. One of more than `BUFFERED` gets 413."""
_LISTS = {name.decode() for name in LISTS} | {"host"}
"""What several lines say together; and what Envoy itself holds to one."""
_ANSWER = ("cache-control", "content-type", "retry-after", "www-authenticate", "x-request-id")
"""Headers of a refusal."""


def filters(plan: Plan) -> list[dict[str, Any]]:
    """In their order: refuse, forget what the caller wrote under our names, say it ourselves, ask, pass on."""
    # First of all, since a value that turns out empty (no certificate was shown) would leave the caller's in its place.
    said: list[dict[str, Any]] = [{"remove": one.decode()} for one in sorted(asking.OURS)]
    # By x-envoy-… callers could ask the router for retries, which nobody would count.
    said += [_beginning("x-assay-"), _beginning("x-envoy-")]
    said += [_saying(name, value) for name, value in _question(plan).items() if value]
    said += [_first(name) for name in plan.asked if name not in _LISTS]
    refusals = {"@type": f"{FILTERS}.rbac.v3.RBAC", "rules": {"action": "DENY", "policies": _length() | _who(plan)}}
    router = {"@type": f"{FILTERS}.router.v3.Router", "suppress_envoy_headers": True}
    buffer = {"@type": f"{FILTERS}.buffer.v3.Buffer", "max_request_bytes": BUFFERED}
    return [
        {"name": REFUSED, "typed_config": refusals},
        {"name": _BUFFER, "disabled": True, "typed_config": buffer},
        _mutation("assay.question", said),
        {"name": ASKED, "typed_config": _authorization(plan)},
        # Not before: the service is told of proxies. Without a scheme Envoy finds no route.
        _mutation("assay.forwarded", [_beginning("x-forwarded"), _saying("x-forwarded-proto", scheme(plan))]),
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]


def unmeasured(plan: Plan) -> dict[str, Any]:
    """Of a route that goes through the gateway, which counts bytes itself."""
    refusals = {"rules": {"action": "DENY", "policies": who}} if (who := _who(plan)) else {}
    return {REFUSED: {"@type": f"{FILTERS}.rbac.v3.RBACPerRoute", "rbac": refusals}}


def _length() -> dict[str, Any]:
    """The service holds the limit of bodies by the length that they declare."""
    posts = {"header": {"name": ":method", "string_match": {"exact": "POST"}}}
    endless = {"not_rule": {"header": {"name": "content-length", "present_match": True}}}
    return {LENGTH: {"permissions": [{"and_rules": {"rules": [posts, endless]}}], "principals": [{"any": True}]}}


def _who(plan: Plan) -> dict[str, Any]:
    """Addresses that are refused without asking."""
    who: list[dict[str, Any]] = [{"remote_ip": cidr(one)} for one in plan.denied]
    if plan.proxies:
        # Envoy takes an address with a zone for one, of which no list knows anything.
        who.append({"header": {"name": "x-forwarded-for", "string_match": {"contains": "%"}}})
    return {ADDRESS: {"permissions": [{"any": True}], "principals": who}} if who else {}


def _question(plan: Plan) -> dict[str, str]:
    said = {
        asking.METHOD: "%REQ(:METHOD)%",
        asking.TARGET: "%REQ(:PATH)%",
        asking.PEER: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        asking.PROTOCOL: "%PROTOCOL%",
        asking.SCHEME: scheme(plan),
        asking.LENGTH: "%REQ(CONTENT-LENGTH)%",
        asking.CERTIFICATE: "%DOWNSTREAM_PEER_CERT%" if plan.client_certificates != "none" else "",
        asking.SECRET: "",
        asking.PLAIN: "",
    }
    return {name.decode(): value for name, value in said.items()}


def scheme(plan: Plan) -> str:
    """What callers speak."""
    return "https" if plan.certificate else "http"


def header(name: str, value: str) -> dict[str, Any]:
    """A header that stands instead of whatever came under its name."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _beginning(name: str) -> dict[str, Any]:
    return {"remove_on_match": {"key_matcher": {"prefix": name}}}


def _saying(name: str, value: str) -> dict[str, Any]:
    return {"append": header(name, value)}


def _first(name: str) -> dict[str, Any]:
    """Of several lines the first, which the model server gets too: Envoy would tell the service all of them as one."""
    made = {"header": {"key": name, "value": f"%REQ({name})%"}, "append_action": "OVERWRITE_IF_EXISTS"}
    return {"append": {**made, "keep_empty_value": True}}


def _mutation(name: str, mutations: list[dict[str, Any]]) -> dict[str, Any]:
    made = {"@type": f"{FILTERS}.header_mutation.v3.HeaderMutation", "mutations": {"request_mutations": mutations}}
    return {"name": name, "typed_config": made}


def _authorization(plan: Plan) -> dict[str, Any]:
    questions = [name.decode() for name in sorted(asking.OURS - {asking.SECRET, asking.PLAIN})]
    add = [{"key": asking.PLAIN.decode(), "value": "status"}]
    if plan.secret:
        add.append({"key": asking.SECRET.decode(), "value": plan.secret})
    wait = 5 + float(plan.settings.detect.reactions.slow)
    return {
        "@type": f"{FILTERS}.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": False,
        "clear_route_cache": len(plan.upstreams) > 1,
        "status_on_error": {"code": "ServiceUnavailable"},
        "validate_mutations": True,
        "allowed_headers": {"patterns": _exact([*questions, *plan.asked])},
        "http_service": {
            "server_uri": {"uri": "http://assay", "cluster": "assay_service", "timeout": span(wait)},
            "authorization_request": {"headers_to_add": add},
            "authorization_response": {
                "allowed_upstream_headers": {
                    "patterns": _exact(
                        ["x-assay-caller", "x-assay-user", "x-assay-request-id", "x-assay-id", "x-assay-route"]
                    )
                },
                "allowed_client_headers": {"patterns": _exact(_ANSWER)},
                "dynamic_metadata_from_headers": {"patterns": _exact(TOLD)},
            },
        },
    }


def _exact(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"exact": name} for name in dict.fromkeys(names)]


def cidr(one: Network) -> dict[str, Any]:
    """A network."""
    return {"address_prefix": str(one.network_address), "prefix_len": one.prefixlen}


def span(seconds: float) -> str:
    """A duration; never zero, which means no end."""
    return f"{max(0.001, seconds):.3f}s"
