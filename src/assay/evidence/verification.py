"""Is this target what somebody trusted signed? The one place that decides it; pure but for reading the target's files.

The order of the steps is the security argument:

1. A document is parsed strictly; one that can be read in two ways is refused.
2. Its signature is proved against an expected signer. Until then nothing in it steers what is read or reported as fact.
3. The files are read and compared with the signed list, by name, size and digest.
4. Statements without a list of files count when their subject is the digest that step 3 established.

What the document says and what was proved stay apart in the answer. Nothing here evaluates policy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from assay.errors import DocumentError, SignatureError
from assay.evidence import listing
from assay.evidence.bundle import Bundle
from assay.evidence.claims import Claims
from assay.evidence.compare import Difference, compare, restrict
from assay.evidence.statement import Statement
from assay.evidence.trust.interface import Anchor, Proof
from assay.targets.interface import Manifest, Target


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may concern the target."""

    source: str
    """File name or store entry, for messages."""
    bundle: Bundle
    sequence: int = 0
    """Position in the store; larger is newer."""
    discarded: bool = False
    """A later entry of the store takes it back."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What became of one candidate."""

    source: str
    sequence: int
    predicate_type: str
    subjects: tuple[str, ...]
    said: dict[str, Any]
    """What the document says of itself (time, context, labels, tool): shown, never trusted by itself."""
    proof: Proof | None
    """What was proved about its signer; None when nothing was."""
    problem: str | None
    """Why nothing was proved."""
    statement: Statement | None = None
    claims: Claims | None = None
    matched: tuple[str, ...] = ()
    """Names of the subjects that are this target; empty when it is about something else."""
    difference: Difference | None = None
    """What separates the target from the files it lists; None when it lists none or was not compared."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The answer."""

    verdict: str
    """``accepted``, ``rejected`` or ``undecided``."""
    reason: str
    """One sentence."""
    attestations: tuple[Attestation, ...] = ()
    difference: Difference = field(default_factory=Difference)
    """Against the statement that decided."""
    unsigned: tuple[str, ...] = ()
    """Names that are there, that the signature does not speak of, because its ignore rules leave them out."""
    algorithm: str | None = None
    """Digest that the files were compared by."""
    part: tuple[str, ...] = ()
    """Globs, when only a part of the target was verified; empty for the whole."""
    files: int = 0
    size: int = 0
    """Bytes of the files that were compared."""
    warnings: tuple[str, ...] = ()


OpenTarget = Callable[[tuple[str, ...], bool], Target]
"""Opens the target limited to some globs, with (True) or without the default ignores."""


def examine(candidate: Candidate, anchors: Sequence[Anchor], now: datetime) -> Attestation:
    """Steps 1 and 2 for one document: what it says, and whether one of the expected signers signed it."""
    statement, claims, problem = None, None, None
    proof: Proof | None = None
    try:
        statement, claims = listing.read(candidate.bundle, candidate.source)
    except DocumentError as error:
        problem = error.message
    else:
        problems = []
        for anchor in anchors:
            try:
                proof = anchor.prove(candidate.bundle, now)
                break
            except (SignatureError, DocumentError) as error:
                problems.append(error.message)
        problem = None if proof else (problems[0] if len(set(problems)) == 1 else "; ".join(dict.fromkeys(problems)))
        if proof and not any(subject.strong for subject in statement.subjects):
            weak = ", ".join(sorted(statement.subjects[0].digest))
            proof, problem = None, f"its subject has only weak digests ({weak}), which prove nothing"
    said: dict[str, Any] = dict(statement.subjects[0].annotations) if statement else {}
    return Attestation(
        candidate.source,
        candidate.sequence,
        statement.predicate_type if statement else "",
        tuple(subject.name for subject in statement.subjects[:100]) if statement else (),
        said,
        proof,
        problem,
        statement,
        claims,
    )


class Reader:
    """The target's files, read once for each kind of digest and each way of listing, however many statements ask."""

    def __init__(
        self,
        open_target: OpenTarget,
        target: Target,
        paths: tuple[str, ...],
        *,
        sha256: bool,
        signatures: frozenset[str] = frozenset(),
    ) -> None:
        self._open = open_target
        self._targets: dict[tuple[tuple[str, ...], bool], Target] = {(paths, True): target}
        self._manifests: dict[tuple[tuple[str, ...], bool, bool], Manifest] = {}
        self._sha256 = sha256
        self.paths = paths
        self.target = target
        self.signatures = signatures
        """Names of files in the target that are themselves the signatures being checked."""

    def listing(self, paths: tuple[str, ...], ignores: bool) -> Target:
        """The target limited to ``paths``, with or without the default ignores."""
        key = (paths, ignores)
        if key not in self._targets:
            self._targets[key] = self._open(paths, ignores)
        return self._targets[key]

    def manifest(self, paths: tuple[str, ...], ignores: bool, *, fast: bool) -> Manifest:
        """Its digests: BLAKE3 when ``fast`` and allowed, else SHA-256."""
        fast = fast and not self._sha256
        for kind in (fast, False):
            if (found := self._manifests.get((paths, ignores, kind))) is not None:
                return found
        made = self.listing(paths, ignores).manifest(sha256=not fast, blake3=fast)
        self._manifests[paths, ignores, fast] = made
        return made

    def compared(self, paths: tuple[str, ...]) -> tuple[int, int, str | None]:
        """Number of files, their bytes, and the digest they were read by, for one way of limiting the target."""
        for (globs, _, fast), manifest in reversed(self._manifests.items()):
            if globs == paths:
                return len(manifest), manifest.size, "blake3" if fast else "sha256"
        target = self._targets.get((paths, True), self.target)
        return len(target.names), sum(target.sizes), None

    def close(self) -> None:
        """Release every listing but the caller's own."""
        for target in self._targets.values():
            if target is not self.target:
                target.__exit__(None, None, None)


