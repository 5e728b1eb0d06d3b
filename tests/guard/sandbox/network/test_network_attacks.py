"""A hostile program tries every way out of the network that we know of: none works, and each is named."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from assay.collect.trace.interface import Decision
from assay.guard.sandbox.interface import Isolation
from collect.trace.steps import plain_user
from collect.trace.test_trace_places import become, like_docker
from guard.sandbox.network import outside

RACES = int(os.environ.get("ASSAY_RACES", "2000"))
"""100000 is what the issue asks for; it takes about a minute for each place."""

PLACES = {
    "root": ("namespace", lambda: None, {}),
    "user": ("namespace", lambda: become(plain_user()), {}),
    "docker": ("landlock+mediation", lambda: (become(plain_user()), like_docker()), {}),
    "root without namespaces": ("landlock+mediation", lambda: None, {"network_namespace": "no"}),
    "old kernel": ("no-sockets", lambda: None, {}),
}


@pytest.fixture(scope="module")
def program():
    # Where an ordinary user may go, unlike pytest's own folders.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield outside.attacker(Path(folder))


class World:
    """What the step may reach, and what it may not."""

    def __init__(self, stack: ExitStack) -> None:
        self.folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(self.folder, 0o755)
        self.allowed, self.denied = (outside.closing(stack, outside.tcp()) for _ in range(2))
        self.udp = outside.closing(stack, outside.udp())
        self.path = f"{self.folder}/outside"
        self.unix = outside.closing(stack, outside.unix(self.path))
        os.chmod(self.path, 0o777)
        self.name = f"assay-outside-{os.getpid()}"
        self.abstract = outside.closing(stack, outside.unix("\0" + self.name))
        self.own = f"{self.folder}/own"
        os.mkdir(self.own)
        os.chmod(self.own, 0o777)

    def command(self, program: str, races: int) -> list[str]:
        ports = [str(server.port) for server in (self.allowed, self.denied, self.udp)]
        return [program, *ports, self.path, self.name, self.own, str(races)]


def attack(program, place, isolation, *, listed, races=200):
    mechanism, enter, more = PLACES[place]
    with ExitStack() as stack:
        world = World(stack)
        network = [f"127.0.0.1:{world.allowed.port}"] if listed else []

        def run():
            enter()
            return outside.step(
                world.command(program, races),
                world.own,
                network=network,
                isolation=isolation,
                mechanism=mechanism,
                seconds=600 + races / 100,
                **more,
            )

        trace, text = outside.in_child(run)
        results = dict(line.rsplit(" ", 1) for line in text.splitlines())
        return world, trace, results


def must_hold(world, trace, results, place):
    mechanism = PLACES[place][0]
    assert trace.exit_code == 0 and not [gap for gap in trace.gaps if gap.name == "defect"], (trace.gaps, results)
    inside = mechanism == "namespace"
    assert results.pop("inherited") == "0"
    stopped = [
        *("udp-sendto", "fast-open-connect", "raw", "raw6", "ping", "mptcp", "sctp", "packet", "vsock", "audit", "alg"),
        *("unix-datagram", "unix-datagram-pair", "high-bits", "io_uring", "unix-outside", "unix-link"),
        *("unix-hard-link-made", "unix-hard-link", "unix-parent", "unix-abstract", "again", "denied", "any"),
        *("metadata", "world", "mapped", "mapped-metadata", "device", "short", "no-memory", "not-a-socket", "setns"),
        *("source-route", "name", "fast-open-sendto", "fast-open-sendmsg", "fast-open-sendmmsg", "udp-connect"),
    ]
    assert not [name for name in stopped if results[name] == "0"], results
    assert results["dns-direct"] == "3"  # there is no such name
    assert results["race-won"] == "0"
    assert (world.denied.came, world.unix.came, world.udp.got, world.denied.got) == (0, 0, b"", b"")
    assert world.abstract.got == b""
    denied = [contact for contact in trace.contacts if contact.decision is Decision.DENIED]
    rules = {contact.rule for contact in denied}
    assert {"socket:inet-raw", "socket:packet", "socket:vsock", "socket:unix", "unix:outside", "metadata"} <= rules or (
        mechanism == "no-sockets" and {"socket:inet-tcp", "socket:packet", "unix:outside"} <= rules
    )
    names = {contact.host for contact in denied if contact.call == "dns"}
    assert {"data.exfil.example", "secret.exfil.example"} <= names
    # A container's own filter comes before ours, and nobody hears of what it refuses.
    assert place == "docker" or "io_uring_setup" in {
        call.call for call in trace.calls if call.decision is Decision.DENIED
    }
    if mechanism != "no-sockets":
        assert "source-route" in {call.rule for call in trace.calls}
        assert ("192.0.2.1", 443) in {(contact.address, contact.port) for contact in denied}
        assert ("169.254.169.254", 80) in {(item.address, item.port) for item in denied if item.rule == "metadata"}
        if not inside:  # there, it is a loopback of its own, where nobody listens
            assert ("127.0.0.1", world.denied.port) in {(item.address, item.port) for item in denied}
            assert results["bind-elsewhere"] == str(errno.EACCES)
            assert results["bound-at"].startswith("127.0.0.1:")
            assert (
                results["listens-at"].startswith(("127.0.0.1:", "::ffff:127.0.0.1:")) or results["listens-at"] == ":::0"
            )
        assert results["own-connect"] == "0"
    assert results["unix-own"] == "0"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("isolation", [Isolation.AUTO, Isolation.STRICT])
def test_without_a_network_nothing_is_reached(program, place, isolation):
    world, trace, results = attack(program, place, isolation, listed=False)
    must_hold(world, trace, results, place)
    assert results["allowed"] != "0" and world.allowed.came == 0
    assert results["race-connected"] == "0" or PLACES[place][0] == "namespace"  # there, in a loopback of its own
    assert {contact.rule for contact in trace.contacts if contact.host} <= {"net:none"}


@pytest.mark.parametrize("place", [place for place in PLACES if place != "old kernel"])
def test_with_an_allow_list_only_that_is_reached(program, place):
    world, trace, results = attack(program, place, Isolation.AUTO, listed=True, races=RACES)
    must_hold(world, trace, results, place)
    assert results["allowed"] == "0" and results["allowed-read"] == "0"
    assert int(results["race-connected"]) > 0  # the race was run: it was won only where it was allowed
    contact = next(item for item in trace.contacts if item.rule == f"net:127.0.0.1:{world.allowed.port}")
    assert (contact.decision, contact.error, contact.address) == (Decision.MEDIATED, 0, "127.0.0.1")
    assert contact.source == "127.0.0.1" and contact.source_port
