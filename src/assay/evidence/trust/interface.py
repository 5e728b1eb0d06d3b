"""What an anchor of trust is and what it proves. "Signed" by nobody in particular is no answer: each names one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from assay.evidence.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved about a bundle, as opposed to what its document says."""

    method: str
    """``key``, ``certificate`` or ``sigstore``."""
    signer: str
    """Key id, or the certificate's identity (e-mail, URI, DNS name or common name)."""
    issuer: str | None
    """The OIDC issuer (Sigstore) or the issuing authority's name (certificate); None for a key."""
    algorithm: str
    """``ecdsa-p256``, …"""
    time: datetime | None = None
    """A time at which the signature is proved to have existed."""
    time_source: str | None = None
    """``transparency log``, ``timestamp authority``; None when no time was proved."""
    key_id: str | None = None
    """Hex SHA-256 (`PublicKey.key_id`) of a lasting key that signed; None for keys made for one signature."""

    def __str__(self) -> str:
        """The signer in words: ``key 3f1a…``, ``alice@example.com (https://issuer.example)``."""
        if self.method == "key":
            return f"key {self.signer[:16]}"
        return f"{self.signer} ({self.issuer})" if self.issuer else self.signer


class Anchor(Protocol):
    """One expected signer."""

    def describe(self) -> str:
        """Whom this expects, for messages: ``key 3f1a…``."""
        ...

    def prove(self, bundle: Bundle, now: datetime) -> Proof:
        """The proof that the expected signer signed the bundle's payload.

        ``now`` is the time of verification, UTC. Raises `SignatureError` with one sentence when there is no proof.
        """
        ...
