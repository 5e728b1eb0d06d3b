"""Real edges in front of a real decision service and a small model server, all on loopback and in temporary folders."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha1
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

import small_ca
from assay.guard.gateway.core import Core, Gate, Parts, Proof
from assay.guard.gateway.edge import Place, export
from assay.guard.gateway.interface import BODY, Caller, Context, Decision, Measure, Route, Verb
from assay.guard.gateway.service import Service
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.reading import convert
from ports import free_port as free_port

_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
INFER = "/v2/models/m/infer"
PATIENCE = 60.0
"""Seconds that something may take on a busy machine; nothing waits longer than it has to."""
KEYS = {"good": Caller("key:good", "alice"), "slow": Caller("key:slow"), "often": Caller("key:often", "bob")}


class Rooms:
    """The least that a core asks: keys by name, one model, and a refusal of each kind."""

    def __init__(self) -> None:
        self.left: list[Context] = []
        self._begun = 0
        self._log: list[Context] = []
        self.fails = False
        self.needs = 0
        self.method = "POST"
        self.index = 0

    @property
    def log(self) -> list[Context]:
        """Of every request that has begun: the service answers before it writes down."""
        until(lambda: len(self._log) >= self._begun)
        return self._log

    def forget(self) -> None:
        """As if nobody had asked."""
        self.log.clear()
        self._begun = 0

    # Routes
    def route(self, method: str, path: str) -> Route | Decision:
        if path != INFER:
            return Decision(False, 404, "route", "nothing is served here")
        if method != self.method:
            return Decision(False, 405, "route", "this is asked with POST")
        return Route("open-inference", Verb.INFER, "m", "", "/v2/models/{model}/infer", self.index)

    def measure(self, context: Context, body: bytes) -> Measure | Decision:
        return Measure(rows=1)

    def harden(self, context: Context, status: int, content_type: bytes, body: bytes, question: bytes) -> bytes:
        return body

    def meter(self, context: Context) -> None:
        return None

    def settle(self, context: Context, content_type: bytes, body: bytes) -> None:
        return None

    def table(self, sample: Any) -> None:
        return None

    def answers(self, sample: Any) -> None:
        return None

    # Callers
    def identify(self, context: Context) -> Caller | Decision:
        if self.fails:
            raise RuntimeError("on purpose")
        if context.certificate is not None:
            return Caller(f"mtls:{context.certificate.subject}")
        found = KEYS.get(context.headers.get(b"x-api-key", b"").decode())
        return found or Decision(False, 401, "caller", "who are you", challenge='Bearer realm="assay"')

    # Rules
    def address(self, context: Context) -> None:
        self._begun += 1
        context.address = context.peer
        forwarded = context.headers.get(b"x-forwarded-for")
        if forwarded and context.peer == "127.0.0.1":
            context.address, context.forwarded = forwarded.split(b",")[-1].strip().decode(), True

    def decide(self, context: Context) -> Decision | None:
        return Decision(False, 403, "rule:bad", 'no "quotes"') if b"bad" in context.query else None

    # Plans
    def enter(self, context: Context) -> Decision | None:
        assert context.caller is not None
        if context.caller.id == "key:often":
            return Decision(False, 429, "plan:rate", "too many requests", retry_after=7)
        context.wait = 0.05 if context.caller.id == "key:slow" else 0.0
        return None

    def charge(self, context: Context) -> Decision | None:
        return None

    def leave(self, context: Context) -> None:
        self.left.append(context)

    # Log, observer and standings
    def write(self, context: Context) -> None:
        self._log.append(context)

    def draw(self, context: Context) -> int:
        return self.needs

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None:
        return None

    def get(self, key: str) -> None:
        return None

    def __len__(self) -> int:
        return 0


class _Writing:
    """`Parts.log` of `Rooms`."""

    def __init__(self, rooms: Rooms) -> None:
        self.write = rooms.write


def gate(settings: Settings, rooms: Rooms) -> Gate:
    """A core of `Rooms`."""
    return Gate(Core(settings, Parts(rooms, rooms, rooms, rooms, _Writing(rooms), rooms, rooms), Proof(version="v1")))


def settings(folder: Path, **values: Any) -> Settings:
    """Settings from plain values."""
    plain = {"assay-gateway": 1, "routes": [{"protocol": "open-inference"}]}
    return convert(plain | values, "gateway.yaml", str(folder))


def blocking(match: dict[str, Any]) -> dict[str, Any]:
    """A rule that blocks."""
    return {"id": "no", "priority": 5, "action": "block", "match": match}


@contextmanager
def service(gate: Gate, settings: Settings, place: str, *, secret: bytes = b"") -> Iterator[Service]:
    """The decision service in a thread of its own."""
    loop = uvloop.new_event_loop()
    made = Service(gate, settings, secret=secret)
    if place.startswith("unix:"):
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(place[5:])
        os.chmod(place[5:], 0o666)  # nginx's workers are somebody else, in a folder of the test's own
    else:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", int(place.rpartition(":")[2])))
    bound.listen(128)
    loop.run_until_complete(made.start([bound]))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.drain(1), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


class Model:
    """A model server that tells what it was sent, and counts who connects."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.said = b""
        """Header lines of its answers, beside those that it always has."""
        self.gate = threading.Event()
        """Of a stream: the second event waits for it."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        if self._tls is not None:
            try:
                one = self._tls.wrap_socket(one, server_side=True)
            except OSError:  # whoever came does not like our certificate
                one.close()
                return
        with suppress(OSError), one, one.makefile("rb") as stream:
            while line := stream.readline():
                headers: dict[str, str] = {}
                for raw in iter(stream.readline, b"\r\n"):
                    name, _, value = raw.decode("latin-1").partition(":")
                    headers[name.lower()] = (
                        f"{headers[name.lower()]}|{value.strip()}" if name.lower() in headers else value.strip()
                    )
                body = stream.read(int(headers.get("content-length", "0")))
                self.requests.append((line.decode("latin-1").strip(), headers, body))
                if headers.get("upgrade") == "websocket":
                    accept = b64encode(sha1((headers["sec-websocket-key"] + _WEBSOCKET).encode()).digest())
                    switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                    one.sendall(switch + b"sec-websocket-accept: " + accept + b"\r\n\r\n")
                    while data := one.recv(4096):
                        one.sendall(data.upper())
                    return
                if b"stream" in body:
                    one.sendall(
                        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: 1\n\n"
                    )
                    self.gate.wait(PATIENCE)
                    one.sendall(b"data: 2\n\n")
                    return
                answer = json.dumps({"line": line.decode("latin-1").strip(), "headers": headers}).encode()
                one.sendall(
                    b"HTTP/1.1 200 OK\r\nserver: secret/1.0\r\ncontent-type: application/json\r\n"
                    b"%bcontent-length: %d\r\n\r\n%b" % (self.said, len(answer), answer)
                )

    def close(self) -> None:
        self.gate.set()
        self.listener.close()


@contextmanager
def model(tls: ssl.SSLContext | None = None) -> Iterator[Model]:
    """A model server on a free port."""
    made = Model(tls)
    try:
        yield made
    finally:
        made.close()


def upgraded(port: int, path: str) -> bytes:
    """What comes back to a WebSocket handshake, and to ``hello`` after it where it was accepted."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(
            f"GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = one.recv(4096)
        if b" 101 " in answer:
            one.sendall(b"hello")
            answer += one.recv(5)
        return answer


