"""A proxy in front of a model server, both on loopback and real, with a core of the plainest rooms there can be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from assay.guard.gateway.core import Core, Gate, Parts, Proof
from assay.guard.gateway.interface import BODY, Caller, Context, Decision, Measure, Route, Standing, Verb
from assay.guard.gateway.parts import Unhardened
from assay.guard.gateway.proxy import Server, listen
from assay.guard.gateway.settings import Settings

INFER = "/v2/models/m/infer"
PATIENCE = 60.0
"""Seconds that anything may take on a busy machine; nothing waits longer than it has to."""
PATIENT = dict.fromkeys(("head", "body", "idle", "connect", "first-byte", "stream"), f"{PATIENCE:.0f}s")


@dataclass
class Rooms:
    """Every room at once; what happened is written down."""

    needs: int = 0
    refuse: Callable[[Context], Decision | None] = lambda context: None
    admit: Callable[[Context, bytes], Measure | Decision] = lambda context, body: Measure(rows=1)
    hardened: bytes | None = None
    wait: float = 0.0
    harden: str = ""
    finished: list[tuple[Context, bytes | None, bytes | None]] = field(default_factory=list)
    left: int = 0
    metered: list[bytes] = field(default_factory=list)
    settled: list[bytes] = field(default_factory=list)

    def route(self, method: str, path: str) -> Route | Decision:
        if path.startswith(("/v2/", "/any")):
            return Route("open-inference", Verb.INFER, "m", "", path, 0)
        return Decision(False, 404, "route", "there is no such path")

    def measure(self, context: Context, body: bytes) -> Measure | Decision:
        return self.admit(context, body)

    def harden_answer(self, context: Context) -> bytes:
        if self.hardened is None:
            raise Unhardened("cannot be read")
        return self.hardened

    def identify(self, context: Context) -> Caller | Decision:
        return Caller("key:café\r\nx: 1")

    def address(self, context: Context) -> None:
        context.address = context.peer

    def decide(self, context: Context) -> Decision | None:
        return self.refuse(context)

    def enter(self, context: Context) -> Decision | None:
        context.wait = self.wait
        context.harden = self.harden
        return None

    def charge(self, context: Context) -> Decision | None:
        return None

    def leave(self, context: Context) -> None:
        self.left += 1

    def write(self, context: Context) -> None:
        pass

    def draw(self, context: Context) -> int:
        return self.needs & ~BODY

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None:
        self.finished.append((context, request, response))

    def meter(self, context: Context) -> Any:
        return self

    def feed(self, data: bytes) -> bytes:
        self.metered.append(data)
        return data.replace(b"secret", b"")

    def close(self, context: Context) -> None:
        self.metered.append(b"closed")

    def settle(self, context: Context, content_type: bytes, body: bytes) -> None:
        self.settled.append(body)

    def get(self, key: str) -> Standing | None:
        return None

    def __len__(self) -> int:
        return 0


class Protocols:
    """`parts.Routes` has a method of the same name as one of the core's settings; this keeps the two apart."""

    def __init__(self, rooms: Rooms) -> None:
        self.route, self.measure, self.meter, self.settle = rooms.route, rooms.measure, rooms.meter, rooms.settle
        self._rooms = rooms

    def harden(self, context: Context, status: int, content_type: bytes, body: bytes, question: bytes) -> bytes:
        return self._rooms.harden_answer(context)

    def table(self, sample: object) -> None: ...

    def answers(self, sample: object) -> None: ...


def gate_of(settings: Settings, rooms: Rooms) -> Gate:
    protocols = Protocols(rooms)
    return Gate(Core(settings, Parts(protocols, rooms, rooms, rooms, rooms, rooms, rooms), Proof()))  # type: ignore[arg-type]


def settings_for(upstream: str, **more: Any) -> Settings:
    route = more.pop("route", {})
    more.setdefault("detect", {"mode": "off"})
    more["timeouts"] = PATIENT | more.get("timeouts", {})
    from assay.guard.gateway.settings import convert

    raw = {
        "assay-gateway": 1,
        "upstream": upstream,
        "callers": {"anonymous": "default"},
        "routes": [{"protocol": "open-inference", **route}],
    }
    return convert(raw | {key.replace("_", "-"): value for key, value in more.items()}, "gateway.yaml", "/")


@dataclass
class Upstream:
    """A model server that keeps every byte it gets and answers as it is told."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter, Upstream], Awaitable[None]] | None = None
    received: bytearray = field(default_factory=bytearray)
    connections: int = 0
    open: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            if self.script is not None:
                await self.script(reader, writer, self)
                return
            while await request(reader, self.received) is not None:
                writer.write(self.answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            self.open -= 1
            writer.close()


async def request(reader: asyncio.StreamReader, kept: bytearray | None = None) -> tuple[bytes, bytes] | None:
    """One request's head and body; None: the connection has ended."""
    kept = bytearray() if kept is None else kept
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        kept += error.partial
        return None
    kept += head
    body = b""
    low = head.lower()
    if b"content-length: " in low:
        body = await reader.readexactly(int(low.split(b"content-length: ")[1].split(b"\r\n")[0]))
    elif b"transfer-encoding: chunked" in low:
        while True:
            line = await reader.readline()
            size = int(line, 16)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
            if not size:
                break
    kept += body
    return head, body


@dataclass
class Place:
    """A running proxy."""

    server: Server
    rooms: Rooms
    upstream: Upstream
    port: int
    settings: Settings

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **options)

    async def talk(self, data: bytes, *, seconds: float = PATIENCE) -> bytes:
        """Everything that comes back until the proxy closes, or the time is over."""
        reader, writer = await self.connect()
        writer.write(data)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while piece := await reader.read(65536):
                    found += piece
        writer.close()
        return found

    async def settled(self, number: int) -> None:
        """Wait until so many requests have ended."""
        await until(lambda: len(self.rooms.finished) >= number)


@contextlib.asynccontextmanager
async def proxy(
    upstream: Upstream | None = None,
    rooms: Rooms | None = None,
    *,
    sockets: list[socket.socket] | None = None,
    **more: Any,
) -> AsyncIterator[Place]:
    upstream = upstream or Upstream()
    rooms = Rooms() if rooms is None else rooms
    if rooms.needs & BODY:
        more["route"] = {"price": {"row": 1}} | more.get("route", {})  # rows can only be counted in the body
    model = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = model.sockets[0].getsockname()[1]
    settings = settings_for(more.pop("address", f"http://127.0.0.1:{upstream.port}"), **more)
    server = Server(gate_of(settings, rooms), settings)
    sockets = sockets or [listen("127.0.0.1:0")]
    port = sockets[0].getsockname()[1] if sockets[0].family != socket.AF_UNIX else 0
    try:
        await server.start(sockets)
        yield Place(server, rooms, upstream, port, settings)
    finally:
        await server.drain(0)
        for one in sockets:  # the server's own, unless it never started
            one.close()
        model.close()


async def until(true: Callable[[], object]) -> None:
    """Wait until it is."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def post(body: bytes, *headers: str, path: str = INFER, close: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: m", f"Content-Length: {len(body)}", *headers]
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
