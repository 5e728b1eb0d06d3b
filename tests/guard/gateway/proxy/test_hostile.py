"""What callers and model servers tried against the proxy's state machine, found by reading it: each was a defect."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.guard.gateway.interface import ANSWER, BODY, METER, Context, Measure
from assay.guard.gateway.proxy.terms import BODIES
from guard.gateway.proxy.running import (
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
from guard.gateway.proxy.test_connections import ACCEPT, HELLO

OK = b"HTTP/1.1 200 OK\r\n"
NEXT = post(b"[1]", path="/any/next")


# -- what follows a refused body ------------------------------------------------------------------------------------


def full(place: Place) -> None:
    place.server.shared.current().places[0].pool.pending = -1000


@pytest.mark.parametrize(
    ("header", "before", "status"), [("Content-Encoding: br", None, 415), ("X-A: b", full, 503)], ids=["coding", "busy"]
)
def test_the_rest_of_a_refused_body_is_its_own_and_no_more(
    header: str, before: Callable[[Place], None] | None, status: int
) -> None:
    """A body of which a part came with the head was skipped by that part too far: into the next request, so that the
    one behind it began where its sender said. Behind an edge that shares its connections these are two callers.
    """
    rooms = Rooms(needs=0 if before else BODY)

    async def run() -> None:
        async with proxy(rooms=rooms) as place:
            if before is not None:
                before(place)
            reader, writer = await place.connect()
            data = post(b"x" * 200, header, close=False)
            writer.write(data[:-100])
            assert status_of(await reader.readuntil(b"}}")) == status
            if before is not None:
                place.server.shared.current().places[0].pool.pending = 10
            writer.write(data[-100:] + NEXT)
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            assert (status_of(answer), body_of(answer)) == (200, b"{}")
            assert place.upstream.received.count(b"POST /any/next ") == 1
            writer.close()

    asyncio.run(run())


def test_a_caller_whose_upload_was_refused_while_it_waited_is_read_again() -> None:
    async def run() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            async with proxy(address=f"http://127.0.0.1:{closed.getsockname()[1]}", rooms=Rooms(wait=0.5)) as place:
                reader, writer = await place.connect()
                data = post(b"x" * 110_000, close=False)
                writer.write(data[:70_000])
                await asyncio.sleep(0.2)
                writer.write(data[70_000:90_000])  # more is held than may be, and nothing more is read
                assert status_of(await reader.readuntil(b"}}")) == 502
                writer.write(data[90_000:] + NEXT)
                assert status_of(await asyncio.wait_for(reader.read(), PATIENCE)) == 502
                writer.close()

    asyncio.run(run())


def test_what_comes_while_held_requests_wait_for_their_turn_stands_behind_them() -> None:
    """Held bytes were taken for the beginning of a head whose end had been looked for: two requests became one."""
    answered: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        while await request(reader, upstream.received) is not None:
            answered.put_nowait(writer)

    async def run() -> None:
        async with proxy(Upstream(script=script)) as place:
            _, writer = await place.connect()
            writer.write(post(b"{}", close=False) + post(b"{}", path="/any/second", close=False))
            model = await answered.get()
            # The first answer and the third request come in one turn of the loop.
            model.write(place.upstream.answer)
            writer.write(NEXT)
            for _ in range(2):
                (await asyncio.wait_for(answered.get(), PATIENCE)).write(place.upstream.answer)
            await place.settled(3)
            assert [context.status for context, _, _ in place.rooms.finished] == [200] * 3
            writer.close()

    asyncio.run(run())


# -- who does not read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tunnel", [False, True])
def test_who_stopped_reading_before_the_model_was_asked_is_not_sent_everything(tunnel: bool) -> None:
    """A model server that is not connected yet cannot be told to wait: it was never told, and all of it was held."""
    first: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        nonlocal sent
        await request(reader)
        first.put_nowait(writer)
        await request(reader)
        writer.write(ACCEPT if tunnel else OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while sent < 100 << 20:
            writer.write(bytes(1 << 20) if tunnel else b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            await writer.drain()
            sent += 1 << 20

    async def run() -> None:
        rooms = Rooms()
        async with proxy(Upstream(script=script), rooms, route={"websocket": True}, sizes={"body": "1GB"}) as place:
            loop = asyncio.get_running_loop()
            with socket.socket() as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.setblocking(False)
                await loop.sock_connect(raw, ("127.0.0.1", place.port))
                await loop.sock_sendall(raw, post(b"{}", close=False))
                writer = await first.get()
                (client,) = place.server.entrance.clients
                client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                client.transport.set_write_buffer_limits(high=1000)
                rooms.wait = 1.5  # long enough that it is seen to wait
                # The first answer and the second request come in one turn of the loop.
                writer.write(OK + b"Content-Length: 30000\r\n\r\n" + bytes(30_000))
                raw.send(HELLO if tunnel else post(b"{}", close=False))
                await until(lambda: client.write_paused and client.timer is not None)
                await until(lambda: client.upstream is not None)
                await asyncio.sleep(1)
                assert sent < 40 << 20
                place.upstream.script = None

    asyncio.run(run())


def test_a_tunnel_that_the_model_does_not_read_ends_with_its_caller() -> None:
    """What was said last is still sent, but not for ever: each such tunnel would hold a connection of the pool."""
    go = asyncio.Event

    async def run() -> None:
        let = go()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await request(reader)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(ACCEPT)
            await let.wait()

        async with proxy(Upstream(script=script), route={"websocket": True}, sizes={"body": "1GB"}) as place:
            reader, writer = await place.connect()
            writer.write(HELLO)
            assert status_of(await reader.readuntil(b"\r\n\r\n")) == 101
            (client,) = place.server.entrance.clients
            assert client.upstream is not None
            client.upstream.transport.set_write_buffer_limits(high=1 << 30)
            out = client.upstream.transport
            while not out.get_write_buffer_size():
                writer.write(bytes(1 << 16))
                await asyncio.sleep(0)
            writer.close()
            await place.settled(1)
            await until(lambda: not place.server.figures()["upstream_connections"])
            let.set()

    asyncio.run(run())


# -- one caller's harm to another -----------------------------------------------------------------------------------


def test_an_answer_that_breaks_a_room_harms_nobody_but_its_caller() -> None:
    """A connection goes to who waits for it as soon as its answer is complete, before that is passed on. What failed
    then took the connection from its new owner, who was never told and waited for ever.
    """

    def admit(context: Context, body: bytes) -> Measure:
        return Measure(tokens_in=1, stream=b"bad" in body)

    class Meter:
        def feed(self, data: bytes) -> bytes:
            raise ValueError("a defect")

        def close(self, context: Context) -> None:
            raise ValueError("another defect")

    async def run() -> None:
        go = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            while (asked := await request(reader, upstream.received)) is not None:
                await go.wait()
                kind = b"text/event-stream" if b"bad" in asked[1] else b"application/json"
                writer.write(OK + b"Content-Type: " + kind + b"\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()

        rooms = Rooms(needs=BODY | METER, admit=admit)
        rooms.meter = lambda context: Meter()  # type: ignore[method-assign]
        async with proxy(Upstream(script=script), rooms, pool=1) as place:
            bad = asyncio.create_task(place.talk(post(b"bad")))
            await until(lambda: place.upstream.received)
            good = asyncio.create_task(place.talk(post(b"{}")))
            pool = place.server.shared.current().places[0].pool
            await until(lambda: pool._waiting)
            go.set()
            assert status_of(await good) == 200
            assert status_of(await bad) >= 500
            assert place.rooms.left == len(place.rooms.finished) == 2

    asyncio.run(run())


def test_an_answer_without_end_that_breaks_a_room_is_refused_at_once() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        await request(reader)
        writer.write(OK + b"\r\n{}")

    class Broken(Rooms):
        def harden_answer(self, context: Context) -> bytes:
            raise ValueError("a defect")

    async def run() -> None:
        async with proxy(Upstream(script=script), Broken(needs=ANSWER, harden="h")) as place:
            answer = await place.talk(post(b"{}"))
            assert status_of(answer) >= 500 and b"{}" not in answer
            assert len(place.rooms.finished) == 1

    asyncio.run(run())


def test_a_model_server_that_has_no_name_is_refused_and_not_tried_without_pause(tmp_path: Path) -> None:
    async def run() -> None:
        async with proxy(address=f"http://{'a' * 70}.invalid:80") as place:
            assert status_of(await place.talk(post(b"{}"))) == 502
            assert place.server.figures()["upstream_failed"] == 1

    asyncio.run(run())


def test_bodies_that_are_never_completed_do_not_fill_the_memory() -> None:
    """A body that is looked into is held, decoded, until its last byte: 100 KB of gzip that lacks one are 20 MB."""
    packed = gzip.compress(bytes(1900))
    fit = BODIES * 2000 // 1900

    async def run() -> None:
        sizes = {"body": 1000, "decoded": 2000, "buffered": 1000}
        async with proxy(rooms=Rooms(needs=BODY), sizes=sizes) as place:
            data = post(packed, "Content-Encoding: gzip")
            held = [await place.connect() for _ in range(60)]
            for _, writer in held:
                writer.write(data[:-1])
            await place.settled(60 - fit)
            refused = {(context.status, context.decision.rule) for context, _, _ in place.rooms.finished}
            assert refused == {(503, "size")}
            for _, writer in held:
                writer.write(data[-1:])
            answers = [await reader.read() for reader, _ in held]
            assert sorted(map(status_of, answers)) == [200] * fit + [503] * (60 - fit)
            assert all(b"retry-after" in answer for answer in answers if status_of(answer) == 503)
            for _, writer in held:
                writer.close()
            await place.settled(60)
            assert place.server.shared.terms.places[0].held.now == 0

    asyncio.run(run())


def test_answers_that_are_held_share_that_bound() -> None:
    answer = OK + b"Content-Length: 900\r\n\r\n" + bytes(899)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        await request(reader)
        writer.write(answer)
        await go.wait()
        writer.write(b"x")
        await writer.drain()

    go = asyncio.Event()

    async def run() -> None:
        sizes = {"body": 1000, "decoded": 1000, "buffered": 1000}
        rooms = Rooms(needs=ANSWER, harden="h", hardened=b"less")
        async with proxy(Upstream(script=script), rooms, sizes=sizes) as place:
            asking = [asyncio.create_task(place.talk(post(b"{}"))) for _ in range(60)]
            await until(lambda: sum(one.done() for one in asking) >= 60 - BODIES * 1000 // 899)
            go.set()
            statuses = [status_of(one) for one in await asyncio.gather(*asking)]
            assert set(statuses) == {200, 503} and statuses.count(503) >= 60 - BODIES * 1000 // 899
            assert place.server.shared.terms.places[0].held.now == 0

    asyncio.run(run())
