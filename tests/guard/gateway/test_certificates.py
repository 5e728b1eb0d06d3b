"""Certificates as every way in reads them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from asgi_making import Rooms, ask, guarded, scope_of
from assay.guard.gateway import certificates

ENDS = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
SAN = x509.ObjectIdentifier("2.5.29.17")


def made(*extensions: x509.ExtensionType, ends: datetime = ENDS) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "robot")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1, tzinfo=UTC), ends)
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(key, hashes.SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def test_both_forms_say_the_same() -> None:
    one = made(x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://a/b")]))
    read = certificates.read(der(one))
    assert read == certificates.read(one.public_bytes(serialization.Encoding.PEM))
    assert (read.subject, read.names) == ("CN=robot", ("DNS:a.example", "URI:spiffe://a/b"))
    assert read.digest == one.fingerprint(hashes.SHA256()).hex()
    assert read.not_after == ENDS.timestamp()


def test_one_whose_names_cannot_be_read_names_nobody() -> None:
    version = der(made()).replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"), 1)
    with pytest.raises(ValueError):
        certificates.read(version)
    # An alternative name of the kind ediPartyName: nobody reads it, and the others beside it do not count then either.
    one = made(x509.UnrecognizedExtension(SAN, bytes.fromhex("3009a507a0050c0345564c")))
    with pytest.raises(ValueError):
        certificates.read(der(one))
    pem = one.public_bytes(serialization.Encoding.PEM).decode()
    rooms = Rooms()
    scope = scope_of(headers=[], scheme="https", extensions={"tls": {"client_cert_chain": [pem]}})
    scope["headers"] = [(b"host", b"a")]

    async def app(scope, receive, send):
        raise AssertionError("it was let through")

    assert ask(guarded(app, rooms), scope).status == 401
    assert rooms.finished[0].certificate is None


@pytest.mark.parametrize("first", ["receive", "send"])
def test_a_websocket_of_the_middleware_does_not_outlive_its_callers_certificate(first: str) -> None:
    for ends, lives in ((datetime(2021, 1, 1, tzinfo=UTC), False), (datetime(2099, 1, 1, tzinfo=UTC), True)):
        pem = made(ends=ends).public_bytes(serialization.Encoding.PEM).decode()
        rooms, got, sent = Rooms(), [], []
        scope = scope_of(headers=[], scheme="wss", extensions={"tls": {"client_cert_chain": [pem]}})
        scope |= {"type": "websocket", "headers": [(b"host", b"a")], "path": "/predict", "raw_path": b"/predict"}

        async def app(scope, receive, send, got=got):
            await send({"type": "websocket.accept"})
            if first == "send":
                await send({"type": "websocket.send", "text": "secret"})
            got += [await receive(), await receive()]

        async def receive():
            return {"type": "websocket.receive", "text": "hello"}

        async def send(message, sent=sent):
            sent.append(message["type"])

        asyncio.run(guarded(app, rooms)(scope, receive, send))
        if lives:
            assert [one.get("text") for one in got] == ["hello", "hello"] and "websocket.close" not in sent
        else:
            assert [(one["type"], one["code"]) for one in got] == [("websocket.disconnect", 1008)] * 2
            assert sent == ["websocket.accept", "websocket.close"]
        assert [one.error for one in rooms.finished] == ["" if lives else "certificate-ended"]


@given(st.binary(max_size=200))
def test_bytes_that_are_none_are_an_error(data: bytes) -> None:
    for shown in (data, b"-----BEGIN CERTIFICATE-----\n" + data):
        with pytest.raises(ValueError):
            certificates.read(shown)
