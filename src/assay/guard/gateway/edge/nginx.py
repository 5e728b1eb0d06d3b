"""nginx (1.18 and newer, with auth_request): one self-contained configuration, that of its server in `nginx_server`."""

from __future__ import annotations

from math import ceil

from assay.guard.gateway.edge.nginx_server import server, span, stranger
from assay.guard.gateway.edge.plan import Plan
from assay.guard.gateway.edge.words import Address

MAIN = "nginx.conf"
DENIED = "denied.conf"
"""Addresses of the settings; written by the export."""
PUSHED = "pushed.conf"
"""Addresses that were denied since; written by `push`."""

LINE = 1024
"""Bytes of a request line that nginx reads in any case."""

_FIELDS = (
    ("requestId", "$assay_log_request"),
    ("ip", "$remote_addr"),
    ("caller", "$assay_log_caller"),
    ("user", "$assay_log_user"),
    ("requestTime", "$time_local"),
    ("httpMethod", "$request_method"),
    ("resourcePath", "$assay_log_path"),
    ("status", "$status"),
    ("protocol", "$server_protocol"),
    ("responseLength", "$body_bytes_sent"),
    ("extendedRequestId", "$assay_log_id"),
    ("requestLength", "$assay_log_length"),
    ("decision", "$assay_log_decision"),
    ("rule", "$assay_log_rule"),
    ("endedSeconds", "$msec"),
    ("integrationSeconds", "$upstream_header_time"),
    ("responseSeconds", "$request_time"),
)
"""Our access log's names; what nginx does not know is left out. The path is as it was sent, without its query. nginx
cannot count in milliseconds without a regular expression for each line (which costs it as much as a whole request), so
that its times have names of their own.
"""

_ENDLESS = (
    'map "$request_method:$http_transfer_encoding:$http_content_length" $assay_endless '
    '{ default 1; "~^(?:GET|HEAD|OPTIONS)::$" 0; "~^[A-Z]+::[0-9]+$" 0; }'
)


def files(plan: Plan) -> dict[str, bytes]:
    """`MAIN`, `DENIED` and an empty `PUSHED`."""
    return {
        MAIN: _main(plan).encode(),
        DENIED: addresses(str(one) for one in plan.denied),
        PUSHED: b"",
    }


def addresses(networks: object) -> bytes:
    """Lines for a ``geo`` block, sorted, from checked networks."""
    assert not isinstance(networks, str)
    return "".join(f"{one} 1;\n" for one in sorted(set(networks))).encode()  # type: ignore[call-overload]


