"""From a bundle to its statement and to the list of files that it claims, whichever document type carries that list."""

from __future__ import annotations

from assay.evidence import documents, oms, oms_rows
from assay.evidence.bundle import Bundle
from assay.evidence.claims import Claims
from assay.evidence.envelope import IN_TOTO
from assay.evidence.statement import Statement

_CYCLONEDX = "https://cyclonedx.org/bom"


def read(bundle: Bundle, what: str) -> tuple[Statement, Claims | None]:
    """The statement, and the files it lists where it lists them. Raises `DocumentError` when it is not consistent."""
    if len(bundle.envelope.payload) >= oms_rows.WORTH_IT and bundle.envelope.payload_type == IN_TOTO:
        fast = oms_rows.read(bundle.envelope.payload, what)
        if fast is not None:
            return fast
    statement = documents.unwrap_predicate(documents.statement_of(bundle, what))
    return statement, claims(statement, what)


def claims(statement: Statement, what: str) -> Claims | None:
    """The list of files in a statement: a model signature, or a bill of materials with all its file components."""
    kind = statement.predicate_type
    if kind in (oms.PREDICATE_TYPE, oms.LEGACY_TYPE):
        return oms.claims(statement, what)
    if kind == _CYCLONEDX or kind.startswith(_CYCLONEDX + "/"):
        return _bill_of_materials(statement, what)
    return None


def _bill_of_materials(statement: Statement, what: str) -> Claims | None:
    """A bill of materials is a list only when complete: the digest over its files must be the subject's."""
    from assay.errors import DocumentError
    from assay.evidence.predicates.cyclonedx import claimed_manifest

    subject = statement.subjects[0]
    try:
        manifest = claimed_manifest(dict(statement.predicate))
    except DocumentError:
        return None  # another tool's bill of materials: it speaks through its subject alone
    if len(statement.subjects) != 1 or manifest.contents().hex() != subject.digest.get("sha256"):
        return None
    part = subject.annotations.get("part")
    globs = tuple(str(glob) for glob in part) if isinstance(part, list) else ()
    return Claims(manifest, (), (), bool(subject.annotations.get("followedLinks")), globs)
