"""Key pairs: making, loading and using them. Everything that touches a raw key or signature scheme is in this file.

The scheme follows from the key and is never read from a document, so that no document can choose a weaker one:
Ed25519; ECDSA with the curve's hash (P-256/SHA-256, P-384/SHA-384, P-521/SHA-512, as in OpenSSF Model Signing);
RSA-PSS with SHA-256; ML-DSA-65 (FIPS 204).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from msgspec import Struct

from assay.errors import DocumentError, SignatureError, UsageError

ALGORITHMS = ("ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-pss-3072", "ml-dsa-65")
"""What `generate` makes. The first is the default: the only kind that every model signature verifier reads."""

MIN_RSA_BITS = 2048

_CURVES: dict[str, tuple[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": ("ecdsa-p256", hashes.SHA256),
    "secp384r1": ("ecdsa-p384", hashes.SHA384),
    "secp521r1": ("ecdsa-p521", hashes.SHA512),
}


class PublicKey(Struct, frozen=True):
    """A public key that can check signatures."""

    algorithm: str
    """``ecdsa-p256``, ``ecdsa-p384``, ``ecdsa-p521``, ``ed25519``, ``rsa-pss`` or ``ml-dsa-65``."""
    pem: bytes
    """SubjectPublicKeyInfo, PEM."""
    key: Any
    """The key object of ``cryptography``."""

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the PEM text with its final newline, as model signatures name keys."""
        return hashlib.sha256(self.pem).hexdigest()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises `SignatureError` unless ``signature`` is one over ``data`` by this key."""
        try:
            self._check(signature, data)
        except (InvalidSignature, ValueError):
            raise SignatureError(f"the signature is not one by key {self.key_id[:16]} over this document") from None

    def _check(self, signature: bytes, data: bytes) -> None:
        if isinstance(self.key, ec.EllipticCurvePublicKey):
            self.key.verify(signature, data, ec.ECDSA(_CURVES[self.key.curve.name][1]()))
        elif isinstance(self.key, rsa.RSAPublicKey):
            try:
                self.key.verify(signature, data, _pss(), hashes.SHA256())
            except InvalidSignature:
                # cosign and other Go tools sign with PKCS #1 v1.5; with SHA-256 it is sound for verification.
                self.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        else:
            self.key.verify(signature, data)


class PrivateKey(Struct, frozen=True):
    """A private key in memory."""

    public: PublicKey
    key: Any

    def sign(self, data: bytes) -> bytes:
        """A signature over ``data`` in the key's scheme; ECDSA as DER."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(_CURVES[self.key.curve.name][1]()))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, _pss(), hashes.SHA256())
        signature: bytes = self.key.sign(data)
        return signature

    def pem(self, passphrase: bytes | None) -> bytes:
        """PKCS #8 PEM, encrypted when there is a passphrase."""
        encryption: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        )
        pem: bytes = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        return pem


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


def _mldsa() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError:
        raise UsageError("this version of cryptography has no ML-DSA", hint="upgrade cryptography") from None
    return mldsa


def generate(algorithm: str = ALGORITHMS[0]) -> PrivateKey:
    """A new key pair. Raises `UsageError` for an algorithm that is not in `ALGORITHMS`."""
    key: Any
    if algorithm == "ecdsa-p256":
        key = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == "ecdsa-p384":
        key = ec.generate_private_key(ec.SECP384R1())
    elif algorithm == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "rsa-pss-3072":
        key = rsa.generate_private_key(65537, 3072)
    elif algorithm == "ml-dsa-65":
        try:
            key = _mldsa().MLDSA65PrivateKey.generate()
        except UnsupportedAlgorithm:
            raise UsageError("the OpenSSL in use has no ML-DSA-65") from None
    else:
        raise UsageError(f"unknown key algorithm {algorithm!r}", hint=f"one of: {', '.join(ALGORITHMS)}")
    return PrivateKey(public_key(key.public_key(), "the new key"), key)


def public_key(key: Any, what: str) -> PublicKey:
    """Wrap a key object after checking that it is of a kind and strength that is accepted."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise DocumentError(f"{what}: the curve {key.curve.name} is not accepted")
        algorithm = _CURVES[key.curve.name][0]
    elif isinstance(key, ed25519.Ed25519PublicKey):
        algorithm = "ed25519"
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise DocumentError(f"{what}: an RSA key of {key.key_size} bits is too short, {MIN_RSA_BITS} at least")
        algorithm = "rsa-pss"
    elif type(key).__name__.startswith("MLDSA65"):
        algorithm = "ml-dsa-65"
    else:
        raise DocumentError(f"{what}: keys of type {type(key).__name__} are not accepted")
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(algorithm, pem, key)


def load_public(data: bytes, what: str) -> PublicKey:
    """A public key from PEM: a bare key, or the key of a certificate. A private key's file is refused by name."""
    if b"PRIVATE KEY" in data:
        raise DocumentError(f"{what} is a private key", hint="verification needs the public one, usually FILE.pub")
    try:
        if b"BEGIN CERTIFICATE" in data:
            return public_key(_key_of_certificate(data), what)
        return public_key(serialization.load_pem_public_key(data), what)
    except (ValueError, UnsupportedAlgorithm):
        raise DocumentError(f"{what} is not a public key in PEM format") from None


def _key_of_certificate(pem: bytes) -> Any:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem).public_key()
    except x509.InvalidVersion as error:  # the one complaint of the parser that is no ValueError
        raise ValueError(str(error)) from None


def load_private(data: bytes, what: str, passphrase: Callable[[str], bytes]) -> PrivateKey:
    """A private key from PEM. ``passphrase`` is asked, with a text for a prompt, only when the key is encrypted."""
    secret = passphrase(f"Passphrase for {what}: ") if b"ENCRYPTED" in data[:4096] else None
    try:
        key = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if secret is not None:
            raise DocumentError(f"{what} cannot be decrypted", hint="is the passphrase right?") from None
        if b"PUBLIC KEY" in data:
            raise DocumentError(f"{what} is a public key", hint="signing needs the private one") from None
        raise DocumentError(f"{what} is not a private key in PEM format") from None
    if not hasattr(key, "sign"):
        raise DocumentError(f"{what}: keys of type {type(key).__name__} cannot sign")
    return PrivateKey(public_key(key.public_key(), what), key)
