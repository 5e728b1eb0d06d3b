"""Who connects, before it has said anything: bounds, handshakes, addresses, sockets that run out."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard.gateway.proxy.running import PATIENCE, post, proxy, status_of, until
from guard.gateway.proxy.test_connections import Authority, over_tls


def reset(raw: socket.socket) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def test_a_caller_who_is_gone_before_it_has_an_address_is_nobody() -> None:
    """Its request can still be read, and it must not count as one of the local socket, where a proxy may be trusted."""

    async def run() -> None:
        async with proxy() as place:
            for _ in range(5):
                raw = socket.create_connection(("127.0.0.1", place.port))
                raw.sendall(post(b"{}", "X-Forwarded-For: 192.0.2.1"))
                reset(raw)  # in this turn of the loop, so before the proxy accepts it
            await asyncio.sleep(0.3)
            assert {context.peer for context, _, _ in place.rooms.finished} <= {"127.0.0.1"}
            assert status_of(await place.talk(post(b"{}"))) == 200

    asyncio.run(run())


def test_handshakes_that_never_end_count_among_the_connections(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).leaf("server")

    async def run() -> None:
        more: dict[str, Any] = {"tls": {"certificate": certificate, "key": key}, "connections_by_address": 3}
        async with proxy(**more) as place:
            held = [await place.connect() for _ in range(10)]
            ended = [asyncio.create_task(reader.read()) for reader, _ in held]
            await until(lambda: sum(task.done() for task in ended) == 7)
            assert place.server.figures()["connections_refused"] == 7
            for _, writer in held:
                writer.close()
            await until(lambda: not place.server.figures()["connections_open"])

    asyncio.run(run())


def test_who_connects_while_there_are_no_descriptors_is_accepted_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the loop does not turn idly meanwhile: the system says again and again that somebody is there."""
    authority = Authority(tmp_path)
    certificate, key = authority.leaf("server")

    def told() -> list[object]:
        return [one for one in caplog.records if "nobody can be accepted" in one.message]

    async def run() -> None:
        async with proxy(tls={"certificate": certificate, "key": key}) as place:
            with socket.socket() as raw:
                raw.setblocking(False)
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                try:
                    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", place.port))
                    await until(told)
                    await asyncio.sleep(0.2)
                    assert not place.server.figures()["connections_open"]
                    assert len(told()) == 1
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await until(lambda: place.server.figures()["connections_open"])
            assert status_of((await over_tls(place, authority.client()))[0]) == 200

    asyncio.run(run())


def test_a_reload_ends_tls_and_begins_it(tmp_path: Path) -> None:
    """Whose settings no longer had TLS was served with the old certificate, as there were no files to have changed."""
    authority = Authority(tmp_path)
    certificate, key = authority.leaf("server")

    async def run() -> None:
        async with proxy(tls={"certificate": certificate, "key": key}) as place:
            assert status_of((await over_tls(place, authority.client()))[0]) == 200
            without = msgspec.structs.replace(place.settings, tls=None)
            for settings in (without, place.settings, without):
                place.server.reload(settings)
                async with asyncio.timeout(PATIENCE):
                    while True:
                        try:
                            if settings.tls is None:
                                if status_of(await place.talk(post(b"{}"))) == 200:
                                    break
                            elif status_of((await over_tls(place, authority.client()))[0]) == 200:
                                break
                        except (ssl.SSLError, ConnectionError):
                            await asyncio.sleep(0.1)

    asyncio.run(run())
