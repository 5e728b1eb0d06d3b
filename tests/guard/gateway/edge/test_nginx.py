from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import gateway_edges as edges
from assay.guard.gateway.edge import Place, export, push

NGINX = edges.installed("nginx")
pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed")
INFER = "/v2/models/m/infer"


class Running:
    """nginx, the service and the model, with what each of them saw."""

    def __init__(self, port: int, folder: Path, rooms: edges.Rooms, model: edges.Model) -> None:
        self.port, self.folder, self.rooms, self.model = port, folder, rooms, model

    def ask(
        self, path: str = INFER, key: str = "good", body: bytes = b"{}", method: str = "POST", **headers: str
    ) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(
            method, path, body, {"x-api-key": key, **{k.replace("_", "-"): v for k, v in headers.items()}}
        )
        answer = connection.getresponse()
        answer.data = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer


@contextmanager
def running(tmp_path: Path, *, up: bool = True, gateway: str = "", **values: Any) -> Iterator[Running]:
    tmp_path.chmod(0o755)
    port, rooms, place = edges.free_port(), edges.Rooms(), f"unix:{tmp_path}/decide.sock"
    with edges.model() as model:
        given = {"upstream": f"http://127.0.0.1:{model.port}", "listen": [f"127.0.0.1:{port}"]} | values
        settings = edges.settings(tmp_path, **given)
        made = export(settings, "nginx", Place(place, gateway, user="root" if os.geteuid() == 0 else ""))
        folder = tmp_path / "nginx"
        edges.write(folder, made.files)
        command = [NGINX, "-p", f"{folder}/", "-c", "nginx.conf", "-g", "daemon off;"]
        with edges.program(command, port, folder):
            found = Running(port, folder, rooms, model)
            if not up:
                yield found
                return
            with edges.service(edges.gate(settings, rooms), settings, place):
                yield found


def test_each_decision_reaches_the_caller_as_what_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        good = it.ask()
        assert good.status == 200 and good.getheader("Server") == "nginx"
        assert good.getheader("X-Request-Id") == it.rooms.log[-1].id
        unknown = it.ask(key="nobody")
        assert (unknown.status, unknown.headers.get_all("WWW-Authenticate")) == (401, ['Bearer realm="assay"'])
        often = it.ask(key="often")
        assert (often.status, often.getheader("Retry-After")) == (429, "7")
        assert json.loads(often.data)["error"]["rule"] == "plan:rate"
        refused = it.ask(INFER + "?bad")
        assert (refused.status, json.loads(refused.data)["error"]["message"]) == (403, 'no "quotes"')
        assert it.ask("/v2/repository/models/m/unload").status == 404
        assert it.ask("/v2/models/other/infer").status == 404
        assert it.ask(method="DELETE").status == 405
        assert it.ask("/metrics", key="nobody").status == 401  # a stranger learns no path
        assert len(it.model.requests) == 1
        assert it.ask(key="slow").status == 200


@pytest.mark.parametrize(
    "path", ["/v2/../v2/models/m/infer", "//v2/models/m/infer", "/v2%2fmodels/m/infer", "/v2/models/m/infer;x"]
)
def test_a_path_with_two_readings_goes_nowhere(tmp_path: Path, path: str) -> None:
    with running(tmp_path) as it:
        assert it.ask(path).status in (400, 404)
        assert not it.model.requests


