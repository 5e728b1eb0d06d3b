"""Envoy (tried with 1.40): one static configuration, as JSON, which is YAML. Nothing of the settings is pasted into
text, so that no value can become another key.
"""

from __future__ import annotations

import json
from typing import Any

from assay.guard.gateway.edge.envoy_answers import V3, log, refusals
from assay.guard.gateway.edge.envoy_filters import BUFFERED, cidr, filters, span
from assay.guard.gateway.edge.envoy_routes import NOWHERE, host, stranger
from assay.guard.gateway.edge.plan import Location, Plan
from assay.guard.gateway.edge.words import Address

MAIN = "envoy.yaml"
_STREAMS = 100
"""Requests of one HTTP/2 connection at the same time."""


def files(plan: Plan) -> dict[str, bytes]:
    """`MAIN`."""
    return {MAIN: (json.dumps(document(plan), indent=1) + "\n").encode()}


def notes(plan: Plan) -> tuple[str, ...]:
    """What Envoy does in another way."""
    said = ["Envoy: addresses that are denied later reach it through the decision service only, or by a new export."]
    said.append(
        "Envoy: a POST that it asks about needs Content-Length (411 without), by which the service holds sizes.body."
    )
    said.append("Envoy: sizes.line is held together with sizes.headers only.")
    if plan.floods:
        said.append("Envoy: rates by address are held by the decision service only.")
    if plan.settings.connections_by_address:
        said.append("Envoy: connections-by-address is not held; connections is.")
    if plan.user:
        said.append("Envoy: --user is nothing it takes; start it as that account.")
    return tuple(said)


def document(plan: Plan) -> dict[str, Any]:
    """The configuration."""
    clusters = [_cluster("assay_service", plan.service, plan)]
    clusters += [_cluster(f"assay_model_{i}", _target(plan, one), plan) for i, one in enumerate(plan.locations)]
    if len(plan.upstreams) > 1:
        clusters.append({"name": NOWHERE, "type": "STATIC", "load_assignment": {"cluster_name": NOWHERE}})
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
        "per_connection_buffer_limit_bytes": BUFFERED,
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
        "strip_any_host_port": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH" if settings.server_header else "OVERWRITE",
        "request_headers_timeout": span(timeouts.head),
        "stream_idle_timeout": span(max(timeouts.stream, timeouts.first_byte)),
        "max_request_headers_kb": max(1, min(8192, -(-(settings.sizes.headers + settings.sizes.line) // 1024))),
        "common_http_protocol_options": {
            "idle_timeout": span(timeouts.idle),
            "max_headers_count": settings.sizes.count,
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http_protocol_options": {"accept_http_10": True},
        "http2_protocol_options": {"max_concurrent_streams": _STREAMS, "allow_connect": False},
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": False,
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}],
        "access_log": log(),
        "local_reply_config": refusals(),
        "http_filters": filters(plan),
        "route_config": {"virtual_hosts": [host(plan), *([stranger()] if plan.hosts else [])]},
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


def _cluster(name: str, address: Address, plan: Plan) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "type": "STATIC" if address.file or _literal(address.host) else "STRICT_DNS",
        "connect_timeout": span(plan.settings.timeouts.connect),
        # Envoy's own bounds are 1024 of each.
        "circuit_breakers": {"thresholds": [_bounds(plan.settings.connections)]},
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


def _bounds(connections: int) -> dict[str, int]:
    waiting = min(connections * _STREAMS, (1 << 32) - 1)
    return {"max_connections": connections, "max_pending_requests": waiting, "max_requests": waiting}


def _address(address: Address) -> dict[str, Any]:
    if address.file:
        return {"pipe": {"path": address.file}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
