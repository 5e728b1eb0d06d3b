from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway_edges as edges
from assay.errors import UsageError
from assay.guard.gateway.interface import KEEP_BODY, Context, Decision
from assay.guard.gateway.service import Service, answering, asking

TARGET = "/v2/models/m/infer"
SAID = {
    "x-original-method": "POST",
    "x-original-uri": TARGET,
    "x-real-ip": "192.0.2.7",
    "x-original-protocol": "HTTP/1.1",
    "x-original-scheme": "https",
    "x-original-length": "2",
    "x-api-key": "good",
}


def question(*more: str, without: str = "", **other: str) -> bytes:
    said = {name: value for name, value in SAID.items() if name != without} | {
        k.replace("_", "-"): v for k, v in other.items()
    }
    lines = [f"{name}: {value}" for name, value in said.items()]
    return "\r\n".join(["GET /decide HTTP/1.1", *lines, *more, "", ""]).encode()


class Asking:
    """A connection to a running service."""

    def __init__(self, place: str, service: Service, rooms: Rooms) -> None:
        self.place, self.service, self.rooms = place, service, rooms

    def connect(self) -> socket.socket:
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(60)
        one.connect(self.place)
        return one

    def ask(self, data: bytes) -> bytes:
        """One answer, or what came before the end."""
        with self.connect() as one:
            with contextlib.suppress(BrokenPipeError):  # it had read enough, and has answered
                one.sendall(data)
            got = b""
            while b"\r\n\r\n" not in got and (piece := one.recv(65536)):
                got += piece
        edges.until(lambda: len(self.rooms.log) >= self.service.asked)  # it answers before it writes down
        return got


class Rooms(edges.Rooms):
    """Whose slowed callers wait as long as a test wants."""

    wait = 0.05

    def enter(self, context: Context) -> Decision | None:
        decision = super().enter(context)
        context.wait = self.wait if context.wait else 0.0
        return decision


@contextmanager
def asking_it(tmp_path: Path, **values: Any) -> Iterator[Asking]:
    rooms, place = Rooms(), str(tmp_path / "d.sock")
    settings = edges.settings(tmp_path, **values)
    with edges.service(edges.gate(settings, rooms), settings, f"unix:{place}") as service:
        yield Asking(place, service, rooms)


