"""Certificates as every way in reads them."""

from __future__ import annotations

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


def made(*extensions: x509.ExtensionType) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "robot")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2026, 1, 1, tzinfo=UTC), ENDS)
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


@given(st.binary(max_size=200))
def test_bytes_that_are_none_are_an_error(data: bytes) -> None:
    for shown in (data, b"-----BEGIN CERTIFICATE-----\n" + data):
        with pytest.raises(ValueError):
            certificates.read(shown)
