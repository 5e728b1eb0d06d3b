"""nginx (1.18 and newer, with auth_request): one self-contained configuration. Every location says all of its headers,
since one that it says makes nginx forget those of the level above, and with them the reuse of upstream connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from assay.guard.gateway.edge.plan import Location, Plan
from assay.guard.gateway.edge.words import Address
from assay.guard.gateway.interface import Decision
from assay.guard.gateway.refusing import body
from assay.guard.gateway.service import asking

MAIN = "nginx.conf"
DENIED = "denied.conf"
"""Addresses of the settings; written by the export."""
PUSHED = "pushed.conf"
"""Addresses that were denied since; written by `push`."""

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

_QUESTION = tuple(sorted(name.decode() for name in asking.OURS))
_ASKED = ("route", "status", "rule", "caller", "user", "request_id", "id", "body")
_STATUSES = (400, 401, 403, 404, 405, 413, 415, 422, 429, 503)
_DENIED = Decision(False, 403, "rule:address", "this address is blocked")


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
        "underscores_in_headers off;",
        "ignore_invalid_headers on;",
        "merge_slashes off;",
        "reset_timedout_connection on;",
        f"large_client_header_buffers {max(2, ceil(sizes.headers / sizes.line))} {sizes.line};",
        f"client_header_timeout {_span(timeouts.head)};",
        f"client_body_timeout {_span(timeouts.body)};",
        f"keepalive_timeout {_span(timeouts.idle)};",
        f"send_timeout {_span(timeouts.stream)};",
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
        *_log(),
        "access_log access.log assay buffer=64k flush=1s;",
        *_upstream("assay_service", plan.service),
        *([] if plan.gateway is None else _upstream("assay_gateway", plan.gateway)),
        *(line for i, one in enumerate(plan.upstreams) for line in _upstream(f"assay_model_{i}", one)),
        *_ways(plan),
        *(_stranger(plan) if plan.hosts else []),
        *_server(plan),
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


def _listen(plan: Plan, also: str = "") -> list[str]:
    """Listening addresses; HTTP/2 where there is TLS, whose handshake agrees on it."""
    tls = " ssl http2" if plan.certificate else ""
    lines = [f"    listen {f'unix:{one.file}' if one.file else one.text}{tls}{also};" for one in plan.listens]
    if plan.certificate:
        lines += [
            f"    ssl_certificate {plan.certificate};",
            f"    ssl_certificate_key {plan.key};",
            "    ssl_protocols TLSv1.2 TLSv1.3;",
            "    ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;",
            "    ssl_session_cache shared:assay_tls:10m;",
            "    ssl_session_tickets off;",
        ]
        if plan.client_certificates != "none":
            verify = "on" if plan.client_certificates == "required" else "optional"
            lines += [f"    ssl_client_certificate {plan.client_ca};", f"    ssl_verify_client {verify};"]
    return lines


def _stranger(plan: Plan) -> list[str]:
    """Whoever asks for another host."""
    return ["server {", *_listen(plan, " default_server"), "    server_name _;", "    return 421;", "}"]


def _server(plan: Plan) -> list[str]:
    settings = plan.settings
    lines = ["server {", *_listen(plan, "" if plan.hosts else " default_server")]
    lines += [
        f"    server_name {' '.join(plan.hosts) if plan.hosts else '_'};",
        f"    client_max_body_size {settings.sizes.body};",
        f"    limit_conn assay_connections {settings.connections_by_address};",
        *(f"    limit_req zone=assay_rate_{i} burst={flood.limit} nodelay;" for i, flood in enumerate(plan.floods)),
        "    auth_request /.assay/decide;",
        *(f"    auth_request_set $assay_{word} $upstream_http_x_assay_{word};" for word in _ASKED),
        "    auth_request_set $assay_retry $upstream_http_retry_after;",
        "    auth_request_set $assay_challenge $upstream_http_www_authenticate;",
        # After what the answers set: a variable belongs to whoever names it first.
        f"    if ($assay_denied) {{ {_set(_DENIED)} return 403; }}",
        "    error_page 401 403 = @assay_refused;",
        "    error_page 429 = @assay_limited;",
        "    error_page 500 = @assay_closed;",
        *(line for i, one in enumerate(plan.locations) for line in _location(plan, i, one)),
        # Nothing else leads anywhere, but is asked about too: it counts, and strangers learn no path.
        "    location / { try_files /dev/null =404; }",
        *_ask(plan),
        *_refusals(),
        "}",
    ]
    return lines


def _location(plan: Plan, i: int, one: Location) -> list[str]:
    name = "assay_gateway" if one.through else f"$assay_to_{i}" if len(plan.upstreams) > 1 else "assay_model_0"
    target = plan.gateway if one.through and plan.gateway is not None else one.upstream
    headers = {
        "Host": "$http_host" if one.through else "$host",
        "Connection": "$assay_connection" if one.websocket else '""',
        "Upgrade": "$assay_upgrade" if one.websocket else '""',
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$host",
        "X-Forwarded-Port": "$server_port",
        "Forwarded": '""',
        "Proxy": '""',
        **dict.fromkeys(_QUESTION, '""'),
        "X-Real-IP": "$remote_addr",
        "X-Assay-Caller": '""' if one.through else "$assay_caller",
        "X-Assay-User": '""' if one.through else "$assay_user",
    }
    if not one.through:
        # The very copy that was decided about: of two headers of one name nginx tells the service the first.
        kept = [name for name in plan.asked if name not in ("host", "authorization", plan.key_header, "user-agent")]
        headers |= {name: f"$http_{name.replace('-', '_')}" for name in kept if not name.startswith("x-forwarded")}
        headers |= {
            "forwarded": '""',
            "X-Request-Id": "$assay_request_id",
            "Authorization": '""',
            plan.key_header: '""',
        }
    lines = [
        f'    location ~ "{one.pattern}" {{',
        *(["        auth_request off;"] if one.through else []),
        f"        client_max_body_size {one.sizes.body};",
        f"        client_body_timeout {_span(one.timeouts.body)};",
        f"        proxy_pass {'https' if target.tls else 'http'}://{name};",
        "        proxy_http_version 1.1;",
        *_headers(headers),
        f"        proxy_request_buffering {'off' if one.through else 'on'};",
        "        proxy_buffering off;",
        "        proxy_next_upstream off;",
        f"        proxy_connect_timeout {_span(one.timeouts.connect)};",
        f"        proxy_read_timeout {_span(one.timeouts.idle if one.websocket else one.timeouts.first_byte)};",
        f"        proxy_send_timeout {_span(one.timeouts.stream)};",
    ]
    if not one.through:
        lines.append("        add_header X-Request-Id $assay_request_id always;")
        lines.append("        proxy_hide_header X-Request-Id;")
        if plan.settings.server_header:
            lines.append("        proxy_pass_header Server;")
    if target.tls:
        lines += [
            "        proxy_ssl_verify on;",
            "        proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;",
            "        proxy_ssl_server_name on;",
            f"        proxy_ssl_name {target.host};",
            "        proxy_ssl_protocols TLSv1.2 TLSv1.3;",
        ]
    return [*lines, "    }"]


def _ask(plan: Plan) -> list[str]:
    """The question. Nothing of the caller's goes with it but what is named here."""
    headers = {
        "Connection": '""',
        "Content-Length": '""',
        "x-original-method": "$request_method",
        "x-original-uri": "$request_uri",
        "x-real-ip": "$realip_remote_addr",
        "x-original-protocol": "$server_protocol",
        "x-original-scheme": "$scheme",
        "x-original-length": "$http_content_length",
    }
    headers |= {name: f"$http_{name.replace('-', '_')}" for name in plan.asked}
    if plan.client_certificates != "none":
        headers["x-client-cert"] = "$assay_certificate"
    if plan.secret:
        headers["x-edge-secret"] = plan.secret
    return [
        "    location = /.assay/decide {",
        "        internal;",
        "        auth_request off;",
        "        access_log off;",
        "        proxy_pass http://assay_service;",
        "        proxy_http_version 1.1;",
        "        proxy_pass_request_body off;",
        "        proxy_pass_request_headers off;",
        *_headers(headers),
        "        proxy_connect_timeout 1s;",
        f"        proxy_read_timeout {_span(5 + plan.settings.detect.reactions.slow)};",
        "        proxy_next_upstream off;",
        "    }",
    ]


