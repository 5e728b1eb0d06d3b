"""The exit of a step that has a network of its own: an HTTP proxy that knows an allow-list (RFC 9110, 9.3.6).

Its socket listens in the step's network, its connections are made in ours, and names are resolved here, so that the
step needs no name server. It must never connect before it has judged, and it writes no header of a request anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
from collections.abc import Callable, Mapping
from time import monotonic, time_ns

from msgspec import Struct
from msgspec.structs import replace

from assay.collect.trace.interface import Contact, Decision
from assay.guard.sandbox.network import proxy_request
from assay.guard.sandbox.network.destinations import address
from assay.guard.sandbox.network.names import Names, Verdict
from assay.guard.sandbox.network.stub import Lookup

_MOST = 128
"""Connections at once."""
_CONNECT_SECONDS = 30.0
_IDLE_SECONDS = 900.0
_BLOCK = 1 << 16


class _Count(Struct):
    sent: int = 0
    received: int = 0


class Proxy:
    """Serves one listening socket until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        names: Names,
        lookup: Lookup,
        tell: Callable[[Contact], None],
        ports: Mapping[int, int],
        patience: float = 10.0,
    ) -> None:
        """``ports``: own port of a connection → who made it. ``patience``: seconds for a request's head."""
        self._patience = patience
        self._listener = listener
        self._names = names
        self._lookup = lookup
        self._tell = tell
        self._ports = ports
        self._free = threading.BoundedSemaphore(_MOST)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False

    def start(self) -> None:
        """Serve in threads of its own."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End all connections; each is told with what had gone through it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            left = list(self._open)
        for item in (self._listener, *left):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        # Each thread lets go of its place when it has told of its connection.
        deadline = monotonic() + 2
        for _ in range(_MOST):
            if not self._free.acquire(timeout=max(0.0, deadline - monotonic())):
                break
        self._listener.close()

    def _accept(self) -> None:
        while True:
            self._free.acquire()
            try:
                client, peer = self._listener.accept()
            except OSError:
                self._free.release()
                return
            with self._lock:
                if self._closed:
                    client.close()
                    self._free.release()
                    return
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client, peer[1]), daemon=True).start()

    def _serve(self, client: socket.socket, port: int) -> None:
        try:
            with contextlib.suppress(OSError):
                self._request(client, port)
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()
            self._free.release()

    def _request(self, client: socket.socket, port: int) -> None:
        began = time_ns()
        try:
            head, rest = _head(client, self._patience)
            request = proxy_request.parse(head)
        except proxy_request.BadRequestError as error:
            self._tell(_contact(began, self._ports.get(port, 0), "", None, Verdict(False, "proxy:malformed")))
            _refuse(client, 400, f"assay: {error}")
            return
        verdict, found = self._judge(request.host, request.port)
        # The port is known by now: whoever has sent a request has been let connect before.
        contact = _contact(
            began, self._ports.get(port, 0), request.host, request.port, verdict, found[0] if found else ""
        )
        if not found:
            self._tell(contact)
            if verdict.allowed:
                _refuse(client, 502, f"assay: {request.host} has no address")
            else:
                _refuse(client, 403, f"assay: {request.host}:{request.port} is not allowed ({verdict.rule})")
            return
        server = _reach(found, request.port)
        if server is None:
            self._tell(_ended(contact, _Count(), None))
            _refuse(client, 502, f"assay: {request.host}:{request.port} cannot be reached")
            return
        with self._lock:
            self._open.add(server)
        count = _Count()
        peer, own = server.getpeername(), server.getsockname()
        left = request.length if request.head else None
        # One request for each connection: what follows its body belongs to no request that was judged.
        first = request.head + (rest if left is None else rest[:left])
        try:
            server.sendall(first)
            count.sent = len(first)
            if not request.head:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pump(client, server, count, None if left is None else max(0, left - len(rest)))
        finally:
            with self._lock:
                self._open.discard(server)
            server.close()
            self._tell(_ended(contact, count, (peer, own)))

    def _judge(self, host: str, port: int) -> tuple[Verdict, list[str]]:
        """What is decided, and the addresses that may be connected to: none when it is refused."""
        literal = address(host)
        if literal is not None:
            verdict = self._names.address(literal, port)
            return verdict, [str(literal)] if verdict.allowed else []
        verdict = self._names.name(host, port)
        if not verdict.allowed:
            return verdict, []
        try:
            looked = self._lookup(host)
        except (OSError, ValueError):
            return verdict, []
        kept = self._names.resolved(host, looked)
        return (verdict, [str(item) for item in kept]) if kept else (Verdict(False, "rebinding", host), [])


def _head(client: socket.socket, patience: float) -> tuple[bytes, bytes]:
    """The request's head and what came with it; all of it has to come in time."""
    deadline = monotonic() + patience
    data = b""
    while (at := data.find(b"\r\n\r\n")) < 0:
        left = deadline - monotonic()
        if len(data) > proxy_request.LONGEST:
            raise proxy_request.BadRequestError("the head of the request is too long")
        if left <= 0:
            raise proxy_request.BadRequestError("the request did not come in time")
        client.settimeout(left)
        try:
            more = client.recv(8192)
        except TimeoutError:
            continue
        if not more:
            raise proxy_request.BadRequestError("the request has no end")
        data += more
    client.settimeout(_CONNECT_SECONDS)
    return data[: at + 4], data[at + 4 :]


