"""``http.send``: nobody is asked unless the policy names him, and whatever goes wrong there is an error."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.network import Refused, respond, special
from assay.policy.rego.regorus import RegorusEngine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RULE = "package verify\nimport rego.v1\nverify := http.send(input)"
URL = "https://huggingface.co/api/models/a/b"


class Server(BaseHTTPRequestHandler):
    """Answers, redirects, babbles and dribbles."""

    seen: list[dict[str, Any]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.seen.append({"path": self.path, "headers": dict(self.headers), "body": body})  # type: ignore[attr-defined]
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        data = {"/big": b"x" * (5 << 20), "/bad": b"{", "/nan": b"NaN"}.get(self.path, b'{"licence": "mit"}')
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) + (10 if self.path == "/short" else 0)))
        self.end_headers()
        if self.path == "/dribble":
            self.close_connection = True
            gone = threading.Event()
            for at in range(len(data)):
                try:
                    self.wfile.write(data[at : at + 1])
                except OSError:
                    return
                gone.wait(0.3)
            return
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, format: str, *arguments: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as made:
        made.daemon_threads = True
        made.block_on_close = False
        made.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def host(server: ThreadingHTTPServer) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def ask(request: Any, *hosts: str, answers: dict[str, Any] | None = None, seconds: float = 60.0) -> Any:
    return respond(request, hosts, answers or {}, seconds)


def through(request: Any, query: dict[str, Any], seconds: float = 60.0) -> Answer:
    with RegorusEngine() as engine:
        (answer,) = engine.evaluate(
            Query({"r.rego": RULE}, **query), [request], now=NOW, limits=Limits(seconds=seconds)
        )
        return answer


def test_a_rule_asks_through_the_parent(server: ThreadingHTTPServer) -> None:
    request = {"method": "GET", "url": f"http://{host(server)}/a?b=c", "headers": {"Authorization": "Bearer t"}}
    answer = through(request, {"network": (host(server),)})
    assert answer.error is None
    assert answer.value["status_code"] == 200 and answer.value["body"] == {"licence": "mit"}
    (seen,) = server.seen  # type: ignore[attr-defined]
    assert seen["path"] == "/a?b=c" and seen["headers"]["Authorization"] == "Bearer t"
    assert seen["headers"]["Host"] == host(server)


def test_the_environment_sends_nothing_along(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask({"method": "get", "url": f"http://{host(server)}/"}, host(server))["status_code"] == 200


def test_several_inputs_wait_for_their_own_response(server: ThreadingHTTPServer) -> None:
    requests = [
        {"method": "POST", "url": f"http://{host(server)}/{number}", "body": {"n": number}} for number in range(5)
    ]
    with RegorusEngine() as engine:
        answers = engine.evaluate(Query({"r.rego": RULE}, network=(host(server),)), requests, now=NOW)
    assert [answer.value["status_code"] for answer in answers] == [200] * 5
    assert [json.loads(seen["body"])["n"] for seen in server.seen] == list(range(5))  # type: ignore[attr-defined]


def test_answers_given_beforehand_ask_nobody() -> None:
    given = {URL: {"body": {"cardData": {"license": "mit"}}}}
    answer = through({"method": "GET", "url": URL}, {"answers": given})
    assert answer.value["status_code"] == 200 and answer.value["body"]["cardData"] == {"license": "mit"}
    other = through({"method": "GET", "url": URL + "x"}, {"answers": given})
    assert other.error is not None and "not allowed" in other.error


def test_without_permission_nothing_is_sent(server: ThreadingHTTPServer) -> None:
    answer = through({"method": "GET", "url": f"http://{host(server)}/"}, {})
    assert answer.error is not None and "asks the network, which this rule is not allowed to" in answer.error
    assert server.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "http://example.org/",
        "https://example.org/",
        "https://good.example@evil.example/",
        "https://good.example.evil.example/",
        "https://good.example:8443/",
        "https://good.example\\@evil.example/",
        "https://evil.example/?https://good.example/",
        "https://good.example\r\nHost: evil/",
        "https://good.example /",
        "https://gооd.example/",
        "file:///etc/passwd",
        "ftp://good.example/",
        "//good.example/",
        "unix:///var/run/docker.sock",
        "https://",
        "https://[::1",
        "https://good.example:99999/",
        "",
    ],
)
def test_urls_that_the_list_does_not_hold(url: str) -> None:
    with pytest.raises(Refused, match=r"http\.send"):
        ask({"method": "GET", "url": url}, "good.example")


@pytest.mark.parametrize("name", ["localtest.example", "169.254.169.254", "10.0.0.1.example"])
def test_names_that_resolve_to_special_addresses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "::ffff:127.0.0.1", "fe80::1", "224.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]
        found.append((family, socket.SOCK_STREAM, 6, "", (address, 443)))  # one bad address among good ones
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        with pytest.raises(Refused, match="which no rule may ask"):
            ask({"method": "GET", "url": f"https://{name}/"}, name)


def test_special_addresses() -> None:
    assert not special("93.184.215.14", local=False) and not special("10.1.2.3", local=False)
    assert not special("127.0.0.1", local=True) and not special("::1", local=True)
    for text in ("100.100.100.200", "fd00:ec2::254", "2002:7f00:1::", "fe80::1%eth0", "::", "240.0.0.1", "nonsense"):
        assert special(text, local=False), text
    assert special("93.184.215.14", local=True)


def test_redirects_stay_on_the_list(server: ThreadingHTTPServer) -> None:
    base = f"http://{host(server)}"
    request = {"method": "GET", "url": f"{base}/to?{base}/there", "enable_redirect": True}
    assert ask(request, host(server))["status_code"] == 200
    assert ask(request | {"enable_redirect": False}, host(server))["status_code"] == 302
    for target in ("http://169.254.169.254/", "https://evil.example/", "file:///etc/passwd", "//evil.example/"):
        with pytest.raises(Refused):
            ask(request | {"url": f"{base}/to?{target}"}, host(server))
    with pytest.raises(Refused, match="more than 3 times"):
        ask(request | {"url": f"{base}/to?{base}/to?{base}/to?{base}/to?{base}/to?/"}, host(server))


@pytest.mark.parametrize(
    ("path", "said"), [("/big", "more than"), ("/bad", "JSON"), ("/nan", "JSON"), ("/short", "broke off")]
)
def test_answers_that_are_none(server: ThreadingHTTPServer, path: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        ask({"method": "GET", "url": f"http://{host(server)}{path}"}, host(server))


def test_a_server_that_dribbles_does_not_hold_the_rule(server: ThreadingHTTPServer) -> None:
    with pytest.raises(Refused, match="in time|broke off"):
        ask({"method": "GET", "url": f"http://{host(server)}/dribble"}, host(server), seconds=0.5)


def test_a_server_that_is_silent_or_gone(server: ThreadingHTTPServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Refused, match="in time"):
            ask({"method": "GET", "url": f"http://{name}/"}, name, seconds=0.3)
    with pytest.raises(Refused, match="cannot be asked"):
        ask({"method": "GET", "url": f"http://{name}/"}, name)


def test_https_needs_a_certificate_that_holds(server: ThreadingHTTPServer) -> None:
    with pytest.raises(Refused, match="cannot be asked"):  # the server speaks no TLS at all
        ask({"method": "GET", "url": f"https://{host(server)}/"}, host(server))


@pytest.mark.parametrize(
    "change",
    [
        {"tls_insecure_skip_verify": True},
        {"tls_ca_cert_file": "/etc/passwd"},
        {"method": "DELETE"},
        {"method": 3},
        {"headers": {"Host": "evil"}},
        {"headers": {"A\r\nB": "c"}},
        {"headers": {"A": "b\r\nC: d"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": [1]},
        {"raw_body": 1},
        {"raw_body": "x" * (2 << 20)},
        {"url": 3},
    ],
)
def test_requests_that_are_not_made(server: ThreadingHTTPServer, change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        ask({"method": "GET", "url": f"http://{host(server)}/"} | change, host(server))
    assert server.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("request_", [None, 1, "http://127.0.0.1/", [], {}])
def test_requests_that_are_none(request_: Any) -> None:
    with pytest.raises(Refused):
        ask(request_, "127.0.0.1")
