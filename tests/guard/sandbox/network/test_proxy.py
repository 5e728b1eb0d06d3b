"""The proxy over real connections: what passes, what is counted, and who cannot hold it up."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from assay.collect.trace.interface import Decision
from assay.guard.sandbox.network.destinations import parse
from assay.guard.sandbox.network.names import Names
from assay.guard.sandbox.network.proxy import Proxy


def lookup(name):
    if name == "good.example":
        return [ipaddress.ip_address("127.0.0.1")]
    raise OSError("no such name")


@contextmanager
def proxy(*destinations, patience=10.0):
    told, ports = [], {}
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()
    made = Proxy(listener, Names([parse(text) for text in destinations]), lookup, told.append, ports, patience)
    made.start()

    def connect():
        sock = socket.create_connection(where)
        ports[sock.getsockname()[1]] = 5
        return sock

    try:
        yield connect, told, made
    finally:
        made.close()


@pytest.fixture
def origin():
    """A server that reads to the end, then says what it got."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                data = b""
                while not data.endswith(b"END") and (more := peer.recv(65536)):
                    data += more
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n%d:" % len(data) + data[:500])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


def everything(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_tunnel_that_is_half_closed_first_by_the_client(origin):
    with proxy(f"good.example:{origin}", f"127.0.0.1:{origin}") as (connect, told, _):
        with connect() as sock:
            sock.sendall(f"CONNECT good.example:{origin} HTTP/1.1\r\nProxy-Authorization: secret\r\n\r\n".encode())
            sock.sendall(b"x" * 1_000_000)
            sock.shutdown(socket.SHUT_WR)
            answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\r\n1000000:xxx")
    [contact] = told
    assert (contact.host, contact.address, contact.port, contact.process) == ("good.example", "127.0.0.1", origin, 5)
    assert (contact.sent, contact.error, contact.decision) == (1_000_000, 0, Decision.MEDIATED)
    assert contact.received == len(answer) - len(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert contact.finished >= contact.time and contact.source_port and "secret" not in repr(contact)


def test_one_request_for_each_connection(origin):
    """What comes after its body would reach the host as a request that nobody judged."""
    with proxy(f"127.0.0.1:{origin}") as (connect, told, _):
        with connect() as sock:
            target = f"http://127.0.0.1:{origin}/a"
            sock.sendall(f"POST {target} HTTP/1.1\r\nContent-Length: 3\r\nCookie: secret\r\n\r\nEND".encode())
            sock.sendall(b"GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            answer = everything(sock)
    assert b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:" in answer and answer.endswith(b"Connection: close\r\n\r\nEND")
    assert b"smuggled" not in answer and "secret" not in repr(told)


@pytest.mark.parametrize(
    ("request_head", "status", "rule"),
    [
        ("CONNECT evil.example:443 HTTP/1.1", 403, "net:not-listed"),
        ("CONNECT good.example:443 HTTP/1.1", 403, "net:not-listed"),
        ("CONNECT unknown.example:80 HTTP/1.1", 502, "net:unknown.example:80"),
        ("CONNECT 169.254.169.254:80 HTTP/1.1", 403, "metadata"),
        ("CONNECT [::ffff:169.254.169.254]:80 HTTP/1.1", 403, "metadata"),
        ("CONNECT metadata.google.internal:80 HTTP/1.1", 403, "metadata"),
        ("CONNECT 2130706433:80 HTTP/1.1", 403, "net:not-listed"),
        ("GET http://good.example:1@evil.example/ HTTP/1.1", 400, "proxy:malformed"),
        ("A" * 70_000, 400, "proxy:malformed"),
    ],
)
def test_what_is_refused_is_named(request_head, status, rule):
    with proxy("good.example:1", "unknown.example:80") as (connect, told, _):
        with connect() as sock:
            sock.sendall(request_head.encode() + b"\r\n\r\n")
            try:
                answer = everything(sock)
            except ConnectionResetError:  # it hung up with more of a head unread than it takes
                answer = b"HTTP/1.1 400 "
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert [(item.decision, item.rule) for item in told if item.rule == rule] and len(told) == 1


def test_a_name_that_leads_here_leads_nowhere(origin):
    with proxy(f"good.example:{origin}") as (connect, told, _):
        with connect() as sock:
            sock.sendall(f"CONNECT good.example:{origin} HTTP/1.1\r\n\r\n".encode())
            assert everything(sock).startswith(b"HTTP/1.1 403 ")
    assert [item.rule for item in told] == ["rebinding"]


def test_who_never_ends_a_request_holds_up_nobody(origin):
    with proxy(f"127.0.0.1:{origin}", patience=600) as (connect, told, _):
        slow = [connect() for _ in range(20)]
        for sock in slow:
            sock.sendall(b"GET http://127.0.0.1/ HTTP/1.1\r\nA: ")
        with connect() as sock:
            sock.sendall(f"CONNECT 127.0.0.1:{origin} HTTP/1.1\r\n\r\nEND".encode())
            assert b"\r\n\r\n3:END" in everything(sock)
        assert not [item for item in told if item.rule == "proxy:malformed"], "they are still waited for"
        for sock in slow:
            sock.close()


def test_who_never_ends_a_request_is_not_waited_for_for_ever():
    def hung_up(sock):
        try:
            return everything(sock).startswith(b"HTTP/1.1 400 ")
        except ConnectionResetError:  # it had been given up on before this test came to say a word
            return True

    with proxy(patience=0.5) as (connect, told, _):
        slow = [connect() for _ in range(20)]
        for sock in slow:
            with suppress(ConnectionError):
                sock.sendall(b"GET http://127.0.0.1/ HTTP/1.1\r\nA: ")
        for sock in slow:
            with sock:
                assert hung_up(sock)
    assert [item.rule for item in told].count("proxy:malformed") == 20


def test_what_goes_through_when_it_is_closed_is_told(origin):
    with proxy(f"127.0.0.1:{origin}") as (connect, told, made):
        with connect() as sock:
            sock.sendall(f"CONNECT 127.0.0.1:{origin} HTTP/1.1\r\n\r\n12345".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
            made.close()
            assert [(item.sent, item.port) for item in told] == [(5, origin)]
