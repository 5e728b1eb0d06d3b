"""Slow, greedy and vanishing callers and model servers: nothing waits for ever, nothing piles up, all of it is told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from assay.guard.gateway.interface import KEEP_ANSWER
from assay.guard.gateway.proxy.client import Client
from guard.gateway.proxy.running import (
    INFER,
    PATIENCE,
    Place,
    Rooms,
    Upstream,
    body_of,
    post,
    proxy,
    request,
    status_of,
    until,
)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Upstream], Any]


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def told(place: Place) -> list[tuple[int, str]]:
    return [(context.status, context.error) for context, _, _ in place.rooms.finished]


@pytest.mark.parametrize(
    ("first", "late", "status", "error"),
    [
        (b"", "head", 0, None),
        (b"POST / HT", "head", 408, "head-timeout"),
        (post(b"{}")[:-1], "body", 408, "body-timeout"),
        (
            f"POST {INFER} HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".encode(),
            "body",
            408,
            "body-timeout",
        ),
    ],
)
def test_slowloris(first: bytes, late: str, status: int, error: str | None) -> None:
    async def run() -> None:
        async with proxy(timeouts={late: "1s"}) as place:
            assert status_of(await place.talk(first)) == status
            assert told(place) == ([] if error is None else [(status, error)])
            await until(lambda: not place.server.figures()["connections_open"] and not place.upstream.open)

    asyncio.run(run())


def test_a_head_that_drips_is_not_given_more_time() -> None:
    async def run() -> None:
        async with proxy(timeouts={"head": "1s"}) as place:
            reader, writer = await place.connect()
            answer = asyncio.create_task(reader.read())
            for byte in b"GET /any HTTP/1.1\r\nHost: m\r\nX: " + b"a" * 100:
                if answer.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)
            assert status_of(await answer) == 408
            writer.close()

    asyncio.run(run())


def test_idle_connections_end() -> None:
    async def run() -> None:
        async with proxy(timeouts={"idle": "300ms"}) as place:
            answer = await place.talk(post(b"{}", close=False))
            assert body_of(answer) == b"{}"
            assert told(place) == [(200, "")]

    asyncio.run(run())


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
    await request(reader, upstream.received)
    await reader.read()  # until the other end has gone


def broken_off(first: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        await request(reader, upstream.received)
        writer.write(first)
        await writer.drain()

    return script


def stalled(first: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        await request(reader, upstream.received)
        writer.write(first)
        await reader.read()

    return script


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("script", "late", "status", "error", "begun"),
    [
        (silent, "first-byte", 504, "upstream-timeout", False),
        (broken_off(b""), "", 502, "upstream-reset", False),
        (broken_off(OK), "", 502, "upstream-reset", False),
        (broken_off(OK + b"Content-Length: 9\r\n\r\nhalf"), "", 200, "upstream-reset", True),
        (broken_off(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), "", 200, "upstream-reset", True),
        (stalled(OK + b"Content-Length: 9\r\n\r\nhalf"), "stream", 200, "upstream-stalled", True),
    ],
)
def test_model_servers_that_fail(script: Script, late: str, status: int, error: str, begun: bool) -> None:
    async def run() -> None:
        async with proxy(Upstream(script=script), timeouts={late: "300ms"} if late else {}) as place:
            answer = await place.talk(post(b"{}"))
            assert status_of(answer) == status
            assert not answer.endswith(b"0\r\n\r\n")  # half an answer never looks whole
            assert (b"half" in answer) is begun
            assert told(place) == [(status, error)]

    asyncio.run(run())


def test_nobody_is_there() -> None:
    async def run() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            async with proxy(address=f"http://127.0.0.1:{closed.getsockname()[1]}") as place:
                assert status_of(await place.talk(post(b"{}"))) == 502
                assert told(place) == [(502, "upstream-refused")]

    asyncio.run(run())


HEADS = {
    "no http": b"hello\r\n\r\n",
    "bad version": b"HTTP/2 200 OK\r\n\r\n",
    "bad status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "bare lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "bare cr": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\n{}",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "nul": OK + b"X: a\x00\r\nContent-Length: 2\r\n\r\n{}",
    "blank before colon": OK + b"Content-Length : 2\r\n\r\n{}",
    "no colon": OK + b"X\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative": OK + b"Content-Length: -2\r\n\r\n{}",
    "other coding": OK + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunks on 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two types": OK + b"Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\n\r\n{}",
    "bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}",
    "switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "many interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20,
    "large": OK + b"X: " + b"a" * 70000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_malformed_answers_are_never_passed_on(name: str) -> None:
    async def run() -> None:
        async with proxy(Upstream(script=stalled(HEADS[name]))) as place:
            answer = await place.talk(post(b"{}"))
            assert status_of(answer) == 502, answer
            assert told(place) == [(502, "upstream-malformed")]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "answer", "wanted"),
    [
        ("HEAD", OK + b"Content-Length: 9\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (
            "GET",
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}",
            b"{}",
        ),
        ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n", b"{}"),
    ],
)
def test_answers_without_body_and_odd_ones(method: str, answer: bytes, wanted: bytes) -> None:
    async def run() -> None:
        async with proxy(Upstream(answer)) as place:
            reader, writer = await place.connect()
            for _ in range(2):
                writer.write(f"{method} {INFER} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 103 " not in head
                assert await reader.readexactly(len(wanted)) == wanted
            writer.close()
            assert place.upstream.connections == 1

    asyncio.run(run())


@pytest.mark.parametrize("http", ["1.1", "1.0"])
def test_answers_until_the_end_of_the_connection(http: str) -> None:
    async def run() -> None:
        async with proxy(Upstream(script=broken_off(OK + b"\r\nwhole"))) as place:
            answer = await place.talk(post(b"{}").replace(b"HTTP/1.1", b"HTTP/" + http.encode()))
            assert body_of(answer) == (b"5\r\nwhole\r\n0\r\n\r\n" if http == "1.1" else b"whole")
            assert told(place) == [(200, "")]

    asyncio.run(run())


def test_events_pass_before_the_next_is_sent() -> None:
    async def run() -> None:
        turn = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await request(reader, upstream.received)
            writer.write(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(20):
                event = f"data: {i}\n\n".encode()
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await turn.wait()  # until the caller has read it
                turn.clear()
            writer.write(b"0\r\n\r\n")
            await writer.drain()

        async with proxy(Upstream(script=script)) as place:
            reader, writer = await place.connect()
            writer.write(post(b"{}"))
            async with asyncio.timeout(PATIENCE):
                for i in range(20):
                    await reader.readuntil(f"data: {i}\n\n".encode())
                    turn.set()
                assert (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()

    asyncio.run(run())


def test_a_slow_reader_makes_the_model_wait_and_not_our_memory_grow() -> None:
    size = 200 << 20

    async def run() -> None:
        sent = 0

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            nonlocal sent
            await request(reader, upstream.received)
            writer.write(OK + b"Content-Length: %d\r\n\r\n" % size)
            piece = bytes(1 << 20)
            while sent < size:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)

        async with proxy(Upstream(script=script), Rooms(needs=KEEP_ANSWER)) as place:
            before = memory()
            reader, writer = await place.connect(limit=1 << 16)
            writer.write(post(b"{}"))
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.3)
            assert sent < 40 << 20  # the rest is in nobody's memory
            left = size
            worst = 0
            while left:
                left -= len(await reader.readexactly(min(left, 1 << 20)))
                worst = max(worst, memory() - before)
            assert worst < 80 << 20  # of which 16 MiB may be kept, and the test's own buffers
            writer.close()
            await place.settled(1)
            assert place.rooms.finished[0][2] is None
            assert place.rooms.finished[0][0].bytes_out == size

    asyncio.run(run())


def test_a_reader_who_takes_nothing_is_cut_off_and_the_model_freed() -> None:
    async def run() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await request(reader, upstream.received)
            writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                await writer.drain()

        async with proxy(Upstream(script=script), timeouts={"stream": "1s"}) as place:
            _, writer = await place.connect(limit=1024)
            writer.write(post(b"{}"))
            await place.settled(1)
            assert told(place) == [(200, "client-slow")]
            writer.close()
            await until(lambda: not place.upstream.open)

    asyncio.run(run())


def test_a_slow_model_makes_the_caller_wait() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await go.wait()
            await request(reader)
            writer.write(upstream.answer)
            await writer.drain()

        size = 100 << 20
        async with proxy(Upstream(script=script), sizes={"body": "200MB"}) as place:
            before = memory()
            _, writer = await place.connect()
            writer.write(f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: {size}\r\n\r\n".encode())
            piece = bytes(1 << 20)
            sent = 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    while sent < size:
                        writer.write(piece)
                        await writer.drain()
                        sent += len(piece)
            assert sent < 40 << 20
            assert memory() - before < 40 << 20
            writer.transport.abort()
            go.set()
            await place.settled(1)
            assert told(place) == [(499, "client-gone")]

    asyncio.run(run())


@pytest.mark.parametrize("reset", [False, True])
def test_callers_who_leave_free_the_model(reset: bool) -> None:
    async def run() -> None:
        async with proxy(Upstream(script=silent)) as place:
            _, writer = await place.connect()
            writer.write(post(b"{}"))
            await until(lambda: place.upstream.received)
            if reset:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            await place.settled(1)
            assert told(place) == [(499, "client-gone")]
            await until(lambda: not place.upstream.open)

    asyncio.run(run())


def test_aborted_uploads_never_complete_at_the_model() -> None:
    async def run() -> None:
        async with proxy() as place:
            for head in ("Content-Length: 100", "Transfer-Encoding: chunked"):
                _, writer = await place.connect()
                writer.write(f"POST {INFER} HTTP/1.1\r\nHost: m\r\n{head}\r\n\r\n5\r\nhello\r\n".encode())
                await asyncio.sleep(0.1)
                writer.close()
            await place.settled(2)
            assert told(place) == [(499, "client-gone")] * 2
            assert not place.upstream.received.endswith(b"0\r\n\r\n")

    asyncio.run(run())


def test_an_early_answer_reaches_a_caller_who_still_uploads() -> None:
    async def run() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            await writer.drain()
            await reader.read()

        async with proxy(Upstream(script=script)) as place:
            reader, writer = await place.connect()
            writer.write(f"POST {INFER} HTTP/1.1\r\nHost: m\r\nContent-Length: 1000000\r\n\r\nabc".encode())
            answer = await reader.read()
            assert (status_of(answer), body_of(answer)) == (413, b"no")
            assert b"connection: close" in answer
            writer.close()
            await place.settled(1)

    asyncio.run(run())


def test_answers_larger_than_they_may_be() -> None:
    async def run(answer: bytes) -> bytes:
        async with proxy(Upstream(answer), sizes={"response": 1000}) as place:
            got = await place.talk(post(b"{}"))
            assert told(place)[0][1] == "size"
            return got

    large = b"x" * 2000
    assert status_of(asyncio.run(run(OK + b"Content-Length: 2000\r\n\r\n" + large))) == 502
    assert (
        len(
            asyncio.run(
                run(
                    OK
                    + b"Transfer-Encoding: chunked\r\n\r\n"
                    + b"1f4\r\n"
                    + large[:500]
                    + b"\r\n"
                    + b"7d0\r\n"
                    + large
                    + b"\r\n0\r\n\r\n"
                )
            )
        )
        < 1200
    )


def test_bounds_of_connections() -> None:
    async def run() -> None:
        async with proxy(connections_by_address=3) as place:
            held = [await place.connect() for _ in range(3)]
            assert status_of(await place.talk(post(b"{}"))) == 0
            held.pop()[1].close()
            await until(lambda: place.server.figures()["connections_open"] == 2)
            assert status_of(await place.talk(post(b"{}"))) == 200
            assert place.server.figures()["connections_refused"] == 1
            for _, writer in held:
                writer.close()

    asyncio.run(run())


def test_the_addresses_of_one_ipv6_network_share_their_connections() -> None:
    """Whoever has one IPv6 address has 2^64 of them."""

    class Transport(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return (host, 1, 0, 0) if name == "peername" else default

    async def run() -> None:
        nonlocal host
        async with proxy(connections_by_address=3) as place:
            entrance = place.server.entrance
            entered = []
            for number in range(5):
                host = f"2001:db8:0:7::{number + 1}"
                client = Client(place.server.shared, entrance.enter, entrance.leave)
                client.transport = Transport()
                entered.append((client, entrance.enter(client)))
            assert [allowed for _, allowed in entered] == [True, True, True, False, False]
            entrance.leave(entered[1][0])
            host = "2001:db8:0:7:ffff::"
            assert entrance.enter(entered[4][0])
            host = "2001:db8:0:8::1"
            assert entrance.enter(entered[3][0])
            for client, _ in entered:
                entrance.leave(client)
            assert place.server.figures()["connections_open"] == 0

    host = ""
    asyncio.run(run())


def test_a_drain_answers_what_is_under_way_and_ends() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await request(reader, upstream.received)
            await go.wait()
            writer.write(upstream.answer)
            await writer.drain()

        async with proxy(Upstream(script=script)) as place:
            idle = await place.connect()
            busy, writer = await place.connect()
            writer.write(post(b"{}", close=False))
            await until(lambda: place.upstream.received)
            drained = asyncio.create_task(place.server.drain(PATIENCE))
            await until(lambda: place.server.shared.draining)
            go.set()
            answer = await busy.read()
            assert status_of(answer) == 200
            assert b"connection: close" in answer
            assert await idle[0].read() == b""
            async with asyncio.timeout(PATIENCE / 2):
                await drained
            with pytest.raises(OSError):
                await place.connect()
            assert told(place) == [(200, "")]
            writer.close()
            idle[1].close()

    asyncio.run(run())


def test_a_drain_that_takes_too_long_breaks_off() -> None:
    async def run() -> None:
        async with proxy(Upstream(script=silent)) as place:
            _, writer = await place.connect()
            writer.write(post(b"{}"))
            await until(lambda: place.upstream.received)
            await place.server.drain(0.1)
            assert told(place) == [(499, "shutdown")]
            writer.close()

    asyncio.run(run())


def test_a_room_that_fails_lets_nothing_through() -> None:
    def failing(context: object) -> None:
        raise ValueError("a defect")

    async def run() -> None:
        async with proxy(rooms=Rooms(refuse=failing)) as place:
            assert status_of(await place.talk(post(b"{}"))) == 500
            assert place.upstream.connections == 0
            assert told(place) == [(500, "internal")]

    asyncio.run(run())


def test_no_descriptor_is_left() -> None:
    async def run() -> None:
        async with proxy() as place:
            for _ in range(20):
                await place.talk(post(b"{}"))

    def descriptors() -> set[str]:
        """What is open; the folder that is listed here is closed again before it can be looked at."""
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        return found

    asyncio.run(run())
    gc.collect()  # what other tests have left open may be closed meanwhile
    before = descriptors()
    asyncio.run(run())
    assert not descriptors() - before