def hold(attestation: Attestation, reader: Reader, keep: Callable[[str], bool] | None) -> tuple[Attestation, list[str]]:
    """Step 3: the files against the signed list; with the names that the signer's ignore rules leave unsigned."""
    claims = attestation.claims
    assert claims is not None
    paths, ignores = reader.paths or claims.part, True
    target = reader.listing(paths, ignores)
    ignored = target.facts.ignored
    if ignored and _hides(ignored, claims.names):
        ignores = False  # the signer signed what we leave out by default: list it, or it would count as missing
        target = reader.listing(paths, ignores)
    if keep is not None:
        claims = restrict(claims, keep)
    if claims.manifest is None:
        from assay.targets.digest.ranges import check  # only other tools' documents need it

        difference = Difference(*check(target, claims.ranges))
    else:
        claimed = claims.manifest
        if len(claimed) == 1 and target.single:
            claimed = replace(claimed, names=list(target.names))  # one file is known by its bytes, not by its name
        difference = compare(claimed, reader.manifest(paths, ignores, fast=bool(claimed.blake3)))
    unsigned = tuple(
        name for name in difference.extra if _within(name, claims.ignored) and name not in reader.signatures
    )
    left_out = {*unsigned, *reader.signatures}
    if left_out.intersection(difference.extra):
        difference = replace(difference, extra=tuple(name for name in difference.extra if name not in left_out))
    matched = () if difference else (attestation.subjects[:1] or ("",))
    unsigned += tuple(target.facts.ignored)
    return replace(attestation, claims=claims, difference=difference, matched=matched), list(unsigned)


def _hides(ignored: Iterable[str], names: Sequence[str]) -> bool:
    """Whether a name lies in what a listing left out."""
    folders = tuple(name for name in ignored if name.endswith("/"))
    files = set(ignored)
    return any(name in files or (folders and name.startswith(folders)) for name in names)


def _within(name: str, ignored: Sequence[str]) -> bool:
    """Whether a model signature's ``ignore_paths`` cover a name: the path itself or a folder above it."""
    return any(name == rule.rstrip("/") or name.startswith(rule.rstrip("/") + "/") for rule in ignored if rule)


def by_digest(attestation: Attestation, contents: str, manifest: Manifest | None) -> Attestation:
    """Step 4: a statement without a list of files, held against the digest of the whole.

    A statement about single files (SLSA provenance, for example) counts when its subjects are all the target's files.
    """
    statement = attestation.statement
    assert statement is not None
    digests = {subject.strong.get("sha256"): subject.name for subject in statement.subjects}
    if contents in digests:
        return replace(attestation, matched=(digests[contents],))
    difference = files(statement, manifest) if manifest is not None and manifest.sha256 else None
    if difference is None:
        return attestation
    return replace(attestation, difference=difference, matched=() if difference else attestation.subjects)


def files(statement: Statement, manifest: Manifest) -> Difference | None:
    """What separates a target from the single files that a statement is about; None when it is about none of them.

    The subjects, below one folder, must be exactly the target's files, by name. By digest alone, files could be left
    out or change names: a sample of malware that somebody listed would become the code that is loaded.
    """
    column = manifest.sha256.hex()
    there = {name: column[i * 64 : i * 64 + 64] for i, name in enumerate(manifest.names)}
    listed = {subject.name: subject.strong.get("sha256", "") for subject in statement.subjects}
    if len(statement.subjects) < 2 or not there or set(listed.values()).isdisjoint(there.values()):
        return None
    if inside := _inside(listed, there):
        # Nothing matches here: the folder is a subject itself, and its own digest has decided. This only says why not.
        return _names(inside, there, "") or None
    # The folder is known from the first names in order; all others are then compared with it.
    folder = min(listed).removesuffix(min(there))
    prefix = folder if folder.endswith("/") else ""
    difference = _names(listed, there, prefix)
    if not difference and len(listed) != len(statement.subjects):
        return Difference(modified=tuple(listed))  # one name is listed twice: with which digest is anybody's guess
    return difference


def _names(listed: Mapping[str, str], there: Mapping[str, str], prefix: str) -> Difference:
    """What separates files that are listed below ``prefix`` from those that are there."""
    renamed = {prefix + name: digest for name, digest in there.items()}
    missing = tuple(name for name in listed if name not in renamed)
    extra = tuple(name for name in renamed if name not in listed)
    modified = tuple(name for name, digest in renamed.items() if listed.get(name, digest) != digest)
    return Difference(missing, extra, modified)


def _inside(listed: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """The files of a folder that is listed beside what lies in it, as a run lists its outputs, named from there: of the
    folder that has most in common with the target. Empty where no folder is listed.
    """
    names = sorted(listed)
    best: dict[str, str] = {}
    for folder in names:
        # "0" follows "/": between the two lies everything that is in the folder.
        first, last = bisect_left(names, folder + "/"), bisect_left(names, folder + "0")
        inside = {name[len(folder) + 1 :]: listed[name] for name in names[first:last]}
        if inside and (not best or len(inside.items() & there.items()) > len(best.items() & there.items())):
            best = inside
    return best
