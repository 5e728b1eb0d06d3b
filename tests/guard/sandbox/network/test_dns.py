"""Questions to a name server: what is read of them, and what is never answered."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.guard.sandbox.network import dns


def question(name: str, kind: int = dns.A, identity: int = 7, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    return struct.pack("!6H", identity, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def addresses(message: bytes) -> list[str]:
    """The addresses in an answer, read by the rules of RFC 1035 alone."""
    count = struct.unpack("!H", message[6:8])[0]
    at = 12
    while message[at]:
        at += message[at] + 1
    at += 5
    found = []
    for _ in range(count):
        assert message[at : at + 2] == b"\xc0\x0c"
        size = struct.unpack("!H", message[at + 10 : at + 12])[0]
        found.append(str(ipaddress.ip_address(message[at + 12 : at + 12 + size])))
        at += 12 + size
    assert at == len(message)
    return found


def test_a_question_and_its_answer():
    asked = dns.parse(question("PyPI.org"))
    assert asked and (asked.identity, asked.name, asked.kind) == (7, "pypi.org", dns.A)
    all_of_them = [ipaddress.ip_address(text) for text in ("192.0.2.1", "2001:db8::1", "192.0.2.2")]
    answer = dns.answer(asked, dns.FINE, all_of_them)
    assert answer[:4] == b"\0\7\x81\x80" and addresses(answer) == ["192.0.2.1", "192.0.2.2"]
    six = dns.parse(question("pypi.org", dns.AAAA))
    assert six and addresses(dns.answer(six, dns.FINE, all_of_them)) == ["2001:db8::1"]
    assert dns.answer(asked, dns.NO_NAME)[3] & 15 == 3 and addresses(dns.answer(asked, dns.NO_NAME)) == []


@pytest.mark.parametrize("kind", [5, 12, 15, 16, 33, 65, 255])
def test_other_records_are_never_answered(kind):
    asked = dns.parse(question("pypi.org", kind))
    assert asked and addresses(dns.answer(asked, dns.FINE, [ipaddress.ip_address("192.0.2.1")])) == []


@pytest.mark.parametrize(
    "message",
    [
        b"",
        question("pypi.org")[:-1],
        question("pypi.org")[:12] + b"\xc0\x0c" + b"\0\1\0\1",
        question("pypi.org", flags=0x8100),
        question("pypi.org", flags=0x2800),
        question("pypi.org")[:4] + b"\0\2" + question("pypi.org")[6:],
        question("pypi.org")[:-2] + b"\0\3",
        question(".".join(["a" * 63] * 5)),
    ],
)
def test_what_is_no_question(message):
    assert dns.parse(message) is None


def test_bytes_that_no_name_has_stay_visible():
    raw = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\5a.b\n\xff\3org\0\0\1\0\1"
    asked = dns.parse(raw)
    assert asked and asked.name == "a\\046b\\010\\255.org"


@given(st.binary(max_size=600))
def test_any_bytes(message):
    asked = dns.parse(message)
    if asked is None:
        reply = dns.malformed(message)
        assert reply is None or (reply[:2] == message[:2] and len(reply) == 12 and reply[2] & 0x80)
    else:
        assert asked.name.isascii() and asked.name.isprintable() and len(asked.name) < 4 * 256
        assert addresses(dns.answer(asked, dns.FINE, [ipaddress.ip_address("192.0.2.1")])) == (
            ["192.0.2.1"] if asked.kind == dns.A else []
        )
