"""The only name server that a step can ask: sockets that look like UDP to it, and end in the monitor.

A real UDP socket could send to anybody, whatever is decided about one call; these can only reach us. What is asked is
recorded with its name, and only names of the allow-list are resolved at all.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Sequence
from time import time_ns

from msgspec import Struct

from assay.collect.trace.interface import Contact, Decision
from assay.guard.sandbox.network import dns
from assay.guard.sandbox.network.background import Answers, Background
from assay.guard.sandbox.network.destinations import Address
from assay.guard.sandbox.network.names import Names

Lookup = Callable[[str], Sequence[Address]]

_MOST_SOCKETS = 512
_MOST_AT_ONCE = 64
_LONGEST = 4096


class _Line(Struct, frozen=True):
    end: socket.socket
    inode: int
    process: int


class Stub:
    """Hands out such sockets and answers what is asked through them."""

    def __init__(self, names: Names, lookup: Lookup, background: Background, tell: Callable[[Contact], None]) -> None:
        self._names = names
        self._lookup = lookup
        self._background = background
        self._tell = tell
        self._lines: dict[int, _Line] = {}
        self._inodes: dict[int, _Line] = {}
        self._poll = select.epoll()
        self.handle = self._poll.fileno()
        """Readable when somebody asks."""

    def new(self, process: int, *, blocking: bool) -> int | None:
        """A descriptor for a process of the step; None when there are too many already."""
        if len(self._lines) >= _MOST_SOCKETS:
            return None
        # Sequenced packets keep datagrams apart, ignore any address they are sent to, and end when the step's is closed
        ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        line = _Line(ours, os.fstat(other.fileno()).st_ino, process)
        self._lines[ours.fileno()] = self._inodes[line.inode] = line
        self._poll.register(ours.fileno(), select.EPOLLIN)
        other.setblocking(blocking)
        return other.detach()

    def knows(self, inode: int) -> bool:
        """Whether a socket is one of these."""
        return inode in self._inodes

    def answer(self) -> None:
        """Look at what was asked."""
        for descriptor, _ in self._poll.poll(0):
            line = self._lines[descriptor]
            for _ in range(_MOST_AT_ONCE):
                try:
                    message = line.end.recv(_LONGEST)
                except BlockingIOError:
                    break
                except OSError:
                    message = b""
                if not message:
                    self._drop(line)
                    break
                self._message(line, message)

    def close(self) -> None:
        """Let go of all of them."""
        for line in list(self._lines.values()):
            self._drop(line)
        self._poll.close()

    def _drop(self, line: _Line) -> None:
        self._poll.unregister(line.end.fileno())
        del self._lines[line.end.fileno()]
        del self._inodes[line.inode]
        line.end.close()

    def _message(self, line: _Line, message: bytes) -> None:
        question = dns.parse(message)
        if question is None:
            self._record(line, "", "udp:not-a-question", Decision.DENIED)
            if reply := dns.malformed(message):
                _send(line, reply)
            return
        verdict = self._names.name(question.name)
        if not verdict.allowed:
            self._record(line, question.name, verdict.rule, Decision.DENIED)
            _send(line, dns.answer(question, dns.NO_NAME))
        elif question.kind not in (dns.A, dns.AAAA):
            self._record(line, question.name, verdict.rule, Decision.MEDIATED)
            _send(line, dns.answer(question, dns.FINE))
        elif not self._background.start(lambda: self._resolve(line, question, verdict.rule)):
            _send(line, dns.answer(question, dns.FAILED))

    def _resolve(self, line: _Line, question: dns.Question, rule: str) -> Callable[[], Answers]:
        """In a thread. What is found is judged in the loop."""
        try:
            found = self._lookup(question.name)
        except (OSError, ValueError):
            found = ()
        return lambda: self._resolved(line, question, rule, found)

    def _resolved(self, line: _Line, question: dns.Question, rule: str, found: Sequence[Address]) -> Answers:
        kept = self._names.resolved(question.name, found)
        refused = bool(found) and not kept
        decision = Decision.DENIED if refused else Decision.MEDIATED
        self._record(line, question.name, "rebinding" if refused else rule, decision)
        _send(line, dns.answer(question, dns.FINE if kept else dns.NO_NAME, kept))
        return ()

    def _record(self, line: _Line, name: str, rule: str, decision: Decision) -> None:
        self._tell(Contact(time_ns(), line.process, "dns", "inet", "udp", "", None, name or None, decision, rule))


def _send(line: _Line, message: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, or does not read
        line.end.send(message)
