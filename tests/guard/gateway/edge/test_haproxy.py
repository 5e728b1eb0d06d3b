from __future__ import annotations

import json
import os
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
from assay.errors import UndecidedError
from assay.guard.gateway.edge import Place, export, push

HAPROXY = edges.installed("haproxy")
pytestmark = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")
INFER = "/v2/models/m/infer"


class Running:
    """HAProxy, the service and the model, with what each of them saw."""

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

    def log(self) -> list[dict[str, Any]]:
        text = (self.folder / "output").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def running(
    tmp_path: Path, *, up: bool = True, secret: str = "", gateway: str = "", **values: Any
) -> Iterator[Running]:
    port, rooms, place = edges.free_port(), edges.Rooms(), f"unix:{tmp_path}/decide.sock"
    if secret:
        place = f"127.0.0.1:{edges.free_port()}"
    with edges.model() as model:
        given = {
            "upstream": f"http://127.0.0.1:{model.port}",
            "listen": [f"127.0.0.1:{port}"],
            "connections": 500,
        } | values
        settings = edges.settings(tmp_path, **given)
        folder = tmp_path / "haproxy"
        edges.write(folder, export(settings, "haproxy", Place(place, gateway, secret)).files)
        with edges.program([HAPROXY, "-C", str(folder), "-f", "haproxy.cfg"], port, folder):
            found = Running(port, folder, rooms, model)
            if not up:
                yield found
                return
            with edges.service(edges.gate(settings, rooms), settings, place, secret=secret.encode()):
                yield found


def test_each_decision_reaches_the_caller_as_what_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        good = it.ask()
        assert good.status == 200 and good.getheader("Server") is None
        assert good.getheader("X-Request-Id") == it.rooms.log[-1].id
        unknown = it.ask(key="nobody")
        assert (unknown.status, unknown.headers.get_all("WWW-Authenticate")) == (401, ['Bearer realm="assay"'])
        often = it.ask(key="often")
        assert (often.status, often.getheader("Retry-After")) == (429, "7")
        refused = it.ask(INFER + "?bad")
        assert (refused.status, json.loads(refused.data)["error"]["message"]) == (403, 'no "quotes"')
        assert it.ask("/v2/repository/models/m/unload").status == 404
        assert it.ask(method="DELETE").status == 405
        assert it.ask("/metrics", key="nobody").status == 401
        assert it.ask("/v2/../v2/models/m/infer").status == it.ask("//v2/models/m/infer").status == 400
        assert len(it.model.requests) == 1
        assert it.ask(key="slow").status == 200


def test_the_model_is_told_what_is_known_and_not_what_the_caller_wrote(tmp_path: Path) -> None:
    lies = {
        "x-assay-caller": "key:root",
        "x-assay-verdict": "allow",
        "x-original-uri": "/v2/models/m/infer?bad",
        "x-original-method": "GET",
        "x-real-ip": "6.6.6.6",
        "x-forwarded-for": "6.6.6.6",
        "x-client-cert": "MIIB",
        "forwarded": "for=6.6.6.6",
        "authorization": "Bearer token",
    }
    with running(tmp_path) as it:
        assert it.ask(**lies).status == 200
        headers = it.model.requests[0][1]
        assert headers["x-assay-caller"] == "key:good" and "x-assay-verdict" not in headers
        assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
        assert not {"authorization", "x-api-key", "x-original-uri", "x-client-cert", "forwarded"} & headers.keys()
        assert (it.rooms.log[0].target, it.rooms.log[0].method) == (INFER.encode(), "POST")


