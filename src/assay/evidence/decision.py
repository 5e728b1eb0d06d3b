"""From examined documents to one answer about a target; `assay.evidence.verification` has the order of the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from assay.evidence.compare import Difference
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Attestation, Candidate, Findings, Reader, by_digest, examine, hold

Lookup = Callable[[str], Sequence[Candidate]]
"""Finds further documents by the SHA-256 (hex) of the target's contents, once it is known."""


def decide(
    reader: Reader,
    candidates: Sequence[Candidate],
    anchors: Sequence[Anchor],
    now: datetime,
    *,
    keep: Callable[[str], bool] | None = None,
    strict: bool = False,
    lookup: Lookup | None = None,
) -> Findings:
    """The findings for one target. ``candidates`` come most promising first; ``keep`` limits them to a part."""
    examined = [examine(candidate, anchors, now) for candidate in candidates]
    held: dict[int, Attestation] = {}
    unsigned: list[str] = []
    decisive: int | None = None
    # Statements about the whole first: one about a part must not answer a question that another answers in full.
    for i in sorted(range(len(examined)), key=lambda i: bool(claims.part) if (claims := examined[i].claims) else False):
        if examined[i].proof and examined[i].claims:
            held[i], left_out = hold(examined[i], reader, keep)
            if held[i].matched:
                decisive, unsigned = i, left_out
                break
    if decisive is None and keep is None and not reader.paths:
        examined, decisive = _without_lists(reader, examined, held, anchors, now, lookup)
    elif decisive is not None and keep is None:
        _also(reader, examined, held, decisive)
    attestations = [held.get(i, attestation) for i, attestation in enumerate(examined)]
    if decisive is not None:
        attestations.insert(0, attestations.pop(decisive))
        return _accepted(reader, attestations, unsigned, strict)
    return _refused(reader, attestations)


def doubted(findings: Findings, problems: Sequence[str], *, strict: bool) -> Findings:
    """The findings when some evidence could not be read: a warning, and with ``strict`` no acceptance."""
    made = replace(findings, warnings=(*findings.warnings, *problems))
    if strict and made.verdict == "accepted":
        return replace(made, verdict="rejected", reason=f"strict: {problems[0]}")
    return made


def _without_lists(
    reader: Reader,
    examined: list[Attestation],
    held: dict[int, Attestation],
    anchors: Sequence[Anchor],
    now: datetime,
    lookup: Lookup | None,
) -> tuple[list[Attestation], int | None]:
    """Step 4 when no list of files matched: digest everything with SHA-256 and ask by that digest."""
    if held and all(item.claims for item in examined if item.proof):
        return examined, None  # lists exist and differ: their difference is the answer
    manifest = reader.manifest((), True, fast=False)
    contents = manifest.contents().hex()
    known = {item.source for item in examined}
    if lookup is not None:
        found = [candidate for candidate in lookup(contents) if candidate.source not in known]
        examined = [*examined, *(examine(candidate, anchors, now) for candidate in found)]
    for i, attestation in enumerate(examined):
        if attestation.proof and i not in held:
            held[i] = (
                by_digest(attestation, contents, manifest)
                if not attestation.claims
                else hold(attestation, reader, None)[0]
            )
            if held[i].matched:
                return examined, i
    return examined, None


def _also(reader: Reader, examined: list[Attestation], held: dict[int, Attestation], decisive: int) -> None:
    """What else holds for the same contents, and which newer statements describe other contents."""
    others = [i for i, attestation in enumerate(examined) if i not in held and attestation.proof]
    for i in others:
        if examined[i].claims:
            held[i] = hold(examined[i], reader, None)[0]
    claims = held[decisive].claims
    unlisted = [i for i in others if i not in held]
    if unlisted and claims is not None and claims.manifest is not None:
        contents = claims.manifest.contents().hex()
        for i in unlisted:
            held[i] = by_digest(examined[i], contents, None)


def _newer(attestations: Sequence[Attestation]) -> list[Attestation]:
    """Statements by trusted signers, newer than the decisive one, of its kind and name, about other contents."""
    first = attestations[0]
    return [
        item
        for item in attestations[1:]
        if item.proof
        and not item.matched
        and item.sequence > first.sequence
        and item.predicate_type == first.predicate_type
        and item.subjects[:1] == first.subjects[:1]
    ]


def _accepted(
    reader: Reader,
    attestations: list[Attestation],
    unsigned: list[str],
    strict: bool,
) -> Findings:
    first = attestations[0]
    claims = first.claims
    globs = reader.paths or (claims.part if claims else ())
    names, size, algorithm = reader.compared(globs)
    if claims:
        names = len(set(claims.names))  # files that the signature leaves out were read but do not count as verified
    warnings = [
        f"{item.source} is newer ({item.said.get('time', 'no time stated')}) and describes other contents of "
        f"{first.subjects[0]!r}: this may be an older version"
        for item in _newer(attestations)
    ]
    if claims and claims.part and not reader.paths:
        warnings.append(f"what was signed is only a part: {', '.join(claims.part)}")
    if unsigned:
        warnings.append(
            f"{len(unsigned)} name(s) lie outside the signature by its ignore rules: {', '.join(sorted(unsigned)[:5])}"
        )
    findings = Findings(
        "accepted",
        f"{names:,} file(s) exactly as signed" if claims else "the contents are what the statement is about",
        tuple(attestations),
        Difference(),
        tuple(sorted(unsigned)),
        algorithm,
        globs,
        names,
        size,
        tuple(warnings),
    )
    if strict and warnings:
        return replace(findings, verdict="rejected", reason=f"strict: {warnings[0]}")
    return findings


def _refused(reader: Reader, attestations: list[Attestation]) -> Findings:
    made = Findings("rejected", "", tuple(attestations), part=reader.paths)
    differing = [item for item in attestations if item.proof and item.difference]
    if differing:
        # The statement that the target is closest to tells the user most; the newest of equally close ones.
        nearest = min(differing, key=lambda item: (len(item.difference or ()), -item.sequence))
        difference = nearest.difference or Difference()
        files, size, algorithm = reader.compared(reader.paths or (nearest.claims.part if nearest.claims else ()))
        return replace(
            made,
            reason=_sentence(difference),
            attestations=(nearest, *(item for item in attestations if item is not nearest)),
            difference=difference,
            algorithm=algorithm,
            files=files,
            size=size,
        )
    proved = [item for item in attestations if item.proof]
    if proved:
        return replace(made, reason="the signed statements are about other contents")
    if attestations:
        problem = attestations[0].problem or "no proof"
        more = f" (and {len(attestations) - 1} more)" if len(attestations) > 1 else ""
        return replace(made, reason=f"{attestations[0].source}: {problem}{more}")
    return replace(made, verdict="undecided", reason="there is no evidence about this target")


def _sentence(difference: Difference) -> str:
    kinds = (
        ("modified", difference.modified),
        ("missing", difference.missing),
        ("not signed", difference.extra),
    )
    return "; ".join(
        f"{kind}: {', '.join(repr(name) for name in names[:5])}"
        + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for kind, names in kinds
        if names
    )
