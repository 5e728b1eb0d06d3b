"""What ordinary programs do over the network goes on behind the walls as it went without them."""

from __future__ import annotations

import ipaddress
import sys
import textwrap
from contextlib import ExitStack

import pytest

from assay.collect.trace.interface import Decision
from assay.guard.sandbox.network import NETWORKS
from gateway_making import until
from guard.sandbox.network import outside

BOTH = pytest.mark.parametrize("mechanism", ["namespace", "landlock+mediation"])
HERE = [ipaddress.ip_address("127.0.0.1")]
NAMES = {"good.example": HERE, "evil.example": HERE, "files.good.example": HERE}


ASKED: list[str] = []


def lookup(name):
    ASKED.append(name)
    if name not in NAMES:
        raise OSError("no such name")
    return NAMES[name]


def run(code, folder, *, mechanism, network, **more):
    command = [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]
    trace, text = outside.step(command, folder, network=network, mechanism=mechanism, lookup=lookup, **more)
    assert trace.exit_code == 0, text
    assert not [gap for gap in trace.gaps if gap.name == "defect"], trace.gaps
    return trace, text.split()


@pytest.fixture
def server():
    with ExitStack() as stack:
        yield outside.closing(stack, outside.tcp())


@BOTH
def test_names_of_the_list_are_resolved_and_logged(mechanism, tmp_path, server):
    ASKED.clear()
    trace, words = run(
        f"""
        import socket
        with socket.create_connection(("good.example", {server.port})) as connection:
            print(connection.recv(9).decode())
        for name in ("evil.example", "other.example", "metadata.google.internal"):
            try:
                socket.getaddrinfo(name, 80)
            except socket.gaierror as error:
                print(error.errno)
        """,
        tmp_path,
        mechanism=mechanism,
        # evil.example leads to this machine, which only an address may.
        network=[f"good.example:{server.port}", f"127.0.0.1:{server.port}", "metadata:80"],
    )
    assert words[0] == "hello" and set(words[1:]) == {"-2"}
    assert set(ASKED) == {"good.example"}  # a name that is not listed is never passed on: it could carry data out
    asked = {item.host: (item.decision, item.rule) for item in trace.contacts if item.call == "dns"}
    assert asked["good.example"] == (Decision.MEDIATED, f"net:good.example:{server.port}")
    assert asked["other.example"] == asked["evil.example"] == (Decision.DENIED, "net:not-listed")
    assert asked["metadata.google.internal"] == (Decision.DENIED, "metadata")
    [contact] = [item for item in trace.contacts if item.port == server.port]
    assert (contact.host, contact.error, contact.decision) == ("good.example", 0, Decision.MEDIATED)
    assert all(item.process == 0 for item in trace.contacts)


@BOTH
def test_a_name_that_leads_into_this_machine_leads_nowhere(mechanism, tmp_path, server):
    trace, words = run(
        f"""
        import socket
        try:
            socket.create_connection(("evil.example", {server.port}))
        except OSError as error:
            print(type(error).__name__)
        """,
        tmp_path,
        mechanism=mechanism,
        network=[f"evil.example:{server.port}"],
    )
    assert words == ["gaierror"] and server.came == 0
    assert {item.rule for item in trace.contacts if item.host == "evil.example"} == {"rebinding"}


@BOTH
@pytest.mark.parametrize("fetch", [True, False])
def test_clients_that_do_not_block(mechanism, fetch, tmp_path, server):
    if mechanism == "namespace" and not fetch:
        fetch = True  # the plan never chooses it then
    _, words = run(
        f"""
        import asyncio, os, socket
        async def main():
            many = [asyncio.open_connection("127.0.0.1", {server.port}) for _ in range(20)]
            for reader, writer in await asyncio.gather(*many):
                assert await reader.read() == b"hello"
                writer.close()
            # Both families on one port: each must have the option that keeps them apart.
            four = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            port = four.sockets[0].getsockname()[1]
            six = await asyncio.start_server(lambda reader, writer: writer.close(), "::", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
        asyncio.run(main())
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        os.set_inheritable(sock.fileno(), True)
        number = sock.fileno()
        sock.connect(("127.0.0.1", {server.port}))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        print(sock.fileno() == number, os.get_inheritable(number), sock.getblocking(), sock.getpeername()[1])
        sock.settimeout(60)
        print(sock.recv(9))
        """,
        tmp_path,
        mechanism=mechanism,
        network=[f"127.0.0.1:{server.port}"],
        **({} if fetch else {"pidfd_getfd": "no"}),
    )
    assert words == ["True", "True", "True", str(server.port), "b'hello'"] and server.came == 21