def test_a_header_that_came_twice_is_told_as_it_came(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\nx-api-key: good\r\n"
        assert b" 503 " in edges.raw(it.port, f"{head}authorization: a\r\nauthorization: b\r\n\r\n{{}}".encode())
        assert not it.model.requests


def test_an_absolute_target_reaches_the_model_in_the_form_that_was_decided_about(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        head = f"POST http://evil.example{INFER} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n"
        edges.raw(it.port, f"{head}content-length: 2\r\nx-api-key: good\r\n\r\n{{}}".encode())
        assert [one.target for one in it.rooms.log] == [INFER.encode()]
        assert it.model.requests[0][0] == f"POST {INFER} HTTP/1.1"


def test_upstream_connections_are_used_again(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        connection = HTTPConnection("127.0.0.1", it.port, timeout=10)
        for _ in range(30):
            connection.request("POST", INFER, b"{}", {"x-api-key": "good"})
            assert connection.getresponse().read()
        connection.close()
        assert len(it.model.requests) == 30 and it.model.connections <= 2


def test_nothing_passes_without_the_service_or_where_deciding_fails(tmp_path: Path) -> None:
    with running(tmp_path, up=False) as it:
        assert it.ask().status == 503
        assert not it.model.requests
    there = tmp_path / "there"
    there.mkdir()
    with running(there) as it:
        it.rooms.fails = True
        assert it.ask().status == 503
        it.rooms.fails, it.rooms.needs = False, edges.NEEDS_BODY
        assert it.ask().status == 503
        assert not it.model.requests


def test_a_service_on_loopback_wants_the_secret(tmp_path: Path) -> None:
    with running(tmp_path, secret="a-secret-of-the-edge") as it:
        assert it.ask().status == 200
        config = (it.folder / "assay.lua").read_text()
        assert "a-secret-of-the-edge" in config


def test_denied_addresses_without_a_reload(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        before = it.model.connections
        assert it.ask().status == 200
        push(["127.0.0.1", "2001:db8::/32", *(f"10.0.{i}.0/24" for i in range(120))], "haproxy", str(it.folder))
        answer = it.ask()
        assert (answer.status, json.loads(answer.data)["error"]["rule"]) == (403, "rule:address")
        push(["10.0.0.0/24"], "haproxy", str(it.folder))
        assert it.ask().status == 200
        assert (it.folder / "pushed.map").read_text() == "10.0.0.0/24 1\n"
        assert it.model.connections >= before
    with pytest.raises(UndecidedError, match="could not be told"):
        push(["10.0.0.1"], "haproxy", str(it.folder))


def test_address_sets_and_rates_of_the_settings(tmp_path: Path) -> None:
    rule = {"id": "no", "priority": 5, "action": "block", "match": {"address-in": "bad"}}
    with running(tmp_path, addresses={"bad": ["127.0.0.0/8"]}, rules=[rule]) as it:
        assert it.ask().status == 403 and not it.rooms.log
    rule = {"id": "flood", "priority": 1, "action": "block", "rate": {"limit": 5, "window": 60, "by": "address"}}
    there = tmp_path / "there"
    there.mkdir()
    with running(there, rules=[rule]) as it:
        found = [it.ask().status for _ in range(13)]
        assert found[:10] == [200] * 10 and found[-1] == 429


def test_bodies_need_a_length_that_is_allowed(tmp_path: Path) -> None:
    with running(tmp_path, sizes={"body": 1000}) as it:
        assert it.ask(body=b"x" * 1000).status == 200
        assert it.ask(body=b"x" * 1001).status == 413
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\n".encode()
        assert b" 411 " in edges.raw(it.port, head + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b" 411 " in edges.raw(it.port, head + b"\r\n")
        both = b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX"
        for bad in (both, b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", b"content-length: +2\r\n\r\n{}"):
            assert b" 400 " in (got := edges.raw(it.port, head + bad)) or b" 411 " in got
        assert len(it.model.requests) == 1


@pytest.mark.parametrize("allowed", [True, False])
def test_upgrades_only_where_a_route_allows_them(tmp_path: Path, allowed: bool) -> None:
    with running(tmp_path, routes=[{"protocol": "open-inference", "websocket": allowed}]) as it:
        it.rooms.method = "GET"
        answer = edges.upgraded(it.port, INFER)
        assert answer.endswith(b"HELLO") if allowed else b" 400 " in answer
        assert len(it.model.requests) == allowed


def test_the_log_is_json_whatever_was_asked(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        it.ask(INFER + "?token=secret")
        it.ask('/"}\\n{', key="nobody")
        lines = edges.until(lambda: len(got := [one for one in it.log() if one["httpMethod"] == "POST"]) >= 2 and got)
        one = lines[0]
        assert (one["caller"], one["user"], one["decision"], one["status"]) == ("key:good", "alice", "allow", "200")
        assert one["requestId"] == one["extendedRequestId"] == it.rooms.log[0].id
        assert one["resourcePath"] == INFER and one["ip"] == "127.0.0.1"
        assert (lines[1]["decision"], lines[1]["caller"]) == ("deny", "-")
        assert "secret" not in json.dumps(lines)


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
        if curl := edges.installed("curl"):
            asked = [curl, "-sk", "--http2", "-H", "x-api-key: good", "-d", "{}", "-o", os.devnull]
            said = ["-w", "%{http_version} %{http_code}", f"https://127.0.0.1:{it.port}{INFER}"]
            assert subprocess.run([*asked, *said], capture_output=True, timeout=20).stdout == b"2 200"
            assert it.rooms.log[-1].http == "HTTP/2.0"
            assert it.model.requests[-1][0] == f"POST {INFER} HTTP/1.1"


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
            assert (headers["x-api-key"], headers["authorization"]) == ("good", "Bearer mine")
            assert headers["x-forwarded-for"] == "127.0.0.1" and "x-assay-caller" not in headers


def test_haproxy_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    with running(tmp_path, host=["a.example", "*.b.example"], **{"trusted-proxies": ["127.0.0.1"]}) as it:
        command = [HAPROXY, "-c", "-C", str(it.folder), "-f", "haproxy.cfg"]
        checked = subprocess.run(command, capture_output=True, timeout=20)
        assert checked.returncode == 0 and b"WARNING" not in checked.stderr
        assert it.ask(host="x.b.example", x_forwarded_for="203.0.113.9").status == 200
        assert it.model.requests[0][1]["x-forwarded-for"] == it.rooms.log[0].address == "203.0.113.9"
        assert it.ask(host="evil.example").status == 421
