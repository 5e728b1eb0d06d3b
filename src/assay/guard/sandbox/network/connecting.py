"""Makes the connections of a step: judged by our copy of the address, made by us, on the step's socket or a new one.

A blocking ``connect`` waits in a thread, so that no other call of the step waits with it; one that does not block is
answered at once, as the kernel would.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from assay.collect.trace.interface import Answer, Contact, Decision, Request
from assay.collect.trace.socket_calls import parse
from assay.guard.sandbox.network import polling, sockets
from assay.guard.sandbox.network.background import Answers
from assay.guard.sandbox.network.destinations import Address
from assay.guard.sandbox.network.destinations import address as read_address
from assay.guard.sandbox.network.sockets import Theirs

if TYPE_CHECKING:
    from assay.guard.sandbox.network.arbiter import Mediator

_LENGTH = {"inet": 16, "inet6": 24}  # sizeof(struct sockaddr_in), SIN6_LEN_RFC2133
_FAMILY = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
_NAME_SERVICES = ("/nscd/socket", "/systemd/resolve/", "/userdb/", "/avahi-daemon/socket", "/sssd/", "/sss/pipes/")
"""Where a C library asks other programs for names and users before it looks for itself; it copes with their absence."""
_POLLED = "net:polled-before"
"""The step polls the socket already, and who polls cannot be brought to another one here: it would wait for ever."""
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)


class Connecting:
    """Answers ``connect``."""

    def __init__(self, mediator: Mediator) -> None:
        self._mediator = mediator

    def answer(
        self, request: Request, found: Theirs, raw: bytes, family: str, address: str, port: int | None
    ) -> Answer:
        """The answer; takes ``found`` over."""
        later = False
        try:
            if family == "unspec" and len(raw) >= 2:
                return self._dissolve(request, found)
            if _FAMILY.get(family) != found.family:
                return Answer(error=errno.EAFNOSUPPORT if len(raw) >= 2 else errno.EINVAL)
            answer = self._unix(request, found, raw) if family == "unix" else self._inet(request, found, raw)
            later = answer.later
            return answer
        except OSError as error:
            return Answer(error=error.errno or errno.ECONNREFUSED)
        finally:
            if not later:
                found.close()

    def _dissolve(self, request: Request, found: Theirs) -> Answer:
        """``AF_UNSPEC`` (connect(2)): the connection is given up."""
        if found.own is not None:
            _disconnect(found.own)
            return Answer(value=0)
        return _put(request, found, sockets.fresh(found), 0, [])

    def _inet(self, request: Request, found: Theirs, raw: bytes) -> Answer:
        family, text, port = parse(raw)
        if len(raw) < _LENGTH[family] or port is None:
            return Answer(error=errno.EINVAL)
        to = read_address(text)
        if to is None or found.kind != socket.SOCK_STREAM:
            return Answer(error=errno.EACCES)
        if to.is_unspecified:
            to, text = (read_address("127.0.0.1"), "127.0.0.1") if to.version == 4 else (read_address("::1"), "::1")
            assert to is not None
        scope = int.from_bytes(raw[24:28], "little") if family == "inet6" else 0
        target = (text, port) if family == "inet" else (text, port, 0, scope)
        mediator = self._mediator
        verdict = mediator.names.address(to, port)
        contact = Contact(
            time_ns(), request.process, "connect", family, "tcp", str(to), port, verdict.host, Decision.MEDIATED, ""
        )
        # What the step itself listens on comes first: in its network, localhost is its own.
        listens = verdict.allowed and to.is_loopback and mediator.local.listens(port, request.pid)
        if verdict.allowed and not listens:
            own = found.own is not None and not mediator.inside
            return self._go(request, found, target, replace(contact, rule=verdict.rule), own=own)
        if to.is_loopback and mediator.inside:
            if port == mediator.proxy:
                contact = replace(contact, rule="proxy")
                return self._go(request, found, target, contact, own=True, then=self._to_proxy)
            return self._go(request, found, target, replace(contact, rule="net:loopback"), own=True)
        if to.is_loopback and mediator.local.owns(port):
            own = found.own is not None
            return self._go(request, found, target, replace(contact, rule="net:loopback"), own=own)
        return Answer(error=errno.EACCES, records=[_denied(contact, verdict.rule)])

    def _to_proxy(self, contact: Contact) -> None:
        """Who connects to the proxy is known by the port that it comes from."""
        if contact.source_port and len(self._mediator.ports) < 65536:
            self._mediator.ports[contact.source_port] = contact.process

    def _unix(self, request: Request, found: Theirs, raw: bytes) -> Answer:
        mediator = self._mediator
        family, text, _ = parse(raw)
        contact = Contact(time_ns(), request.process, "connect", family, "unix", text, None, None, Decision.DENIED, "")
        if len(raw) <= 2:
            return Answer(error=errno.EINVAL)
        if raw[2] == 0:  # an abstract name
            rule = "unix:abstract"
            if mediator.inside or mediator.local.owns_name(raw[3:]):
                allowed = replace(contact, rule=rule, decision=Decision.MEDIATED)
                return self._go(request, found, raw[2:], allowed, own=True)
            return Answer(error=errno.EACCES, records=[_denied(contact, rule)])
        if any(part in text for part in _NAME_SERVICES):
            return Answer(error=errno.ENOENT, records=[_absent(contact, "unix:name-service", errno.ENOENT)])
        if not sockets.same_user(request.pid):
            return Answer(error=errno.EACCES, records=[_denied(contact, "unix:user")])
        try:
            handle = sockets.reach(request.pid, raw[2:].split(b"\0")[0], mediator.folders)
        except OSError as error:
            return Answer(error=error.errno, records=[_absent(contact, "unix:none", error.errno)])
        if handle is None:
            return Answer(error=errno.EACCES, records=[_denied(contact, "unix:outside")])
        if not request.alive():
            os.close(handle)
            return Answer(error=errno.EPERM)
        target = f"/proc/self/fd/{handle}"
        contact = replace(contact, rule="unix:own")
        return self._go(request, found, target, contact, own=False, check=True, done=lambda: os.close(handle))

    def _go(
        self,
        request: Request,
        found: Theirs,
        target: Any,
        contact: Contact,
        *,
        own: bool,
        check: bool = False,
        then: Callable[[Contact], None] = lambda contact: None,
        done: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Connect. ``own``: on the step's very socket. ``check``: who listens has to be of the step."""
        # What we once put in the place of a socket of the step is of our network: it leads to our loopback, not to its.
        if own and (found.own is None or (self._mediator.inside and sockets.in_our_network(found.own))):
            done()
            return Answer(error=errno.EACCES, records=[_denied(contact, contact.rule)])
        number = request.arguments[0] & 0xFFFFFFFF
        if not own and found.own is None and polling.polled(request.pid, number, found.inode):
            done()
            return _unpolled(contact)
        sock = found.own if own and found.own is not None else sockets.fresh(found)

        def finish(error: int) -> Answer:
            done()
            return self._finish(request, found, sock, contact, error, own=own, check=check, then=then)

        if not found.blocking:
            return finish(_connect(sock, target))

        def wait() -> Callable[[], Answers]:
            error = _connect(sock, target)

            def tell() -> Answers:
                answer = finish(error)
                found.close()
                return ((request.id, answer),)

            return tell

        if self._mediator.background.start(wait):
            return Answer(later=True)
        done()
        if not own:
            sock.close()
        return Answer(error=errno.EAGAIN)

    @staticmethod
    def _finish(
        request: Request,
        found: Theirs,
        sock: socket.socket,
        contact: Contact,
        error: int,
        *,
        own: bool,
        check: bool,
        then: Callable[[Contact], None],
    ) -> Answer:
        if check and not error:
            error = 0 if sockets.peer_is_ours(sock) else errno.EACCES
            if not error:
                contact = replace(contact, decision=Decision.MEDIATED)
        elif check:
            contact = replace(contact, decision=Decision.DENIED if error == errno.EACCES else Decision.MEDIATED)
        if found.family != socket.AF_UNIX and error in (0, *_UNDER_WAY):
            name = sock.getsockname()
            contact = replace(contact, source=str(_plain(name[0])), source_port=name[1])
        contact = replace(contact, error=None if error in _UNDER_WAY else error, finished=time_ns())
        then(contact)
        if own:
            return Answer(error=error, records=[contact]) if error else Answer(value=0, records=[contact])
        if error and error not in _UNDER_WAY:
            sock.close()
            return Answer(error=error, records=[contact])
        number = request.arguments[0] & 0xFFFFFFFF
        entries = polling.polled(request.pid, number, found.inode)
        own_one = found.own.fileno() if found.own is not None else -1
        if entries and not polling.move(request.pid, number, own_one, sock.fileno(), entries):
            sock.close()
            return _unpolled(contact)
        return _put(request, found, sock, error, [contact])


