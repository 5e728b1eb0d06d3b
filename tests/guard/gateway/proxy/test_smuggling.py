"""Requests that two readers could read in two ways: each is refused, and nothing of it reaches the model server."""

from __future__ import annotations

import asyncio
import re

import pytest

from guard.gateway.proxy.running import INFER, post, proxy, status_of

LINE = b"POST " + INFER.encode() + b" HTTP/1.1\r\n"
HOST = b"Host: m\r\n"
GET = b"GET " + INFER.encode() + b" HTTP/1.1\r\n"
INNER = b"GET /any/admin HTTP/1.1\r\nHost: m\r\n\r\n"
CHUNKED = LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"

FRAMING = {
    "cl and te": LINE + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "te and cl": LINE + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + INNER,
    "two lengths": LINE + HOST + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd" + INNER,
    "the same length twice": LINE + HOST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "list of lengths": LINE + HOST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "plus": LINE + HOST + b"Content-Length: +4\r\n\r\nabcd",
    "minus": LINE + HOST + b"Content-Length: -4\r\n\r\nabcd",
    "hexadecimal": LINE + HOST + b"Content-Length: 0x4\r\n\r\nabcd",
    "leading zero": LINE + HOST + b"Content-Length: 04\r\n\r\nabcd",
    "underscored digits": LINE + HOST + b"Content-Length: 1_0\r\n\r\nabcdabcdab",
    "blank in the length": LINE + HOST + b"Content-Length: 4 4\r\n\r\nabcd",
    "no length": LINE + HOST + b"Content-Length:\r\n\r\nabcd",
    "huge length": LINE + HOST + b"Content-Length: 99999999999999999999\r\n\r\nabcd",
    "arabic digits": LINE + HOST + "Content-Length: ٤\r\n\r\nabcd".encode(),
    "te identity": LINE + HOST + b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd",
    "te twice": LINE + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te list": LINE + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "te chunked twice": LINE + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "te other case": LINE + HOST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    "te xchunked": LINE + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "te quoted": LINE + HOST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "te vertical tab": LINE + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "te blank before colon": LINE + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "te folded": LINE + HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "te after bare cr": LINE + HOST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te after bare lf": LINE + HOST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te on 1.0": LINE.replace(b"1.1", b"1.0") + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te underscored": LINE + HOST + b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length underscored": LINE + HOST + b"Content_Length: 4\r\n\r\nabcd",
    "length blank before colon": LINE + HOST + b"Content-Length : 4\r\n\r\nabcd",
    "get with body": GET + HOST + b"Content-Length: 4\r\n\r\nabcd",
    "get in chunks": GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "head with body": GET.replace(b"GET", b"HEAD") + HOST + b"Content-Length: 4\r\n\r\nabcd",
    "more after the end": LINE + HOST + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}" + INNER,
}
LINES = {
    "obs-fold": GET + HOST + b"X-A: b\r\n c\r\n\r\n",
    "folded first": GET + b" X: y\r\n" + HOST + b"\r\n",
    "bare lf everywhere": GET.replace(b"\r", b"") + b"Host: m\n\n",
    "bare lf once": GET + b"Host: m\nX: y\r\n\r\n",
    "bare cr": GET + HOST + b"X: a\rb\r\n\r\n",
    "cr cr lf": GET + HOST + b"X: a\r\r\n\r\n",
    "nul": GET + HOST + b"X: a\x00b\r\n\r\n",
    "control": GET + HOST + b"X: a\x01b\r\n\r\n",
    "delete": GET + HOST + b"X: a\x7fb\r\n\r\n",
    "nul in name": GET + HOST + b"X\x00Y: a\r\n\r\n",
    "blank before colon": GET + HOST + b"X-A : b\r\n\r\n",
    "tab before colon": GET + HOST + b"X-A\t: b\r\n\r\n",
    "empty name": GET + HOST + b": b\r\n\r\n",
    "no colon": GET + HOST + b"X-A\r\n\r\n",
    "underscore": GET + HOST + b"X_Forwarded_For: 1.2.3.4\r\n\r\n",
    "dot in name": GET + HOST + b"X.Forwarded.For: 1.2.3.4\r\n\r\n",
    "unicode name": GET + HOST + "Hoſt: x\r\n\r\n".encode(),
    "empty line first": b"\r\n" + GET + HOST + b"\r\n",
    "http 0.9": b"GET /any\r\n\r\n",
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http 1.2": GET.replace(b"1.1", b"1.2") + HOST + b"\r\n",
    "lower-case version": GET.replace(b"HTTP", b"http") + HOST + b"\r\n",
    "two blanks": GET.replace(b" /", b"  /") + HOST + b"\r\n",
    "tab": GET.replace(b" HTTP", b"\tHTTP") + HOST + b"\r\n",
    "blank at the end": GET.replace(b"1.1\r", b"1.1 \r") + HOST + b"\r\n",
    "lower-case method": GET.lower().replace(b"http", b"HTTP") + HOST + b"\r\n",
    "method with junk": b"GE(T /any HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form": b"GET http://m/any HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority form": b"CONNECT m:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "connect": b"CONNECT /any HTTP/1.1\r\n" + HOST + b"\r\n",
    "trace": b"TRACE /any HTTP/1.1\r\n" + HOST + b"\r\n",
    "target with high bytes": "GET /anyé HTTP/1.1\r\nHost: m\r\n\r\n".encode(),
    "tls": bytes.fromhex("160301020001000" + "1fc0303") + b"\x00" * 40,
    "dots": GET.replace(b"/v2", b"/any/../v2") + HOST + b"Connection: close\r\n" + b"\r\n",
    "fragment": GET.replace(b"/infer", b"/infer#x") + HOST + b"Connection: close\r\n" + b"\r\n",
}
HEADERS = {
    "no host": GET + b"\r\n",
    "no host on 1.0": GET.replace(b"1.1", b"1.0") + b"\r\n",
    "two hosts": GET + HOST + HOST + b"\r\n",
    "two hosts in other case": GET + HOST + b"hOST: other\r\n\r\n",
    "empty host": GET + b"Host:\r\n\r\n",
    "host with user": GET + b"Host: a@m\r\n\r\n",
    "host with path": GET + b"Host: m/x\r\n\r\n",
    "host list": GET + b"Host: m, n\r\n\r\n",
    "host with bad port": GET + b"Host: m:8x\r\n\r\n",
    "host with blank": GET + b"Host: m n\r\n\r\n",
    "two types": GET + HOST + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
    "two authorizations": GET + HOST + b"Authorization: a\r\nAuthorization: b\r\n\r\n",
    "two keys": GET + HOST + b"X-Api-Key: a\r\nx-api-key: b\r\n\r\n",
    "two cookies": GET + HOST + b"Cookie: a=b\r\nCookie: a=c\r\n\r\n",
    "expect something": LINE + HOST + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}",
    "expect on 1.0": LINE.replace(b"1.1", b"1.0") + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    "h2c": GET + HOST + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "upgrade": GET + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "connection names host": GET + HOST + b"Connection: close, Host\r\n\r\n",
    "connection names authorization": GET + HOST + b"Connection: Authorization\r\nAuthorization: a\r\n\r\n",
    "connection names forwarded": GET + HOST + b"Connection: X-Forwarded-For\r\n\r\n",
    "connection names our caller": GET + HOST + b"Connection: X-Assay-Caller\r\n\r\n",
    "connection names length": LINE + HOST + b"Connection: Content-Length\r\nContent-Length: 2\r\n\r\n{}",
    "connection with junk": GET + HOST + b"Connection: a b\r\n\r\n",
}
CHUNKS = {
    "extension": b"2;a=b\r\n{}\r\n0\r\n\r\n",
    "blank after size": b"2 \r\n{}\r\n0\r\n\r\n",
    "blank before size": b" 2\r\n{}\r\n0\r\n\r\n",
    "hex prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "zero first": b"02\r\n{}\r\n0\r\n\r\n",
    "too long": b"2" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "overflow": b"100000002\r\n{}\r\n0\r\n\r\n",
    "underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "lf after size": b"2\n{}\r\n0\r\n\r\n",
    "lf after data": b"2\r\n{}\n0\r\n\r\n",
    "longer than said": b"2\r\n{}}\r\n0\r\n\r\n",
    "shorter than said": b"4\r\n{}\r\n0\r\n\r\n",
    "many zeros": b"00\r\n\r\n",
    "trailer": b"2\r\n{}\r\n0\r\nX-A: b\r\n\r\n",
    "trailer that frames": b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n" + INNER,
    "lf at the end": b"2\r\n{}\r\n0\r\n\n",
}


