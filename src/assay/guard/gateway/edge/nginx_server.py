"""The server of an nginx: its locations, the question that each request is before it goes anywhere, and refusals.

Every location says all of its headers, since one that it says makes nginx forget those of the level above, and with
them the reuse of upstream connections.
"""

from __future__ import annotations

from collections.abc import Mapping

from assay.guard.gateway.edge.plan import FORGED, Location, Plan
from assay.guard.gateway.interface import Decision
from assay.guard.gateway.refusing import body
from assay.guard.gateway.settings.serving import Sizes

ANSWERED = ("route", "status", "rule", "caller", "user", "request_id", "id", "body")
"""What the service says of a request, each in a header ``x-assay-…`` and then a variable ``$assay_…``."""

_STATUSES = (400, 401, 403, 404, 405, 413, 415, 422, 429, 503)
_DENIED = Decision(False, 403, "rule:address", "this address is blocked")
_ENDLESS = Decision(False, 411, "edge", "a body needs its length")


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


def stranger(plan: Plan) -> list[str]:
    """Whoever asks for another host."""
    return ["server {", *_listen(plan, " default_server"), "    server_name _;", "    return 421;", "}"]


def server(plan: Plan) -> list[str]:
    """The one that serves."""
    settings = plan.settings
    lines = ["server {", *_listen(plan, "" if plan.hosts else " default_server")]
    lines += [
        f"    server_name {' '.join(plan.hosts) if plan.hosts else '_'};",
        f"    client_max_body_size {_body_size(settings.sizes)};",
        f"    limit_conn assay_connections {settings.connections_by_address};",
        *(f"    limit_req zone=assay_rate_{i} burst={flood.limit} nodelay;" for i, flood in enumerate(plan.floods)),
        "    auth_request /.assay/decide;",
        *(f"    auth_request_set $assay_{word} $upstream_http_x_assay_{word};" for word in ANSWERED),
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
        **dict.fromkeys((*FORGED, *(f"x-assay-{name.replace('_', '-')}" for name in ANSWERED)), '""'),
        "Host": "$http_host" if one.through else target.authority,
        "Connection": "$assay_connection" if one.websocket else '""',
        "Upgrade": "$assay_upgrade" if one.websocket else '""',
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$host",
        "X-Forwarded-Port": "$server_port",
        "X-Real-IP": "$remote_addr",
    }
    if not one.through:
        # The very copy that was decided about: of two headers of one name nginx tells the service the first.
        kept = set(plan.asked) - {"host", "user-agent", *FORGED}
        headers |= {name: f"$http_{name.replace('-', '_')}" for name in sorted(kept)}
        headers |= {
            "X-Assay-Caller": "$assay_caller",
            "X-Assay-User": "$assay_user",
            "X-Request-Id": "$assay_request_id",
            "Authorization": '""',
            plan.key_header: '""',
        }
    lines = [
        f'    location ~ "{one.pattern}" {{',
        *(["        auth_request off;"] if one.through else []),
        *([_endless()] if plan.measured and not one.through else []),
        f"        client_max_body_size {_body_size(one.sizes)};",
        f"        client_body_timeout {span(one.timeouts.body)};",
        f"        proxy_pass {'https' if target.tls else 'http'}://{name};",
        "        proxy_http_version 1.1;",
        *_headers(headers),
        f"        proxy_request_buffering {'off' if one.through else 'on'};",
        "        proxy_buffering off;",
        # A model server is no administrator: it neither chooses what is served nor how.
        "        proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Charset X-Accel-Expires;",
        "        proxy_next_upstream off;",
        f"        proxy_connect_timeout {span(one.timeouts.connect)};",
        f"        proxy_read_timeout {span(one.timeouts.idle if one.websocket else one.timeouts.first_byte)};",
        f"        proxy_send_timeout {span(one.timeouts.stream)};",
    ]
    if not one.through:
        lines.append("        add_header X-Request-Id $assay_request_id always;")
        lines.append("        proxy_hide_header X-Request-Id;")
        if plan.settings.server_header:
            lines.append("        proxy_pass_header Server;")
    if target.tls:
        lines += [
            "        proxy_ssl_verify on;",
            f"        proxy_ssl_trusted_certificate {plan.upstream_ca};",
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
        f"        proxy_read_timeout {span(5 + plan.settings.detect.reactions.slow)};",
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


def _endless() -> str:
    return f"        if ($assay_endless) {{ return 411 '{_body(_ENDLESS)}'; }}"


def _body(decision: Decision) -> str:
    """Of a refusal that nginx makes by itself."""
    return body(decision, "$request_id").decode()


def _headers(headers: Mapping[str, str]) -> list[str]:
    """Each name once, the last one said; names are compared without case, as nginx does."""
    last = {name.lower(): (name, value) for name, value in headers.items()}
    return [f"        proxy_set_header {name} {value};" for name, value in last.values()]


def _body_size(sizes: Sizes) -> int:
    """Zero would be any size."""
    return max(1, sizes.body)


def span(seconds: float) -> str:
    """A time; never zero, which means no end or no time at all."""
    return f"{max(1, round(seconds * 1000))}ms"
