"""The admin API against those who should not reach it, and those who send it what it should not read."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.errors import AssayError, UndecidedError, UsageError
from assay.guard.gateway.admin import AdminServer, call, places
from assay.guard.gateway.admin import server as serving
from assay.guard.gateway.interface import Level, Standing
from gateway_making import PATIENCE, until
from guard.gateway.admin.memory import Memory


class Place:
    """A running admin API on a unix socket."""

    def __init__(self, folder: Path, listen: str | None = None) -> None:
        self.socket = folder / "admin.sock"
        self.token_file = folder / "token"
        self.operations = Memory()
        self.listen = listen or f"unix:{self.socket}"
        self.server = AdminServer(self.operations, self.listen, str(self.token_file))
        self.server.start()
        self.token = self.token_file.read_text().strip()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.server.address, str(self.token_file), method, path, body)

    def raw(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self.socket))
            answer = b""
            with contextlib.suppress(BrokenPipeError):  # it had read enough, and so below
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(65536):
                    answer += piece
            return answer

    def ask(
        self, line: str = "GET /v1/health", body: bytes = b"", version: str = "HTTP/1.1", **headers: str | None
    ) -> tuple[int, dict[str, Any], str]:
        """Status, document and head of the answer to a request with these headers (None leaves one out)."""
        sent = {"Host": "localhost", "Authorization": f"Bearer {self.token}"}
        if line.startswith("POST"):
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        given: dict[str, str | None] = {**sent, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
        answer = self.raw("\r\n".join([f"{line} {version}", *lines, "", ""]).encode("latin-1") + body)
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(content) if content else {}, head.decode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("admin"))
    yield made
    made.server.stop()


@pytest.fixture
def place(running: Place) -> Place:
    """One server for all, which has forgotten what it was asked, and whose connections have all ended."""
    until(lambda: running.server._server is not None and not running.server._server._open)
    running.operations.__init__()  # type: ignore[misc]
    return running


def test_what_an_operator_does(place: Place) -> None:
    assert place.call("GET", "/v1/health") == {"ready": True, "problems": [], "workers": 2}
    assert "assay_requests_total 1" in place.call("GET", "/v1/metrics")
    body = {"key": "jwt:https://x|ä", "level": "approve", "why": "looks odd", "seconds": None}
    made = place.call("POST", "/v1/standings/set", body)
    assert made == {"key": "jwt:https://x|ä", "level": "approve", "until": None, "why": "looks odd"}
    assert place.call("GET", "/v1/standings") == {"standings": [made]}
    assert place.call("POST", "/v1/standings/approve", {"key": "jwt:https://x|ä", "why": "asked them"})
    with pytest.raises(UsageError, match="nothing stands against"):
        place.call("POST", "/v1/standings/release", {"key": "jwt:https://x|ä", "why": "?"})
    denied = place.call("POST", "/v1/denied", {"address": "10.1.2.3/8", "why": "scan", "seconds": 60})
    assert denied == {"address": "10.0.0.0/8", "until": 1060.0, "why": "scan"}
    assert place.call("GET", "/v1/denied") == {"denied": [denied]}
    assert place.call("POST", "/v1/denied/remove", {"address": "10.0.0.0/8"}) == {"done": True}
    assert place.call("POST", "/v1/counters/reset", {"key": "key:a"}) == {"done": True}
    assert place.call("POST", "/v1/reload", {}) == {"notes": ["nothing has changed"]}
    assert place.call("GET", "/v1/callers")["callers"][0]["scores"] == {"rows": None, "ood": 0.5}
    assert place.call("GET", "/v1/proof")["verdict"] == "pass"
    assert place.call("GET", "/v1/configuration") == {"upstream": "http://127.0.0.1:1"}


def test_over_loopback(tmp_path: Path) -> None:
    place = Place(tmp_path, "127.0.0.1:0")
    try:
        assert place.server.address.startswith("127.0.0.1:") and not place.server.address.endswith(":0")
        assert place.call("GET", "/v1/health")["ready"]
    finally:
        place.server.stop()


@pytest.mark.parametrize(
    "listen",
    [
        *("0.0.0.0:9000", "[::]:9000", ":9000", "9000", "192.0.2.1:80", "example.com:80", "127.0.0.1"),
        *("127.0.0.1:99999", "127.0.0.300:80", "unix:", "unix:" + "x" * 120, "unix:\0abstract", "tcp://127.0.0.1:80"),
        *("127.0.0.1:80\n", "::1:80", "fd:3", "localhost.evil:80"),
    ],
)
def test_nothing_that_others_reach(tmp_path: Path, listen: str) -> None:
    with pytest.raises(UsageError):
        AdminServer(Memory(), listen, str(tmp_path / "token"))


def test_the_socket_and_the_token_are_private(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert stat.S_IMODE(os.stat(place.socket).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(place.token_file).st_mode) == 0o600
    assert len(place.token) >= 43
    place.server.stop()
    assert not place.socket.exists() and place.token_file.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_token_that_others_know_is_none(tmp_path: Path, mode: int) -> None:
    (tmp_path / "token").write_text("x" * 43)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(UsageError, match="others"):
        AdminServer(Memory(), "127.0.0.1:0", str(tmp_path / "token"))


@pytest.mark.parametrize("text", ["", "short", "x" * 31, "a b" * 20, "ä" * 40, "x" * 5000])
def test_a_token_that_could_be_guessed_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(UsageError):
        AdminServer(Memory(), "127.0.0.1:0", str(tmp_path / "token"))


def test_a_socket_that_was_left_behind_is_replaced_and_a_living_one_is_not(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another gateway"):
        AdminServer(Memory(), place.listen, str(place.token_file)).start()
    assert place.call("GET", "/v1/health")["ready"]
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(left))
    again = AdminServer(Memory(), f"unix:{left}", str(place.token_file))
    again.start()
    try:
        assert call(f"unix:{left}", str(place.token_file), "GET", "/v1/health")["ready"]
    finally:
        again.stop()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="no socket"):
        AdminServer(Memory(), f"unix:{tmp_path / 'file'}", str(place.token_file)).start()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_socket_whose_server_is_too_busy_to_take_anybody_is_not_replaced(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "busy.sock"
    with contextlib.ExitStack() as held:
        busy = held.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                waiting = held.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(path))
        before = path.stat().st_ino
        with pytest.raises(UsageError, match="another gateway"):
            AdminServer(Memory(), f"unix:{path}", str(place.token_file)).start()
        assert path.stat().st_ino == before


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic {}",
        "{}",
        "Bearer {}x",
        "Bearer x{}",
        "Bearer {} {}",
        "bearer\xe4 {}",
    ],
)
def test_without_the_token_nothing_is_said(place: Place, authorization: str | None) -> None:
    sent = None if authorization is None else authorization.replace("{}", place.token)
    for line in ("GET /v1/health", "GET /openapi.json", "GET /nowhere", "POST /v1/reload", "TRACE /v1/health"):
        status, document, head = place.ask(line, b"{", Authorization=sent)
        assert (status, document) == (401, {"error": "the token is missing or wrong"})
        assert "WWW-Authenticate: Bearer" in head and place.token not in head


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "localhost:x"]
)
def test_dns_rebinding(place: Place, host: str | None) -> None:
    assert place.ask(Host=host)[0] == 421


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://localhost"}, {"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}]
)
def test_web_pages_are_not_served(place: Place, headers: dict[str, str]) -> None:
    status, _, head = place.ask(**headers)
    assert status == 403 and "access-control" not in head.lower()


@pytest.mark.parametrize("name", ["Host: localhost", "Authorization: Bearer {}", "Content-Length: 2"])
def test_a_header_that_must_be_alone(place: Place, name: str) -> None:
    data = (
        f"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {place.token}\r\nContent-Length: 2\r\n"
    )
    data += f"Content-Type: application/json\r\n{name.replace('{}', place.token)}\r\n\r\n{{}}"
    assert place.raw(data.encode()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("line", "body", "headers", "status"),
    [
        ("GET /v1/nowhere", b"", {}, 404),
        ("GET /v1/../v1/health", b"", {}, 404),
        ("GET /v1/health?x=1", b"", {}, 400),
        ("GET /v1/health", b"", {"Content-Length": "5"}, 400),
        ("DELETE /v1/health", b"", {}, 405),
        ("OPTIONS /v1/health", b"", {}, 405),
        ("FOO /v1/health", b"", {}, 405),
        ("HEAD /v1/reload", b"", {}, 405),
        ("POST /v1/reload", b"{}", {"Content-Length": None}, 411),
        ("POST /v1/reload", b"2\r\n{}\r\n0\r\n\r\n", {"Content-Length": None, "Transfer-Encoding": "chunked"}, 411),
        ("POST /v1/reload", b"2\r\n{}\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}, 411),
        ("POST /v1/reload", b"{}", {"Content-Length": "+2"}, 400),
        ("POST /v1/reload", b"{}", {"Content-Length": "-1"}, 400),
        ("POST /v1/reload", b"{}", {"Content-Length": "3"}, 400),
        ("POST /v1/reload", b"{}", {"Content-Length": "9" * 30}, 400),
        ("POST /v1/reload", b"{}", {"Content-Length": str(1 << 20)}, 413),
        ("POST /v1/reload", b"{}", {"Content-Type": "text/plain"}, 415),
        ("POST /v1/reload", b"{}", {"Content-Type": None}, 415),
        ("POST /v1/reload", b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415),
        ("POST /v1/reload", b"{}", {"Content-Type": "application/json; charset=utf-8"}, 200),
        ("POST /v1/reload", b"", {}, 400),
        ("POST /v1/reload", b"{", {}, 400),
        ("POST /v1/reload", b"\xff", {}, 400),
        ("POST /v1/reload", b"[" * 60_000, {}, 400),
        ("POST /v1/reload", b'{"x": 1}', {}, 422),
        ("POST /v1/reload", b"[]", {}, 422),
        ("POST /v1/counters/reset", b'{"key": "a", "key": "key:a"}', {}, 400),
        ("POST /v1/counters/reset", b'{"key": "\\ud800"}', {}, 400),
        ("POST /v1/counters/reset", b'{"key": "key:a\\n"}', {}, 422),
        ("POST /v1/counters/reset", b'{"key": ""}', {}, 422),
        ("POST /v1/counters/reset", b'{"key": 1}', {}, 422),
    ],
)
def test_what_cannot_be_read_in_one_way(
    place: Place, line: str, body: bytes, headers: dict[str, str | None], status: int
) -> None:
    found, document, head = place.ask(line, body, **{name.replace("-", "_"): value for name, value in headers.items()})
    assert found == status, document
    assert found == 200 or line.startswith("HEAD") or isinstance(document["error"], str)
    assert "Connection: close" in head and ("Allow: " in head) == (status == 405)


@pytest.mark.parametrize("seconds", ["0", "-1", "1e400", "NaN", "1" + "0" * 400, "true", '"5"', "3153600001"])
def test_a_span_is_a_span(place: Place, seconds: str) -> None:
    body = b'{"address": "192.0.2.1", "why": "x", "seconds": %s}' % seconds.encode()
    assert place.ask("POST /v1/denied", body)[0] in (400, 422)
    assert not place.operations.list


@pytest.mark.parametrize(
    "address",
    ["10.0.0.0/33", "10.0.0.256", "010.0.0.1", "::/129", "1:2", "localhost", "10.0.0.1\n", "fe80::1%eth0", "1e3"],
)
def test_an_address_is_an_address(place: Place, address: str) -> None:
    with pytest.raises(UsageError):
        place.call("POST", "/v1/denied", {"address": address, "why": "x"})
    assert not place.operations.list


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\n\r\n", b""),
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET /v1/health\r\n\r\n", b"421"),
        (b"GET /v1/health HTTP/3.0\r\n\r\n", b"505"),
        (b"GET /v1/health HTTP/1.1x\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % i for i in range(200)) + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\na: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"400"),
        (b"GET /<script> HTTP/9\r\n\r\n", b"400"),
    ],
)
def test_bytes_that_are_no_request(place: Place, data: bytes, status: bytes) -> None:
    answer = place.raw(data)
    assert answer.partition(b"\r\n")[0].split(b" ")[1:2] == ([status] if status else []) and b"script" not in answer
    assert place.call("GET", "/v1/health")["ready"], "it goes on"


def test_a_second_request_on_a_connection_is_not_read(place: Place) -> None:
    one = f"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {place.token}\r\n\r\n".encode()
    assert place.raw(one + one).count(b"HTTP/1.1 200") == 1


def test_a_defect_shows_no_inside(place: Place) -> None:
    place.operations.broken = True
    status, document, _ = place.ask()
    assert status == 500 and "secret" not in json.dumps(document)
    with pytest.raises(UndecidedError, match="a defect of the gateway"):
        place.call("GET", "/v1/health")


def test_not_ready_is_503_and_still_an_answer(place: Place) -> None:
    place.operations.ready = False
    assert place.ask()[0] == 503
    assert place.call("GET", "/v1/health") == {"ready": False, "problems": ["the model is not proved"], "workers": 2}


def test_a_bad_configuration_is_told_in_its_own_words(place: Place) -> None:
    place.operations.bad_file = True
    with pytest.raises(UsageError, match="no plan 'x'") as told:
        place.call("POST", "/v1/reload", {})
    assert told.value.hint == "name one that is there"


def test_connections_are_few_and_do_not_last(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LONGEST", 0.5)
    idle = []
    for _ in range(serving.CONNECTIONS):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(str(place.socket))
        sock.sendall(b"GET /")
        idle.append(sock)
    # Each idle one is cut off by the server itself; then there is room again.
    for sock in idle:
        while sock.recv(4096):
            pass
        sock.close()

    def room() -> bool:
        with contextlib.suppress(UndecidedError):
            return bool(place.call("GET", "/v1/health")["ready"])
        return False

    until(room, "there is room after the idle ones were cut off")


def test_many_at_once(place: Place) -> None:
    done: list[bool] = []

    def room() -> bool:
        with contextlib.suppress(UndecidedError):  # there were too many at the time
            done.append(place.call("GET", "/v1/health")["ready"])
            return True
        return False

    def ask() -> None:
        for _ in range(10):
            until(room)

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 240


def test_the_client_says_what_is_wrong(tmp_path: Path, place: Place) -> None:
    with pytest.raises(UndecidedError, match="no gateway answers"):
        call(f"unix:{tmp_path / 'nobody'}", str(place.token_file), "GET", "/v1/health")
    with pytest.raises(AssayError, match="is it running"):
        call(place.listen, str(tmp_path / "no-token"), "GET", "/v1/health")
    (tmp_path / "other").write_text("y" * 43)
    (tmp_path / "other").chmod(0o600)
    with pytest.raises(UsageError, match="token is missing or wrong"):
        call(place.listen, str(tmp_path / "other"), "GET", "/v1/health")


def test_a_server_that_is_something_else(tmp_path: Path, place: Place) -> None:
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UndecidedError):
            call(f"unix:{path}", str(place.token_file), "GET", "/v1/health")
        thread.join()


def test_an_expired_standing_is_shown_in_seconds(place: Place) -> None:
    place.operations.standing["net:192.0.2.0/24"] = Standing(Level.BLOCK, 12.5, "pooled")
    assert place.call("GET", "/v1/standings")["standings"] == [
        {"key": "net:192.0.2.0/24", "level": "block", "until": 12.5, "why": "pooled"}
    ]


def test_two_workers_that_start_at_once_share_one_token(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(places.token(str(tmp_path / "t"), make=True))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 8


def test_one_that_ends_leaves_its_successors_socket(tmp_path: Path) -> None:
    first = Place(tmp_path)
    first.socket.unlink()
    second = Place(tmp_path)
    first.server.stop()
    try:
        assert second.call("GET", "/v1/health")["ready"]
    finally:
        second.server.stop()
    assert not second.socket.exists()
