"""Envoy (1.30 and newer): one static configuration, as JSON, which is YAML. Nothing of the settings is pasted into
text, so that no value can become another key.
"""

from __future__ import annotations

import json
from typing import Any

from assay.guard.gateway.edge.envoy_filters import HTTP, V3, cidr, filters, header, span
from assay.guard.gateway.edge.plan import FORGED, Location, Plan
from assay.guard.gateway.edge.words import Address
from assay.guard.gateway.service import asking

MAIN = "envoy.yaml"

_LOG = {
    "requestId": "%REQ(X-ASSAY-REQUEST-ID)%",
    "ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "caller": "%REQ(X-ASSAY-CALLER)%",
    "user": "%REQ(X-ASSAY-USER)%",
    "requestTime": "%START_TIME(%d/%b/%Y:%H:%M:%S +0000)%",
    "httpMethod": "%REQ(:METHOD)%",
    "resourcePath": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "protocol": "%PROTOCOL%",
    "responseLength": "%BYTES_SENT%",
    "requestTimeEpoch": "%START_TIME(%s%3f)%",
    "responseLatency": "%DURATION%",
    "requestLength": "%BYTES_RECEIVED%",
    "rule": "%RESP(X-ASSAY-RULE)%",
    "error": "%RESPONSE_CODE_DETAILS%",
}
"""Our access log's names; times are milliseconds."""


def files(plan: Plan) -> dict[str, bytes]:
    """`MAIN`."""
    return {MAIN: (json.dumps(document(plan), indent=1) + "\n").encode()}


def notes(plan: Plan) -> tuple[str, ...]:
    """What Envoy does in another way."""
    said = ["Envoy: addresses that are denied later reach it through the decision service only, or by a new export."]
    said.append("Envoy: a POST needs Content-Length (403 without), by which the service holds sizes.body.")
    if plan.floods:
        said.append("Envoy: rates by address are held by the decision service only.")
    if plan.settings.connections_by_address:
        said.append("Envoy: connections-by-address is not held; connections is.")
    if len(plan.upstreams) > 1 and any(one.websocket for one in plan.locations):
        said.append("Envoy: WebSocket routes to several model servers are told apart by their paths alone.")
    if plan.user:
        said.append("Envoy: --user is nothing it takes; start it as that account.")
    return tuple(said)


def document(plan: Plan) -> dict[str, Any]:
    """The configuration."""
    clusters = [_cluster("assay_service", plan.service, plan)]
    clusters += [_cluster(f"assay_model_{i}", _target(plan, one), plan) for i, one in enumerate(plan.locations)]
    return {
        "static_resources": {
            "listeners": [_listener(plan, i, one) for i, one in enumerate(plan.listens)],
            "clusters": clusters,
        },
        # The paths of a protocol are one expression; Envoy starts with none that takes more than 100 instructions.
        "layered_runtime": {
            "layers": [{"name": "assay", "static_layer": {"re2": {"max_program_size": {"error_level": 100_000}}}}]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{V3}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": plan.settings.connections,
                    },
                }
            ]
        },
    }


def _target(plan: Plan, one: Location) -> Address:
    return plan.gateway if one.through and plan.gateway is not None else one.upstream


def _listener(plan: Plan, i: int, address: Address) -> dict[str, Any]:
    chain: dict[str, Any] = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(plan)}]
    }
    if plan.certificate:
        tls: dict[str, Any] = {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [
                {"certificate_chain": {"filename": plan.certificate}, "private_key": {"filename": plan.key}}
            ],
        }
        if plan.client_certificates != "none":
            tls["validation_context"] = {"trusted_ca": {"filename": plan.client_ca}}
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{V3}.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": plan.client_certificates == "required",
                "common_tls_context": tls,
            },
        }
    return {
        "name": f"assay_{i}",
        "address": _address(address),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [chain],
    }


