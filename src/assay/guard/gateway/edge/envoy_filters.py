"""What Envoy does with a request before it goes anywhere: forget what the caller wrote under our names, refuse, ask."""

from __future__ import annotations

from typing import Any

from assay.guard.gateway.edge.first_line import Network
from assay.guard.gateway.edge.plan import Plan
from assay.guard.gateway.service import asking

V3 = "type.googleapis.com/envoy.extensions"
HTTP = f"{V3}.filters.http"


def filters(plan: Plan) -> list[dict[str, Any]]:
    """In their order: forget what the caller wrote under our names, say it ourselves, refuse, ask, pass on."""
    said = [{"append": header(name, value)} for name, value in _question(plan).items() if value]
    refusals = {"@type": f"{HTTP}.rbac.v3.RBAC", "rules": {"action": "DENY", "policies": _denials(plan)}}
    router = {"@type": f"{HTTP}.router.v3.Router", "suppress_envoy_headers": True}
    return [
        _mutation("assay.question", said),
        {"name": "envoy.filters.http.rbac", "typed_config": refusals},
        {"name": "envoy.filters.http.ext_authz", "typed_config": _authorization(plan)},
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]


def _denials(plan: Plan) -> dict[str, Any]:
    """What is refused without asking. The service holds the limit of bodies by the length that they declare."""
    posts = {"header": {"name": ":method", "string_match": {"exact": "POST"}}}
    endless = {"not_rule": {"header": {"name": "content-length", "present_match": True}}}
    denials: dict[str, Any] = {
        "length": {"permissions": [{"and_rules": {"rules": [posts, endless]}}], "principals": [{"any": True}]}
    }
    if plan.denied:
        principals = [{"remote_ip": cidr(one)} for one in plan.denied]
        denials["addresses"] = {"permissions": [{"any": True}], "principals": principals}
    return denials


def _question(plan: Plan) -> dict[str, str]:
    said = {
        asking.METHOD: "%REQ(:METHOD)%",
        asking.TARGET: "%REQ(:PATH)%",
        asking.PEER: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        asking.PROTOCOL: "%PROTOCOL%",
        asking.SCHEME: "https" if plan.certificate else "http",
        asking.LENGTH: "%REQ(CONTENT-LENGTH)%",
        asking.CERTIFICATE: "%DOWNSTREAM_PEER_CERT%" if plan.client_certificates != "none" else "",
        asking.SECRET: "",
        asking.PLAIN: "",
    }
    return {name.decode(): value for name, value in said.items()}


def header(name: str, value: str) -> dict[str, Any]:
    """A header that stands instead of whatever came under its name."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _mutation(name: str, mutations: list[dict[str, Any]]) -> dict[str, Any]:
    # First of all, since a value that turns out empty (no certificate was shown) would leave the caller's in its place.
    forget: list[dict[str, Any]] = [{"remove": one.decode()} for one in sorted(asking.OURS)]
    # By x-envoy-… callers could ask the router for retries, which nobody would count.
    forget += [{"remove_on_match": {"key_matcher": {"prefix": one}}} for one in ("x-assay-", "x-envoy-")]
    return {
        "name": name,
        "typed_config": {
            "@type": f"{HTTP}.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": forget + mutations},
        },
    }


def _authorization(plan: Plan) -> dict[str, Any]:
    questions = [name.decode() for name in sorted(asking.OURS - {asking.SECRET, asking.PLAIN})]
    add = [{"key": asking.PLAIN.decode(), "value": "status"}]
    if plan.secret:
        add.append({"key": asking.SECRET.decode(), "value": plan.secret})
    wait = 5 + float(plan.settings.detect.reactions.slow)
    return {
        "@type": f"{HTTP}.ext_authz.v3.ExtAuthz",
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
                "allowed_client_headers": {
                    "patterns": _exact(["content-type", "retry-after", "www-authenticate", "x-assay-rule"])
                },
            },
        },
    }


def _exact(names: list[str]) -> list[dict[str, str]]:
    return [{"exact": name} for name in dict.fromkeys(names)]


def cidr(one: Network) -> dict[str, Any]:
    """A network."""
    return {"address_prefix": str(one.network_address), "prefix_len": one.prefixlen}


def span(seconds: float) -> str:
    """A duration; never zero, which means no end."""
    return f"{max(0.001, seconds):.3f}s"
