"""Certificates and encodings that the services share."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A certificate with its private key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def now() -> datetime:
    """UTC, whole seconds: what certificates and timestamps can express."""
    return datetime.now(UTC).replace(microsecond=0)


def b64(data: bytes) -> str:
    """Standard base64 as text."""
    return base64.b64encode(data).decode()


def spki(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    """The certificate's PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def name(common: str) -> x509.Name:
    """A distinguished name of the double."""
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sigstore double")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def key_usage(*, sign: bool = False, certify: bool = False) -> x509.KeyUsage:
    """Digital signature, or signing certificates and revocation lists."""
    return x509.KeyUsage(sign, False, False, False, False, certify, certify, False, False)


def authority(
    common: str,
    issuer: Authority | None = None,
    *,
    path_length: int | None = None,
    usage: x509.ObjectIdentifier | None = None,
) -> Authority:
    """A root, or an intermediate when there is an issuer."""
    key = ec.generate_private_key(ec.SECP384R1())
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(issuer.certificate.subject if issuer else name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - 30 * DAY)
        .not_valid_after(now() + 3650 * DAY)
        .add_extension(x509.BasicConstraints(True, path_length), critical=True)
        .add_extension(key_usage(certify=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Authority(key, builder.sign(signing_key, hashes.SHA384()))
