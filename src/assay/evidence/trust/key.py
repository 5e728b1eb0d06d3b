"""Trust in a public key that the verifier has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from assay.errors import SignatureError
from assay.evidence.bundle import Bundle
from assay.evidence.envelope import IN_TOTO
from assay.evidence.keys import PublicKey
from assay.evidence.trust.interface import Proof


@dataclass(frozen=True, slots=True)
class KeyAnchor:
    """Accepts what this key signed."""

    key: PublicKey

    def describe(self) -> str:
        """See `Anchor.describe`."""
        return f"key {self.key.key_id[:16]}"

    def prove(self, bundle: Bundle, now: datetime) -> Proof:
        """See `Anchor.prove`. Any of the envelope's signatures may be the one; hints are not believed, only tried."""
        for signature in bundle.envelope.signatures:
            try:
                self.key.verify(signature.sig, bundle.envelope.pae())
            except SignatureError:
                continue
            return Proof("key", self.key.key_id, None, self.key.algorithm, key_id=self.key.key_id)
        if self._signed_by_early_release(bundle):
            algorithm = f"{self.key.algorithm} (encoding of model_signing 0.2)"
            return Proof("key", self.key.key_id, None, algorithm, key_id=self.key.key_id)
        raise SignatureError(f"no signature by {self.describe()} over this document")

    def _signed_by_early_release(self, bundle: Bundle) -> bool:
        """Version 0.2 of model_signing put the payload's Python representation into the text that it signed.

        It always used SHA-256, whatever the curve. No other payload can be passed off this way: the text is injective.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        envelope = bundle.envelope
        if (
            not isinstance(self.key.key, ec.EllipticCurvePublicKey)
            or b"model_signing/Digests/v0.1" not in envelope.payload
        ):
            return False
        text = f"DSSEV1 {len(IN_TOTO)} {IN_TOTO} {len(envelope.payload)} {envelope.payload!r}"
        for signature in envelope.signatures:
            try:
                self.key.key.verify(signature.sig, text.encode(), ec.ECDSA(hashes.SHA256()))
                return True
            except (InvalidSignature, ValueError):
                continue
        return False
