"""A caller's certificate as an edge hands it on. The edge has verified it; here it is only read, and never trusted more
than the edge is.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from assay.guard.gateway.interface import Certificate

if TYPE_CHECKING:
    from cryptography import x509


@lru_cache(1024)
def certificate(shown: bytes) -> Certificate:
    """From PEM with ``%`` escapes (nginx, Envoy) or DER in base64 (HAProxy). Raises `ValueError`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        if shown.startswith(b"-----"):
            read = x509.load_pem_x509_certificate(unquote_to_bytes(shown))
        else:
            read = x509.load_der_x509_certificate(b64decode(shown, validate=True))
        digest = hashlib.sha256(read.public_bytes(Encoding.DER)).hexdigest()
        return Certificate(read.subject.rfc4514_string(), _names(read), digest)
    except (x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise ValueError from error


def _names(read: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    kinds = ((x509.DNSName, "DNS"), (x509.UniformResourceIdentifier, "URI"), (x509.RFC822Name, "email"))
    return tuple(f"{word}:{value}" for kind, word in kinds for value in names.get_values_for_type(kind))
