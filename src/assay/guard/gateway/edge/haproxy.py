"""HAProxy (2.6 and newer, with Lua): a configuration, address lists that change while it runs, and a small Lua action
that asks the decision service. What the action does not allow in so many words is refused, also when it fails.
"""

from __future__ import annotations

from assay.guard.gateway.edge import haproxy_lua as lua
from assay.guard.gateway.edge.plan import FORGED, Location, Plan
from assay.guard.gateway.edge.words import Address
from assay.guard.gateway.headers import HOP
from assay.guard.gateway.service import asking

MAIN = "haproxy.cfg"
LUA = "assay.lua"
DENIED = "denied.lst"
"""Addresses of the settings; written by the export."""
PUSHED = "pushed.map"
"""Addresses that were denied since; `push` changes it in the running process and in the file."""
SOCKET = "haproxy.sock"
"""The runtime API."""

_GONE = [
    name
    for name in sorted({*FORGED, *(name.decode() for name in HOP - {b"connection", b"transfer-encoding", b"upgrade"})})
    if not name.startswith("x-forwarded")
]
_STATUSES = (400, 401, 403, 404, 405, 413, 415, 422, 429, 503)
_CLOSED = '{"error": {"code": 503, "rule": "edge", "message": "the request could not be judged"}}'
_FIELDS = (
    ("requestId", "%[var(txn.assay_request_id)]"),
    ("ip", "%[var(txn.src)]"),
    ("caller", "%[var(txn.assay_caller)]"),
    ("user", "%[var(txn.assay_user)]"),
    ("requestTime", "%[date,ltime(%d/%b/%Y:%H:%M:%S %z)]"),
    ("httpMethod", "%[var(txn.method),json(utf8ps)]"),
    ("resourcePath", "%[var(txn.path),json(utf8ps)]"),
    ("status", "%ST"),
    ("protocol", "HTTP/%[var(txn.version)]"),
    ("responseLength", "%B"),
    ("extendedRequestId", "%[var(txn.assay_id)]"),
    ("responseLatency", "%Ta"),
    ("integrationLatency", "%Tr"),
    ("decision", "%[var(txn.assay_verdict)]"),
    ("rule", "%[var(txn.assay_rule)]"),
)
"""Our access log's names; times are milliseconds."""


def files(plan: Plan) -> dict[str, bytes]:
    """`MAIN`, `LUA`, `DENIED` and an empty `PUSHED`."""
    return {
        MAIN: _main(plan).encode(),
        LUA: lua.script(plan).encode(),
        DENIED: "".join(f"{one}\n" for one in plan.denied).encode(),
        PUSHED: b"",
    }


def notes(plan: Plan) -> tuple[str, ...]:
    """What HAProxy does in another way."""
    said = [
        "HAProxy: a body needs Content-Length (411 without); the size of chunked ones is not known before they end.",
        "HAProxy: of several trusted proxies in a row only the last is looked through by the edge's own address lists; "
        "the service looks through all.",
    ]
    if plan.certificate and plan.key != plan.certificate + ".key" and plan.key != _stem(plan.certificate) + ".key":
        said.append(
            f"HAProxy: reads the key of {plan.certificate} from {plan.certificate}.key; put a link there to tls.key."
        )
    if plan.floods:
        said.append("HAProxy: its own rates are estimates, so that it refuses from twice the limit of a rule on.")
    if len(plan.floods) > 2:
        said.append(f"HAProxy: holds the first 2 of {len(plan.floods)} rates by address; the service holds all.")
    return tuple(said)


def _main(plan: Plan) -> str:
    settings = plan.settings
    sizes, timeouts = settings.sizes, settings.timeouts
    lines = [
        "# Written by `assay gateway export haproxy`; change the gateway's file and write it again. See README.md.",
        "global",
        *([f"    user {plan.user}"] if plan.user else []),
        f"    maxconn {settings.connections}",
        "    no strict-limits",
        f"    tune.bufsize {max(16384, sizes.line + sizes.headers + 4096)}",
        f"    tune.http.maxhdr {min(32767, sizes.count + 1)}",
        f"    lua-load {LUA}",
        f"    stats socket unix@./{SOCKET} mode 600 level admin",
        "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        "    ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20",
        "    ssl-default-server-options ssl-min-ver TLSv1.2",
        "    ssl-load-extra-del-ext",
        "defaults",
        "    mode http",
        "    log stdout format raw local0 info",  # not in `global`: the questions to the service would be logged too
        "    option http-keep-alive",
        "    http-reuse aggressive",
        f"    timeout http-request {_span(timeouts.head)}",
        f"    timeout http-keep-alive {_span(timeouts.idle)}",
        f"    timeout client {_span(timeouts.stream)}",
        f"    timeout connect {_span(timeouts.connect)}",
        f"    timeout queue {_span(timeouts.connect)}",
        f"    timeout server {_span(timeouts.first_byte)}",
        f"    timeout tunnel {_span(timeouts.idle)}",
        *_tables(plan),
        *_frontend(plan),
        *(line for i, one in enumerate(plan.locations) for line in _backend(plan, i, one)),
        "",
    ]
    return "\n".join(lines)


