"""What lies outside of a sandbox in the tests: servers that remember who came, and steps that are run against them."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path

from msgspec.structs import replace

from assay.collect.trace.interface import Launch
from assay.collect.trace.supervisor import UserNotification
from assay.guard.sandbox.interface import Isolation, Wanted
from assay.guard.sandbox.network import holding
from assay.guard.sandbox.network.destinations import parse
from assay.guard.sandbox.plan import plan
from assay.guard.sandbox.probe import probe
from assay.guard.sandbox.software import programs
from assay.guard.sandbox.walls import put_up


class Server:
    """Greets whoever connects, and remembers what it was sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.came = 0
        self.got = b""
        if sock.type != socket.SOCK_DGRAM:
            sock.listen(512)
        self.port = sock.getsockname()[1] if sock.family == socket.AF_INET else None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                if self.socket.type == socket.SOCK_DGRAM:
                    self.got += self.socket.recv(2048)
                    continue
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.came += 1
            with peer:
                try:
                    peer.sendall(b"hello")
                    peer.shutdown(socket.SHUT_WR)
                    while data := peer.recv(4096):
                        self.got += data
                except OSError:
                    continue

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def tcp() -> Server:
    return Server(socket.create_server(("127.0.0.1", 0)))


def udp() -> Server:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return Server(sock)


def unix(address: str) -> Server:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(address)
    return Server(sock)


def attacker(folder: Path) -> str:
    """The hostile program, compiled."""
    assert shutil.which("gcc"), "these tests need gcc"
    source = Path(__file__).with_name("attacker.c")
    subprocess.run(["gcc", "-O1", "-pthread", "-o", folder / "attacker", source], check=True)
    return str(folder / "attacker")


def step(
    command, temporary, *, network=(), isolation=Isolation.AUTO, mechanism=None, lookup=None, seconds=600, **places
):
    """(the trace, what it wrote) of a command behind the walls; ``mechanism``: of `Plan.network`, instead of the best.
    ``lookup``: whom the monitor asks for names; then there are only the network's walls. ``places``: what `probe` is to
    have found.
    """
    place = probe()
    place = replace(place, works={**place.works, **{name.replace("_", "-"): why for name, why in places.items()}})
    output = os.path.join(temporary, "output")
    wanted = Wanted(
        isolation=isolation,
        network=None if network is None else tuple(map(parse, network)),
        temporary=str(temporary),
        directory=str(temporary),
        execute=programs(command, str(temporary), os.environ["PATH"]),
        code=(command[0], os.path.dirname(command[0])),
        installation=(sys.prefix, sys.base_prefix),
    )
    planned = plan(wanted, place)
    if lookup is None:
        walls = put_up(wanted, place, planned if mechanism is None else replace(planned, network=mechanism))
    else:
        kind = {kind.name: kind for kind in (holding.Namespace, holding.Mediation)}[mechanism]
        walls = kind(lookup).walls(wanted, place)

    def to_file() -> None:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, 1)
        os.close(handle)

    try:
        variables = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary), **walls.environment}
        launch = Launch(
            command, variables, str(temporary), (to_file, *walls.confine), seconds=seconds, hook=False, linger=1
        )
        trace = UserNotification().run(launch, walls.arbiter)
    finally:
        walls.close()
    with open(output, encoding="utf-8") as file:
        return trace, file.read()


def in_child(function):
    """What a function returns in a process of its own."""
    reads, writes = os.pipe()
    for name in ("ascii", "idna", "latin-1"):  # who becomes somebody else cannot read Python's own folder any more
        "".encode(name)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reads)
            probe.cache_clear()
            result = pickle.dumps(function())
            with open(writes, "wb") as file:
                file.write(result)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writes)
    with open(reads, "rb") as file:
        told = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return pickle.loads(told)


def closing(stack: ExitStack, server: Server) -> Server:
    stack.callback(server.close)
    return server
