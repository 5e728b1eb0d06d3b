"""What is asked of every edge that runs here, in front of a real decision service."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.x509 import DNSName, IPAddress
from cryptography.x509.oid import ExtendedKeyUsageOID

import gateway_edges as edges
import small_ca
from assay.guard.gateway.edge import push


def test_each_decision_reaches_the_caller_as_what_it_is(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        good = it.ask()
        assert good.status == 200 and good.getheader("Server") in (kind, None)
        assert good.getheader("X-Request-Id") == edges.until(lambda: it.rooms.log)[-1].id
        unknown = it.ask(key="nobody")
        assert (unknown.status, unknown.headers.get_all("WWW-Authenticate")) == (401, ['Bearer realm="assay"'])
        often = it.ask(key="often")
        assert (often.status, often.getheader("Retry-After")) == (429, "7")
        assert json.loads(often.data)["error"]["rule"] == "plan:rate"
        refused = it.ask(edges.INFER + "?bad")
        assert (refused.status, json.loads(refused.data)["error"]["message"]) == (403, 'no "quotes"')
        assert it.ask("/v2/repository/models/m/unload").status == 404
        assert it.ask("/v2/models/other/infer").status == 404
        assert it.ask(method="DELETE").status == 405
        assert it.ask("/metrics", key="nobody").status == 401  # a stranger learns no path
        assert len(it.model.requests) == 1
        assert it.ask(key="slow").status == 200


TWO_READINGS = (
    "/v2/../v2/models/m/infer",
    "/v2/./models/m/infer",
    "//v2/models/m/infer",
    "/v2/models//m/infer",
    "/v2/models/x/%2e%2e/m/infer",
    "/v2%2fmodels/m/infer",
    "/v2%5cmodels/m/infer",
    "/v2%c0%afmodels/m/infer",
    "/v2/models/m/infer%00",
    "/v2/models/m/infer%2",
    "/v2/models/m/infer;x",
    "/v2/models/m/infer%23",
    "/V2/models/m/infer",
    "/v2/models/m/infer/",
)


def test_a_path_with_two_readings_goes_nowhere(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        for path in TWO_READINGS:
            assert it.ask(path).status in (400, 404), path
        assert not it.model.requests
        assert it.ask().status == 200


def test_upstream_connections_are_used_again(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        connection = HTTPConnection("127.0.0.1", it.port, timeout=10)
        for _ in range(40):
            connection.request("POST", edges.INFER, b"{}", {"x-api-key": "good"})
            assert connection.getresponse().read()
        connection.close()
        assert len(it.model.requests) == 40
        # One each for the workers of nginx that the connection can land on.
        assert it.model.connections <= 2


def test_nothing_passes_without_the_service(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path, up=False) as it:
        answer = it.ask()
        assert (answer.status, json.loads(answer.data)["error"]["code"]) == (503, 503)
        assert not it.model.requests


def test_nothing_passes_where_deciding_fails(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        it.rooms.fails = True
        assert it.ask().status == 503
        it.rooms.fails, it.rooms.needs = False, edges.NEEDS_BODY
        assert it.ask().status == 503  # who must see a body cannot be asked about a head
        assert not it.model.requests


def test_the_model_server_being_gone_is_said_as_such(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path, upstream=f"http://127.0.0.1:{edges.free_port()}") as it:
        assert it.ask().status in (502, 503)


def test_address_sets_are_refused_without_asking(tmp_path: Path, kind: str) -> None:
    blocked = {"addresses": {"bad": ["127.0.0.0/8"]}, "rules": [edges.blocking({"address-in": "bad"})]}
    with edges.edge(kind, tmp_path, **blocked) as it:
        answer = it.ask()
        assert (answer.status, json.loads(answer.data)["error"]["rule"]) == (403, "rule:address")
        assert not it.rooms.log


@pytest.mark.parametrize("kind", ["nginx", "haproxy"], indirect=True)
def test_addresses_can_be_pushed(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        assert it.ask().status == 200
        push(["127.0.0.1", "2001:db8::/32", *(f"10.0.{i}.0/24" for i in range(120))], kind, str(it.folder))
        edges.until(lambda: it.ask().status == 403)
        push(["10.0.0.0/24"], kind, str(it.folder))
        edges.until(lambda: it.ask().status == 200)


def test_an_allow_rule_before_it_leaves_a_block_rule_to_the_service(tmp_path: Path, kind: str) -> None:
    first = {
        "id": "friend",
        "priority": 1,
        "action": "allow",
        "match": {"header": {"name": "x-friend", "exact": "yes"}},
    }
    with edges.edge(
        kind, tmp_path, addresses={"bad": ["127.0.0.0/8"]}, rules=[first, edges.blocking({"address-in": "bad"})]
    ) as it:
        assert it.ask(x_friend="yes").status == 200
        assert edges.until(lambda: it.rooms.log)[0].headers[b"x-friend"] == b"yes"


def test_behind_a_trusted_proxy_the_caller_counts(tmp_path: Path, kind: str) -> None:
    blocked = {"rules": [edges.blocking({"address-in": "203.0.113.0/24"})], "trusted-proxies": ["127.0.0.1"]}
    with edges.edge(kind, tmp_path, **blocked) as it:
        assert it.ask(x_forwarded_for="203.0.113.7, 198.51.100.1").status == 200  # left of it anybody may write
        seen = edges.until(lambda: it.rooms.log)[0]
        assert (seen.address, it.model.requests[0][1]["x-forwarded-for"]) == ("198.51.100.1",) * 2
        assert it.ask(x_forwarded_for="198.51.100.1, 203.0.113.7").status == 403


SMUGGLING = {
    "both lengths": b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX",
    "two lengths": b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a list of lengths": b"content-length: 2, 2\r\n\r\n{}",
    "a signed length": b"content-length: +2\r\n\r\n{}",
    "an unknown coding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "a folded header": b"x-a: 1\r\n transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
    "a blank before the colon": b"content-length : 2\r\n\r\n{}",
    "bare line feeds": b"x-a: 1\ncontent-length: 2\n\n{}",
    "a bare carriage return": b"x-a: 1\rtransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
    "a NUL": b"x-a: \x00\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("case", SMUGGLING)
def test_smuggling(tmp_path: Path, kind: str, case: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        head = f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\n".encode()
        answer = edges.raw(it.port, head + SMUGGLING[case])
        # Refused, or read in one way by everybody: never a second request, never a body of another length.
        assert answer.count(b"HTTP/1.1 ") == 1
        assert len(it.model.requests) <= 1
        if it.model.requests:
            headers, body = it.model.requests[0][1:]
            assert "transfer-encoding" not in headers and len(body) == int(headers.get("content-length", "0"))
            assert b" 200 " in answer.split(b"\r\n")[0]
        else:
            assert answer.split(b" ")[1] in (b"400", b"411", b"501", b"503")


def test_old_callers_are_served_too(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        head = f"POST {edges.INFER} HTTP/1.0\r\nhost: x\r\nx-api-key: good\r\ncontent-length: 2\r\n"
        assert b" 200 " in edges.raw(it.port, f"{head}\r\n{{}}".encode()).split(b"\r\n")[0]
        assert it.rooms.log[0].http == "HTTP/1.0" and it.model.requests[0][2] == b"{}"
        chunked = f"{head.replace('content-length: 2', 'transfer-encoding: chunked')}\r\n2\r\n{{}}\r\n0\r\n\r\n"
        assert b" 200 " not in edges.raw(it.port, chunked.encode())
        assert len(it.model.requests) == 1


def test_events_are_passed_on_when_they_come(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        connection = HTTPConnection("127.0.0.1", it.port, timeout=10)
        connection.request("POST", edges.INFER, b'{"stream"}', {"x-api-key": "good"})
        answer = connection.getresponse()
        assert answer.readline() == b"data: 1\n"  # the model server waits for `gate` before the second
        it.model.gate.set()
        assert b"data: 2" in answer.read()
        answer.close()
        connection.close()


@pytest.mark.parametrize("allowed", [True, False])
def test_upgrades_only_where_a_route_allows_them(tmp_path: Path, kind: str, allowed: bool) -> None:
    with edges.edge(kind, tmp_path, routes=[{"protocol": "open-inference", "websocket": allowed}]) as it:
        it.rooms.method = "GET"
        assert edges.upgraded(it.port, edges.INFER).endswith(b"HELLO") == allowed
        assert sum("upgrade" in headers for _, headers, _ in it.model.requests) == allowed


def test_a_request_goes_where_it_was_decided_for(tmp_path: Path, kind: str) -> None:
    with edges.model() as other:
        there = f"http://127.0.0.1:{other.port}"
        first = {"protocol": "open-inference", "models": ["a*", "b.c"], "upstream": there}
        with edges.edge(kind, tmp_path, routes=[first, {"protocol": "open-inference"}]) as it:
            it.rooms.index = 1
            assert it.ask().status == 200 and (len(it.model.requests), len(other.requests)) == (1, 0)
            it.rooms.index = 0  # the edge's reading and the service's are not the same
            assert it.ask(edges.INFER + "?again").status in (502, 503)
            assert (len(it.model.requests), len(other.requests)) == (1, 0)


def test_an_upgrade_goes_where_it_was_decided_for(tmp_path: Path, kind: str) -> None:
    with edges.model() as other:
        first = {"protocol": "open-inference", "models": ["m*"], "upstream": f"http://127.0.0.1:{other.port}"}
        routes = [first | {"websocket": True}, {"protocol": "open-inference", "websocket": True}]
        with edges.edge(kind, tmp_path, routes=routes) as it:
            it.rooms.method, it.rooms.index = "GET", 1  # the first path leads there, but not the service's route
            edges.upgraded(it.port, edges.INFER)
            assert not other.requests
            it.rooms.index = 0
            assert edges.upgraded(it.port, edges.INFER + "?again").endswith(b"HELLO") and len(other.requests) == 1


def test_what_needs_bodies_goes_through_the_gateway(tmp_path: Path, kind: str) -> None:
    with edges.model() as gateway:
        plans = {"default": {"rows": {"day": 100}}}
        with edges.edge(kind, tmp_path, gateway=f"http://127.0.0.1:{gateway.port}", plans=plans) as it:
            assert it.ask(authorization="Bearer mine", x_assay_caller="key:root").status == 200
            assert not it.model.requests and not it.rooms.log
            headers = gateway.requests[0][1]
            assert (headers["x-api-key"], headers["authorization"]) == ("good", "Bearer mine")  # it decides
            assert headers["x-forwarded-for"] == "127.0.0.1" and "x-assay-caller" not in headers


def test_another_host_is_not_served(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path, host=["models.example"]) as it:
        assert it.ask(host="models.example").status == 200
        assert it.ask(host="evil.example").status == 421


def test_the_log_is_json_whatever_was_asked(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        it.ask(edges.INFER + "?token=secret", x_request_id="7f0f2c56-3a50-4c05-8f1f-8f3d0f6f2b11")
        it.ask('/"}\\n{', key="nobody")
        edges.raw(it.port, b"GET /\xff\xfe\x1b[31m HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        lines = edges.until(lambda: len(got := it.log()) >= 3 and got)
        # Envoy writes numbers, and null where nothing is known.
        lines = [{name: "-" if value is None else str(value) for name, value in line.items()} for line in lines]
        one = next(line for line in lines if line["status"] == "200")
        assert one["requestId"] == "7f0f2c56-3a50-4c05-8f1f-8f3d0f6f2b11" != one["extendedRequestId"]
        seen = edges.until(lambda: [context for context in it.rooms.log if context.status == 200])
        assert one["extendedRequestId"] == seen[0].id
        assert (one["caller"], one["user"], one["decision"], one["rule"]) == ("key:good", "alice", "allow", "-")
        assert (one["resourcePath"], one["httpMethod"], one["protocol"]) == (edges.INFER, "POST", "HTTP/1.1")
        assert one["ip"] == "127.0.0.1" and int(one["responseLength"]) > 0
        assert {(line["decision"], line["caller"]) for line in lines if line["status"] == "401"} == {("deny", "-")}
        assert "secret" not in json.dumps(lines)


def test_tls_certificates_of_callers_and_http_2(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path, tls=edges.certificates(tmp_path)) as it:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        assert _over(it.port, context) == 401
        pem = (tmp_path / "client").read_text().partition("-----BEGIN PRIVATE")[0]
        der = "".join(pem.splitlines()[1:-1])
        for shown in (quote(pem), der):  # a certificate is public: to show it proves nothing
            assert _over(it.port, context, **{"x-client-cert": shown}) == 401
        context.load_cert_chain(str(tmp_path / "client"))
        assert _over(it.port, context) == 200
        assert it.model.requests[0][1]["x-assay-caller"] == "mtls:CN=alice"
        assert it.model.requests[0][1]["x-forwarded-proto"] == "https"
        (seen,) = edges.until(lambda: [context for context in it.rooms.log if context.status == 200])
        assert seen.tls and seen.certificate is not None and len(seen.certificate.digest) == 64
        old = [edges.installed("openssl"), "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
        tried = subprocess.run([*old, "-connect", f"127.0.0.1:{it.port}"], input=b"", capture_output=True, timeout=20)
        assert tried.returncode != 0 and b"BEGIN CERTIFICATE" not in tried.stdout
        if curl := edges.installed("curl"):
            asked = [curl, "-sk", "--http2", "-H", "x-api-key: good", "-d", "{}", "-o", os.devnull]
            said = ["-w", "%{http_version} %{http_code}", f"https://127.0.0.1:{it.port}{edges.INFER}"]
            assert subprocess.run([*asked, *said], capture_output=True, timeout=20).stdout == b"2 200"
            edges.until(lambda: it.rooms.log[-1].http == "HTTP/2.0")
            assert it.model.requests[-1][0] == f"POST {edges.INFER} HTTP/1.1"


def _over(port: int, context: ssl.SSLContext, **headers: str) -> int:
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    connection.request("POST", edges.INFER, b"{}", headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_a_model_server_is_proved_by_whom_the_settings_trust(tmp_path: Path, kind: str) -> None:
    long = {"end": small_ca.START + 30 * small_ca.YEAR}
    ours, theirs = small_ca.root(**long), small_ca.root(**long)
    (tmp_path / "ca").write_bytes(ours.pem)
    for number, (root, name, trusted) in enumerate(
        ((ours, "127.0.0.1", True), (theirs, "127.0.0.1", False), (ours, "other.example", False))
    ):
        # nginx and HAProxy look for an address among the names, Envoy among the addresses.
        names = [DNSName(name), *([IPAddress(ip_address(name))] if name == "127.0.0.1" else [])]
        made = root.leaf(name, names=names, purposes=[ExtendedKeyUsageOID.SERVER_AUTH], **long)
        (tmp_path / "pem").write_bytes(made.pem + made.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "pem")
        with edges.model(context) as model:
            there = {"upstream": f"https://127.0.0.1:{model.port}", "upstream-ca": str(tmp_path / "ca")}
            with edges.edge(kind, tmp_path / str(number), **there) as it:
                assert (it.ask().status == 200) == trusted, name
                assert len(model.requests) == trusted