def answers(data: bytes) -> int:
    return len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", data))


def attack(data: bytes, **more: object) -> tuple[bytes, bytes, int, list[tuple[int, str]]]:
    """Answer, what the model server got, its connections, and what was noted of each request."""

    async def run() -> tuple[bytes, bytes, int, list[tuple[int, str]]]:
        async with proxy(**more) as place:  # type: ignore[arg-type]
            answer = await place.talk(data)
            await place.settled(1)
            noted = [(context.status, context.decision.rule) for context, _, _ in place.rooms.finished]
            return answer, bytes(place.upstream.received), place.upstream.connections, noted

    return asyncio.run(run())


@pytest.mark.parametrize("name", [*FRAMING, *LINES, *HEADERS])
def test_refused_and_never_passed_on(name: str) -> None:
    answer, received, connections, noted = attack((FRAMING | LINES | HEADERS)[name])
    assert status_of(answer) in (400, 405, 417, 505), answer
    assert answers(answer) == 1
    assert b"connection: close" in answer
    assert (received, connections) == (b"", 0)
    assert noted == [(status_of(answer), noted[0][1])]


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_that_are_not_plain_never_complete_a_request(name: str) -> None:
    answer, received, _, noted = attack(CHUNKED + CHUNKS[name])
    assert status_of(answer) == 400, answer
    assert answers(answer) == 1
    assert not received.endswith(b"0\r\n\r\n")
    assert b"/any/admin" not in received
    assert len(noted) == 1


