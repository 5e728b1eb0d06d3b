"""Signing with a private key, alone or with an X.509 certificate for it."""

from __future__ import annotations

from msgspec import Struct

from assay.errors import UsageError
from assay.evidence.bundle import Bundle, build
from assay.evidence.envelope import IN_TOTO, Envelope, Signature, pae
from assay.evidence.keys import PrivateKey


class KeySigner(Struct, frozen=True):
    """Signs with a key whose public half verifiers already have."""

    key: PrivateKey

    def sign(self, payload: bytes) -> Bundle:
        """See `Signer.sign`."""
        signature = Signature(self.key.sign(pae(IN_TOTO, payload)))
        return build(Envelope(payload, IN_TOTO, (signature,)), key_hint=self.key.public.key_id)


class CertificateSigner(Struct, frozen=True):
    """Signs with a key that a certificate authority vouches for; the chain travels in the bundle."""

    key: PrivateKey
    chain: tuple[bytes, ...]
    """DER: the signing certificate first, then intermediates."""

    def sign(self, payload: bytes) -> Bundle:
        """See `Signer.sign`."""
        signature = Signature(self.key.sign(pae(IN_TOTO, payload)))
        return build(Envelope(payload, IN_TOTO, (signature,)), certificates=self.chain)


def with_certificates(key: PrivateKey, pem: bytes, what: str) -> CertificateSigner:
    """A signer for ``key`` and the certificates in ``pem``, of which the first must be for this very key."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding

    from assay.evidence.keys import public_key

    try:
        certificates = x509.load_pem_x509_certificates(pem)
        certified = certificates[0].public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise UsageError(f"{what} holds no PEM certificate that can be read") from None
    if public_key(certified, what).pem != key.public.pem:
        raise UsageError(f"{what}: the first certificate is not for the key that signs")
    return CertificateSigner(key, tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates))