def _tables(plan: Plan) -> list[str]:
    lines = ["backend assay_connections", "    stick-table type ipv6 size 100k expire 60s store conn_cur"]
    for i, flood in enumerate(plan.floods[:2]):
        lines.append(f"backend assay_rate_{i}")
        lines.append(
            f"    stick-table type ipv6 size 1m expire {flood.window * 2}s store http_req_rate({flood.window}s)"
        )
    return lines


def _frontend(plan: Plan) -> list[str]:
    settings = plan.settings
    tls = ""
    if plan.certificate:
        tls = f" ssl crt {plan.certificate} alpn h2,http/1.1"
        if plan.client_certificates != "none":
            tls += f" ca-file {plan.client_ca} verify {plan.client_certificates}"
    fields = ",".join(f'"{name}":"{value}"' for name, value in _FIELDS)
    proxies = " ".join(str(one) for one in plan.proxies)
    trusted = f"{{ src {proxies} }}"
    through = [i for i, one in enumerate(plan.locations) if one.through]
    ask = "".join(f" !{{ var(txn.route) -m str r{i} }}" for i in through)
    lines = [
        "frontend assay",
        *(f"    bind {_bind(one)}{tls}" for one in plan.listens),
        f"    log-format '{{{fields}}}'",
        "    tcp-request connection track-sc1 src table assay_connections",
        f"    tcp-request connection reject if {{ sc1_conn_cur gt {settings.connections_by_address} }}",
        "    http-request set-var(txn.method) method",
        "    http-request set-var(txn.path) path",
        "    http-request set-var(txn.version) req.ver",
        "    http-request set-var(txn.src) src",
        *([f"    http-request set-var(txn.src) req.hdr_ip(x-forwarded-for,-1) if {trusted}"] if proxies else []),
        *(
            f"    http-request set-var(txn.assay_{name}) str(-)"
            for name in ("request_id", "id", "caller", "user", "rule")
        ),
        "    http-request set-var(txn.assay_verdict) str(deny)",
        # Names that only the edge and the service write, and names that others read in two ways.
        *(f"    http-request del-header {name.decode()}" for name in sorted(asking.OURS)),
        "    http-request del-header x-assay- -m beg",
        "    http-request del-header _ -m sub",
        _refuse(403, "rule:address", "this address is blocked", f"{{ var(txn.src) -m ip -f {DENIED} }}"),
        _refuse(403, "rule:address", "this address is blocked", f"{{ var(txn.src),map_ip({PUSHED}) -m found }}"),
    ]
    for i, (counter, flood) in enumerate(zip((0, 2), plan.floods, strict=False)):
        lines.append(
            f"    http-request track-sc{counter} var(txn.src) table assay_rate_{i}"
            + (f" unless {{ var(txn.src) -m ip {proxies} }}" if proxies else "")
        )
        lines.append(
            _refuse(429, "edge", "too many requests", f"{{ sc_http_req_rate({counter}) gt {flood.limit * 2} }}")
        )
    if plan.hosts:
        exact = [one for one in plan.hosts if not one.startswith("*.")]
        ending = [one[1:] for one in plan.hosts if one.startswith("*.")]
        said = [f"!{{ req.fhdr(host),host_only -m str -i {' '.join(exact)} }}"] if exact else []
        said += [f"!{{ req.fhdr(host),host_only -m end -i {' '.join(ending)} }}"] if ending else []
        lines.append(_refuse(421, "edge", "this host is not served here", " ".join(said)))
    for i, one in enumerate(plan.locations):
        found = f"!{{ var(txn.route) -m found }} {{ path,url_dec -m reg {one.pattern} }}"
        lines.append(f"    http-request set-var(txn.route) str(r{i}) if {found}")
    lines += [
        _refuse(411, "edge", "a body needs its length", "{ req.hdr(transfer-encoding) -m found }"),
        _refuse(411, "edge", "a body needs its length", "METH_POST !{ req.hdr(content-length) -m found }"),
    ]
    for i, one in enumerate(plan.locations):
        route = f"{{ var(txn.route) -m str r{i} }}"
        large = f"{{ req.hdr_val(content-length) gt {one.sizes.body} }}"
        lines.append(_refuse(413, "edge", "the body is too large", f"{route} {large}"))
        # Any other protocol than WebSocket (h2c) would be a way past everything that is asked here.
        upgrade = ["{ req.hdr(upgrade) -m found }"]
        if one.websocket:
            upgrade = ["{ req.hdr_cnt(upgrade) gt 1 }", upgrade[0] + " !{ req.hdr(upgrade) -m str -i websocket }"]
        lines += [_refuse(400, "edge", "upgrades are not served here", f"{route} {one}") for one in upgrade]
    lines.append("    http-request lua.assay_decide" + (f" if{ask}" if ask else ""))
    for status in _STATUSES:
        lines.append(_answer(status, f"{{ var(txn.assay_status) -m str {status} }}"))
    lines += [
        f"    http-request return status 503 content-type application/json string '{_CLOSED}' hdr Retry-After 1 "
        f"if !{{ var(txn.assay_verdict) -m str allow }}{ask}",
        # A request goes where the service's own route leads, or nowhere.
        *(
            _refuse(
                503,
                "edge",
                "this has two ways",
                f"{{ var(txn.route) -m str r{i} }} !{{ var(txn.assay_route) -m str {i} }}",
            )
            for i, one in enumerate(plan.locations)
            if not one.through and len(plan.upstreams) > 1
        ),
        _refuse(404, "route", "nothing is served here", "!{ var(txn.route) -m found }"),
        "    http-request del-header x-forwarded -m beg",
        f"    http-request del-header ^(?:{'|'.join(_GONE)})$ -m reg",
        "    http-request set-header X-Forwarded-For %[var(txn.src)]",
        "    http-request set-header X-Real-IP %[var(txn.src)]",
        "    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
        "    http-request set-header X-Forwarded-Host %[req.fhdr(host)]",
        *(f"    use_backend assay_model_{i} if {{ var(txn.route) -m str r{i} }}" for i in range(len(plan.locations))),
    ]
    return lines