def _refusals() -> list[str]:
    json = "        default_type application/json; auth_request off; internal;"
    down = Decision(False, 503, "edge", "the request could not be judged")
    flood = Decision(False, 429, "edge", "too many requests")
    return [
        "    location @assay_refused {",
        json,
        "        add_header X-Request-Id $assay_log_request always;",
        "        add_header Retry-After $assay_retry always;",
        *(f"        if ($assay_status = {status}) {{ return {status} $assay_body; }}" for status in _STATUSES),
        f"        return 503 '{_body(down)}';",
        "    }",
        "    location @assay_limited {",
        json,
        "        add_header Retry-After 1 always;",
        f"        return 429 '{_body(flood)}';",
        "    }",
        "    location @assay_closed {",
        json,
        "        add_header Retry-After 1 always;",
        f"        return 503 '{_body(down)}';",
        "    }",
    ]


def _set(decision: Decision) -> str:
    return f"set $assay_status {decision.status}; set $assay_rule {decision.rule}; set $assay_body '{_body(decision)}';"


def _body(decision: Decision) -> str:
    """Of a refusal that nginx makes by itself."""
    return body(decision, "$request_id").decode()


def _headers(headers: Mapping[str, str]) -> list[str]:
    """Each name once, the last one said; names are compared without case, as nginx does."""
    last = {name.lower(): (name, value) for name, value in headers.items()}
    return [f"        proxy_set_header {name} {value};" for name, value in last.values()]


def _span(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def notes(plan: Plan) -> tuple[str, ...]:
    """What nginx does in another way."""
    said = ["nginx: sizes.count is not held; sizes.headers and sizes.line are."]
    if plan.certificate:
        said.append("nginx: reads its certificates anew with 'nginx -s reload' only.")
        said.append("nginx: over HTTP/2 connections-by-address counts requests under way.")
    if plan.settings.sizes.line < 1024:
        said.append("nginx: sizes.line is at least 1024 bytes.")
    return tuple(said)
