"""However requests and answers are framed, cut and refused: each gets its own answer, in order, and none is lost."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from dataclasses import dataclass

import pytest

from assay.guard.gateway.interface import BODY, KEEP_ANSWER, Context, Decision
from guard.gateway.proxy.running import PATIENCE, Rooms, Upstream, post, proxy, request, status_of, until


@dataclass
class Asked:
    data: bytes
    status: int
    number: int
    body: bytes


def chunked(body: bytes, chance: random.Random) -> bytes:
    found = b""
    while body:
        size = chance.randint(1, len(body))
        found += b"%x\r\n%b\r\n" % (size, body[:size])
        body = body[size:]
    return found + b"0\r\n\r\n"


def asked(number: int, chance: random.Random) -> Asked:
    """One request: its bytes, and what it is answered."""
    body = bytes(chance.choices(b"abc\r\n ", k=chance.choice((0, 1, 5, 300, 3000, 70_000))))
    refused = chance.random() < 0.3
    head = f"POST /any/{number}{'?no' if refused else ''} HTTP/1.1\r\nHost: m\r\nX-Number: {number}\r\n".encode()
    if chance.random() < 0.3 and not refused:  # who refuses a body in chunks ends the connection
        return Asked(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, chance), 200, number, body)
    if refused:
        body = body[:60_000]
    return Asked(head + b"Content-Length: %d\r\n\r\n" % len(body) + body, 403 if refused else 200, number, body)


async def cut(writer: asyncio.StreamWriter, data: bytes, chance: random.Random) -> None:
    while data:
        size = chance.choice((1, 3, 50, 1000, 100_000))
        writer.write(data[:size])
        data = data[size:]
        await asyncio.sleep(chance.choice((0, 0, 0, 0.001)))


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    low = head.lower()
    body = b""
    if b"transfer-encoding: chunked" in low:
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        length = re.search(rb"content-length: ([0-9]+)", low)
        assert length is not None
        body = await reader.readexactly(int(length[1]))
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize("needs", [0, BODY | KEEP_ANSWER])
@pytest.mark.parametrize("seed", range(12))
def test_everybody_gets_its_own_answer(seed: int, needs: int) -> None:
    chance = random.Random(seed)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        while (came := await request(reader)) is not None:
            head, body = came
            number = re.search(rb"x-number: ([0-9]+)", head.lower())
            assert number is not None
            said = b"%b:%d:" % (number[1], len(body)) + body
            form = chance.randint(0, 3)
            if chance.random() < 0.2:
                writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
            if form == 0:
                out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(said, chance)
            else:
                close = b"Connection: close\r\n" if form == 1 else b""
                length = b"" if form == 2 else b"Content-Length: %d\r\n" % len(said)
                out = b"HTTP/1.1 200 OK\r\n" + close + length + b"\r\n" + said
            await cut(writer, out, chance)
            await writer.drain()
            if form in (1, 2):
                return

    def refuse(context: Context) -> Decision | None:
        return Decision(False, 403, "x", "no") if context.query == b"no" else None

    async def caller(port: int, first: int) -> None:
        wanted = [asked(first + i, chance) for i in range(8)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        sending = asyncio.create_task(cut(writer, b"".join(one.data for one in wanted), chance))
        for one in wanted:
            status, body = await asyncio.wait_for(answer(reader), PATIENCE)
            assert status == one.status
            if status == 200:
                assert body == b"%d:%d:" % (one.number, len(one.body)) + one.body
        await sending
        writer.close()

    async def run() -> None:
        rooms = Rooms(needs=needs, refuse=refuse)
        async with proxy(Upstream(script=script), rooms, pool=3) as place:
            await asyncio.gather(*(caller(place.port, 100 * i) for i in range(4)))
            await place.settled(32)
            assert len(rooms.finished) == rooms.left == 32
            assert not any(context.error for context, _, _ in rooms.finished)

    asyncio.run(run())


@pytest.mark.parametrize("needs", [0, BODY | KEEP_ANSWER])
@pytest.mark.parametrize("seed", range(6))
def test_whoever_vanishes_leaves_nothing_behind(seed: int, needs: int) -> None:
    """Callers and model servers end or reset connections anywhere; each request is told of once, and all is freed."""
    chance = random.Random(seed)

    def end(writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        if raw is not None and chance.random() < 0.5:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        while True:
            if chance.random() < 0.1:
                end(writer)
                return
            if (came := await request(reader)) is None:
                return
            out = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(came[1]) + came[1]
            if chance.random() < 0.2:
                await cut(writer, out[: chance.randint(0, len(out))], chance)
                end(writer)
                return
            await cut(writer, out, chance)

    async def caller(port: int, rooms: Rooms) -> None:
        data = b"".join(asked(i, chance).data for i in range(6))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        sending = asyncio.create_task(cut(writer, data[: chance.randint(0, len(data))], chance))
        try:
            async with asyncio.timeout(chance.choice((0.01, 0.1, 0.3))):
                while await reader.read(100_000):
                    rooms.wait = chance.choice((0.0, 0.0, 0.02))
        except (TimeoutError, ConnectionError):
            pass
        end(writer)
        await asyncio.gather(sending, return_exceptions=True)

    async def run() -> None:
        rooms = Rooms(needs=needs)
        async with proxy(Upstream(script=script), rooms, pool=2, pending=3) as place:
            for _ in range(3):
                await asyncio.gather(*(caller(place.port, rooms) for _ in range(6)))
            pool = place.server.shared.terms.places[0].pool
            await until(lambda: not (place.server.figures()["connections_open"] or pool._waiting or pool._opening))
            await until(lambda: len(pool) == len(pool._idle))  # one that was given up ends a turn of the loop later
            assert len(rooms.finished) == rooms.left == len({id(row[0]) for row in rooms.finished})
            assert place.server.shared.terms.places[0].held.now == 0
            assert not any(one.client for one in pool._all)
            assert not any(context.error == "internal" for context, _, _ in rooms.finished)
            rooms.wait = 0.0
            place.upstream.script = None
            for one in list(pool._all):
                one.transport.abort()
            assert status_of(await place.talk(post(b"{}"))) == 200

    asyncio.run(run())
