"""A caller's certificate as values: whom it names, and until when it holds.

TLS has verified it elsewhere (ours, the server's, an edge's). Here it is only read, and never trusted more than whoever
verified it; one that cannot be read in full names nobody.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from assay.guard.gateway.interface import Certificate

if TYPE_CHECKING:
    from cryptography import x509


def read(data: bytes) -> Certificate:
    """From its DER form, or PEM (RFC 7468). Raises `ValueError` where it cannot be read."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = data.startswith(b"-----")
    try:
        loaded = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        subject, names = loaded.subject.rfc4514_string(), _names(loaded)
    except (x509.InvalidVersion, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise ValueError from error
    digest = hashlib.sha256(loaded.public_bytes(Encoding.DER)).hexdigest()
    return Certificate(subject, names, digest, loaded.not_valid_after_utc.timestamp())


def _names(loaded: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    kinds = ((x509.DNSName, "DNS"), (x509.UniformResourceIdentifier, "URI"), (x509.RFC822Name, "email"))
    return tuple(f"{word}:{value}" for kind, word in kinds for value in names.get_values_for_type(kind))
