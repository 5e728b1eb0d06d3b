"""TLS on both sides: 1.2 and newer, forward secrecy, HTTP/1.1 only; what a caller's certificate says.

Files are read anew when they change; a file that cannot be read then leaves the old certificate in place.
"""

from __future__ import annotations

import asyncio
import ssl

from assay.errors import UsageError
from assay.guard.gateway import certificates
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
    """Of the caller at the other end, which TLS has verified; None: it showed none that can be read."""
    found = transport.get_extra_info("ssl_object")
    der = None if found is None else found.getpeercert(True)
    try:
        return None if der is None else certificates.read(der)
    except ValueError:
        return None


def _no_password() -> str:
    raise ValueError("the key has a password")  # OpenSSL would otherwise ask on the terminal


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