@pytest.mark.parametrize("name", CHUNKS)
def test_where_bodies_are_looked_into_nothing_of_a_bad_one_arrives(name: str) -> None:
    from guard.gateway.proxy.running import Rooms

    answer, received, connections, _ = attack(CHUNKED + CHUNKS[name], rooms=Rooms(needs=1))
    assert status_of(answer) == 400, answer
    assert (received, connections) == (b"", 0)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: m\r\n\r\n", 414),
        (b"GET /" + b"a" * 9000, 414),
        (GET + HOST + b"X: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (GET + HOST + b"X: " + b"a" * 60000, 431),
        (GET + HOST + b"".join(b"X-%d: a\r\n" % i for i in range(100)) + b"\r\n", 431),
        (LINE + HOST + b"Content-Length: 10485761\r\n\r\n", 413),
        (CHUNKED + b"a00001\r\n" + b"a" * 0xA00001 + b"\r\n0\r\n\r\n", 413),
        (post(b"{}", "Content-Encoding: br"), 200),
    ],
)
def test_what_is_too_large(data: bytes, status: int) -> None:
    answer, *_ = attack(data)
    assert status_of(answer) == status


def test_other_hosts_are_not_served() -> None:
    assert status_of(attack(post(b"{}"), host=["model.example"])[0]) == 421
    answer, received, *_ = attack(post(b"{}").replace(b"Host: m", b"Host: Model.example:80"), host=["model.example"])
    assert status_of(answer) == 200
    assert b"model.example:80" in received.lower()


def test_pipelined_requests_are_answered_in_order() -> None:
    async def run() -> None:
        async with proxy() as place:
            first, second = post(b"{}", close=False), post(b"{}", path="/nowhere", close=False)
            answer = await place.talk(first + second + first + post(b"[]"))
            statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
            assert statuses == [200, 404, 200, 200]
            assert place.upstream.received.count(b"POST ") == 3
            assert place.upstream.connections == 1

    asyncio.run(run())


def test_a_slow_writer_is_read_like_a_fast_one() -> None:
    async def run() -> None:
        async with proxy() as place:
            reader, writer = await place.connect()
            for byte in CHUNKED + b"2\r\n{}\r\n1\r\n!\r\n0\r\n\r\n":
                writer.write(bytes([byte]))
                await writer.drain()
            answer = await reader.readuntil(b"{}")
            assert status_of(answer) == 200
            writer.close()
            await place.settled(1)
            assert place.rooms.finished[0][0].bytes_in == 3

    asyncio.run(run())
