"""The walls of each way to hold the network: what the child does before it starts, and who decides afterwards."""

from __future__ import annotations

import contextlib
import socket

from assay.guard.sandbox import namespaces
from assay.guard.sandbox.interface import Destination, Place, Walls, Wanted
from assay.guard.sandbox.network import dns
from assay.guard.sandbox.network.arbiter import Mediator
from assay.guard.sandbox.network.background import Answers
from assay.guard.sandbox.network.names import Names
from assay.guard.sandbox.network.proxy import Proxy
from assay.guard.sandbox.network.stub import Lookup

PROXY_PORT = 3128
"""In a network that nobody else is in, so that it is always free."""
_HERE = "localhost,127.0.0.0/8,127.0.0.1,::1"


class Mediation:
    """Connections are made in the step's place; Landlock's rules lie beneath. It works without namespaces."""

    name = "landlock+mediation"
    streams = True

    def __init__(self, lookup: Lookup = dns.lookup) -> None:
        self._lookup = lookup

    def walls(self, wanted: Wanted, place: Place) -> Walls:
        """No environment: programs connect as ever."""
        arbiter = _mediator(wanted, place, self._lookup, streams=self.streams)
        return Walls((), arbiter, close=arbiter.close)


class NoSockets(Mediation):
    """Without Landlock: the step has no TCP sockets at all."""

    name = "no-sockets"
    streams = False


class Namespace:
    """An empty network of its own. What leaves it are connections that the monitor makes, and those of the proxy."""

    name = "namespace"

    def __init__(self, lookup: Lookup = dns.lookup) -> None:
        self._lookup = lookup

    def walls(self, wanted: Wanted, place: Place) -> Walls:
        """With a proxy when anything is allowed."""
        proxied = bool(wanted.network)
        arbiter = _mediator(wanted, place, self._lookup, inside=True, proxy=PROXY_PORT if proxied else None)
        if not proxied:
            return Walls((_enter,), arbiter, close=arbiter.close)
        exit_ = _Exit(arbiter, self._lookup)
        return Walls((_enter, exit_.listen), arbiter, _variables(), close=exit_.close)


class Open:
    """Nothing is held: what is reached is recorded by the trace."""

    name = "open"

    def walls(self, wanted: Wanted, place: Place) -> Walls:
        """None."""
        return Walls((), None)


class Nothing(Open):
    """Nothing can be held here; the plan says so."""

    name = "nothing"


class _Exit:
    """The proxy, from the moment that its socket has come out of the step's network."""

    def __init__(self, arbiter: Mediator, lookup: Lookup) -> None:
        self._arbiter = arbiter
        self._lookup = lookup
        self._ours, self._theirs = socket.socketpair()
        self._proxy: Proxy | None = None
        arbiter.extra[self._ours.fileno()] = self._arrived

    def listen(self) -> None:
        """In the child, in its own network: listen, and hand the socket out."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("127.0.0.1", PROXY_PORT))
            listener.listen(128)
            socket.send_fds(self._theirs, [b"p"], [listener.fileno()])

    def _arrived(self) -> Answers:
        del self._arbiter.extra[self._ours.fileno()]
        _, descriptors, _, _ = socket.recv_fds(self._ours, 1, 1)
        if descriptors:
            listener = socket.socket(fileno=descriptors[0])
            self._proxy = Proxy(listener, self._arbiter.names, self._lookup, self._arbiter.say, self._arbiter.ports)
            self._arbiter.before_telling = self._proxy.close
            self._proxy.start()
        return ()

    def close(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
        self._ours.close()
        self._theirs.close()
        self._arbiter.close()


def _mediator(
    wanted: Wanted,
    place: Place,
    lookup: Lookup,
    *,
    streams: bool = True,
    inside: bool = False,
    proxy: int | None = None,
) -> Mediator:
    destinations: tuple[Destination, ...] = tuple(wanted.network or ())
    hosts: list[str] = []
    with contextlib.suppress(OSError), open("/etc/hosts", encoding="utf-8", errors="replace") as file:
        hosts = file.read(1 << 20).splitlines()
    folders = [path for path in (*wanted.write, wanted.temporary) if path]
    return Mediator(
        Names(destinations, hosts),
        folders=folders,
        fetch=place.works.get("pidfd-getfd", "untried") is None,
        inside=inside,
        streams=streams,
        proxy=proxy,
        lookup=lookup,
    )


def _enter() -> None:
    """Into a network without an exit, of which nobody but the step is part."""
    namespaces.new_user()
    namespaces.unshare(namespaces.NEWNET)
    namespaces.loopback_up()


def _variables() -> dict[str, str]:
    address = f"http://127.0.0.1:{PROXY_PORT}"
    found = {f"{name}_proxy": address for name in ("http", "https", "all", "ftp")} | {"no_proxy": _HERE}
    return found | {name.upper(): value for name, value in found.items()}
