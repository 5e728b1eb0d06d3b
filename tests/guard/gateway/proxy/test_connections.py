"""TLS, client certificates, hot reload, unix sockets, WebSockets: real ones, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import small_ca
from assay.errors import DocumentError, UsageError
from assay.guard.gateway.interface import BODY, Certificate
from assay.guard.gateway.proxy import listen
from assay.guard.gateway.settings.addresses import address
from guard.gateway.proxy.running import (
    INFER,
    PATIENCE,
    Rooms,
    Upstream,
    gate_of,
    post,
    proxy,
    request,
    settings_for,
    status_of,
    until,
)

NOW = datetime.now(UTC)
VALID: dict[str, Any] = {"start": NOW - timedelta(days=1), "end": NOW + timedelta(days=1)}


class Authority:
    def __init__(self, folder: Path, name: str = "root") -> None:
        self.root = small_ca.root(name, **VALID)
        self.folder = folder
        self.file = self.write(f"{name}.pem", self.root.pem)

    def write(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)

    def leaf(self, name: str, *, client: bool = False) -> tuple[str, str]:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        if client:
            names = [x509.DNSName("alice.example"), x509.UniformResourceIdentifier("spiffe://a/b")]
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        made = self.root.leaf(name, names=names, purposes=[purpose], **VALID)
        return self.write(f"{name}.crt", made.chain_pem), self.write(f"{name}.key", made.key_pem)

    def client(self, *pair: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.file)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if pair:
            context.load_cert_chain(*pair)
        return context


async def over_tls(place: Any, context: ssl.SSLContext) -> tuple[bytes, ssl.SSLObject]:
    reader, writer = await place.connect(ssl=context)
    shown = writer.get_extra_info("ssl_object")
    writer.write(post(b"{}"))
    try:
        return await reader.read(), shown
    finally:
        writer.close()


def test_tls_is_new_and_speaks_http_1(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.leaf("server")

    async def run() -> None:
        async with proxy(tls={"certificate": certificate, "key": key}) as place:
            answer, shown = await over_tls(place, authority.client())
            assert status_of(answer) == 200
            assert shown.selected_alpn_protocol() == "http/1.1"
            assert shown.version() == "TLSv1.3"
            assert b"x-forwarded-proto: https" in place.upstream.received
            old = authority.client()
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert (await over_tls(place, old))[1].cipher()[0].startswith("ECDHE-")
            with pytest.warns(DeprecationWarning):
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await over_tls(place, old)
            assert status_of(await place.talk(post(b"{}"))) == 0
            assert place.upstream.received.count(b"POST") == 2
            assert [context.tls for context, _, _ in place.rooms.finished] == [True, True]

    asyncio.run(run())


def test_certificates_of_callers(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.leaf("server")
    tls = {"certificate": certificate, "key": key, "client-ca": authority.file, "client-certificates": "required"}

    async def run() -> None:
        async with proxy(tls=tls) as place:
            assert status_of((await over_tls(place, authority.client(*authority.leaf("alice", client=True))))[0]) == 200
            shown = place.rooms.finished[0][0].certificate
            assert shown is not None
            assert (shown.subject, shown.names) == ("CN=alice", ("DNS:alice.example", "URI:spiffe://a/b"))
            assert len(shown.digest) == 64 and time.time() < shown.not_after < time.time() + 1000 * 86400
            for pair in ((), stranger.leaf("mallory", client=True)):
                answer = b""
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    answer, _ = await over_tls(place, authority.client(*pair))
                assert answer == b""
            assert len(place.rooms.finished) == 1
        async with proxy(tls=tls | {"client-certificates": "optional"}) as place:
            assert status_of((await over_tls(place, authority.client()))[0]) == 200
            assert place.rooms.finished[0][0].certificate is None

    asyncio.run(run())


def test_certificates_are_taken_anew_and_open_connections_go_on(tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    certificate, key = first.leaf("server")

    async def run() -> None:
        async with proxy(tls={"certificate": certificate, "key": key}) as place:
            reader, writer = await place.connect(ssl=first.client())
            writer.write(post(b"{}", close=False))
            assert status_of(await reader.readuntil(b"{}")) == 200
            (tmp_path / "server.key").write_bytes(b"nonsense")  # what cannot be used changes nothing
            await asyncio.sleep(1.6)
            assert status_of((await over_tls(place, first.client()))[0]) == 200
            second.leaf("server")
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        assert status_of((await over_tls(place, second.client()))[0]) == 200
                        break
                    except ssl.SSLError:
                        await asyncio.sleep(0.1)
            writer.write(post(b"{}"))
            assert status_of(await reader.read()) == 200
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize("broken", ["certificate", "key", "client-ca"])
def test_tls_files_that_cannot_be_used(tmp_path: Path, broken: str) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.leaf("server")
    tls = {"certificate": certificate, "key": key, "client-ca": authority.file, "client-certificates": "optional"}

    async def run() -> None:
        with pytest.raises(UsageError, match="cannot be used"):
            async with proxy(tls=tls | {broken: str(tmp_path / "nowhere")}):
                pass

    asyncio.run(run())


def test_model_servers_over_tls_are_verified(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.leaf("model"))

    async def run() -> None:
        model = Upstream()
        server = await asyncio.start_server(model.serve, "127.0.0.1", 0, ssl=context)
        where = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with proxy(address=where, upstream_ca=authority.file) as place:
            assert status_of(await place.talk(post(b"{}"))) == 200
        async with proxy(address=where, upstream_ca=other.file) as place:
            assert status_of(await place.talk(post(b"{}"))) == 502
        assert model.received.count(b"POST") == 1
        server.close()

    asyncio.run(run())


# -- sockets ------------------------------------------------------------------------------------------------------


def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    mine, theirs = str(tmp_path / "gateway.sock"), str(tmp_path / "model.sock")

    async def run() -> None:
        model = Upstream()
        server = await asyncio.start_unix_server(model.serve, theirs)
        async with proxy(address=f"unix:{theirs}", sockets=[listen(f"unix:{mine}")]) as place:
            reader, writer = await asyncio.open_unix_connection(mine)
            writer.write(post(b"{}"))
            assert status_of(await reader.read()) == 200
            writer.close()
            assert place.rooms.finished[0][0].peer == "unix:"
            assert b"x-forwarded-for: unknown" in model.received
            with pytest.raises(UsageError, match="somebody does already"):
                listen(f"unix:{mine}")
        server.close()
        assert os.path.exists(mine)
        listen(f"unix:{mine}").close()  # nobody listens any more

    asyncio.run(run())


def test_places_to_listen_on(tmp_path: Path) -> None:
    with listen("127.0.0.1:0", reuse_port=True) as first:
        port = first.getsockname()[1]
        with listen(f"127.0.0.1:{port}", reuse_port=True) as second:
            assert second.getsockname()[1] == port
        with pytest.raises(UsageError, match="cannot listen"):
            listen(f"127.0.0.1:{port}")
    (tmp_path / "file").write_text("mine")
    for text in ("nonsense", "127.0.0.1:70000", "[::1", f"unix:{tmp_path}/file", f"unix:{tmp_path}/no/socket"):
        with pytest.raises(UsageError):
            listen(text)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["", "model", "ftp://m", "http://m/path", "http://u:p@m", "http://m:0", "http://m:99999"]
)
def test_addresses_of_model_servers(text: str) -> None:
    with pytest.raises(DocumentError):
        address(text)


def test_a_reload_takes_the_new_model_server_and_keeps_what_is_under_way() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            await request(reader, upstream.received)
            await go.wait()
            writer.write(upstream.answer)
            await writer.drain()

        new = Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
        other = await asyncio.start_server(new.serve, "127.0.0.1", 0)
        async with proxy(Upstream(script=script)) as place:
            reader, writer = await place.connect()
            writer.write(post(b"{}", close=False))
            await until(lambda: place.upstream.received)
            settings = settings_for(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")
            settings = msgspec.structs.replace(settings, sizes=msgspec.structs.replace(settings.sizes, count=6))
            place.server.gate.core = gate_of(settings, place.rooms).core
            place.server.reload(settings)
            go.set()
            assert (await reader.readuntil(b"{}")).endswith(b"{}")
            writer.write(post(b"{}"))
            assert (await reader.read()).endswith(b"new")
            assert status_of(await place.talk(post(b"{}", *(f"X-{i}: a" for i in range(6))))) == 431
            writer.close()
        other.close()

    asyncio.run(run())


# -- WebSockets -----------------------------------------------------------------------------------------------------


def test_websockets_pass_both_ways() -> None:
    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def run() -> None:
        async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=["v1"]) as model:  # type: ignore[list-item]
            where = f"http://127.0.0.1:{model.sockets[0].getsockname()[1]}"
            async with proxy(address=where, route={"websocket": True}) as place:
                url = f"ws://127.0.0.1:{place.port}{INFER}"
                async with websockets.connect(url, subprotocols=["v1"]) as connection:  # type: ignore[list-item]
                    assert connection.subprotocol == "v1"
                    for message in ("hello", os.urandom(100_000), os.urandom(250_000).hex()):
                        await connection.send(message)
                        assert await connection.recv() == message
                await place.settled(1)
                context = place.rooms.finished[0][0]
                assert (context.status, context.error) == (101, "")
                assert context.bytes_in > 300_000 < context.bytes_out
            for closed in ({"route": {"websocket": False}}, {"rooms": Rooms(needs=BODY), "route": {"websocket": True}}):
                async with proxy(address=where, **closed) as place:
                    with pytest.raises(websockets.InvalidStatus):
                        await websockets.connect(f"ws://127.0.0.1:{place.port}{INFER}")

    asyncio.run(run())


KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HELLO = (
    f"GET {INFER} HTTP/1.1\r\nHost: m\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def tunnelled(hello: bytes, accept: bytes) -> tuple[bytes, bytes, Any]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        await request(reader, upstream.received)
        writer.write(accept)
        upstream.received += await reader.read(1000)

    async def run() -> tuple[bytes, bytes, Any]:
        async with proxy(Upstream(script=script), route={"websocket": True}, timeouts={"idle": "300ms"}) as place:
            answer = await place.talk(hello)
            await place.settled(1)
            return answer, bytes(place.upstream.received), place.rooms.finished[0][0]

    return asyncio.run(run())


def test_a_tunnel_opens_only_where_both_agree() -> None:
    answer, _, context = tunnelled(HELLO, ACCEPT)
    assert status_of(answer) == 101
    assert (context.status, context.error) == (101, "idle")
    inner = b"GET /any/admin HTTP/1.1\r\nHost: m\r\n\r\n"
    for wrong in (
        ACCEPT.replace(b"s3p", b"s3q"),
        ACCEPT.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        ACCEPT.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: x\r\n\r\n"),
        ACCEPT.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
    ):
        answer, received, context = tunnelled(HELLO + inner, wrong)
        assert status_of(answer) == 502
        assert b"admin" not in received
    answer, received, _ = tunnelled(HELLO + inner, b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
    assert status_of(answer) == 426
    assert answer.count(b"HTTP/1.1 ") == 1  # what follows is neither tunnelled nor read as a request
    assert b"admin" not in received


@pytest.mark.parametrize("ended", [False, True])
def test_a_tunnel_does_not_outlive_its_callers_certificate(ended: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        await request(reader)
        writer.write(ACCEPT)
        while await reader.read(100):
            writer.write(b"x")

    async def run() -> None:
        async with proxy(Upstream(script=script), route={"websocket": True}) as place:
            reader, writer = await place.connect()
            async with asyncio.timeout(PATIENCE):
                await until(lambda: place.server.entrance.clients)
                (client,) = place.server.entrance.clients
                ends = time.time() + (1.5 if ended else 3000)  # not before the tunnel is open
                client.certificate = Certificate("CN=alice", (), "0" * 64, ends)
                writer.write(HELLO)
                assert status_of(await reader.readuntil(b"\r\n\r\n")) == 101
                if ended:
                    with contextlib.suppress(ConnectionError):
                        while await reader.read(100):
                            writer.write(b"y")  # a busy one ends too
                    await place.settled(1)
                    assert time.time() >= ends
                else:
                    writer.write(b"y")
                    assert await reader.readexactly(1) == b"x"
            writer.close()
            await place.settled(1)
            assert place.rooms.finished[0][0].error == ("certificate-ended" if ended else "")
            assert client.timer is None and place.rooms.left == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KEY.encode(), b"c2hvcnQ="),
        (KEY.encode(), b"%%%"),
        (b"Version: 13", b"Version: 8"),
        (b"Connection: Upgrade", b"Connection: keep-alive"),
        (b"websocket\r", b"websocket, h2c\r"),
        (b"GET", b"POST"),
    ],
)
def test_handshakes_that_are_none(old: bytes, new: bytes) -> None:
    answer, received, _ = tunnelled(HELLO.replace(old, new), ACCEPT)
    assert status_of(answer) == 400
    assert received == b""


def test_a_body_is_sent_again_where_nobody_can_have_read_it() -> None:
    """A model server that closes an idle connection while our request is on its way resets it."""
    import struct

    async def run() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
            while await request(reader, upstream.received) is not None:
                writer.write(upstream.answer)
                await writer.drain()
                if upstream.connections == 1:
                    raw = writer.get_extra_info("socket")
                    writer.transport.pause_reading()
                    while True:  # until the next request is there, unread
                        await asyncio.sleep(0.01)
                        try:
                            if raw._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                                break
                        except BlockingIOError:
                            continue
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return

        async with proxy(Upstream(script=script)) as place:
            assert [status_of(await place.talk(post(b"{}"))) for _ in range(2)] == [200, 200]
            assert place.upstream.connections == 2
            assert place.upstream.received.count(b"POST") == 2

    asyncio.run(run())
