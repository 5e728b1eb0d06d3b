"""TLS on both sides: 1.2 and newer, forward secrecy, HTTP/1.1 only; what a caller's certificate says.

Files are read anew when they change; a file that cannot be read then leaves the old certificate in place.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl

from assay.errors import UsageError
from assay.guard.gateway.interface import Certificate
from assay.guard.gateway.settings import Settings

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption (RFC 9325, 4.2); those of 1.3 are all of that kind."""


def files(settings: Settings) -> tuple[str, ...]:
    """Absolute paths of what TLS reads."""
    if settings.tls is None:
        return ()
    named = settings.tls.certificate, settings.tls.key, settings.tls.client_ca
    return tuple(settings.path(name) for name in named if name is not None)


def stamps(paths: tuple[str, ...]) -> tuple[object, ...]:
    """Changes when one of the files does."""
    found: list[object] = []
    for path in paths:
        try:
            status = os.stat(path)
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        except OSError:
            found.append(None)
    return tuple(found)


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """For callers; None where there is no TLS. Raises `UsageError` naming the file."""
    tls = settings.tls
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    certificate, key = settings.path(tls.certificate), settings.path(tls.key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise UsageError(f"tls: {certificate} and {key} cannot be used: {_why(error)}") from None
    if tls.client_certificates != "none" and tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if tls.client_certificates == "required" else ssl.CERT_OPTIONAL
        authority = settings.path(tls.client_ca)
        try:
            context.load_verify_locations(authority)
        except (OSError, ValueError) as error:
            raise UsageError(f"tls: {authority} cannot be used: {_why(error)}") from None
    return context


def client_context(settings: Settings) -> ssl.SSLContext:
    """For ``https://`` model servers: their certificates are verified, always. Raises `UsageError` naming the file."""
    authority = settings.path(settings.upstream_ca) if settings.upstream_ca is not None else None
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ValueError) as error:
        raise UsageError(f"upstream-ca: {authority} cannot be used: {_why(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def certificate(transport: asyncio.BaseTransport) -> Certificate | None:
    """Of the caller at the other end, which TLS has verified; None: it showed none."""
    found = transport.get_extra_info("ssl_object")
    der = None if found is None else found.getpeercert(True)
    return None if der is None else read(der)


def read(der: bytes) -> Certificate | None:
    """A verified certificate as callers are told apart by it; None where its names cannot be read."""
    from cryptography import x509

    try:
        loaded = x509.load_der_x509_certificate(der)
        subject = loaded.subject.rfc4514_string()
        names = _names(loaded)
    except (ValueError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
        return None
    return Certificate(subject, names, hashlib.sha256(der).hexdigest())


def _names(loaded: object) -> tuple[str, ...]:
    from cryptography import x509

    assert isinstance(loaded, x509.Certificate)
    try:
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    kinds = ((x509.DNSName, "DNS"), (x509.UniformResourceIdentifier, "URI"), (x509.RFC822Name, "email"))
    return tuple(f"{word}:{value}" for kind, word in kinds for value in names.get_values_for_type(kind))


def _no_password() -> str:
    raise ValueError("the key has a password")  # OpenSSL would otherwise ask on the terminal


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