def certificates(folder: Path) -> dict[str, str]:
    """The ``tls`` section, with a caller's certificate beside it in ``client``."""
    long = {"end": small_ca.START + 30 * small_ca.YEAR}
    root = small_ca.root(**long)
    server = root.leaf("localhost", purposes=[ExtendedKeyUsageOID.SERVER_AUTH], **long)
    client = root.leaf("alice", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH], **long)
    for name, data in (("ca", root.pem), ("server", server.pem), ("server.key", server.key_pem)):
        (folder / name).write_bytes(data)
    (folder / "client").write_bytes(client.pem + client.key_pem)
    return {"certificate": "server", "key": "server.key", "client-ca": "ca", "client-certificates": "optional"}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files of an export."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


@contextmanager
def program(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is there once it listens, and gone afterwards."""
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    try:
        until(lambda: process.poll() is not None or _listens(port))
        if process.poll() is not None:
            raise AssertionError((folder / "output").read_text())
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def installed(name: str) -> str:
    """Where a program is; empty: it is not. PyPI's Envoy is in its package, whatever the PATH is."""
    if name == "envoy" and (found := find_spec("envoy")) is not None and found.origin is not None:
        return str(Path(found.origin).parent / "_bin" / "envoy")
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") or ""


def raw(port: int, data: bytes) -> bytes:
    """What comes back until the other side closes, or is silent for a while after it has spoken."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(data)
        got = b""
        try:
            while piece := one.recv(65536):
                got += piece
                one.settimeout(1.5)
        except TimeoutError:
            pass
        return got


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for something that comes."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError("it did not come")
        time.sleep(0.02)
    return found


class Edge:
    """An edge, the service and the model, with what each of them saw."""

    def __init__(self, kind: str, port: int, folder: Path, rooms: Rooms, model: Model) -> None:
        self.kind, self.port, self.folder, self.rooms, self.model = kind, port, folder, rooms, model

    def ask(
        self, path: str = INFER, key: str = "good", body: bytes = b"{}", method: str = "POST", **headers: str
    ) -> Any:
        """The answer, with its body as `data`. Of names of headers ``_`` becomes ``-``, and ``__`` stays ``_``."""
        named = {name.replace("__", "\0").replace("_", "-").replace("\0", "_"): said for name, said in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, {"x-api-key": key} | named)
        answer = connection.getresponse()
        answer.data = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    def post(self, *lines: str, body: bytes = b"{}") -> bytes:
        """What comes back to a request with just these lines, and a body."""
        head = [f"POST {INFER} HTTP/1.1", "host: x", "x-api-key: good", "connection: close", *lines]
        said = "\r\n".join([*head, f"content-length: {len(body)}"])
        return raw(self.port, said.encode() + b"\r\n\r\n" + body)

    def log(self) -> list[dict[str, Any]]:
        """What the edge itself has logged."""
        whole = (self.folder / LOGS[self.kind]).read_bytes().rpartition(b"\n")[0]  # a last line may be half written
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]


@contextmanager
def edge(
    kind: str, folder: Path, *, up: bool = True, secret: str = "", gateway: str = "", **values: Any
) -> Iterator[Edge]:
    """An exported ``nginx``, ``haproxy`` or ``envoy`` at work; without ``up`` there is no decision service."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    port, rooms, place = free_port(), Rooms(), f"unix:{folder}/decide.sock"
    if secret:
        place = f"127.0.0.1:{free_port()}"
    user = "root" if kind == "nginx" and os.geteuid() == 0 else ""
    with model() as served:
        given = {
            "upstream": f"http://127.0.0.1:{served.port}",
            "listen": [f"127.0.0.1:{port}"],
            "connections": 500,
        } | values
        read = settings(folder, **given)
        written = folder / kind
        write(written, export(read, kind, Place(place, gateway, secret, user)).files)
        command = {
            "nginx": ["-p", f"{written}/", "-c", "nginx.conf", "-g", "daemon off;"],
            "haproxy": ["-C", str(written), "-f", "haproxy.cfg"],
            "envoy": ["-c", "envoy.yaml", *ENVOY, "--concurrency", "1", "--file-flush-interval-msec", "50"],
        }[kind]
        with program([installed(kind), *command], port, written):
            found = Edge(kind, port, written, rooms, served)
            if not up:
                yield found
                return
            with service(gate(read, rooms), read, place, secret=secret.encode()):
                yield found


LOGS = {"nginx": "access.log", "haproxy": "output", "envoy": "output"}
ENVOY = ["--disable-hot-restart", "--log-level", "warning"]
"""For each start: several run beside each other, and are read where they say something."""
NEEDS_BODY = BODY
DER = Encoding.DER
