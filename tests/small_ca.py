"""A small certificate authority for tests, able to make certificates that no honest one would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


def name(common: str) -> x509.Name:
    """A name with nothing but its common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(*, sign: bool = False, certify: bool = False) -> x509.KeyUsage:
    """Digital signature, or signing certificates."""
    return x509.KeyUsage(sign, False, False, False, False, certify, False, False, False)


@dataclass
class Certified:
    """A key and its certificate, able to issue others whether it may or not."""

    key: Any
    certificate: x509.Certificate
    issuer: Certified | None = None
    chain: list[Certified] = field(default_factory=list)
    """Itself and its issuers up to, without, the root."""

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return bytes(self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))

    @property
    def chain_pem(self) -> bytes:
        return b"".join(item.pem for item in self.chain)

    def authority(self, common: str, **options: Any) -> Certified:
        """An intermediate authority."""
        return issue(common, self, ca=True, **options)

    def leaf(self, common: str = "alice", **options: Any) -> Certified:
        """A signing certificate."""
        if "names" not in options:
            options["names"] = [x509.RFC822Name(f"{common}@example.com")]
        options.setdefault("key_usage", usage(sign=True))
        options.setdefault("purposes", [ExtendedKeyUsageOID.CODE_SIGNING])
        return issue(common, self, **options)


def root(common: str = "root", **options: Any) -> Certified:
    """A self-signed authority."""
    return issue(common, None, ca=True, **options)


def issue(
    common: str,
    issuer: Certified | None,
    *,
    ca: bool | None = False,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | str | None = "usual",
    purposes: Sequence[x509.ObjectIdentifier] | None = None,
    names: Sequence[x509.GeneralName] = (),
    start: datetime = START,
    end: datetime = START + YEAR,
    key: Any = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Certified:
    """A certificate; ``ca=None`` leaves the basic constraints out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(issuer.certificate.subject if issuer else name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if key_usage == "usual":
        key_usage = usage(certify=True) if ca else usage(sign=True)
    if isinstance(key_usage, x509.KeyUsage):
        builder = builder.add_extension(key_usage, critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    unhashed = isinstance(signing_key, ed25519.Ed25519PrivateKey)
    certificate = builder.sign(signing_key, None if unhashed else hashes.SHA256())
    made = Certified(key, certificate, issuer)
    made.chain = [made, *(issuer.chain if issuer and issuer.issuer else [])]
    return made


def weak_rsa() -> rsa.RSAPrivateKey:
    """A key that is too short."""
    return rsa.generate_private_key(65537, 1024)
