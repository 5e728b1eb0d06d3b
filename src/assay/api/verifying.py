"""`verify`: whether a target is exactly what somebody trusted signed, by a signature file or the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from assay.api.anchors import TrustIn, anchors
from assay.api.gathering import Gathered
from assay.config import Config, load
from assay.errors import UsageError
from assay.evidence.decision import decide, doubted
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Attestation, Findings, OpenTarget, Reader
from assay.targets.interface import Options, Target
from assay.targets.registry import resolve

_EXIT = {"accepted": 0, "rejected": 1, "undecided": 3}


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer about one target."""

    reference: str
    """The target, pinned to its revision."""
    findings: Findings
    """What was proved, and what differs."""
    evidence: str
    """Where the evidence was looked for."""
    reread: int | None = None
    """Files whose bytes were read; None when the cache was not in use."""
    from_cache: int | None = None
    """Files whose digest was taken from the trusted cache."""

    @property
    def accepted(self) -> bool:
        """Only True is success; undecided is not."""
        return self.findings.verdict == "accepted"

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 rejected, 3 could not decide."""
        return _EXIT[self.findings.verdict]

    def document(self) -> dict[str, Any]:
        """The answer as JSON; ``proved`` and ``said`` are kept apart for each attestation."""
        found = self.findings
        made: dict[str, Any] = {
            "target": self.reference,
            "verdict": found.verdict,
            "reason": found.reason,
            "part": list(found.part),
            "files": found.files,
            "size": found.size,
            "algorithm": found.algorithm,
            "missing": list(found.difference.missing),
            "extra": list(found.difference.extra),
            "modified": list(found.difference.modified),
            "unsigned": list(found.unsigned),
            "warnings": list(found.warnings),
            "evidence": self.evidence,
            "attestations": [_attestation(item) for item in found.attestations],
        }
        if self.from_cache is not None:
            made["reread"], made["fromCache"] = self.reread, self.from_cache
        return made


def _attestation(item: Attestation) -> dict[str, Any]:
    proof = item.proof
    return {
        "source": item.source,
        "predicateType": item.predicate_type,
        "subjects": list(item.subjects),
        "matched": list(item.matched),
        "proved": None
        if proof is None
        else {
            "method": proof.method,
            "signer": proof.signer,
            "issuer": proof.issuer,
            "algorithm": proof.algorithm,
            "time": proof.time.strftime("%Y-%m-%dT%H:%M:%SZ") if proof.time else None,
            "timeSource": proof.time_source,
        },
        "problem": item.problem,
        "said": {
            name: item.said[name]
            for name in ("time", "target", "origin", "revision", "labels", "context", "tool")
            if name in item.said
        },
    }


def verify(
    target: str,
    *,
    trust: TrustIn = TrustIn(),  # noqa: B008 - frozen
    signature: str | None = None,
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    byte_range: tuple[int, int] | None = None,
    require_sha256: bool = False,
    strict: bool = False,
    config: Config | None = None,
    config_path: str | None = None,
    now: datetime | None = None,
) -> Verification:
    """Hold ``target`` against evidence signed by somebody expected.

    ``signature`` is a detached document (a model signature, a bundle, an attestation of another tool); without it the
    evidence store is asked, and the signature beside the target. ``options.paths`` limit the verification to a part,
    ``byte_range`` (first byte, end, exclusive) to some bytes of the one file that they name. ``require_sha256`` refuses
    the faster signed BLAKE3 digests. ``strict`` turns every warning (unsigned names, a newer statement) into a
    rejection and never takes digests from the cache.

    Raises `AssayError`: wrong usage and unreadable input (exit code 2), nobody to trust or no evidence (3).
    """
    if strict and options.trust_cache:
        raise UsageError("--strict reads every byte: it cannot be combined with --trust-cache")
    now = now or datetime.now(UTC)

    def open_target(paths: tuple[str, ...], default_ignores: bool) -> Target:
        return resolve(target, replace(options, paths=paths, default_ignores=default_ignores))

    with resolve(target, options) as thing:
        config = config if config is not None else load(config_path)
        expected = anchors(trust, config, thing.reference)
        with Gathered(thing, signature, directory, config, part=bool(options.paths)) as evidence:
            if byte_range is not None:
                from assay.evidence.excerpt import decide_range

                findings = decide_range(thing, evidence.candidates, expected, now, byte_range)
            else:
                findings = held_against(
                    evidence,
                    expected,
                    thing,
                    open_target,
                    options.paths,
                    sha256=require_sha256 or config.require_sha256,
                    now=now,
                    strict=strict,
                )
        if evidence.problems:
            findings = doubted(findings, evidence.problems, strict=strict)
        cached = getattr(thing, "from_cache", None) if options.trust_cache else None
        return Verification(
            str(thing.reference),
            findings,
            evidence.where,
            getattr(thing, "reread", None) if cached is not None else None,
            cached,
        )


def held_against(
    evidence: Gathered,
    expected: Sequence[Anchor],
    thing: Target,
    open_target: OpenTarget,
    paths: tuple[str, ...],
    *,
    sha256: bool,
    now: datetime,
    strict: bool = False,
) -> Findings:
    """A target, or the part of it that ``paths`` name, against what expected signers said of it."""
    reader = Reader(open_target, thing, paths, sha256=sha256, signatures=evidence.signatures)
    with contextlib.closing(reader):
        return decide(
            reader,
            evidence.candidates,
            expected,
            now,
            keep=selected(paths),
            strict=strict,
            lookup=evidence.lookup,
        )


def selected(paths: tuple[str, ...]) -> Callable[[str], bool] | None:
    """Whether a name is in the selected part; None for the whole."""
    if not paths:
        return None
    from assay.targets.ignore import Selection

    selection = Selection.of(paths)
    return lambda name: bool(selection.hits(name))
