"""A certificate transparency log: the promise to log a precertificate (RFC 6962), nothing else."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sigstore_double.pki import now, spki


@dataclass
class CertificateLog:
    """Signs certificate timestamps."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def log_id(self) -> bytes:
        """RFC 6962, 3.2."""
        return hashlib.sha256(spki(self.key.public_key())).digest()

    def promise(self, precertificate: bytes, issuer: ec.EllipticCurvePublicKey) -> bytes:
        """A SignedCertificateTimestampList with one entry, for a TBSCertificate (RFC 6962, 3.2 and 3.3)."""
        milliseconds = int(now().timestamp() * 1000)
        length = len(precertificate).to_bytes(3, "big")
        entry = hashlib.sha256(spki(issuer)).digest() + length + precertificate
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        stamp = b"\0" + self.log_id + struct.pack("!Q", milliseconds) + b"\0\0" + b"\4\3" + _sized(signature)
        return _sized(_sized(stamp))


def _sized(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data
