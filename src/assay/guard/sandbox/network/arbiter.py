"""Decides each call of a step that could reach somebody, and makes the connections that are allowed in its place.

No ``connect`` is ever let go on: the address that was judged is our own copy, and we connect to that, so a thread that
changes its own memory meanwhile changes nothing. What we cannot do on the step's behalf is refused.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from time import time_ns

from msgspec.structs import replace

from assay.collect.trace.interface import Answer, Contact, Decision, RareCall, Request, Watch
from assay.collect.trace.socket_calls import parse
from assay.guard.sandbox.network import dns, local
from assay.guard.sandbox.network import sockets as sockets_of
from assay.guard.sandbox.network.background import Answers, Background
from assay.guard.sandbox.network.connecting import Connecting
from assay.guard.sandbox.network.destinations import address as read_address
from assay.guard.sandbox.network.names import Names
from assay.guard.sandbox.network.stub import Lookup, Stub

_KIND = 0xF  # SOCK_TYPE_MASK, linux/net.h
_INET = (socket.AF_INET, socket.AF_INET6)
_ROUTE = 0  # NETLINK_ROUTE, linux/netlink.h: which addresses this machine has
_FAST_OPEN = 0x20000000  # MSG_FASTOPEN, linux/socket.h
_IP, _IPV6 = 0, 41
_IP_OPTIONS = 4  # linux/in.h
_ROUTING = (5, 6, 57)  # IPV6_2292RTHDR, IPV6_2292PKTOPTIONS, IPV6_RTHDR: linux/in6.h
_NAMES = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet", 38: "alg", 40: "vsock"}
_TRANSPORTS = {1: "tcp", 2: "udp", 3: "raw"}
_MOST_TOLD = 100_001
_MOST_SET = 4096
_GO = Answer()

_WATCHES = (
    Watch("socket"),
    Watch("socketpair", ((0, "!=", socket.AF_UNIX),)),
    Watch("socketpair", ((1, "&", socket.SOCK_DGRAM),)),  # raw ones as well: they are datagrams by another name
    Watch("connect"),
    Watch("bind"),
    Watch("listen"),
    Watch("sendto", ((4, "!=", 0),)),
    # A fast open connects without ``connect``; the flags are a register, which nobody can change.
    Watch("sendto", ((3, "&", _FAST_OPEN),)),
    Watch("sendmsg", ((2, "&", _FAST_OPEN),)),
    Watch("sendmmsg", ((3, "&", _FAST_OPEN),)),
    # Source routes send elsewhere what is addressed to an allowed host; the rest matters to sockets of the stub.
    Watch("setsockopt", ((1, "==", _IP),)),
    Watch("setsockopt", ((1, "==", _IPV6),)),
    Watch("setns"),
)


class Mediator:
    """The arbiter of one step."""

    def __init__(
        self,
        names: Names,
        *,
        folders: Sequence[str] = (),
        fetch: bool = True,
        inside: bool = False,
        streams: bool = True,
        proxy: int | None = None,
        lookup: Lookup = dns.lookup,
    ) -> None:
        """``folders``: where Unix sockets may be connected to. ``fetch``: whether ``pidfd_getfd`` works. ``inside``:
        the step has a network of its own, in which it may do as it likes. ``streams``: whether it may have TCP sockets
        at all. ``proxy``: port of the proxy in its network.
        """
        self.names = names
        self.folders = tuple(os.path.realpath(folder) for folder in folders)
        self.inside = inside
        self.proxy = proxy
        self.background = Background()
        self._streams = streams
        self._told: list[Contact | RareCall] = []
        self._said: set[object] = set()
        self._stub = Stub(names, lookup, self.background, self._say_once)
        self._connecting = Connecting(self)
        self._set: dict[int, dict[tuple[int, int], bytes]] | None = None if fetch else {}
        """Inode of a socket → options."""
        self.local = local.Local(inside=inside)
        self.ports: dict[int, int] = {}
        """Own ports of connections to the proxy → the process that made them."""
        self.extra: dict[int, Callable[[], Answers]] = {}
        """More to poll: the way on which the proxy's socket arrives."""
        self.before_telling: Callable[[], None] = lambda: None
        """Ends what still has something to tell."""

    @property
    def watches(self) -> Sequence[Watch]:
        """What has to come here."""
        # Where a socket of the step cannot be had, what is set on it is noted for the one that takes its place.
        return _WATCHES if self._set is None else (*_WATCHES, Watch("setsockopt"))

    @property
    def blocked(self) -> Mapping[str, int]:
        """Nothing is refused without a record."""
        return {}

    def decide(self, request: Request) -> Answer:
        """The answer to one call."""
        match request.call:
            case "socket":
                return self._socket(request)
            case "socketpair":
                family, kind = _registers(request, 0, 1)
                return self._refused_socket(request, family, kind & _KIND, errno.EOPNOTSUPP, "socketpair")
            case "setsockopt":
                return self._option(request)
            case "sendto" | "sendmsg" | "sendmmsg":
                return self._send(request)
            case "connect":
                return self._connect(request)
            case "setns":
                return Answer(error=errno.EPERM)  # into a network that has an exit
        return self._bind_or_listen(request)

    def pending(self) -> Mapping[int, Callable[[], Sequence[tuple[int, Answer]]]]:
        """What the loop polls for us."""
        return {self.background.handle: self.background.collect, self._stub.handle: self._asked, **self.extra}

    def told(self) -> Sequence[Contact | RareCall]:
        """Names that were asked for, and what went through the proxy."""
        self.before_telling()
        told, self._told = self._told, []
        return told

    def say(self, record: Contact | RareCall) -> None:
        """Remember something that is no answer to a call; any thread may."""
        if len(self._told) < _MOST_TOLD:
            self._told.append(record)

    def close(self) -> None:
        """Let go of everything."""
        self._stub.close()
        self.background.close()

    def _say_once(self, record: Contact) -> None:
        key = replace(record, time=0)
        if key not in self._said and len(self._said) < _MOST_TOLD:
            self._said.add(key)
            self.say(record)

    def _asked(self) -> Answers:
        self._stub.answer()
        return ()

    def _socket(self, request: Request) -> Answer:
        family, kind, protocol = _registers(request, 0, 1, 2)
        kind &= _KIND
        if family in _INET and kind == socket.SOCK_DGRAM and protocol in (0, socket.IPPROTO_UDP):
            descriptor = self._stub.new(request.process, blocking=not request.arguments[1] & os.O_NONBLOCK)
            if descriptor is None:
                return Answer(error=errno.ENFILE)
            return Answer(descriptor=descriptor, close_on_exec=bool(request.arguments[1] & os.O_CLOEXEC))
        streams = family in _INET and kind == socket.SOCK_STREAM and protocol in (0, socket.IPPROTO_TCP)
        if streams and self._streams:
            return _GO
        if family == socket.AF_UNIX and kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            return _GO
        if family == socket.AF_NETLINK and protocol == _ROUTE:
            return _GO
        known = family in (*_INET, socket.AF_UNIX, socket.AF_NETLINK)
        return self._refused_socket(request, family, kind, errno.EACCES if known else errno.EAFNOSUPPORT, "socket")

    def _refused_socket(self, request: Request, family: int, kind: int, error: int, call: str) -> Answer:
        name = _NAMES.get(family, f"family-{family}")
        transport = _TRANSPORTS.get(kind, str(kind)) if family in _INET else name
        rule = f"socket:{name}-{transport}" if family in _INET else f"socket:{name}"
        return Answer(
            error=error,
            records=[Contact(time_ns(), request.process, call, name, transport, "", None, None, Decision.DENIED, rule)],
        )

    def _option(self, request: Request) -> Answer:
        descriptor, level, option = _registers(request, 0, 1, 2)
        if (level == _IP and option == _IP_OPTIONS) or (level == _IPV6 and option in _ROUTING):
            detail = "a route of its own for packets"
            record = RareCall(time_ns(), request.process, "setsockopt", detail, Decision.DENIED, "source-route")
            return Answer(error=errno.EPERM, records=[record])
        inode = sockets_of.inode(request.pid, descriptor)
        if inode is not None and self._stub.knows(inode):
            return Answer(value=0) if level in (_IP, _IPV6) else _GO
        if inode is not None and self._set is not None and (level, option) in sockets_of.KEPT:
            value = request.memory(request.arguments[3], max(0, min(_registers(request, 4)[0], 64)))
            self._set.setdefault(inode, {})[level, option] = value
            if len(self._set) > _MOST_SET:
                del self._set[next(iter(self._set))]
        return _GO

    def _send(self, request: Request) -> Answer:
        descriptor = _registers(request, 0)[0]
        flags = request.arguments[3 if request.call != "sendmsg" else 2]
        where: tuple[str, str, int | None] = ("", "", None)
        if request.call == "sendto":
            where = parse(request.memory(request.arguments[4], max(0, min(_registers(request, 5)[0], 128))))
        family, address, port = where
        if flags & _FAST_OPEN:
            return self.refuse(request, family or "inet", address, port, "fast-open", errno.EOPNOTSUPP)
        inode = sockets_of.inode(request.pid, descriptor)
        if inode is not None and self._stub.knows(inode):
            if port != 53:
                return self._refused_datagram(request, family, address, port)
            return Answer(records=[self._to_name_server(request, family, address)])
        return _GO  # no socket that the step can have sends to an address

    def _to_name_server(self, request: Request, family: str, address: str) -> Contact:
        """Whatever server is named, it is our stub that is asked; without an allow-list nothing is resolved at all."""
        decision, rule = (Decision.MEDIATED, "dns") if self.names.destinations else (Decision.DENIED, "net:none")
        return Contact(time_ns(), request.process, request.call, family, "udp", address, 53, None, decision, rule)

    def _refused_datagram(self, request: Request, family: str, address: str, port: int | None) -> Answer:
        found = read_address(address)
        if found is None or port is None:
            return Answer(error=errno.EINVAL)
        verdict = self.names.address(found, port)
        if request.call == "connect" and (verdict.host or verdict.allowed):
            # How getaddrinfo(3) sorts addresses: it connects to each and sends nothing.
            return Answer(error=errno.ENETUNREACH)
        rule = "net:no-datagrams" if verdict.allowed else verdict.rule
        return self.refuse(request, family, address, port, rule, errno.EACCES, "udp")

    def _connect(self, request: Request) -> Answer:
        descriptor, length = _registers(request, 0, 2)
        raw = request.memory(request.arguments[1], max(0, min(length, 128)))
        family, address, port = parse(raw)
        inode = sockets_of.inode(request.pid, descriptor)
        if inode is not None and self._stub.knows(inode):
            if family == "unspec":
                return Answer(value=0)
            if port == 53:
                return Answer(value=0, records=[self._to_name_server(request, family, address)])
            return self._refused_datagram(request, family, address, port)
        found = sockets_of.theirs(request.pid, descriptor, self._set)
        if found is None:
            return Answer(error=errno.ENOTSOCK)
        if not request.alive():
            found.close()
            return Answer(error=errno.EPERM)
        return self._connecting.answer(request, found, raw, family, address, port)

    def _bind_or_listen(self, request: Request) -> Answer:
        descriptor = _registers(request, 0)[0]
        found = sockets_of.theirs(request.pid, descriptor, self._set)
        if found is None:
            # Landlock holds a bind that we cannot see; nothing else would hold a socket that listens unbound.
            return Answer(error=errno.EACCES) if request.call == "listen" else _GO
        if self._stub.knows(found.inode):
            found.close()
            return self.local.bind_datagram(request)
        return self.local.answer(request, found)

    def refuse(
        self,
        request: Request,
        family: str,
        address: str,
        port: int | None,
        rule: str,
        error: int = errno.EACCES,
        transport: str = "tcp",
        host: str | None = None,
    ) -> Answer:
        """Refuse a call, and remember it."""
        now = time_ns()
        contact = Contact(
            now, request.process, request.call, family, transport, address, port, host, Decision.DENIED, rule, error
        )
        return Answer(error=error, records=[contact])


def _registers(request: Request, *which: int) -> tuple[int, ...]:
    """Arguments of C's type ``int``."""
    words = [request.arguments[at] & 0xFFFFFFFF for at in which]
    return tuple(word - (1 << 32) if word >> 31 else word for word in words)
