"""A Redis that answers a byte at a time, never, or what is no answer: limits count alone, and nobody waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.guard.gateway.limits.redis import Synced
from assay.guard.gateway.limits.shared import Shared
from assay.guard.gateway.settings.around import Redis
from gateway_making import until
from guard.gateway.limits.test_redis import SMALL


@contextlib.contextmanager
def answering(said: bytes, *, slowly: bool) -> Iterator[str]:
    """A server on loopback that says this to everybody, again and again."""
    over = threading.Event()

    def talk(one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            while not over.is_set() and one.recv(65536):
                while not over.is_set():
                    for at in range(len(said)):
                        one.sendall(said[at : at + 1] if slowly else said)
                        if slowly and over.wait(0.2):
                            return
                    if not slowly:
                        break

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"redis://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)


def test_an_answer_without_end_holds_up_no_end(tmp_path: Path) -> None:
    with answering(b"*4\r\n$999999\r\n", slowly=True) as url:
        counters = Shared(str(tmp_path / "c"), SMALL, synced=True)
        synced = Synced(counters, Redis(url=url))
        synced.start()
        until(lambda: synced._turn.locked(), "a round is under way")
        stopping = threading.Thread(target=synced.stop, daemon=True)
        stopping.start()
        stopping.join(60)
        assert not stopping.is_alive()
        assert counters.rate(b"r", 1.0, 1.0, 1) == 0.0
        counters.close()


@pytest.mark.parametrize(
    "said",
    [
        b"+OK\r\n",
        b"-NOSCRIPT no\r\n",
        b"-OOM full\r\n",
        b"*0\r\n",
        b"*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        b"*4\r\n:1\r\n$3\r\n0-0\r\n*1\r\n*2\r\n$1\r\nx\r\n*1\r\n$4\r\nfrom\r\n*0\r\n",
        b"*4\r\n:1\r\n$1\r\n\xff\r\n*0\r\n*0\r\n",
        b"*4\r\n:1\r\n$3\r\n0-0\r\n*0\r\n*1\r\n*1\r\n$1\r\nx\r\n",
        b"*4\r\n:1\r\n$3\r\n0-0\r\n*0\r\n*1\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$-5\r\n",
        b"%1\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_costs_a_round_and_no_count(tmp_path: Path, said: bytes) -> None:
    with answering(said, slowly=False) as url:
        counters = Shared(str(tmp_path / "c"), SMALL, synced=True)
        synced = Synced(counters, Redis(url=url))
        assert counters.spend(b"q", 0, 3, 10) == 7
        for _ in range(2):
            synced.sync()
        assert synced.rounds + synced.failed == 2
        assert counters.spend(b"q", 0, 3, 10) == 4 and counters.rate(b"r", 1.0, 1.0, 1) == 0.0
        synced.stop()
        counters.close()