def _put(request: Request, found: Theirs, sock: socket.socket, error: int, records: list[Contact]) -> Answer:
    """Our socket in the place of the step's."""
    return Answer(
        error=error or None,
        descriptor=sock.detach(),
        replace=request.arguments[0] & 0xFFFFFFFF,
        close_on_exec=found.close_on_exec,
        records=records,
    )


def _connect(sock: socket.socket, target: Any) -> int:
    """``errno``, 0 for success."""
    try:
        return sock.connect_ex(target)
    except (OSError, OverflowError, ValueError) as error:
        return getattr(error, "errno", None) or errno.EINVAL


def _disconnect(sock: socket.socket) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(sock.fileno(), bytes(16), 16):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _absent(contact: Contact, rule: str, error: int | None) -> Contact:
    """Nothing is there, or as good as nothing: no attempt to get out."""
    return replace(contact, decision=Decision.MEDIATED, rule=rule, error=error)


def _unpolled(contact: Contact) -> Answer:
    return Answer(error=errno.EADDRNOTAVAIL, records=[_denied(contact, _POLLED, errno.EADDRNOTAVAIL)])


def _denied(contact: Contact, rule: str, error: int | None = errno.EACCES) -> Contact:
    return replace(contact, decision=Decision.DENIED, rule=rule, error=error)


def _plain(text: str) -> Address | str:
    return read_address(text) or text
