"""The questions of a step to a name server, and the answers that it gets from us: bytes in, bytes out (RFC 1035).

Only what an allow-list needs: addresses of names (A, AAAA). It must never pass on a question, nor anything of an answer
but addresses: what stands in other records can carry data out of a sandbox and into it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

from msgspec import Struct

from assay.guard.sandbox.network.destinations import Address

A, AAAA = 1, 28
_INTERNET = 1
_SECONDS = 30
"""Time to live of an answer: a step asks again, and every question is on record."""

# RFC 1035, 4.1.1: QR, opcode, RD and RA within the flags, and the codes of an answer
_RESPONSE, _OPCODE, _WANTED, _AVAILABLE = 0x8000, 0x7800, 0x0100, 0x0080
FINE, FORMAT, FAILED, NO_NAME, REFUSED = 0, 1, 2, 3, 5


class Question(Struct, frozen=True):
    """One question."""

    identity: int
    name: str
    """Lower case, without a final dot; bytes that no host name has are written ``\\DDD`` (RFC 4343)."""
    kind: int
    """`A`, `AAAA`, or another type's number."""
    flags: int
    raw: bytes
    """The question's section, as it has to stand in the answer."""


def parse(message: bytes) -> Question | None:
    """The question in a datagram; None for anything that is not exactly one ordinary question."""
    if len(message) < 17:
        return None
    identity, flags, questions, answers, authorities, _ = struct.unpack("!6H", message[:12])
    if flags & (_RESPONSE | _OPCODE) or questions != 1 or answers or authorities:
        return None
    labels: list[str] = []
    at = 12
    while at < len(message) and (size := message[at]):
        if size > 63 or at + 1 + size > len(message) or at - 12 > 254:
            return None  # also a pointer: there is nothing before it that it could point to
        labels.append(_text(message[at + 1 : at + 1 + size]))
        at += 1 + size
    end = at + 5
    if end > len(message):
        return None
    kind, kind_of_network = struct.unpack("!HH", message[at + 1 : end])
    if kind_of_network != _INTERNET:
        return None
    return Question(identity, ".".join(labels).lower(), kind, flags, message[12:end])


def answer(question: Question, code: int, addresses: Sequence[Address] = ()) -> bytes:
    """The answer: a code, and those of the addresses that are of the asked kind."""
    length = {A: 4, AAAA: 16}.get(question.kind)
    fitting = [item.packed for item in addresses if len(item.packed) == length][:32]
    flags = _RESPONSE | _AVAILABLE | (question.flags & _WANTED) | code
    head = struct.pack("!6H", question.identity, flags, 1, len(fitting), 0, 0)
    # A pointer to the question's name (4.1.4), which begins at byte 12.
    records = [struct.pack("!HHHIH", 0xC00C, question.kind, _INTERNET, _SECONDS, len(raw)) + raw for raw in fitting]
    return head + question.raw + b"".join(records)


def malformed(message: bytes) -> bytes | None:
    """What a server says to a message that it cannot read; None when there is not even an identity to answer."""
    if len(message) < 12 or message[2] & 0x80:
        return None
    return message[:2] + struct.pack("!5H", _RESPONSE | FORMAT, 0, 0, 0, 0)


def lookup(name: str) -> Sequence[Address]:
    """Addresses of a name as this machine resolves it (``getaddrinfo(3)``): it waits for the network. Raises
    `OSError` when there are none.
    """
    import socket

    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]


def _text(label: bytes) -> str:
    return "".join(chr(byte) if 0x21 <= byte < 0x7F and byte not in b".\\" else f"\\{byte:03d}" for byte in label)