def test_the_model_is_told_what_is_known_and_not_what_the_caller_wrote(tmp_path: Path) -> None:
    lies = {
        "x-assay-caller": "key:root",
        "x-assay-user": "root",
        "x-original-uri": "/v2/models/m/infer?bad",
        "x-original-method": "GET",
        "x-real-ip": "6.6.6.6",
        "x-forwarded-for": "6.6.6.6",
        "x-client-cert": "MIIB",
        "x-edge-secret": "none",
        "forwarded": "for=6.6.6.6",
        "authorization": "Bearer token",
        "proxy": "http://evil",
        "x_assay_caller": "key:root",
    }
    with running(tmp_path) as it:
        assert it.ask(**lies).status == 200
        headers = it.model.requests[0][1]
        assert (headers["x-assay-caller"], headers["x-assay-user"]) == ("key:good", "alice")
        assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
        gone = ("authorization", "x-api-key", "x-original-uri", "x-original-method", "x-client-cert", "x-edge-secret")
        assert not {*gone, "forwarded", "proxy", "x_assay_caller"} & headers.keys()
        assert "6.6.6.6" not in it.rooms.log[0].peer
        # The service saw the request itself, not the one that its headers speak of.
        assert (it.rooms.log[0].target, it.rooms.log[0].method) == (INFER.encode(), "POST")


def test_of_two_headers_the_model_gets_the_one_that_was_decided_about(tmp_path: Path) -> None:
    with running(tmp_path, routes=[{"protocol": "open-inference"}, {"protocol": "sagemaker"}]) as it:
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\ncontent-length: 2\r\n"
        twice = "x-amzn-sagemaker-target-model: a\r\nx-amzn-sagemaker-target-model: b\r\n\r\n{}"
        assert b" 200 " in edges.raw(it.port, (head + twice).encode())
        told = it.rooms.log[0].headers[b"x-amzn-sagemaker-target-model"].decode()
        assert it.model.requests[0][1]["x-amzn-sagemaker-target-model"] == told == "a"


