"""Two machines and a real Redis: what they count together, what they do without it, and that nothing counts twice."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.errors import UsageError
from assay.guard.gateway import limits
from assay.guard.gateway.limits.file import Shape
from assay.guard.gateway.limits.periods import period_of
from assay.guard.gateway.limits.redis import Synced
from assay.guard.gateway.limits.shared import Shared
from assay.guard.gateway.settings.around import Redis
from assay.guard.gateway.settings.words import Seconds
from gateway_making import PATIENCE, free_port, until


def steady() -> float:
    """What windows and rates count by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


SMALL = Shape(quotas=1024, windows=1024, rates=1024, inside=64)


class Server:
    """A redis-server on a unix socket, which can be stopped, frozen and started again."""

    def __init__(self, folder: Path, *options: str, keep: bool = False) -> None:
        self.path = str(folder / "r.sock")
        self.folder = folder
        kept = ("--appendonly", "yes", "--appendfsync", "always") if keep else ("--save", "")
        self.options = ("--port", "0", "--unixsocket", self.path, "--dir", str(folder), *kept, *options)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        self.process = process = subprocess.Popen([program, *self.options], stdout=subprocess.DEVNULL)
        until(lambda: self.answers() or process.poll() is not None, "redis-server starts")
        assert process.poll() is None, "redis-server has ended"

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.path)
            return True
        return False

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        Path(self.path).unlink(missing_ok=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    made = Server(tmp_path)
    yield made
    made.stop()


@contextlib.contextmanager
def machine(folder: Path, name: str, url: str, **more: Any) -> Iterator[tuple[Shared, Synced]]:
    """Waits for a Redis that is there, however busy this place is; one that is not there is told at once."""
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr(limits.redis, "PATIENCE", PATIENCE)
        counters = Shared(str(folder / name), SMALL, synced=True)
        synced = Synced(counters, Redis(url=url, **more))
        try:
            yield counters, synced
        finally:
            synced.stop()
            counters.close()


def rounds(*machines: Synced) -> None:
    """Each tells and hears everything, and what it asks for because of that."""
    for _ in range(5):
        for one in machines:
            assert one.sync()


def used(counters: Shared, key: bytes = b"q") -> float:
    return 1e6 - counters.spend(key, period_of(time.time(), "month"), 0, 1e6)


def spend(counters: Shared, amount: float, key: bytes = b"q") -> None:
    assert counters.spend(key, period_of(time.time(), "month"), amount, 1e6) >= 0


def test_two_machines_count_as_one(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (a, sa), machine(tmp_path, "b", server.url) as (b, sb):
        rounds(sa, sb)
        now = steady()
        for counters, times in ((a, 30), (b, 12)):
            for _ in range(times):
                counters.window(b"w", now, 3600)
            assert counters.rate(b"r", now, 100.0, 50, times) == 0.0
            spend(counters, times)
        rounds(sa, sb)
        for counters in (a, b):
            assert counters.window(b"w", steady(), 3600, 0) == 42
            assert counters.rate(b"r", steady(), 100.0, 50, 9) > 0
            assert counters.rate(b"r", steady(), 100.0, 50, 8) == 0.0
            assert used(counters) == 42
            rounds(sa, sb)
            assert counters.rate(b"r", steady(), 100.0, 50, 1) > 0
            counters.rate(b"r", steady(), 100.0, 1 << 62, -8)
            rounds(sa, sb)
        spend(a, -10)
        rounds(sa, sb)
        assert used(a) == used(b) == 32
        assert a.window(b"w", steady(), 3600, 0) == b.window(b"w", steady(), 3600, 0) == 42


def test_overshoot_is_what_passes_in_one_round(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (a, sa), machine(tmp_path, "b", server.url) as (b, sb):
        rounds(sa, sb)
        accepted = 0
        for _ in range(60):
            for counters in (a, b):
                accepted += sum(counters.window(b"w", steady(), 600) <= 100 for _ in range(3))
            sa.sync()
            sb.sync()
        assert 100 <= accepted <= 100 + 2 * 3


def test_a_machine_that_comes_later_knows_what_was_used(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (a, sa):
        spend(a, 70)
        rounds(sa)
        with machine(tmp_path, "b", server.url) as (b, sb):
            rounds(sb, sa)
            assert used(b) == 70
            spend(b, 5)
            rounds(sb, sa)
            assert used(a) == used(b) == 75
        with machine(tmp_path, "b", server.url) as (b, sb):  # restarted, with its file
            rounds(sb, sa)
            assert used(a) == used(b) == 75


def test_redis_stops_and_nothing_is_lost_or_counted_twice(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that keeps nothing: after each restart the machines tell it what is true."""
    with machine(tmp_path, "a", server.url) as (a, sa), machine(tmp_path, "b", server.url) as (b, sb):
        rounds(sa, sb)
        for turn in range(1, 4):
            spend(a, 10)
            a.window(b"w", steady(), 3600, 2)
            rounds(sa, sb)
            with caplog.at_level(logging.WARNING):
                server.stop()
                assert not sa.sync() and not sa.sync() and not sb.sync()
                assert not sa.connected
                spend(b, 1)
                spend(a, 1)
                b.window(b"w", steady(), 3600)
                assert not sb.sync()
                server.start()
                rounds(sa, sb)
            assert used(a) == used(b) == 12 * turn
            assert a.window(b"w", steady(), 3600, 0) == b.window(b"w", steady(), 3600, 0) == 3 * turn
        assert caplog.text.count("does not answer") == caplog.text.count("answers again") == 6
        assert not a.refusing


def test_a_redis_that_lost_everything_is_told_what_nobody_uses_at_the_moment(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (a, sa):
        spend(a, 70)
        rounds(sa)
        server.stop()
        server.start()
        rounds(sa)
        with machine(tmp_path, "b", server.url) as (b, sb):
            rounds(sb)
            assert used(b) == 70


def test_a_message_that_arrived_although_nobody_said_so_counts_once(server: Server, tmp_path: Path) -> None:
    """Answers that get lost on the way: a proxy that drops them, as a time-out does."""
    lossy = Lossy(server.path, str(tmp_path / "l.sock"))
    try:
        with machine(tmp_path, "a", f"unix://{lossy.path}") as (a, sa), machine(tmp_path, "b", server.url) as (b, sb):
            rounds(sa, sb)
            total = 0
            for turn in range(1, 6):
                spend(a, turn)
                a.window(b"w", steady(), 3600, turn)
                a.rate(b"r", steady(), 1000.0, 100, turn)
                total += turn
                lossy.losing = True
                assert not sa.sync()
                lossy.losing = False
                rounds(sb, sa)
            assert used(a) == used(b) == total
            assert b.window(b"w", steady(), 3600, 0) == total
            assert b.rate(b"r", steady(), 1000.0, 100, 100 - total + 1) > 0
            assert b.rate(b"r", steady(), 1000.0, 100, 100 - total) == 0.0
    finally:
        lossy.close()


class Lossy:
    """Passes on what is asked, and while it is losing, breaks the connection instead of answering."""

    def __init__(self, target: str, path: str) -> None:
        self.target, self.path, self.losing = target, path, False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if client.recv(1, socket.MSG_PEEK) == b"":
                client.close()
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self.target)
            while data := client.recv(1 << 20):
                server.sendall(data)
                answer = server.recv(1 << 20)
                if self.losing and b"EVALSHA" in data:
                    return
                client.sendall(answer)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self.path)
        self._thread.join()
        self._listener.close()


def test_closed_refuses_after_a_while_and_opens_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"gone": "closed", "after": Seconds(3600)}
    with machine(tmp_path, "a", server.url, **more) as (a, sa):
        assert sa.sync() and not a.refusing
        server.stop()
        assert not sa.sync() and not a.refusing
        later = time.time_ns() + 3601 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: later)
        assert a.refusing
        server.start()
        assert sa.sync() and not a.refusing


def test_the_thread_syncs_and_a_clean_stop_tells_the_last(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "b", server.url) as (b, sb):
        rounds(sb)
        with machine(tmp_path, "a", server.url, every=Seconds(0.01)) as (a, sa):
            sa.start()
            until(lambda: sa.rounds >= 3, "three rounds")
            assert sa.connected
            spend(a, 3)
        rounds(sb)
        assert used(b) == 3


def test_counting_never_waits_for_a_redis_that_hangs(server: Server, tmp_path: Path) -> None:
    import signal

    with machine(tmp_path, "a", server.url, every=Seconds(0.01)) as (a, sa):
        assert sa.sync()
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            sa.start()
            until(sa._turn.locked, "it waits for an answer")
            assert [a.window(b"w", steady(), 3600) for _ in range(1000)] == list(range(1, 1001))
            assert sa._turn.locked()
        finally:
            server.process.send_signal(signal.SIGCONT)


def test_a_password_is_needed_and_a_wrong_one_is_an_outage(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = Server(tmp_path, "--requirepass", "s3cret")
    try:
        for url, works in (
            (f"unix://:s3cret@{server.path}", True),
            (f"unix://:wrong@{server.path}", False),
            (server.url, False),
        ):
            with machine(tmp_path, "a", url) as (_, synced):
                assert synced.sync() is works
    finally:
        server.stop()


def test_tls(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make_certificate(key, certificate)
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    while True:
        port = free_port()
        try:
            server = Server(tmp_path, "--tls-port", str(port), *files, "--tls-auth-clients", "no")
            break
        except AssertionError:
            if port_is_free(port):  # it was not that somebody else has taken it in the meantime
                raise
    try:
        for query, works in ((f"?ssl_ca_certs={certificate}", True), ("", False)):
            with machine(tmp_path, "a", f"rediss://127.0.0.1:{port}/0{query}") as (_, synced):
                assert synced.sync() is works
    finally:
        server.stop()


def port_is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def make_certificate(key: Path, certificate: Path) -> None:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    os.chmod(key, 0o600)


def test_urls_that_are_none(tmp_path: Path) -> None:
    counters = Shared(str(tmp_path / "a"), SMALL, synced=True)
    for url in ("http://127.0.0.1", "redis", "redis://127.0.0.1:port"):
        with pytest.raises(UsageError, match="redis"):
            Synced(counters, Redis(url=url))
    counters.close()


def test_what_others_write_is_never_believed_blindly(server: Server, tmp_path: Path) -> None:
    import msgspec
    import redis

    client = redis.Redis.from_url(server.url)
    with machine(tmp_path, "a", server.url) as (a, sa):
        rounds(sa)
        spend(a, 1)
        month = period_of(time.time(), "month")
        for message in (
            b"",
            b"\xc1",
            b"\x95\x90\x90\x90\xc2\x90",
            msgspec.msgpack.encode([[[0, 0, 60, 5], [1, 1, 0, 5], [1, 1, 60, -5]], [[0, 0, 5]], [], False]),
            msgspec.msgpack.encode([[], [], [[1, 1, -1, 5.0], [1, 1, month, math.nan], [1, 1, 1 << 62, 1.0]], False]),
            msgspec.msgpack.encode([[], [[3, 3, -(1 << 62)], [4, 4, (1 << 63) - 1]], [[1, 1, month, -1e300]], False]),
        ):
            client.xadd("assay:news", {"from": "other", "news": message})
        client.sadd("assay:machines", "other")
        client.hset("assay:quotas:other", mapping={"zz": "1", "0" * 32: "x:y", "f" * 32: f"{month}:nan"})
        rounds(sa)
        assert used(a) == 1
    client.close()