def _reach(addresses: list[str], port: int) -> socket.socket | None:
    for item in addresses[:4]:
        with contextlib.suppress(OSError):
            return socket.create_connection((item, port), timeout=_CONNECT_SECONDS)
    return None


def _pump(client: socket.socket, server: socket.socket, count: _Count, body: int | None) -> None:
    """Pass on in both directions, each to its own end; of the client's at most ``body`` bytes."""
    others = {client: server, server: client}
    ends = {end.fileno(): end for end in others if end is server or body != 0}
    poll = select.poll()
    for number in ends:
        poll.register(number, select.POLLIN)
    while ends:
        ready = poll.poll(_IDLE_SECONDS * 1000)
        if not ready:
            return
        for number, _ in ready:
            source = ends[number]
            data = source.recv(_BLOCK if source is server or body is None else min(_BLOCK, body))
            others[source].sendall(data)
            if source is server:
                count.received += len(data)
            else:
                count.sent += len(data)
                body = None if body is None else body - len(data)
            if not data:
                with contextlib.suppress(OSError):
                    others[source].shutdown(socket.SHUT_WR)
            if not data or (source is client and body == 0):
                poll.unregister(number)
                del ends[number]
        if server.fileno() not in ends and body is not None:
            return  # the answer to the one request is complete


def _refuse(client: socket.socket, status: int, text: str) -> None:
    words = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}
    body = text.encode("ascii", "backslashreplace") + b"\n"
    head = (
        f"HTTP/1.1 {status} {words[status]}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    client.settimeout(_CONNECT_SECONDS)
    client.sendall(head.encode() + body)
    client.shutdown(socket.SHUT_WR)


def _contact(began: int, process: int, host: str, port: int | None, verdict: Verdict, found: str = "") -> Contact:
    decision = Decision.MEDIATED if verdict.allowed else Decision.DENIED
    literal = address(host)
    name = None if literal else host or None
    family = "inet6" if ":" in (found or host) else "inet"
    where = found or (str(literal) if literal else "")
    return Contact(began, process, "connect", family, "tcp", where, port, name, decision, verdict.rule)


def _ended(contact: Contact, count: _Count, ends: tuple[tuple[object, ...], tuple[object, ...]] | None) -> Contact:
    if ends is None:
        return replace(contact, finished=time_ns(), error=errno.EHOSTUNREACH)
    peer, own = ends
    return replace(
        contact,
        address=str(peer[0]),
        source=str(own[0]),
        source_port=int(str(own[1])),
        finished=time_ns(),
        error=0,
        sent=count.sent,
        received=count.received,
    )
