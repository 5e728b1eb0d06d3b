"""A baseline: which findings somebody answers for, in which bytes, and until when.

A finding is accepted for one digest only, so that nothing changes under an old acceptance. The tier of a file and its
findings stay what they are, in every document; acceptance only decides what a gate fails on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assay.collect.scan.models.interface import FileResult, Finding, TargetResult, Tier
from assay.collect.scan.models.judging import tier_of
from assay.evidence import predicates
from assay.evidence.predicates.scan_baseline import PREDICATE_TYPE, Accepted, ScanBaseline
from assay.evidence.statement import Statement, Subject
from assay.evidence.trust.interface import Anchor

MARK = tuple[str, str, str | None, int | None, str | None]
"""SHA-256 (hex) of the file, rule, member, offset, call: what makes two findings the same one."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Accepted findings that count now."""

    marks: frozenset[MARK] = frozenset()
    reason: str = ""
    """Why they are acceptable, in the words of whoever signed."""
    by: str = ""
    """Who was proved to have signed."""
    until: datetime | None = None
    """When the acceptance ends."""
    problems: tuple[str, ...] = field(default=())
    """Why a baseline that was named accepts nothing."""

    def accepts(self, file: FileResult, finding: Finding) -> bool:
        """Whether this finding, in these bytes, is accepted."""
        return file.sha256 is not None and _mark(file.sha256, finding) in self.marks

    def remaining(self, file: FileResult) -> tuple[Finding, ...]:
        """The findings of a file that nobody answers for."""
        return tuple(finding for finding in file.findings if not self.accepts(file, finding))

    def tier(self, file: FileResult) -> Tier:
        """What a gate has to see the file as: its tier, unless every finding of that tier is accepted."""
        if not file.findings or not self.marks:
            return file.tier
        return tier_of(file.format, self.remaining(file))


def _mark(sha256: str, finding: Finding) -> MARK:
    return sha256, finding.rule, finding.member, finding.offset, finding.call


def statement(result: TargetResult, *, until: datetime, reason: str, now: datetime) -> bytes:
    """An in-toto statement, to be signed, that accepts every finding of ``result`` but mere information.

    Its subjects are the files with their digests. A file that could not be digested can't be accepted.
    """
    accepted = [
        Accepted(
            path=file.path,
            digest={"sha256": file.sha256},
            rule=finding.rule,
            member=finding.member,
            offset=finding.offset,
            call=finding.call,
        )
        for file in result.files
        if file.sha256 is not None
        for finding in file.findings
        if finding.severity != "info" or finding.tier is not Tier.NONE
    ]
    document = ScanBaseline(until=until, reason=reason, accepted=accepted, made=now)
    digests = {item.path: item.digest["sha256"] for item in accepted}
    subjects = tuple(Subject(path, {"sha256": digest}) for path, digest in digests.items())
    return Statement(subjects, PREDICATE_TYPE, predicates.builtins(document)).dump()


def read(data: bytes, name: str, anchors: Iterable[Anchor], now: datetime) -> Baseline:
    """The baseline in the file ``name``: what one of ``anchors`` is proved to have signed and that has not expired.

    A baseline that does not count accepts nothing, and says why in ``problems``. Raises `DocumentError` for a file
    that is no signed document at all.
    """
    from assay.evidence import documents
    from assay.evidence.verification import Candidate, examine

    bundles = documents.read_documents(data, name)
    found = examine(Candidate(name, bundles[0]), list(anchors), now)
    if len(bundles) != 1:
        return _nothing(name, f"it holds {len(bundles)} documents instead of one")
    if found.proof is None or found.statement is None:
        return _nothing(name, found.problem or "nobody is proved to have signed it")
    if found.statement.predicate_type != PREDICATE_TYPE:
        return _nothing(name, f"it is a statement of another type ({found.statement.predicate_type[:100]})")
    document = _document(found.statement.predicate, name)
    if document.until <= now:
        return _nothing(name, f"it has expired at {document.until:%Y-%m-%dT%H:%M:%SZ}")
    return Baseline(
        frozenset(
            (item.digest["sha256"], item.rule, item.member, item.offset, item.call) for item in document.accepted
        ),
        document.reason,
        str(found.proof),
        document.until,
    )


def _document(predicate: Mapping[str, Any], name: str) -> ScanBaseline:
    import msgspec

    from assay.errors import DocumentError

    try:
        return msgspec.convert(dict(predicate), ScanBaseline)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name}: {predicates.printable(str(error))[:300]}") from None


def _nothing(name: str, why: str) -> Baseline:
    return Baseline(problems=(f"the baseline {name} accepts nothing: {why}",))
