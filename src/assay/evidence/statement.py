"""in-toto statements: whom they speak about and what kind of thing they say. What they say may be a lie.

Reads Statement v1 and v0.1, writes v1 (in-toto/attestation, spec/v1/statement.md). The parser ignores unknown fields
as the specification demands and refuses what would let a statement match everything or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.evidence.envelope import IN_TOTO, Envelope, expect

V1 = "https://in-toto.io/Statement/v1"
V0_1 = "https://in-toto.io/Statement/v0.1"

STRONG = ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")
"""Digest algorithms that prove identity. Others (md5, sha1, gitCommit over SHA-1) are carried but never match."""

_PAYLOAD_TYPE = re.compile(r"application/vnd\.in-toto(\.[a-z0-9.-]+)?\+json")
_HEX = re.compile(r"[0-9a-f]+")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128, "sha3_256": 64, "sha3_384": 96, "sha3_512": 128}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about."""

    name: str
    digest: Mapping[str, str]
    """Algorithm to lower-case hex; never empty."""
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def strong(self) -> dict[str, str]:
        """The digests that can prove identity; may be empty."""
        return {name: value for name, value in self.digest.items() if name in STRONG}


@dataclass(frozen=True, slots=True)
class Statement:
    """Subjects, a predicate type, and the predicate."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]

    def dump(self) -> bytes:
        """Statement v1 as JSON."""
        subjects = []
        for subject in self.subjects:
            item: dict[str, Any] = {"name": subject.name, "digest": dict(subject.digest)}
            if subject.annotations:
                item["annotations"] = dict(subject.annotations)
            subjects.append(item)
        return strict_json.dumps(
            {
                "_type": V1,
                "subject": subjects,
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )


def from_envelope(envelope: Envelope, what: str) -> Statement:
    """The statement that an envelope carries, after looking at the payload's type."""
    if not _PAYLOAD_TYPE.fullmatch(envelope.payload_type):
        raise DocumentError(f"{what}: payload type {envelope.payload_type[:100]!r} is not {IN_TOTO}")
    return parse(envelope.payload, what)


def parse(payload: bytes, what: str) -> Statement:
    """A statement from its JSON bytes."""
    document = expect(strict_json.loads(payload, f"{what}: statement"), dict, f"{what}: statement")
    if document.get("_type") not in (V1, V0_1):
        raise DocumentError(f"{what}: _type {str(document.get('_type'))[:100]!r} is not an in-toto statement")
    predicate_type = expect(document.get("predicateType"), str, f"{what}: predicateType")
    if not predicate_type or len(predicate_type) > 500 or not predicate_type.isprintable():
        raise DocumentError(f"{what}: predicateType is not a URI")
    subjects = expect(document.get("subject"), list, f"{what}: subject")
    if not subjects:
        raise DocumentError(f"{what}: subject is empty, the statement is about nothing")
    predicate = document.get("predicate")
    return Statement(
        tuple(_subject(item, f"{what}: subject[{i}]") for i, item in enumerate(subjects)),
        predicate_type,
        expect({} if predicate is None else predicate, dict, f"{what}: predicate"),
    )


def _subject(item: object, place: str) -> Subject:
    fields = expect(item, dict, place)
    name = fields.get("name")
    digest = expect(fields.get("digest"), dict, f"{place}.digest")
    if not digest:
        raise DocumentError(f"{place} has no digest")
    for algorithm, value in digest.items():
        if not isinstance(value, str) or not value or len(value) > 1024:
            raise DocumentError(f"{place}.digest.{algorithm[:40]} is not a digest")
        if algorithm in _LENGTHS and (len(value) != _LENGTHS[algorithm] or not _HEX.fullmatch(value)):
            raise DocumentError(f"{place}.digest.{algorithm} is not lower-case hex of its length")
    annotations = fields.get("annotations")
    return Subject(
        expect("" if name is None else name, str, f"{place}.name"),
        digest,
        expect({} if annotations is None else annotations, dict, f"{place}.annotations"),
    )
