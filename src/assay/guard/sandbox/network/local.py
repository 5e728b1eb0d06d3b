"""Listening: in a network of the step's own wherever it likes, elsewhere on the loopback, for its own processes.

The monitor binds in the step's place, so that what is judged is what is bound. A wildcard address becomes the loopback;
which ports are the step's own is told by the kernel's sockets, not by memory: a port can be taken by somebody else.
"""

from __future__ import annotations

import errno
import os
import socket
from time import time_ns

from assay.collect.trace.interface import Answer, Contact, Decision, Request
from assay.collect.trace.socket_calls import parse
from assay.guard.sandbox.network.destinations import address as read_address
from assay.guard.sandbox.network.sockets import Theirs, fresh, in_our_network, listening, listening_abstract

_GO = Answer()
_QUEUE = 128
_INET = (socket.AF_INET, socket.AF_INET6)
_RULE = "net:loopback"
_MOST = 4096


class Local:
    """The step's own listeners."""

    def __init__(self, *, inside: bool) -> None:
        """``inside``: the step has a network of its own, in which it may listen everywhere."""
        self._inside = inside
        self._bound: dict[int, None] = {}
        """Inodes of sockets that we have bound to the loopback, or let listen under a name."""
        self._ports: set[int] = set()
        """Ports that such a socket has had: only for these is the kernel asked, which looks through all connections of
        the machine each time.
        """

    def owns(self, port: int) -> bool:
        """Whether every socket that listens on this port is the step's."""
        found = listening(port) if port in self._ports else set()
        return bool(found) and found <= self._bound.keys()

    def listens(self, port: int, thread: int) -> bool:
        """Whether the step listens on this port in a network of its own."""
        return self._inside and port in self._ports and bool(listening(port, thread))

    def owns_name(self, name: bytes) -> bool:
        """Whether every Unix socket that listens under this abstract name is the step's."""
        found = listening_abstract(name)
        return bool(found) and found <= self._bound.keys()

    def answer(self, request: Request, found: Theirs) -> Answer:
        """``bind`` or ``listen`` of a socket of the step."""
        try:
            if found.family not in _INET:
                return self._other(request, found)
            if request.call == "listen":
                return self._listen(request, found)
            raw = request.memory(request.arguments[1], min(request.arguments[2] & 0xFFFFFFFF, 128))
            if not request.alive():
                return Answer(error=errno.EPERM)
            return self._bind(request, found, *parse(raw))
        except OSError as error:
            return Answer(error=error.errno or errno.EACCES)
        finally:
            found.close()

    def bind_datagram(self, request: Request) -> Answer:
        """A socket that only reaches our name server may be bound to no port that others could send to."""
        if request.call == "listen":
            return Answer(error=errno.EOPNOTSUPP)
        family, address, port = parse(request.memory(request.arguments[1], 28))
        return _refused(request, family, "udp", address, port) if port else Answer(value=0)

    def _other(self, request: Request, found: Theirs) -> Answer:
        if request.call == "listen" and found.own is not None:
            found.own.listen(min(request.arguments[1] & 0x7FFFFFFF, 4096))
            self._remember(found.inode)
            return Answer(value=0)
        # What is bound are files, which have walls of their own, and names that Landlock keeps to the step.
        return _GO

    def _bind(self, request: Request, found: Theirs, family: str, text: str, port: int | None) -> Answer:
        wanted = read_address(text)
        if wanted is None or port is None or family != {2: "inet", 10: "inet6"}[found.family]:
            return Answer(error=errno.EINVAL)
        sock = found.own or fresh(found)
        private = self._private(sock)
        if not private and (self._inside or not (wanted.is_loopback or wanted.is_unspecified)):
            return _refused(request, family, "tcp", text, port)
        place = text if private else _loopback(sock, text)
        records = [
            Contact(
                time_ns(), request.process, "bind", family, "tcp", place, port, None, Decision.MEDIATED, _RULE, 0
            )
        ]  # fmt: skip
        sock.bind((place, port))
        self._remember(os.fstat(sock.fileno()).st_ino)
        self._ports.add(sock.getsockname()[1])
        if found.own is not None:
            return Answer(value=0, records=records)
        # The step cannot be let listen by itself on a socket that another thread may exchange: it listens already.
        sock.listen(_QUEUE)
        return Answer(
            descriptor=sock.detach(),
            replace=request.arguments[0] & 0xFFFFFFFF,
            close_on_exec=found.close_on_exec,
            records=records,
        )

    def _listen(self, request: Request, found: Theirs) -> Answer:
        if found.own is None:
            return Answer(value=0) if found.inode in self._bound else _refused(request, "inet", "tcp", "", None)
        sock = found.own
        text, port = sock.getsockname()[:2]
        if self._private(sock):
            pass
        elif self._inside:
            return _refused(request, "inet", "tcp", text, port)
        elif not port:
            # The kernel would choose a port on every address.
            sock.bind((_loopback(sock, text), 0))
        elif (bound := read_address(text)) is None or not bound.is_loopback:
            return _refused(request, "inet", "tcp", text, port)
        self._remember(found.inode)
        sock.listen(min(request.arguments[1] & 0x7FFFFFFF, 4096))
        self._ports.add(sock.getsockname()[1])  # the kernel's choice, where it was bound to none
        return Answer(value=0)

    def _private(self, sock: socket.socket) -> bool:
        """Whether it is of the step's own network. What was once put in the place of such a one is not."""
        return self._inside and not in_our_network(sock)

    def _remember(self, inode: int) -> None:
        self._bound[inode] = None
        if len(self._bound) > _MOST:
            del self._bound[next(iter(self._bound))]


def _loopback(sock: socket.socket, text: str) -> str:
    """The address of the loopback that stands for one that was asked for."""
    wanted = read_address(text)
    if wanted is not None and wanted.is_loopback:
        return text
    if sock.family == socket.AF_INET:
        return "127.0.0.1"
    # Who listens on all addresses of both families is looked for at 127.0.0.1.
    only = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return "::1" if only else "::ffff:127.0.0.1"


def _refused(request: Request, family: str, transport: str, address: str, port: int | None) -> Answer:
    contact = Contact(
        time_ns(),
        request.process,
        request.call,
        family,
        transport,
        address,
        port,
        None,
        Decision.DENIED,
        "net:listen",
        errno.EACCES,
    )
    return Answer(error=errno.EACCES, records=[contact])
