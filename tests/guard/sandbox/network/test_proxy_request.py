"""Heads of requests: what is understood, what goes on to the host, and all that is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.guard.sandbox.network.proxy_request import BadRequestError, parse


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_connect():
    made = parse(head("CONNECT PyPI.org.:443 HTTP/1.1", "Host: pypi.org:443", "Proxy-Authorization: Basic c2VjcmV0"))
    assert (made.host, made.port, made.head) == ("pypi.org", 443, b"")
    assert parse(head("CONNECT [2001:db8::1]:443 HTTP/1.0")).host == "2001:db8::1"


def test_an_absolute_address_becomes_a_path_and_the_host_that_was_judged():
    made = parse(
        head(
            "GET http://example.com:8080/a?b=http://other/ HTTP/1.1",
            "host: EXAMPLE.com:8080",
            "Proxy-Authorization: Basic c2VjcmV0",
            "Proxy-Connection: keep-alive",
            "Accept: */*",
        )
    )
    assert (made.host, made.port, made.length) == ("example.com", 8080, 0)
    assert made.head == head(
        "GET /a?b=http://other/ HTTP/1.1", "Host: example.com:8080", "Accept: */*", "Connection: close"
    )
    assert parse(head("GET http://example.com?x HTTP/1.1")).head.startswith(
        b"GET /?x HTTP/1.1\r\nHost: example.com\r\n"
    )
    assert parse(head("POST http://a.example/ HTTP/1.1", "Content-Length: 12")).length == 12
    assert parse(head("POST http://a.example/ HTTP/1.1", "Transfer-Encoding: chunked")).length is None


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.1", "Host: pypi.org"),
        ("GET http://pypi.org/ HTTP/1.1", "Host: evil.example"),
        ("GET http://pypi.org/ HTTP/1.1", "Host: pypi.org", "Host: evil.example"),
        ("GET http://pypi.org/ HTTP/1.1", "Host: pypi.org:81"),
        ("CONNECT pypi.org:443 HTTP/1.1", "Host: evil.example:443"),
        ("CONNECT user@pypi.org:443 HTTP/1.1",),
        ("CONNECT pypi.org:443@evil.example:80 HTTP/1.1",),
        ("GET http://user:secret@pypi.org/ HTTP/1.1",),
        ("GET http://pypi.org@evil.example/ HTTP/1.1",),
        ("GET http://pypi.org\\@evil.example/ HTTP/1.1",),
        ("GET http://pypi.org#@evil.example/ HTTP/1.1",),
        ("GET https://pypi.org/ HTTP/1.1",),
        ("GET ftp://pypi.org/ HTTP/1.1",),
        ("CONNECT pypi.org HTTP/1.1",),
        ("CONNECT pypi.org:0 HTTP/1.1",),
        ("CONNECT pypi.org:65536 HTTP/1.1",),
        ("CONNECT pypi.org:+443 HTTP/1.1",),
        ("CONNECT pypi.org:443:80 HTTP/1.1",),
        ("CONNECT [::1%eth0]:443 HTTP/1.1",),
        ("CONNECT [pypi.org]:443 HTTP/1.1",),
        ("CONNECT pypi.org:443  HTTP/1.1",),
        ("CONNECT pypi.org:443 HTTP/2.0",),
        ("CONNECT pypi.org:443",),
        ("connect pypi.org:443 HTTP/1.1",),
        ("GET http://pypi.org/\x00 HTTP/1.1",),
        ("GET http://pypi.org/ HTTP/1.1\nHost: evil.example",),
        ("GET http://pypi.org/ HTTP/1.1", "A: b\rX: c"),
        ("GET http://pypi.org/ HTTP/1.1", "A: b\nHost: evil.example"),
        ("GET http://pypi.org/ HTTP/1.1", " folded: yes"),
        ("GET http://pypi.org/ HTTP/1.1", "Host : pypi.org"),
        ("GET http://pypi.org/ HTTP/1.1", "no colon"),
        ("POST http://pypi.org/ HTTP/1.1", "Content-Length: 5", "Content-Length: 6"),
        ("POST http://pypi.org/ HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"),
        ("POST http://pypi.org/ HTTP/1.1", "Transfer-Encoding: xchunked"),
        ("POST http://pypi.org/ HTTP/1.1", "Transfer-Encoding: chunked, identity"),
        ("POST http://pypi.org/ HTTP/1.1", "Content-Length: +5"),
        ("POST http://pypi.org/ HTTP/1.1", "Content-Length: 5, 5"),
        ("GET http:/// HTTP/1.1",),
        ("GET http://./ HTTP/1.1",),
        ("GET http://pypi.org/ HTTP/1.1", *["A: b"] * 101),
        ("GET http://pypi.org/ HTTP/1.1", "A: " + "b" * 40000),
    ],
)
def test_what_two_programs_could_read_in_two_ways(lines):
    with pytest.raises(BadRequestError):
        parse(head(*lines))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda text: f"GET http://a.b/{text}".encode())))
def test_any_bytes(data):
    for message in (data, data + b" HTTP/1.1\r\n\r\n"):
        try:
            made = parse(message)
        except BadRequestError:
            continue
        assert made.head.count(b"\r\n\r\n") in (0, 1) and b"\n" not in made.head.replace(b"\r\n", b"")
