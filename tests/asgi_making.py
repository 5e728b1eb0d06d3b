"""Small rooms for a decision core, and a server in front of an application: for tests of the middleware.

The rooms keep what they were told, so that a test can count what ended and how often.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from assay.guard.gateway.asgi import Middleware
from assay.guard.gateway.core import Core, Gate, Parts, Proof
from assay.guard.gateway.interface import Caller, Context, Decision, Measure, Route, Standing, Verb
from assay.guard.gateway.parts import Meter, Unhardened
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.reading import convert

KEY = b"the-key"
FILE: dict[str, Any] = {
    "assay-gateway": 1,
    "routes": [
        {"protocol": "json", "path": "/predict", "websocket": True},
        {"protocol": "json", "path": "/hard", "harden": "label-only"},
        {"protocol": "openai"},
    ],
}


class Rooms:
    """All rooms of a core in one; ``keep`` is what its observer asks for."""

    def __init__(self, keep: int = 0) -> None:
        self.keep = keep
        self.finished: list[Context] = []
        self.seen: list[tuple[bytes | None, bytes | None]] = []
        self.left = 0
        self.standing: Standing | None = None
        self.charge_says: Decision | None = None

    # Routes
    def route(self, method: str, path: str) -> Route | Decision:
        if path == "/health":
            return Route("json", Verb.HEALTH, "", "", "/health")
        if path == "/v1/chat/completions":
            return Route("openai", Verb.CHAT, "", "", path, 2)
        if path in ("/predict", "/hard"):
            return Route("json", Verb.INFER, "m", "1", path, int(path == "/hard"))
        return Decision(False, 404, "route", "there is nothing here")

    def measure(self, context: Context, body: bytes) -> Measure | Decision:
        try:
            said = json.loads(body)
        except ValueError:
            return Decision(False, 400, "schema", "the body is no JSON")
        if context.route is not None and context.route.protocol == "openai":
            said["stream_options"] = {"include_usage": True}
            stream = bool(said.get("stream"))
            return Measure(tokens_in=1, tokens_out=9, stream=stream, body=json.dumps(said).encode())
        return Measure(rows=len(said["instances"]))

    def harden(self, context: Context, status: int, content_type: bytes, body: bytes, question: bytes) -> bytes:
        try:
            rows = json.loads(body)["predictions"]
        except (ValueError, KeyError):
            raise Unhardened("no predictions") from None
        return json.dumps({"predictions": [row.index(max(row)) for row in rows]}).encode()

    def meter(self, context: Context) -> Meter | None:
        return Events()

    def settle(self, context: Context, content_type: bytes, body: bytes) -> None:
        assert context.usage is not None
        if context.status == 200 and context.model != "m":
            context.usage.tokens_out = json.loads(body)["usage"]

    # Callers
    def identify(self, context: Context) -> Caller | Decision:
        if context.certificate is not None:
            return Caller(f"mtls:{context.certificate.subject}")
        if context.headers.get(b"x-api-key") == KEY:
            return Caller("key:1", user="ann")
        return Decision(False, 401, "caller", "a key is needed", challenge="Bearer")

    # Rules
    def address(self, context: Context) -> None:
        context.address = context.peer

    # Plans
    def enter(self, context: Context) -> Decision | None:
        return Decision(False, 429, "plan:rate", "too many", 7) if context.headers.get(b"x-many") else None

    def charge(self, context: Context) -> Decision | None:
        return self.charge_says

    def leave(self, context: Context) -> None:
        self.left += 1

    # Log, observer, standings
    def write(self, context: Context) -> None:
        self.finished.append(context)

    def draw(self, context: Context) -> int:
        return self.keep

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None:
        self.seen.append((request, response))

    def get(self, key: str) -> Standing | None:
        return self.standing

    def __len__(self) -> int:
        return int(self.standing is not None)


class Rules:
    """Those of `parts.Rules`, whose ``decide`` is not a core's."""

    def address(self, context: Context) -> None:
        context.address = context.peer

    def decide(self, context: Context) -> Decision | None:
        if context.headers.get(b"x-break") == b"1":
            raise RuntimeError("a rule broke")
        return None


class Events:
    """A meter of events: takes out the one that tells the usage."""

    def __init__(self) -> None:
        self.tokens = 0

    def feed(self, data: bytes) -> bytes:
        if data.startswith(b"data: usage "):
            self.tokens = int(data.split()[2])
            return b""
        return data

    def close(self, context: Context) -> None:
        assert context.usage is not None
        context.usage.tokens_out = self.tokens


def guarded(app: Any, rooms: Rooms, more: Mapping[str, Any] = {}) -> Middleware:
    """``app`` behind a core of these rooms."""
    settings = convert({**FILE, **more}, "gateway.yaml", ".")
    return Middleware(app, Gate(core_of(settings, rooms)), settings)


def core_of(settings: Settings, rooms: Rooms) -> Core:
    """A core of these rooms."""
    return Core(settings, Parts(rooms, rooms, Rules(), rooms, rooms, rooms, rooms), Proof(version="v"))


def scope_of(method: str = "POST", path: str = "/predict", headers: Any = (), **more: Any) -> dict[str, Any]:
    """A scope as a server makes it, from a caller who has the key."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"a"), (b"x-api-key", KEY), *headers],
        "client": ("192.0.2.1", 5),
        "scheme": "http",
        **more,
    }


class Answer:
    """What a caller was sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.messages)


def ask(app: Any, scope: dict[str, Any], *pieces: bytes, gone: bool = False) -> Answer:
    """One request, whose body comes in ``pieces``; with ``gone`` the caller leaves after them, and before the end."""
    answer = Answer()
    waiting = [
        {"type": "http.request", "body": piece, "more_body": gone or i + 1 < len(pieces)}
        for i, piece in enumerate(pieces or (b"",))
    ]

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.messages.append(message)

    async def run() -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            answer.error = error

    asyncio.run(run())
    return answer


async def whole(receive: Any) -> bytes | None:
    """A body as applications read it; None: the caller has gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


@contextmanager
def served(app: Any, **options: Any) -> Iterator[str]:
    """A real uvicorn on a loopback port, in a thread: its ``host:port``."""
    import uvicorn

    config = uvicorn.Config(app, port=0, log_level="critical", proxy_headers=False, lifespan="on", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "uvicorn did not start"
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """A lifespan in which nothing happens."""
    yield
