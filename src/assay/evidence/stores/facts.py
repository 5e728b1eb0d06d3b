"""What the index keeps about a bundle: whom its statement speaks of and who is said to have signed it.

All of it is claimed, none of it proved: it serves to find a bundle, never to believe one.
"""

from __future__ import annotations

from msgspec import Struct

from assay.errors import DocumentError
from assay.evidence import documents
from assay.evidence.bundle import Bundle
from assay.evidence.statement import parse

_EXTRA = ("contents", "shape", "gitCommit", "gitTree")
"""Annotations of a subject that are digests to look it up by."""

_MAX = 1024
"""Characters of a digest or of a signer's name that are indexed."""


class Facts(Struct, frozen=True):
    """What can be looked up."""

    predicate_type: str
    """URI."""
    signers: tuple[str, ...]
    """Key ids and certificate identities."""
    size: int
    """Bytes of the statement."""
    subjects: tuple[tuple[str, str, str], ...]
    """Name, algorithm, digest; one for every digest of every subject, and for its annotated digests."""


def facts(data: bytes, what: str) -> Facts:
    """The facts of one bundle. Raises `DocumentError` where ``data`` is not exactly one bundle with a statement."""
    found = documents.read_documents(data, what)
    if len(found) != 1 or found[0].raw != data:
        raise DocumentError(
            f"{what} is not one bundle alone", hint="import it: every bundle in it becomes an entry of its own"
        )
    payload = documents.statement_payload(found[0], what)
    statement = parse(payload, what)
    rows = []
    for subject in statement.subjects:
        rows += [(subject.name, algorithm, value) for algorithm, value in subject.digest.items()]
        extra = ((name, subject.annotations.get(name)) for name in _EXTRA)
        rows += [
            (subject.name, name, value) for name, value in extra if isinstance(value, str) and 0 < len(value) <= _MAX
        ]
    return Facts(statement.predicate_type, _signers(found[0]), len(payload), tuple(rows))


def _signers(bundle: Bundle) -> tuple[str, ...]:
    names = [bundle.key_hint or "", *(signature.keyid for signature in bundle.envelope.signatures)]
    leaves = [signature.certificates[0] for signature in bundle.envelope.signatures if signature.certificates]
    for leaf in (*bundle.certificates[:1], *leaves):
        names += _identities(leaf)
    return tuple(dict.fromkeys(name for name in names if 0 < len(name) <= _MAX))


def _identities(der: bytes) -> list[str]:
    from cryptography import x509

    from assay.evidence.trust.certificate import identities

    try:
        return identities(x509.load_der_x509_certificate(der))
    except ValueError:  # nobody can be found by a certificate that cannot be read; verifying it fails too
        return []
