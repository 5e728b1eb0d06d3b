"""Sigstore bundles v0.3 around a DSSE envelope: the signature together with what is needed to check it offline.

Parsing keeps the document as it came (`Bundle.raw`), because stores and Sigstore's own verifier want those very bytes.
Nothing here decides whether a signature holds.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from assay.errors import DocumentError
from assay.evidence import envelope as dsse
from assay.evidence import strict_json
from assay.evidence.envelope import Envelope, decode_base64, expect

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""What we write. Older minor versions and the parameter form are read."""

_MEDIA_TYPES = {
    MEDIA_TYPE,
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
}


class Bundle(Struct, frozen=True):
    """A parsed bundle, or a bare envelope that came without one."""

    envelope: Envelope
    raw: bytes
    """The document as received."""
    media_type: str | None = None
    """None for a bare DSSE envelope."""
    key_hint: str | None = None
    """Which public key its writer means; a hint, never proof."""
    certificates: tuple[bytes, ...] = ()
    """DER, leaf first."""
    log_entries: int = 0
    """Number of transparency log entries."""
    timestamps: int = 0
    """Number of RFC 3161 timestamps."""


def parse(data: bytes, what: str) -> Bundle:
    """A bundle from its bytes. Raises `DocumentError` with one sentence for anything else."""
    return from_document(expect(strict_json.loads(data, what), dict, what), data, what)


def from_document(document: Mapping[str, Any], raw: bytes, what: str) -> Bundle:
    """A bundle from its parsed object; ``raw`` are the bytes that it was parsed from."""
    media_type = expect(document.get("mediaType"), str, f"{what}: mediaType")
    if media_type not in _MEDIA_TYPES:
        raise DocumentError(f"{what}: mediaType {media_type[:100]!r} is not a Sigstore bundle that is known here")
    material = expect(document.get("verificationMaterial"), dict, f"{what}: verificationMaterial")
    if "messageSignature" in document:
        raise DocumentError(f"{what} signs a bare digest (messageSignature), not a statement")
    envelope = dsse.parse(expect(document.get("dsseEnvelope"), dict, f"{what}: dsseEnvelope"), what)
    if not envelope.signatures:
        raise DocumentError(f"{what} has no signature")
    kinds = [kind for kind in ("publicKey", "certificate", "x509CertificateChain") if material.get(kind) is not None]
    if len(kinds) != 1:
        raise DocumentError(
            f"{what}: verificationMaterial names {' and '.join(kinds) or 'neither key nor certificate'}"
        )
    hint, certificates = _material(kinds[0], expect(material[kinds[0]], dict, f"{what}: {kinds[0]}"), what)
    entries = expect(material.get("tlogEntries") or [], list, f"{what}: tlogEntries")
    stamps = expect(material.get("timestampVerificationData") or {}, dict, f"{what}: timestampVerificationData")
    times = expect(stamps.get("rfc3161Timestamps") or [], list, f"{what}: rfc3161Timestamps")
    if kinds[0] == "certificate" and not entries and not times:
        raise DocumentError(f"{what} has a signing certificate but neither log entry nor timestamp (tlogEntries)")
    return Bundle(envelope, raw, media_type, hint, certificates, len(entries), len(times))


def _material(kind: str, value: Mapping[str, Any], what: str) -> tuple[str | None, tuple[bytes, ...]]:
    if kind == "publicKey":
        hint = value.get("hint")  # versions before 1.1 of model_signing wrote rawBytes and keyDetails instead
        return (None if hint is None else expect(hint, str, f"{what}: publicKey.hint")[:256]), ()
    if kind == "certificate":
        return None, (decode_base64(value.get("rawBytes"), f"{what}: certificate.rawBytes"),)
    chain = expect(value.get("certificates"), list, f"{what}: x509CertificateChain.certificates")
    if not 0 < len(chain) <= 16:
        raise DocumentError(f"{what}: a certificate chain of {len(chain)}")
    ders = tuple(
        decode_base64(expect(item, dict, f"{what}: certificates[{i}]").get("rawBytes"), f"{what}: certificates[{i}]")
        for i, item in enumerate(chain)
    )
    return None, ders


def build(envelope: Envelope, *, key_hint: str | None = None, certificates: tuple[bytes, ...] = ()) -> Bundle:
    """A v0.3 bundle for a signature by a key, or by a certificate whose chain is given (leaf first)."""
    material: dict[str, Any]
    if certificates:
        chain = [{"rawBytes": base64.b64encode(der).decode()} for der in certificates]
        material = {"x509CertificateChain": {"certificates": chain}, "tlogEntries": []}
    else:
        material = {"publicKey": {"hint": key_hint or ""}, "tlogEntries": []}
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": dsse.dump(envelope),
    }
    return Bundle(envelope, strict_json.dumps(document) + b"\n", MEDIA_TYPE, key_hint, certificates)
