"""Evidence in the forms in which other tools write it: one file may hold one signed statement or many.

Everything becomes a `Bundle`, whose envelope is verified as it came. What is unwrapped here is unwrapped after
that, out of bytes that the signature covers; nothing here proves a signature or invents one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from assay.errors import DocumentError
from assay.evidence import bundle as bundles
from assay.evidence import envelope as dsse
from assay.evidence import statement as statements
from assay.evidence import strict_json
from assay.evidence.bundle import Bundle
from assay.evidence.envelope import decode_base64, expect
from assay.evidence.statement import Statement, Subject

_IN_TOTO_TYPE = re.compile(r"application/vnd\.in-toto(\.[a-z0-9.-]+)?\+json")

_GENERIC = "https://assay.dev/generic/v0.1"
_SARIF = "http://docs.oasis-open.org/sarif/sarif/2.1.0"
_CYCLONEDX = "https://cyclonedx.org/bom"
_VALINT_GENERIC = "http://scribesecurity.com/evidence/generic/v0.1"


class Documents(Struct, frozen=True):
    """What a file of evidence held."""

    bundles: tuple[Bundle, ...]
    """In the file's order; at least one. Each one's ``raw`` is a document that can be stored and read again alone."""
    ignored: int = 0
    """Lines or items that are no signed statement; dropping evidence can make a verdict only worse, never better."""
    first_ignored: str | None = None
    """Why the first of them was ignored."""


def read_documents(data: bytes, what: str) -> list[Bundle]:
    """The bundles of `scan`, for callers that need not say what was ignored."""
    return list(scan(data, what).bundles)


def scan(data: bytes, what: str) -> Documents:
    """Read a Sigstore bundle, a DSSE envelope, either as JSON Lines, cosign's older form, or GitHub's list.

    Raises `DocumentError` where not one signed document is found; ``what`` names the file in it.
    """
    try:
        document = strict_json.loads(data, what)
    except DocumentError as whole:
        lines = data.splitlines(keepends=True) if b"\n" in data.strip() else []
        return _collect(lines, what, whole)
    document = expect(document, dict, what)
    if "attestations" in document and "payload" not in document:
        return _github(document, what)
    return Documents((_one(document, data, what),))


def _collect(lines: list[bytes], what: str, whole: DocumentError) -> Documents:
    """JSON Lines. Lines that are nothing to us are ignored, as in-toto's specification of bundles demands."""
    found: list[Bundle] = []
    ignored, first, objects = 0, None, 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{what}: line {number}"
        try:
            document = expect(strict_json.loads(line, place), dict, place)
            objects += 1
            # With its line end, also the last: so a store's export comes back as the same bytes.
            found.append(_one(document, line.rstrip(b"\r\n") + b"\n", place))
        except DocumentError as error:
            ignored += 1
            first = first or error.message
    if not found:
        if not objects:
            raise whole  # one broken document and no JSON Lines
        raise DocumentError(f"{what} holds no signed statement ({first})")
    return Documents(tuple(found), ignored, first)


def _github(document: Mapping[str, Any], what: str) -> Documents:
    """The answer of GitHub's attestations API: ``{"attestations": [{"bundle": {…}}, …]}``."""
    found: list[Bundle] = []
    ignored, first = 0, None
    for i, item in enumerate(expect(document["attestations"], list, f"{what}: attestations")):
        place = f"{what}: attestations[{i}]"
        try:
            inner = expect(expect(item, dict, place).get("bundle"), dict, f"{place}.bundle")
            found.append(_one(inner, strict_json.dumps(inner) + b"\n", place))
        except DocumentError as error:
            ignored += 1
            first = first or error.message
    if not found:
        raise DocumentError(f"{what} holds no attestation" + (f" ({first})" if first else ""))
    return Documents(tuple(found), ignored, first)


def _one(document: Mapping[str, Any], raw: bytes, what: str) -> Bundle:
    if "mediaType" in document or "verificationMaterial" in document:
        return bundles.from_document(document, raw, what)
    if "base64Signature" in document:
        return _cosign(document, raw, what)
    if "payload" not in document and "payloadType" not in document:
        raise DocumentError(f"{what} is neither a bundle nor a DSSE envelope")
    envelope = dsse.parse(document, what)
    if not envelope.signatures:
        raise DocumentError(f"{what} has no signature")
    return Bundle(envelope, raw)


def _cosign(document: Mapping[str, Any], raw: bytes, what: str) -> Bundle:
    """Cosign before version 3, ``attest-blob --bundle``: the envelope in base64, the certificate's PEM in base64.

    Its ``rekorBundle`` is not a log entry in Sigstore's form and is left out: it proves no time here.
    """
    place = f"{what}: base64Signature"
    inner = strict_json.loads(decode_base64(document["base64Signature"], place), place)
    if not isinstance(inner, dict) or "payload" not in inner:
        raise DocumentError(f"{place} is a bare signature, not one over a statement (a DSSE envelope)")
    envelope = dsse.parse(inner, place)
    if not envelope.signatures:
        raise DocumentError(f"{place} has no signature")
    certificates: tuple[bytes, ...] = ()
    if document.get("cert"):
        certificates = (_certificate(expect(document["cert"], str, f"{what}: cert"), f"{what}: cert"),)
    return Bundle(envelope, raw, certificates=certificates)


