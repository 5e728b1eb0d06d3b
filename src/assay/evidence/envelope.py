"""DSSE envelopes (secure-systems-lab/dsse v1.0): bytes, their type, signatures over both. Proves nothing by itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from assay.errors import DocumentError

IN_TOTO = "application/vnd.in-toto+json"
"""Payload type of an in-toto statement."""


class Signature(Struct, frozen=True):
    """One signature of an envelope."""

    sig: bytes
    keyid: str = ""
    """An unauthenticated hint; never used to decide anything."""
    certificates: tuple[bytes, ...] = ()
    """DER, leaf first: witness puts them into the envelope (an extension of DSSE)."""


class Envelope(Struct, frozen=True):
    """A payload with its type and signatures."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    def pae(self) -> bytes:
        """The bytes that are signed: DSSE's pre-authentication encoding."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding, DSSE protocol section "Signature Definition"."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def decode_base64(text: object, what: str) -> bytes:
    """Standard base64 with padding and nothing else: the one spelling that encodes back to the same text."""
    if not isinstance(text, str):
        raise DocumentError(f"{what} is not a base64 string")
    try:
        data: bytes = msgspec.convert(text, bytes)  # as strict as binascii's strict mode, three times as fast
    except msgspec.ValidationError:
        raise DocumentError(f"{what} is not strict base64") from None
    # That leaves one freedom, the unused bits of the last group: compare that group with its canonical form.
    tail = len(data) % 3 or 3
    if len(text) % 4 or base64.b64encode(data[-tail:]).decode() != text[-4:]:
        raise DocumentError(f"{what} is not strict base64: its last bits differ from the canonical form")
    return data


def expect(value: object, kind: type, what: str) -> Any:
    """``value`` when it has the JSON type ``kind``, else a `DocumentError` that names the field."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {dict: "an object", list: "a list", str: "a string", int: "an integer", bool: "true or false"}
        raise DocumentError(f"{what} is {'missing' if value is None else f'not {names.get(kind, kind)}'}")
    return value


def parse(document: Mapping[str, Any], what: str) -> Envelope:
    """An envelope from its JSON object. Signatures may be none; whoever wants proof refuses that later."""
    payload_type = expect(document.get("payloadType"), str, f"{what}: payloadType")
    if not payload_type.isascii() or not 0 < len(payload_type) <= 200:
        raise DocumentError(f"{what}: payloadType is not a media type")
    payload = decode_base64(document.get("payload"), f"{what}: payload")
    signatures = []
    for i, item in enumerate(expect(document.get("signatures"), list, f"{what}: signatures")):
        place = f"{what}: signatures[{i}]"
        keyid = expect(item, dict, place).get("keyid") or ""  # absent, null and "" mean the same
        signatures.append(
            Signature(
                decode_base64(item.get("sig"), f"{place}.sig"),
                expect(keyid, str, f"{place}.keyid"),
                _witness_certificates(item, place),
            )
        )
    if len(signatures) > 32:
        raise DocumentError(f"{what} has {len(signatures)} signatures, more than the 32 that are checked")
    return Envelope(payload, payload_type, tuple(signatures))


def _witness_certificates(item: Mapping[str, Any], place: str) -> tuple[bytes, ...]:
    """Certificates beside a signature, as witness writes them: base64 of PEM texts, leaf and then intermediates."""
    leaf = item.get("certificate")
    if leaf is None:
        return ()
    rest = item.get("intermediates") or []
    pems = [leaf, *expect(rest, list, f"{place}.intermediates")]
    return tuple(_pem_to_der(decode_base64(pem, f"{place}.certificate"), place) for pem in pems[:8])


def _pem_to_der(pem: bytes, place: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion):
        raise DocumentError(f"{place}.certificate is not a PEM certificate") from None


def dump(envelope: Envelope) -> dict[str, Any]:
    """The envelope's JSON object."""
    return {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [
            {"sig": base64.b64encode(signature.sig).decode(), "keyid": signature.keyid}
            for signature in envelope.signatures
        ],
    }