def _backend(plan: Plan, i: int, one: Location) -> list[str]:
    target = plan.gateway if one.through and plan.gateway is not None else one.upstream
    lines = [f"backend assay_model_{i}"]
    if not one.through:
        lines += [
            "    http-request del-header authorization",
            f"    http-request del-header {plan.key_header}",
            f"    http-request set-header Host {target.authority}",
            "    http-request set-header X-Request-Id %[var(txn.assay_request_id)]",
            "    http-request set-header X-Assay-Caller %[var(txn.assay_caller)]",
            "    http-request set-header X-Assay-User %[var(txn.assay_user)]",
            "    http-response set-header X-Request-Id %[var(txn.assay_request_id)]",
        ]
        if not plan.settings.server_header:
            lines.append("    http-response del-header server")
    lines += [
        # It names headers that the next server then takes away.
        "    http-request set-header Connection upgrade if { req.hdr(upgrade) -m found }",
        "    http-request del-header connection unless { req.hdr(upgrade) -m found }",
        # The same form for all: a caller may have named the whole address in its request line.
        "    http-request set-uri %[pathq]",
        f"    timeout server {_span(one.timeouts.first_byte)}",
    ]
    tls = ""
    if target.tls:
        tls = f" ssl verify required ca-file {plan.upstream_ca} sni str({target.host})"
    server = f"unix@{target.file}" if target.file else target.text
    return [*lines, f"    server model {server}{tls}"]


def _bind(address: Address) -> str:
    return f"unix@{address.file}" if address.file else address.text


def _refuse(status: int, rule: str, message: str, condition: str) -> str:
    body = f'{{"error": {{"code": {status}, "rule": "{rule}", "message": "{message}"}}}}'
    retry = " hdr Retry-After 1" if status == 429 else ""
    return (
        f"    http-request return status {status} content-type application/json string '{body}'{retry} if {condition}"
    )


def _answer(status: int, condition: str) -> str:
    """The service's own refusal, as it said it."""
    headers = "hdr X-Request-Id '%[var(txn.assay_request_id)]'"
    if status in (429, 503):
        headers += " hdr Retry-After '%[var(txn.assay_retry)]'"
    if status == 401:
        headers += " hdr WWW-Authenticate '%[var(txn.assay_challenge)]'"
    return (
        f"    http-request return status {status} content-type application/json "
        f"lf-string '%[var(txn.assay_body)]' {headers} if {condition}"
    )


def _stem(path: str) -> str:
    return path.removesuffix(".crt")


def _span(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