def _certificate(text: str, place: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = text.encode() if text.startswith("-----BEGIN") else decode_base64(text, place)
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion):
        raise DocumentError(f"{place} is not a PEM certificate") from None


def statement_payload(bundle: Bundle, what: str) -> bytes:
    """The bytes of the statement that a bundle carries, out of at most one inner envelope (valint writes two).

    Sound because only the outer signature is ever verified, and it covers every byte of the inner envelope: the
    statement follows from the signed bytes alone, and nothing that the signature does not cover is read. The inner
    signatures are not looked at, so an inner envelope can add no trust; whoever signs envelopes as a mere witness
    must do so under a payload type of its own. A document with a ``_type`` is a statement and never an envelope, so
    the same bytes cannot be read in two ways.
    """
    outer = bundle.envelope
    if not _IN_TOTO_TYPE.fullmatch(outer.payload_type):
        raise DocumentError(f"{what}: payload type {outer.payload_type[:100]!r} is not {dsse.IN_TOTO}")
    # Spares parsing large statements twice. An escaped spelling of the key ends as "not an in-toto statement".
    if b'"payloadType"' not in outer.payload:
        return outer.payload
    document = strict_json.loads(outer.payload, f"{what}: payload")
    if not isinstance(document, dict) or "_type" in document or "payloadType" not in document:
        return outer.payload
    inner = dsse.parse(document, f"{what}: inner envelope")
    if not _IN_TOTO_TYPE.fullmatch(inner.payload_type):
        raise DocumentError(f"{what}: inner payload type {inner.payload_type[:100]!r} is not {dsse.IN_TOTO}")
    return inner.payload


def statement_of(bundle: Bundle, what: str) -> Statement:
    """The statement that a bundle carries. Raises `DocumentError` where there is none."""
    return statements.parse(statement_payload(bundle, what), what)


def unwrap_predicate(statement: Statement) -> Statement:
    """The statement with valint's wrapper around the predicate taken off; any other statement as it is.

    CycloneDX (``{environment, bom}``) and SARIF (``{environment, mimeType, content}``) become the plain documents
    that their predicate types promise, valint's generic evidence becomes `generic.Generic`. What the wrapper says of
    context and labels becomes annotations of the subjects that have none of their own: it is as signed as they are.
    """
    keys, predicate = set(statement.predicate), statement.predicate
    kind = statement.predicate_type
    if kind == _CYCLONEDX or kind.startswith(f"{_CYCLONEDX}/"):
        inner = predicate.get("bom")
        if isinstance(inner, dict) and keys <= {"environment", "bom"}:
            return Statement(_annotated(statement), kind, inner)
    elif "content" in keys and keys <= {"environment", "mimeType", "content"}:
        inner = predicate["content"]
        if kind == _SARIF and isinstance(inner, dict):
            return Statement(_annotated(statement), kind, inner)
        if kind == _VALINT_GENERIC:
            return Statement(_annotated(statement), _GENERIC, _generic(predicate.get("mimeType"), inner))
    return statement


def _annotated(statement: Statement) -> tuple[Subject, ...]:
    """The subjects, with what valint's ``environment`` says of context, labels and time."""
    environment = statement.predicate.get("environment")
    if not isinstance(environment, dict):
        return statement.subjects
    context = {name: value for name, value in environment.items() if isinstance(value, str) and value}
    said: dict[str, Any] = {"context": context} if context else {}
    listed = environment.get("labels")
    if isinstance(listed, list):
        labels = dict(item.partition("=")[::2] for item in listed if isinstance(item, str) and item)
        said |= {"labels": labels} if labels else {}
    if "timestamp" in context:
        said["time"] = context["timestamp"]
    return tuple(replace(subject, annotations={**said, **subject.annotations}) for subject in statement.subjects)


def _generic(media_type: object, content: object) -> dict[str, Any]:
    """A generic predicate. Its digest is that of the bytes carried: the file's, where they came in base64, else those
    of the content as compact JSON (the file's own bytes are not in the document).
    """
    import hashlib

    is_json = isinstance(media_type, str) and "json" in media_type
    data = strict_json.dumps(content)
    if isinstance(content, str) and not is_json:
        try:
            data = decode_base64(content, "content")
        except DocumentError:
            data = content.encode()
    report: dict[str, Any] = {"digest": {"sha256": hashlib.sha256(data).hexdigest()}}
    if isinstance(media_type, str) and media_type:
        report["mediaType"] = media_type[:200]
    return {"report": report, "content": content}