def test_an_answer_says_who_asks_and_what_it_is_called(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it:
        answer = it.ask(question())
        assert (
            answer.startswith(b"HTTP/1.1 200 OK\r\n")
            and b"x-assay-caller: key:good\r\nx-assay-user: alice\r\n" in answer
        )
        seen = it.rooms.log[0]
        assert f"x-assay-request-id: {seen.id}\r\n".encode() in answer
        assert (seen.method, seen.target, seen.peer, seen.tls, seen.http) == (
            "POST",
            TARGET.encode(),
            "192.0.2.7",
            True,
            "HTTP/1.1",
        )
        assert seen.headers == {b"x-api-key": b"good", b"content-length": b"2"}
        assert seen.status == 200 and 0 <= seen.ended < 10
        uuid = "7f0f2c56-3a50-4c05-8f1f-8f3d0f6f2b11"
        answer = it.ask(question(f"x-request-id: {uuid}"))
        assert f"x-assay-request-id: {uuid}\r\nx-assay-id: {it.rooms.log[1].id}\r\n".encode() in answer


@pytest.mark.parametrize("name", [name for name in SAID if name not in ("x-original-length", "x-api-key")])
def test_what_an_edge_leaves_out_or_says_twice_closes(tmp_path: Path, name: str) -> None:
    with asking_it(tmp_path) as it:
        assert it.ask(question(without=name)) == answering.CLOSED
        assert it.ask(question(f"{name}: {SAID[name]}")) == answering.CLOSED
        assert it.ask(question(f"{name.title()}: {SAID[name]}")) == answering.CLOSED
        assert it.ask(question(**{name: ""})) == answering.CLOSED
        assert not it.rooms.log and it.service.figures()["service_misunderstood"] == 4


BAD = [
    {"x-original-method": "PO ST"},
    {"x-original-protocol": "HTTP/0.9"},
    {"x-original-scheme": "gopher"},
    {"x-real-ip": "unknown"},
    {"x-real-ip": "1.2.3.4, 5.6.7.8"},
    {"x-real-ip": "fe80::1%eth0/64"},
    {"x-original-length": "-1"},
    {"x-original-length": "1, 2"},
    {"x-original-length": "9" * 30},
    {"x-original-length": "02"},
    {"x-client-cert": "nonsense"},
    {"x-client-cert": "-----BEGIN%20CERTIFICATE-----%0Anonsense"},
    {"x-client-cert": "MIIB", "x-original-scheme": "http"},
]


@pytest.mark.parametrize("other", BAD)
def test_what_cannot_be_closes(tmp_path: Path, other: dict[str, str]) -> None:
    with asking_it(tmp_path) as it:
        assert it.ask(question(**other)) == answering.CLOSED
        assert not it.rooms.log


def test_a_key_that_comes_twice_is_no_question_and_cookies_may_come_in_pieces(tmp_path: Path) -> None:
    with asking_it(tmp_path, callers={"anonymous": "default", "header": "x-team"}) as it:
        for name in ("x-team", "x-request-id", "user-agent", "content-encoding"):
            assert it.ask(question(f"{name}: a", f"{name}: b")) == answering.CLOSED, name
        assert it.ask(question("cookie: a=b", "cookie: c=d")).startswith(b"HTTP/1.1 200")
        assert [one.headers[b"cookie"] for one in it.rooms.log] == [b"a=b; c=d"]


def test_two_questions_at_once_get_no_answer_that_could_be_taken_for_another(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it:
        good, bad = question(), question(x_api_key="nobody")
        for data in (
            good + bad,
            bad + good,
            good + good,
            good[:-2] + b"content-length: 5\r\n\r\nhello",
            b"\x00",
            b"GET",
        ):
            with it.connect() as one:
                one.sendall(data)
                one.shutdown(socket.SHUT_WR)
                got = b""
                while piece := one.recv(65536):
                    got += piece
            assert b" 200 " not in got
        assert it.ask(good).startswith(b"HTTP/1.1 200")


def test_a_question_in_pieces_and_many_on_one_connection(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it, it.connect() as one:
        data = question()
        for byte in data:
            one.sendall(bytes([byte]))
        assert one.recv(4096).startswith(b"HTTP/1.1 200")
        for i in range(30):  # the second time on it is a question that is known
            one.sendall(question(x_api_key="good" if i % 2 else "nobody"))
            assert one.recv(4096).startswith(b"HTTP/1.1 200" if i % 2 else b"HTTP/1.1 401")
        edges.until(lambda: len(it.rooms.log) == 31)
        assert len({context.id for context in it.rooms.log}) == 31
        assert it.service.figures()["service_connections"] == 1


def test_what_is_remembered_is_bounded_and_no_decision(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it, it.connect() as one:
        for i in range(2500):
            one.sendall(question(x_trace=str(i)))
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
        assert 0 < len(it.service.known[True]) <= 2048 and not it.service.known[False]
        one.sendall(question())
        assert one.recv(4096).startswith(b"HTTP/1.1 200")
        del edges.KEYS["good"]
        try:
            one.sendall(question())
            assert one.recv(4096).startswith(b"HTTP/1.1 401")  # decided anew each time
        finally:
            edges.KEYS["good"] = edges.Caller("key:good", "alice")


def test_a_refusal_has_its_status_in_both_forms(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it:
        for nginx, status, data in (
            (403, 429, question(x_api_key="often")),
            (403, 404, question(x_original_uri="/nothing")),
            (403, 405, question(x_original_method="DELETE")),
            (401, 401, question(x_api_key="nobody")),
            (403, 403, question(x_original_uri=TARGET + "?bad")),
            (403, 400, question(x_original_uri="/v2/../x")),
        ):
            assert it.ask(data).startswith(f"HTTP/1.1 {nginx} ".encode())
            assert f"x-assay-status: {status}\r\n".encode() in it.ask(data)
            assert it.ask(data[:-2] + b"x-edge-answer: status\r\n\r\n").startswith(f"HTTP/1.1 {status} ".encode())
        assert b"retry-after: 7\r\n" in it.ask(question(x_api_key="often"))
        assert b'www-authenticate: Bearer realm="assay"\r\n' in it.ask(question(x_api_key="nobody"))


def test_a_failure_to_decide_and_what_needs_a_body_are_refused(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it:
        it.rooms.fails = True
        assert b"x-assay-status: 503" in it.ask(question())
        assert it.service.figures()["service_failed"] == 1
        it.rooms.fails, it.rooms.needs = False, edges.NEEDS_BODY
        answer = it.ask(question())
        assert answer.startswith(b"HTTP/1.1 403") and b"x-assay-status: 503\r\nx-assay-rule: edge" in answer
        it.rooms.needs = KEEP_BODY  # what somebody would only like is no reason to refuse
        assert it.ask(question()).startswith(b"HTTP/1.1 200")
        assert [one.status for one in it.rooms.log] == [503, 503, 200]  # each finished once


def test_a_declared_length_is_held_to_the_routes_limit(tmp_path: Path) -> None:
    routes = [{"protocol": "open-inference", "sizes": {"body": 100}}, {"protocol": "kserve-v1"}]
    with asking_it(tmp_path, routes=routes, sizes={"body": 50}) as it:
        assert it.ask(question(x_original_length="100")).startswith(b"HTTP/1.1 200")
        assert b"x-assay-status: 413" in it.ask(question(x_original_length="101"))
        assert b"x-assay-status: 401" in it.ask(question(x_original_length="101", x_api_key="nobody"))
        it.rooms.index = 1
        assert b"x-assay-status: 413" in it.ask(question(x_original_length="60", x_original_uri=TARGET + "?new"))


def test_each_question_is_finished_once_with_its_plan_left(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it:
        for key in ("good", "nobody", "often", "slow"):
            it.ask(question(x_api_key=key))
        assert it.rooms.left == it.rooms.log and len(it.rooms.left) == 4


def test_a_slowed_caller_waits_and_others_do_not(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it, it.connect() as slow:
        slow.sendall(question(x_api_key="slow"))
        edges.until(lambda: it.rooms.log)
        assert it.ask(question()).startswith(b"HTTP/1.1 200")
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")
        it.rooms.wait = 3600.0
        slow.sendall(question(x_api_key="slow"))
        edges.until(lambda: len(it.rooms.log) == 3)
        slow.sendall(question(x_api_key="slow"))  # before the answer
        assert slow.recv(4096) == answering.CLOSED and slow.recv(4096) == b""


def test_questions_and_connections_are_bounded(tmp_path: Path) -> None:
    with asking_it(tmp_path, connections=3, sizes={"line": 1024, "headers": 1024}) as it:
        assert it.ask(question(x_long="y" * 50_000)) == answering.CLOSED
        held = [it.connect() for _ in range(3)]
        edges.until(lambda: it.service.figures()["service_connections"] == 3)
        with it.connect() as one:
            assert one.recv(1) == b""
        for connection in held:
            connection.close()


def test_loopback_wants_the_secret_and_the_unix_socket_does_not_lend_its_memory(tmp_path: Path) -> None:
    settings, rooms, port = edges.settings(tmp_path), edges.Rooms(), edges.free_port()
    gate = edges.gate(settings, rooms)
    with edges.service(gate, settings, f"127.0.0.1:{port}", secret=b"0123456789abcdef") as service:
        assert edges.raw(port, question()) == answering.CLOSED
        assert edges.raw(port, question("x-edge-secret: 0123456789abcdeX")) == answering.CLOSED
        assert edges.raw(port, question("x-edge-secret: 0123456789abcdef", "connection: close")).startswith(
            b"HTTP/1.1 200"
        )
        service.known[True][question()] = asking.Question({k.encode(): v.encode() for k, v in SAID.items()})
        assert edges.raw(port, question()) == answering.CLOSED
        edges.until(lambda: rooms.log)
        assert b"x-edge-secret" not in rooms.log[0].headers and len(rooms.log) == 1


def test_it_does_not_listen_where_others_reach_it(tmp_path: Path) -> None:
    settings = edges.settings(tmp_path)

    async def start(address: str, secret: bytes) -> None:
        with socket.create_server((address, 0)) as one:
            await Service(edges.gate(settings, edges.Rooms()), settings, secret=secret).start([one])

    for address, secret in (("0.0.0.0", b"x" * 20), ("127.0.0.1", b""), ("127.0.0.1", b"short")):
        with pytest.raises(UsageError):
            asyncio.run(start(address, secret))


def test_drain_answers_what_was_asked(tmp_path: Path) -> None:
    with asking_it(tmp_path) as it:
        slow, idle = it.connect(), it.connect()
        slow.sendall(question(x_api_key="slow"))
        edges.until(lambda: it.rooms.log)
    with slow, idle:
        assert slow.recv(4096).startswith(b"HTTP/1.1 200") and slow.recv(4096) == b""
        assert idle.recv(4096) == b""


@given(st.text(max_size=200))
def test_no_text_becomes_a_header_of_its_own(text: str) -> None:
    context = Context("GET", b"/", {}, "192.0.2.1", 0.0)
    context.caller = edges.Caller(text, text)
    context.id = context.request_id = "0" * 32
    decision = Decision(False, 403, text, text, challenge=text)
    for answer in (answering.allowed(context), answering.refused(context, decision, plain=True)):
        head, _, _ = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert answer.isascii() and b"\n" not in b"".join(lines) and b"\r" not in b"".join(lines)
        names = [line.partition(b":")[0] for line in lines[1:]]
        assert len(names) == len(set(names))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_question_allow_nothing(data: bytes) -> None:
    headers = dict(line.partition(b":")[::2] for line in data.split(b"\n"))
    with pytest.raises(ValueError):
        asking.Question({name: value for name, value in headers.items() if name not in asking.OURS})


def test_a_certificate_in_both_forms(tmp_path: Path) -> None:
    import base64
    from urllib.parse import quote

    from cryptography import x509

    edges.certificates(tmp_path)
    pem = (tmp_path / "client").read_bytes().partition(b"-----BEGIN PRIVATE")[0]
    der = base64.b64encode(x509.load_pem_x509_certificate(pem).public_bytes(edges.DER))
    one, other = asking.certificate(quote(pem).encode()), asking.certificate(der)
    assert one == other and one.subject == "CN=alice" and one.names == ("email:alice@example.com",)