def _manager(plan: Plan) -> dict[str, Any]:
    settings = plan.settings
    timeouts = settings.timeouts
    return {
        "@type": f"{V3}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "assay",
        "codec_type": "AUTO",
        "use_remote_address": True,
        **_forwarded(plan),
        "skip_xff_append": True,
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH" if settings.server_header else "OVERWRITE",
        "request_headers_timeout": span(timeouts.head),
        "stream_idle_timeout": span(max(timeouts.stream, timeouts.first_byte)),
        "max_request_headers_kb": max(1, min(8192, -(-(settings.sizes.headers + settings.sizes.line) // 1024))),
        "common_http_protocol_options": {
            "idle_timeout": span(timeouts.idle),
            "max_headers_count": settings.sizes.count,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http_protocol_options": {"accept_http_10": False},
        "http2_protocol_options": {"max_concurrent_streams": 100, "allow_connect": False},
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": False,
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}],
        "access_log": [
            {
                "name": "envoy.access_loggers.stdout",
                "typed_config": {
                    "@type": f"{V3}.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": {"json_format": _LOG, "omit_empty_values": False},
                },
            }
        ],
        "http_filters": filters(plan),
        "route_config": {"virtual_hosts": [_host(plan)]},
    }


def _forwarded(plan: Plan) -> dict[str, Any]:
    """Who asks: behind trusted proxies the first hop that is none of them."""
    if not plan.proxies:
        return {}
    detection = {
        "@type": f"{V3}.http.original_ip_detection.xff.v3.XffConfig",
        "xff_trusted_cidrs": {"cidrs": [cidr(one) for one in plan.proxies]},
    }
    return {
        "use_remote_address": False,
        "original_ip_detection_extensions": [
            {"name": "envoy.http.original_ip_detection.xff", "typed_config": detection}
        ],
    }


def _host(plan: Plan) -> dict[str, Any]:
    routes = []
    for i, one in enumerate(plan.locations):
        gone = [name.decode() for name in sorted(asking.OURS)]
        action: dict[str, Any] = {
            "cluster": f"assay_model_{i}",
            "timeout": "0s",
            "idle_timeout": span(max(one.timeouts.stream, one.timeouts.first_byte)),
        }
        if one.websocket:
            action["upgrade_configs"] = [{"upgrade_type": "websocket"}]
        route: dict[str, Any] = {
            "match": {"safe_regex": {"regex": one.pattern}},
            "route": action,
        }
        add = {
            "x-forwarded-for": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "x-forwarded-proto": "https" if plan.certificate else "http",
        }
        if one.through:
            unasked = {"@type": f"{HTTP}.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}
            route["typed_per_filter_config"] = {"envoy.filters.http.ext_authz": unasked}
        else:
            if len(plan.upstreams) > 1 and not one.websocket:
                # Chosen anew after the answer: a request goes where the service's own route leads, or nowhere.
                route["match"]["headers"] = [{"name": "x-assay-route", "string_match": {"exact": str(i)}}]
            action["host_rewrite_literal"] = one.upstream.authority
            gone = [*FORGED, "authorization", plan.key_header]
            add["x-request-id"] = "%REQ(X-ASSAY-REQUEST-ID)%"
            route["response_headers_to_add"] = [header("x-request-id", "%REQ(X-ASSAY-REQUEST-ID)%")]
        route["request_headers_to_remove"] = list(dict.fromkeys(gone))
        route["request_headers_to_add"] = [header(name, value) for name, value in add.items()]
        routes.append(route)
    # Nothing else leads anywhere, but it is asked about too.
    routes.append({"match": {"prefix": "/"}, "direct_response": {"status": 404}})
    return {"name": "assay", "domains": _domains(plan), "routes": routes}


def _domains(plan: Plan) -> list[str]:
    if not plan.hosts:
        return ["*"]
    return [*plan.hosts, *(f"{one}:*" for one in plan.hosts if not one.startswith("*") and "[" not in one)]


def _cluster(name: str, address: Address, plan: Plan) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "type": "STATIC" if address.file or _literal(address.host) else "STRICT_DNS",
        "connect_timeout": span(plan.settings.timeouts.connect),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address)}}]}],
        },
    }
    if address.tls:
        kind = "IP_ADDRESS" if _literal(address.host) else "DNS"
        made["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{V3}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": address.host,
                "common_tls_context": {
                    "validation_context": {
                        "trusted_ca": {"filename": plan.upstream_ca},
                        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": address.host}}],
                    }
                },
            },
        }
    return made


def _address(address: Address) -> dict[str, Any]:
    if address.file:
        return {"pipe": {"path": address.file}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
