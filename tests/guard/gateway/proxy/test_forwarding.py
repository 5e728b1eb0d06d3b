"""What the model server gets and what callers get back; each request is told of exactly once."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
import zlib

import pytest

from assay.guard.gateway.interface import ANSWER, BODY, KEEP_ANSWER, KEEP_BODY, METER, Decision, Measure
from guard.gateway.proxy.running import INFER, Place, Rooms, Upstream, body_of, post, proxy, request, status_of, until


def ask(
    data: bytes, rooms: Rooms | None = None, upstream: Upstream | None = None, **more: object
) -> tuple[bytes, Place]:
    """The answer, and the place after everything has ended."""

    async def run() -> tuple[bytes, Place]:
        async with proxy(upstream, rooms, **more) as place:  # type: ignore[arg-type]
            answer = await place.talk(data)
            await place.settled(1)
        return answer, place

    answer, place = asyncio.run(run())
    assert len(place.rooms.finished) == place.rooms.left == len({id(row[0]) for row in place.rooms.finished})
    return answer, place


def lines(received: bytes | bytearray) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in bytes(received).partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        found.setdefault(name.lower(), []).append(value)
    return found


SPOOFED = (
    "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6",
    "X-Assay-Caller: root", "X-Forwarded-User: root", "X-Original-URL: /any/admin", "X-HTTP-Method-Override: DELETE",
    "Authorization: Bearer t", "X-Api-Key: k", "Proxy-Authorization: b", "TE: trailers", "Keep-Alive: 5",
)  # fmt: skip


def test_the_model_server_hears_only_what_we_know() -> None:
    answer, place = ask(post(b"{}", *SPOOFED, "X-Mine: 1", "Connection: X-Hop, close", "X-Hop: 1", close=False))
    assert status_of(answer) == 200
    got = lines(place.upstream.received)
    assert got[b"x-forwarded-for"] == [b"127.0.0.1"]
    assert got[b"x-forwarded-proto"] == [b"http"]
    assert got[b"x-forwarded-host"] == [b"m"]
    assert got[b"forwarded"] == [b'for=127.0.0.1;proto=http;host="m"']
    assert got[b"x-assay-caller"] == [b"key:caf%C3%A9%0D%0Ax: 1"]
    assert got[b"host"] == [f"127.0.0.1:{place.upstream.port}".encode()]
    assert got[b"x-mine"] == [b"1"]
    assert not {
        b"authorization", b"x-api-key", b"proxy-authorization", b"te", b"keep-alive", b"x-hop", b"x-real-ip",
        b"x-forwarded-user", b"x-original-url", b"x-http-method-override", b"connection",
    } & set(got)  # fmt: skip


def test_credentials_are_passed_on_only_where_the_settings_say_so() -> None:
    _, place = ask(post(b"{}", "Authorization: Bearer t", "X-Api-Key: k"), pass_credentials=True)
    got = lines(place.upstream.received)
    assert (got[b"authorization"], got[b"x-api-key"]) == ([b"Bearer t"], [b"k"])


def test_the_key_header_of_the_settings_is_a_credential() -> None:
    more = {"callers": {"anonymous": "default", "header": "X-Secret"}}
    _, place = ask(post(b"{}", "X-Secret: k"), **more)
    assert b"x-secret" not in lines(place.upstream.received)
    assert status_of(ask(post(b"{}", "X-Secret: k", "x-secret: l"), **more)[0]) == 400


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [(TRACE, True), (TRACE.upper(), False), ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False), ("x", False)],
)
def test_traces_go_on_or_begin(given: str, kept: bool) -> None:
    _, place = ask(post(b"{}", f"traceparent: {given}", "tracestate: a=b"))
    got = lines(place.upstream.received)
    context = place.rooms.finished[0][0]
    assert got[b"traceparent"] == [context.trace.encode()]
    assert (context.trace == given) is kept
    assert (b"tracestate" in got) is kept
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", context.trace)


def test_ids_and_hop_by_hop_headers_of_answers() -> None:
    upstream = Upstream(
        b"HTTP/1.1 200 Sure\r\nServer: secret/1\r\nX-Request-Id: theirs\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n"
        b"Connection: X-Hop\r\nAlt-Svc: h3=:1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\n{}"
    )
    answer, _ = ask(post(b"{}", "x-request-id: 0b5c5e5e-3a5e-4f5e-8a5e-1a2b3c4d5e6f"), upstream=upstream)
    got = lines(answer)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got[b"x-request-id"] == [b"0b5c5e5e-3a5e-4f5e-8a5e-1a2b3c4d5e6f"]
    assert got[b"set-cookie"] == [b"a=b", b"c=d"]
    assert got[b"connection"] == [b"close"]
    assert b"date" in got
    assert not {b"server", b"keep-alive", b"x-hop", b"alt-svc"} & set(got)
    assert b"server" in lines(ask(post(b"{}"), upstream=Upstream(upstream.answer), server_header=True)[0])


def test_refusals_say_why_in_json() -> None:
    refused = Decision(False, 429, "plan:rate", "too many", retry_after=7, challenge='Bearer realm="a"\r\nx: 1')
    answer, place = ask(post(b"{}"), Rooms(refuse=lambda context: refused))
    got = lines(answer)
    assert got[b"retry-after"] == [b"7"]
    assert got[b"www-authenticate"] == [b'Bearer realm="a"%0D%0Ax: 1']
    told = json.loads(body_of(answer))["error"]
    assert told == {
        "code": 429, "rule": "plan:rate", "message": "too many", "request_id": place.rooms.finished[0][0].id,
    }  # fmt: skip
    assert place.upstream.connections == 0


def test_a_refused_body_is_read_and_the_connection_goes_on() -> None:
    async def run() -> None:
        rooms = Rooms(refuse=lambda context: Decision(False, 403, "x", "no") if context.query == b"no" else None)
        async with proxy(rooms=rooms) as place:
            reader, writer = await place.connect()
            data = post(INNER * 100, path=INFER + "?no", close=False)
            writer.write(data[:200])
            assert status_of(await reader.readuntil(b"}}")) == 403
            writer.write(data[200:] + post(b"{}"))
            assert status_of(await reader.read()) == 200
            assert place.upstream.received.count(b"POST") == 1
            assert b"GET" not in place.upstream.received
            writer.close()

    asyncio.run(run())


INNER = b"GET /any/inner HTTP/1.1\r\nHost: m\r\n\r\n"


# -- bodies that are looked into ------------------------------------------------------------------------------------


def test_nothing_of_a_body_is_passed_on_before_it_is_admitted() -> None:
    seen: list[bytes] = []

    def admit(context: object, body: bytes) -> Measure | Decision:
        seen.append(body)
        return Measure(rows=1, body=b"[1]") if b"good" in body else Decision(False, 422, "schema", "no")

    answer, place = ask(post(b"bad"), Rooms(needs=BODY | KEEP_BODY, admit=admit))
    assert (status_of(answer), place.upstream.connections) == (422, 0)
    chunked = (
        f"POST {INFER} HTTP/1.1\r\nHost: m\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n"
    )
    answer, place = ask(chunked.encode(), Rooms(needs=BODY | KEEP_BODY | KEEP_ANSWER, admit=admit))
    assert status_of(answer) == 200
    assert place.upstream.received.endswith(b"\r\ncontent-length: 3\r\n\r\n[1]")
    assert place.rooms.finished[0][1:] == (b"good", b"{}")
    assert seen == [b"bad", b"good"]


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
)
def test_compressed_bodies_are_passed_on_as_they_were_judged(coding: str, pack: object) -> None:
    packed = pack(b'{"a":1}')  # type: ignore[operator]
    answer, place = ask(post(packed, f"Content-Encoding: {coding}"), Rooms(needs=BODY))
    assert status_of(answer) == 200
    assert place.upstream.received.endswith(b'\r\n\r\n{"a":1}')
    assert b"content-encoding" not in lines(place.upstream.received)
    assert place.rooms.finished[0][0].bytes_in == len(packed)


BOMB = gzip.compress(bytes(30 << 20))


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", BOMB, 413),
        ("gzip", gzip.compress(bytes(5 << 20)), 413),
        ("gzip", gzip.compress(b"{}") + gzip.compress(b"{}"), 400),
        ("gzip", gzip.compress(b"{}") + b"x", 400),
        ("gzip", gzip.compress(b"{}")[:-1], 400),
        ("gzip", b"{}", 400),
        ("deflate", zlib.compress(b"{}", wbits=-15), 400),
        ("br", b"{}", 415),
        ("zstd", b"{}", 415),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), 415),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_bombs_and_codings_that_nobody_reads(coding: str, body: bytes, status: int, chunked: bool) -> None:
    data = post(body, f"Content-Encoding: {coding}")
    if chunked:
        head = f"POST {INFER} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n"
        head += f"Content-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n"
        data = head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer, place = ask(data, Rooms(needs=BODY))
    assert (status_of(answer), place.upstream.connections) == (status, 0)


def test_bodies_that_are_only_kept_are_passed_on_as_they_came() -> None:
    answer, place = ask(post(b"{}", "Content-Encoding: br"), Rooms(needs=KEEP_BODY | KEEP_ANSWER))
    assert status_of(answer) == 200
    assert lines(place.upstream.received)[b"content-encoding"] == [b"br"]
    assert place.rooms.finished[0][1:] == (None, b"{}")
    packed = gzip.compress(b"[1]")
    _, place = ask(post(packed, "Content-Encoding: gzip"), Rooms(needs=KEEP_BODY))
    assert place.upstream.received.endswith(packed)
    assert place.rooms.finished[0][1:] == (b"[1]", None)


def test_what_is_larger_than_may_be_kept_is_passed_on_and_not_kept() -> None:
    body = b"x" * 70000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + body
    got, place = ask(post(body), Rooms(needs=KEEP_BODY | KEEP_ANSWER), Upstream(answer), capture={"folder": "x"})
    assert body_of(got) == body
    assert place.upstream.received.endswith(body)
    assert place.rooms.finished[0][1:] == (None, None)


def test_hardened_answers_are_whole_and_their_digests_gone() -> None:
    true = b"HTTP/1.1 200 OK\r\nETag: x\r\nDigest: y\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
    upstream = Upstream(true + b"4\r\ntrue\r\n0\r\n\r\n")
    rooms = Rooms(needs=ANSWER | KEEP_ANSWER, harden="h", hardened=b"less")
    answer, place = ask(post(b"{}", "Accept-Encoding: gzip"), rooms, upstream)
    assert body_of(answer) == b"less"
    assert not {b"etag", b"digest", b"transfer-encoding"} & set(lines(answer))
    assert lines(place.upstream.received)[b"accept-encoding"] == [b"identity"]
    assert place.rooms.finished[0][2] == b"true"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\ntrue",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"true" * 500,
    ],
)
def test_answers_that_cannot_be_hardened_are_not_passed_on(answer: bytes) -> None:
    hardened = None if b"Encoding" not in answer and len(answer) < 100 else b"less"
    got, place = ask(
        post(b"{}"), Rooms(needs=ANSWER, harden="h", hardened=hardened), Upstream(answer), sizes={"buffered": 1000}
    )
    assert status_of(got) == 502
    assert b"true" not in got
    assert place.rooms.finished[0][0].error


def test_streams_are_metered_and_others_settled() -> None:
    def admit(context: object, body: bytes) -> Measure:
        return Measure(tokens_in=1, stream=True)

    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\ndata: secret\n\n"
    answer, place = ask(post(b"{}"), Rooms(needs=BODY, admit=admit), Upstream(stream))
    assert body_of(answer) == b"data: \n\n"
    assert lines(answer)[b"content-length"] == [b"8"]
    assert place.rooms.metered == [b"data: secret\n\n", b"closed"]
    _, place = ask(post(b"{}"), Rooms(needs=BODY, admit=admit))
    assert (place.rooms.metered, place.rooms.settled) == ([], [b"{}"])
    answer, place = ask(
        post(b"{}"),
        Rooms(needs=BODY, admit=admit),
        Upstream(stream.replace(b"-Length", b"-Encoding: br\r\nContent-Length")),
    )
    assert status_of(answer) == 502
    assert METER & place.rooms.finished[0][0].needs


def test_slowed_callers_wait_and_the_model_is_asked_late() -> None:
    async def run() -> None:
        asked: list[float] = []

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            while await request(reader, upstream.received) is not None:
                asked.append(time.monotonic())
                writer.write(upstream.answer)

        rooms = Rooms(wait=0.4)
        async with proxy(Upstream(script=script), rooms) as place:
            begun = time.monotonic()
            assert status_of(await place.talk(post(b"{}"))) == 200
            assert asked[0] - begun >= 0.4
            rooms.wait = 3600.0
            _, writer = await place.connect()
            writer.write(post(b"{}"))
            await until(lambda: any(client.timer is not None for client in place.server.entrance.clients))
            rooms.wait = 0.0
            assert status_of(await place.talk(post(b"{}"))) == 200  # nobody else waits
            writer.close()
            await place.settled(3)
            assert [context.error for context, _, _ in place.rooms.finished] == ["", "", "client-gone"]
            assert place.upstream.received.count(b"POST") == 2

    asyncio.run(run())


def test_expectations_are_met_before_the_body_and_not_passed_on() -> None:
    async def run() -> None:
        async with proxy() as place:
            reader, writer = await place.connect()
            head, _, body = post(b"{}", "Expect: 100-continue").partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert status_of(await reader.read()) == 200
            assert b"expect" not in lines(place.upstream.received)
            writer.close()

    asyncio.run(run())


# -- connections to the model server -------------------------------------------------------------------------------


def test_connections_are_used_again() -> None:
    """Trap of httptools and of nginx: a proxy that opens one connection a request is five times as slow."""

    async def run() -> None:
        async with proxy() as place:
            reader, writer = await place.connect()
            for _ in range(50):
                writer.write(post(b"{}", close=False))
                await reader.readuntil(b"{}")
            for _ in range(5):
                await place.talk(post(b"{}"))
            assert place.upstream.connections == 1
            figures = place.server.figures()
            assert (figures["upstream_opened"], figures["upstream_reused"]) == (1, 54)
            writer.close()

    asyncio.run(run())


def test_a_connection_that_ended_while_idle_costs_no_request() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        if await request(reader, upstream.received) is not None:
            writer.write(upstream.answer)
            await writer.drain()
            if upstream.connections == 1:  # the second request meets an end instead of an answer
                await request(reader, upstream.received)

    async def run(method: str) -> list[int]:
        async with proxy(Upstream(script=script)) as place:
            ask = f"{method} {INFER} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n".encode()
            return [status_of(await place.talk(ask)) for _ in range(2)]

    assert asyncio.run(run("GET")) == [200, 200]
    assert asyncio.run(run("POST")) == [200, 502]  # it was read: sent again, the work might be done twice


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother", b"x"])
def test_what_nobody_asked_for_is_never_an_answer(extra: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        while await request(reader, upstream.received) is not None:
            writer.write(upstream.answer + extra)
            await writer.drain()

    async def run() -> None:
        async with proxy(Upstream(script=script)) as place:
            for _ in range(3):
                assert body_of(await place.talk(post(b"{}"))) == b"{}"
            assert place.upstream.connections == 3

    asyncio.run(run())


def test_bounds_of_pool_and_queue() -> None:
    release = asyncio.Event

    async def run() -> None:
        go = release()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            while await request(reader, upstream.received) is not None:
                await go.wait()
                writer.write(upstream.answer)
                await writer.drain()

        async with proxy(Upstream(script=script), pool=2, pending=3) as place:
            tasks = [asyncio.create_task(place.talk(post(b"{}"))) for _ in range(8)]
            await place.settled(3)
            go.set()
            statuses = sorted([status_of(answer) for answer in await asyncio.gather(*tasks)])
            assert statuses == [200] * 5 + [503] * 3
            assert place.upstream.connections == 2

    asyncio.run(run())