def test_upstream_connections_are_used_again(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        connection = HTTPConnection("127.0.0.1", it.port, timeout=10)
        for _ in range(40):
            connection.request("POST", INFER, b"{}", {"x-api-key": "good"})
            assert connection.getresponse().read()
        connection.close()
        assert len(it.model.requests) == 40
        # One each for the workers of nginx that the connection can land on.
        assert it.model.connections <= 2


def test_nothing_passes_without_the_service(tmp_path: Path) -> None:
    with running(tmp_path, up=False) as it:
        answer = it.ask()
        assert (answer.status, json.loads(answer.data)["error"]["code"]) == (503, 503)
        assert not it.model.requests


def test_nothing_passes_where_deciding_fails(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        it.rooms.fails = True
        assert it.ask().status == 503
        it.rooms.fails, it.rooms.needs = False, edges.NEEDS_BODY
        assert it.ask().status == 503  # who must see a body cannot be asked about a head
        assert not it.model.requests


def test_the_model_server_being_gone_is_said_as_such(tmp_path: Path) -> None:
    with running(tmp_path, upstream=f"http://127.0.0.1:{edges.free_port()}") as it:
        assert it.ask().status == 502


def test_address_sets_are_refused_without_asking_and_can_be_pushed(tmp_path: Path) -> None:
    blocked = {"addresses": {"bad": ["127.0.0.0/8"]}, "rules": [_block("bad")]}
    with running(tmp_path, **blocked) as it:
        answer = it.ask()
        assert (answer.status, json.loads(answer.data)["error"]["rule"]) == (403, "rule:address")
        assert not it.rooms.log
    later = tmp_path / "later"
    later.mkdir()
    with running(later) as it:
        assert it.ask().status == 200
        push(["127.0.0.1", "2001:db8::/32"], "nginx", str(it.folder))
        edges.until(lambda: it.ask().status == 403)
        push([], "nginx", str(it.folder))
        edges.until(lambda: it.ask().status == 200)


def test_an_allow_rule_before_it_leaves_a_block_rule_to_the_service(tmp_path: Path) -> None:
    first = {
        "id": "friend",
        "priority": 1,
        "action": "allow",
        "match": {"header": {"name": "x-friend", "exact": "yes"}},
    }
    with running(tmp_path, addresses={"bad": ["127.0.0.0/8"]}, rules=[first, _block("bad")]) as it:
        assert it.ask(x_friend="yes").status == 200
        assert it.rooms.log[0].headers[b"x-friend"] == b"yes"


def test_the_first_line_of_a_rate_is_never_narrower_than_the_rule(tmp_path: Path) -> None:
    rule = {"id": "flood", "priority": 1, "action": "block", "rate": {"limit": 10, "window": 60, "by": "address"}}
    with running(tmp_path, rules=[rule]) as it:
        found = [it.ask() for _ in range(14)]
        assert [one.status for one in found[:10]] == [200] * 10
        assert found[-1].status == 429 and found[-1].getheader("Retry-After") == "1"


def _block(name: str) -> dict[str, Any]:
    return {"id": "no", "priority": 5, "action": "block", "match": {"address-in": name}}


def test_behind_a_trusted_proxy_the_caller_counts(tmp_path: Path) -> None:
    blocked = {"addresses": {"bad": ["203.0.113.0/24"]}, "rules": [_block("bad")], "trusted-proxies": ["127.0.0.1"]}
    with running(tmp_path, **blocked) as it:
        assert it.ask(x_forwarded_for="203.0.113.7, 198.51.100.1").status == 200  # left of it anybody may write
        assert (it.rooms.log[0].address, it.model.requests[0][1]["x-forwarded-for"]) == ("198.51.100.1",) * 2
        assert it.ask(x_forwarded_for="198.51.100.1, 203.0.113.7").status == 403


def test_bodies_and_heads_have_bounds(tmp_path: Path) -> None:
    with running(tmp_path, sizes={"body": 1000, "line": 1024, "headers": 4096}) as it:
        assert it.ask(body=b"x" * 1000).status == 200
        assert it.ask(body=b"x" * 1001).status == 413
        chunked = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\ntransfer-encoding: chunked\r\n\r\n"
        assert b" 413 " in edges.raw(it.port, chunked.encode() + b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n")
        assert it.ask(INFER + "?" + "x" * 1100).status == 414
        assert it.ask(x_long="y" * 2000).status == 400
        assert len(it.model.requests) == 1


SMUGGLING = {
    "both lengths": b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX",
    "two lengths": b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a list of lengths": b"content-length: 2, 2\r\n\r\n{}",
    "a signed length": b"content-length: +2\r\n\r\n{}",
    "an unknown coding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "a folded header": b"x-a: 1\r\n transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
    "a blank before the colon": b"content-length : 2\r\n\r\n{}",
    "a NUL": b"x-a: \x00\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("case", SMUGGLING)
def test_smuggling(tmp_path: Path, case: str) -> None:
    with running(tmp_path) as it:
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\n".encode()
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


def test_the_log_is_json_whatever_was_asked(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        it.ask(INFER + "?token=secret", x_request_id="7f0f2c56-3a50-4c05-8f1f-8f3d0f6f2b11")
        it.ask('/"}\\n{', key="nobody")
        edges.raw(it.port, b"GET /\xff\xfe\x1b[31m HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        log = it.folder / "access.log"
        lines = edges.until(lambda: len(got := log.read_bytes().splitlines()) >= 3 and got)
        found = [json.loads(line.decode("ascii")) for line in lines]
        one = next(line for line in found if line["status"] == "200")
        assert one["requestId"] == "7f0f2c56-3a50-4c05-8f1f-8f3d0f6f2b11" != one["extendedRequestId"]
        assert one["extendedRequestId"] == next(c.id for c in it.rooms.log if c.status == 200)
        assert (one["caller"], one["user"], one["decision"], one["rule"]) == ("key:good", "alice", "allow", "-")
        assert (one["resourcePath"], one["httpMethod"], one["protocol"]) == (INFER, "POST", "HTTP/1.1")
        assert one["ip"] == "127.0.0.1" and int(one["responseLength"]) > 0 and float(one["responseSeconds"]) >= 0
        assert {line["decision"] for line in found if line["status"] == "401"} == {"deny"}
        assert not any("secret" in json.dumps(line) for line in found)


def test_events_are_passed_on_when_they_come(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        connection = HTTPConnection("127.0.0.1", it.port, timeout=10)
        connection.request("POST", INFER, b'{"stream"}', {"x-api-key": "good"})
        answer = connection.getresponse()
        assert answer.readline() == b"data: 1\n"  # the model server waits for `gate` before the second
        it.model.gate.set()
        assert b"data: 2" in answer.read()
        answer.close()
        connection.close()


@pytest.mark.parametrize("allowed", [True, False])
def test_upgrades_only_where_a_route_allows_them(tmp_path: Path, allowed: bool) -> None:
    with running(tmp_path, routes=[{"protocol": "open-inference", "websocket": allowed}]) as it:
        it.rooms.method = "GET"
        answer = edges.upgraded(it.port, INFER)
        assert answer.endswith(b"HELLO") == allowed
        assert ("upgrade" in it.model.requests[0][1]) == allowed


def test_tls_certificates_of_callers_and_http_2(tmp_path: Path) -> None:
    with running(tmp_path, tls=edges.certificates(tmp_path)) as it:
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
        seen = it.rooms.log[-1]
        assert seen.tls and seen.certificate is not None and len(seen.certificate.digest) == 64
        old = [edges.installed("openssl"), "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
        tried = subprocess.run([*old, "-connect", f"127.0.0.1:{it.port}"], input=b"", capture_output=True, timeout=20)
        assert tried.returncode != 0 and b"BEGIN CERTIFICATE" not in tried.stdout
        curl = edges.installed("curl")
        if curl:
            asked = [curl, "-sk", "--http2", "-H", "x-api-key: good", "-d", "{}", "-o", "/dev/null"]
            said = ["-w", "%{http_version} %{http_code}", f"https://127.0.0.1:{it.port}{INFER}"]
            assert subprocess.run([*asked, *said], capture_output=True, timeout=20).stdout == b"2 200"
            assert it.rooms.log[-1].http == "HTTP/2.0"
            assert it.model.requests[-1][0].endswith("HTTP/1.1")


def _over(port: int, context: ssl.SSLContext, **headers: str) -> int:
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    connection.request("POST", INFER, b"{}", headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_a_request_goes_where_it_was_decided_for(tmp_path: Path) -> None:
    with edges.model() as other:
        there = f"http://127.0.0.1:{other.port}"
        first = {"protocol": "open-inference", "models": ["a*", "b.c"], "upstream": there}
        with running(tmp_path, routes=[first, {"protocol": "open-inference"}]) as it:
            it.rooms.index = 1
            assert it.ask().status == 200 and (len(it.model.requests), len(other.requests)) == (1, 0)
            it.rooms.index = 0  # the edge's reading and the service's are not the same
            assert it.ask(INFER + "?again").status in (502, 503)
            assert (len(it.model.requests), len(other.requests)) == (1, 0)


def test_what_needs_bodies_goes_through_the_gateway(tmp_path: Path) -> None:
    with edges.model() as gateway:
        plans = {"default": {"rows": {"day": 100}}}
        with running(tmp_path, gateway=f"http://127.0.0.1:{gateway.port}", plans=plans) as it:
            assert it.ask(authorization="Bearer mine", x_assay_caller="key:root").status == 200
            assert not it.model.requests and not it.rooms.log
            headers = gateway.requests[0][1]
            assert (headers["x-api-key"], headers["authorization"]) == ("good", "Bearer mine")  # it decides
            assert headers["x-forwarded-for"] == "127.0.0.1" and "x-assay-caller" not in headers


def test_another_host_is_not_served(tmp_path: Path) -> None:
    with running(tmp_path, host=["models.example"]) as it:
        assert it.ask(host="models.example").status == 200
        assert it.ask(host="evil.example").status == 421


def test_nginx_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        checked = subprocess.run(
            [NGINX, "-t", "-p", f"{it.folder}/", "-c", "nginx.conf"], capture_output=True, timeout=20
        )
        assert checked.returncode == 0
        errors = (it.folder / "error.log").read_text()
        assert "[emerg]" not in errors and "uninitialized" not in errors
        os.kill(int((it.folder / "nginx.pid").read_text()), signal.SIGHUP)
        assert it.ask().status == 200