@BOTH
@pytest.mark.parametrize("fetch", [True, False])
def test_processes_of_a_step_talk_to_each_other(mechanism, fetch, tmp_path):
    more = {} if fetch or mechanism == "namespace" else {"pidfd_getfd": "no"}
    _, words = run(
        """
        import os, socket
        from multiprocessing.connection import Client, Listener
        for address, family in ((("127.0.0.1", 0), "AF_INET"), (os.environ["TMPDIR"] + "/own", "AF_UNIX")):
            with Listener(address, family, authkey=b"k") as listener:
                child = os.fork()
                if not child:
                    with Client(listener.address, authkey=b"k") as client:
                        client.send("hello")
                    os._exit(0)
                with listener.accept() as connection:
                    print(connection.recv())
                assert os.waitpid(child, 0)[1] == 0
        # As torch.distributed does: on all addresses of both families.
        with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            with socket.create_connection(("127.0.0.1", server.getsockname()[1])):
                print(server.accept()[1][0] == "::ffff:127.0.0.1")
        a, b = socket.socketpair()
        a.sendall(b"pair")
        print(b.recv(9).decode())
        """,
        tmp_path,
        mechanism=mechanism,
        network=[],
        **more,
    )
    assert words == ["hello", "hello", "True", "pair"]


def test_without_a_network_of_its_own_a_port_of_somebody_else_stays_closed(tmp_path, server):
    """Also when the step itself had it before."""
    trace, words = run(
        f"""
        import socket
        own = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(own.getsockname()).close()
        for port in ({server.port},):
            try:
                socket.create_connection(("127.0.0.1", port))
            except OSError as error:
                print(error.errno)
        """,
        tmp_path,
        mechanism="landlock+mediation",
        network=[],
    )
    assert words == ["13"] and server.came == 0
    assert {(item.decision, item.rule) for item in trace.contacts if item.port == server.port} == {
        (Decision.DENIED, "net:none")
    }


def test_the_proxy_is_the_exit_of_those_who_know_no_names(tmp_path, server):
    trace, words = run(
        f"""
        import os, socket
        from urllib.parse import urlsplit
        proxy = urlsplit(os.environ["https_proxy"])
        def ask(head, body=b""):
            with socket.create_connection((proxy.hostname, proxy.port)) as connection:
                connection.sendall(head.encode() + b"\\r\\n\\r\\n" + body)
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(4096), b""))
        print(ask("CONNECT good.example:{server.port} HTTP/1.1", b"12345").split(b"\\r\\n\\r\\n")[1].decode())
        print(ask("CONNECT evil.example:443 HTTP/1.1")[9:12].decode())
        print(ask("CONNECT 169.254.169.254:80 HTTP/1.1")[9:12].decode())
        print(ask("GET http://good.example@evil.example/ HTTP/1.1")[9:12].decode())
        print(os.environ["HTTP_PROXY"] == os.environ["all_proxy"], os.environ["no_proxy"].split(",")[0])
        """,
        tmp_path,
        mechanism="namespace",
        network=[f"good.example:{server.port}", f"127.0.0.1:{server.port}"],
    )
    assert words == ["hello", "403", "403", "400", "True", "localhost"]
    until(lambda: len(server.got) >= 5, "what the step sent is read")
    assert server.got == b"12345"
    named = {item.host or item.address: item for item in trace.contacts if item.call == "connect" and item.port != 3128}
    good = named["good.example"]
    assert (good.decision, good.sent, good.received, good.address) == (Decision.MEDIATED, 5, 5, "127.0.0.1")
    assert named["evil.example"].decision is Decision.DENIED
    assert named["169.254.169.254"].rule == "metadata"
    assert "proxy:malformed" in {item.rule for item in trace.contacts}


def test_localhost_of_the_list_is_this_machine_unless_the_step_listens_itself(tmp_path, server):
    _, words = run(
        f"""
        import socket
        print(socket.create_connection(("localhost", {server.port})).recv(9).decode())
        own = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(own.getsockname())
        own.accept()[0].send(b"mine")
        print(client.recv(9).decode())
        same = socket.create_server(("127.0.0.1", {server.port}))
        client = socket.create_connection(same.getsockname())
        same.accept()[0].send(b"mine")
        print(client.recv(9).decode())
        """,
        tmp_path,
        mechanism="namespace",
        network=["localhost:*"],
    )
    assert words == ["hello", "mine", "mine"] and server.came == 1


def test_an_open_network_is_only_recorded(tmp_path, server):
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import socket; socket.create_connection(('127.0.0.1', {server.port}))",
    ]
    trace, _ = outside.step(command, tmp_path, network=None)
    assert trace.exit_code == 0
    contact = next(item for item in trace.contacts if item.port == server.port)
    assert (contact.decision, contact.rule) == (Decision.SEEN, "")
    until(lambda: server.came, "the step, which may have ended before the server looked, has been there")
    assert server.came == 1


def test_each_way_that_a_plan_names_is_there():
    assert {"namespace", "landlock+mediation", "no-sockets", "open", "nothing"} == set(NETWORKS)
