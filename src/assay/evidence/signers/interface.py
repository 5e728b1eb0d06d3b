"""What a signer is. PKCS #11 tokens and cloud key services become further implementations of `RawSigner`."""

from __future__ import annotations

from typing import Protocol

from assay.evidence.bundle import Bundle


class Signer(Protocol):
    """Signs statements."""

    def sign(self, payload: bytes) -> Bundle:
        """A bundle whose envelope holds ``payload`` (an in-toto statement's bytes), signed.

        Raises `AssayError` with what to do when the secret cannot be reached.
        """
        ...


class RawSigner(Protocol):
    """The smaller contract for hardware and services that sign bytes and know no documents."""

    def sign(self, data: bytes) -> bytes:
        """A signature over ``data``."""
        ...