def _main(plan: Plan) -> str:
    settings = plan.settings
    sizes, timeouts = settings.sizes, settings.timeouts
    line = max(sizes.line, LINE)
    lines = [
        "# Written by `assay gateway export nginx`; change the gateway's file and write it again. See README.md.",
        *([f"user {plan.user};"] if plan.user else []),
        "worker_processes auto;",
        "pid nginx.pid;",
        "error_log error.log warn;",
        f"worker_rlimit_nofile {settings.connections * 4 + 256};",
        f"events {{ worker_connections {settings.connections * 3 + 64}; }}",
        "pcre_jit on;",
        "http {",
        "default_type application/json;",
        *(f"{kind}_temp_path tmp-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
        "server_tokens off;",
        "proxy_headers_hash_max_size 2048;",
        "proxy_headers_hash_bucket_size 128;",
        "underscores_in_headers off;",
        "ignore_invalid_headers on;",
        "merge_slashes off;",
        "reset_timedout_connection on;",
        f"large_client_header_buffers {max(2, ceil(sizes.headers / line))} {line};",
        f"client_header_timeout {span(timeouts.head)};",
        f"client_body_timeout {span(timeouts.body)};",
        f"keepalive_timeout {span(timeouts.idle)};",
        f"send_timeout {span(timeouts.stream)};",
        "keepalive_requests 100000;",
        "limit_conn_zone $binary_remote_addr zone=assay_connections:10m;",
        "limit_conn_status 429;",
        "limit_req_status 429;",
        *(
            f"limit_req_zone $binary_remote_addr zone=assay_rate_{i}:16m rate={flood.per_minute}r/m;"
            for i, flood in enumerate(plan.floods)
        ),
        *(f"set_real_ip_from {network};" for network in plan.proxies),
        *(["real_ip_header X-Forwarded-For;", "real_ip_recursive on;"] if plan.proxies else []),
        f"geo $assay_denied {{ default 0; include {DENIED}; include {PUSHED}; }}",
        *_maps(),
        *([_ENDLESS] if plan.measured else []),
        *_log(),
        "access_log access.log assay buffer=64k flush=1s;",
        *_upstream("assay_service", plan.service),
        *([] if plan.gateway is None else _upstream("assay_gateway", plan.gateway)),
        *(line for i, one in enumerate(plan.upstreams) for line in _upstream(f"assay_model_{i}", one)),
        *_ways(plan),
        *(stranger(plan) if plan.hosts else []),
        *server(plan),
        "}",
        "",
    ]
    return "\n".join(lines)


def _maps() -> list[str]:
    """Values of the log: never empty, never what cannot stand in it."""

    def other(name: str, value: str, empty: str = "-") -> str:
        return f'map {value} $assay_log_{name} {{ "" "{empty}"; default {value}; }}'

    return [
        other("request", "$assay_request_id", "$request_id"),
        other("id", "$assay_id", "$assay_log_request"),
        other("caller", "$assay_caller"),
        other("user", "$assay_user"),
        other("length", "$content_length", "0"),
        other("rule", "$assay_rule"),
        'map $assay_status $assay_log_decision { default deny; "" $assay_log_passed; }',
        'map $assay_request_id $assay_log_passed { default allow; "" "-"; }',
        'map $request_uri $assay_log_path { default "-"; "~^(?<assay_path>[!->@-~]{1,512})(?:\\?|$)" $assay_path; }',
        'map $http_upgrade $assay_connection { default ""; "~*^websocket$" upgrade; }',
        'map $http_upgrade $assay_upgrade { default ""; "~*^websocket$" websocket; }',
        'map $ssl_client_verify $assay_certificate { default ""; SUCCESS $ssl_client_escaped_cert; }',
    ]


def _log() -> list[str]:
    fields = ",".join(f'"{name}":"{value}"' for name, value in _FIELDS)
    return [f"log_format assay escape=json '{{{fields}}}';"]


def _upstream(name: str, address: Address) -> list[str]:
    server = f"unix:{address.file}" if address.file else address.text
    return [
        f"upstream {name} {{",
        f"    server {server} max_fails=0;",
        "    keepalive 128; keepalive_requests 1000000; keepalive_timeout 50s;",
        "}",
    ]


def _ways(plan: Plan) -> list[str]:
    """With several model servers: a request goes where the service's own route leads, or nowhere."""
    if len(plan.upstreams) < 2:
        return []
    maps = []
    for i, one in enumerate(plan.locations):
        model = f"assay_model_{plan.upstreams.index(one.upstream)}"
        maps.append(f"map $assay_route $assay_to_{i} {{ default assay_nowhere; {i} {model}; }}")
    return ["upstream assay_nowhere { server 127.0.0.1:9 down; }", *maps]


def notes(plan: Plan) -> tuple[str, ...]:
    """What nginx does in another way."""
    said = ["nginx: sizes.count is not held; sizes.headers and sizes.line are."]
    if plan.measured:
        said.append("nginx: rules look at sizes, so that a body needs Content-Length (411 without).")
    if plan.certificate:
        said.append("nginx: reads its certificates anew with 'nginx -s reload' only.")
        said.append("nginx: over HTTP/2 connections-by-address counts requests under way.")
    if plan.settings.sizes.line < LINE:
        said.append(f"nginx: sizes.line is at least {LINE} bytes.")
    return tuple(said)
