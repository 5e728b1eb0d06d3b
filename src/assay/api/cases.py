"""From a target and its evidence to the case that a policy decides.

The contents' digest is always SHA-256 over every file, computed here: a signed list that vouches for it by another
digest would let whoever may sign lists, and nothing else, lend one model the evidence of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from assay.api.gathering import Gathered
from assay.errors import AssayError, DocumentError
from assay.evidence import documents, listing
from assay.evidence.statement import Statement
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Attestation, Candidate, Reader, files, hold
from assay.evidence.witnesses import weak, witnesses
from assay.policy.case import Case, Item, Proved
from assay.policy.model import Policy
from assay.targets.interface import Manifest

_ALGORITHMS = ("sha256", "sha384", "sha512")
"""Digests that are looked for, whose algorithm their length tells: a SHA3-256 that somebody states beside the SHA-256
of something else is as long as one, and must not be taken for it."""


@dataclass(frozen=True, slots=True)
class Member:
    """An expected signer, and the groups of the policy that count them in."""

    anchor: Anchor
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the caller says about the decision."""

    gate: str | None = None
    kind: str | None = None
    labels: Mapping[str, str] | None = None


def build(
    policy: Policy,
    reader: Reader,
    gathered: Gathered,
    members: Sequence[Member],
    now: datetime,
    circumstances: Circumstances,
) -> Case:
    """The case: every document of a kind that the policy asks for, proved once against everybody it expects."""
    manifest = reader.manifest((), True, fast=False)
    contents = manifest.contents().hex()
    wanted = wanted_types(policy)
    proving = _Proving(members, now, gathered.problems)
    found = _distinct((*gathered.about(contents, wanted), *gathered.candidates))
    proved = [proving.item(digest, candidate, wanted) for digest, candidate in found.items()]
    unsigned: set[str] = set(reader.target.facts.ignored)
    items = [_held(item, made, reader, manifest, contents, unsigned) for item, made in filter(None, proved)]
    target = reader.target
    return Case(
        str(target.reference),
        target.name,
        contents,
        target.reference.scheme,
        tuple(items),
        now,
        circumstances.gate,
        circumstances.kind,
        circumstances.labels or {},
        _Linked(gathered, proving, wanted),
        gathered.incomplete(),
        gathered.where,
        (*gathered.doubts(), *_outside(unsigned)),
        gathered.incomplete,
    )


def wanted_types(policy: Policy) -> Callable[[str], bool]:
    """Whether some rule asks for evidence of a predicate type."""
    types = {kind for rule in policy.rules if rule.require for item in rule.require.selectors for kind in item.types}
    exact = frozenset(kind for kind in types if not kind.endswith("*"))
    starts = tuple(kind[:-1] for kind in types if kind.endswith("*"))
    # valint's own type of generic evidence is read as ours.
    wrapped = "http://scribesecurity.com/evidence/"
    return lambda kind: kind in exact or kind.startswith((*starts, wrapped))


class _Proving:
    """Documents to items, each proved once."""

    def __init__(self, members: Sequence[Member], now: datetime, problems: list[str]) -> None:
        self._problems = problems
        self._anchors = [member.anchor for member in members]
        self._groups = [member.groups for member in members]
        self._now = now

    def item(self, digest: str, candidate: Candidate, wanted: Callable[[str], bool]) -> tuple[Item, Attestation] | None:
        """The item, without a word about whether it is about the target; None for what no rule asks for."""
        try:
            statement, claims = listing.read(candidate.bundle, candidate.source)
        except DocumentError as error:
            # What nobody expected signed is as if it were not there. A broken statement by an expected signer may be
            # the newest word on the matter, which rules that ask for the newest must not overlook.
            if witnesses(candidate.bundle, self._anchors, self._now)[0]:
                self._problems.append(f"{candidate.source} is signed and cannot be read: {error.message}")
            return None
        if not wanted(statement.predicate_type):
            return None
        problem = weak(statement)
        proved: list[Proved] = []
        if problem is None:
            found, problem = witnesses(candidate.bundle, self._anchors, self._now)
            proved = [Proved(self._groups[i], proof) for i, proof in found]
        item = Item(
            digest,
            candidate.source,
            candidate.sequence,
            statement,
            tuple(proved),
            problem,
            matched=False,
            discarded=candidate.discarded,
            wrapped=_wrapped(candidate, statement),
        )
        attestation = Attestation(
            candidate.source,
            candidate.sequence,
            statement.predicate_type,
            tuple(subject.name for subject in statement.subjects[:100]),
            dict(statement.subjects[0].annotations),
            proved[0].proof if proved else None,
            problem,
            statement,
            claims,
        )
        return item, attestation


def _distinct(candidates: Iterable[Candidate]) -> dict[str, Candidate]:
    """Each document once, by its digest. What the store took back, no file beside the target brings back.

    Not in other bytes either: with a space more in the JSON, or as a bare envelope instead of a bundle, the same
    signatures hold. Within the store its own entries say what counts.
    """
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        found.setdefault(_digest(candidate), candidate)
    taken_back = {candidate.bundle.envelope.pae() for candidate in found.values() if candidate.discarded}
    for digest, candidate in found.items() if taken_back else ():
        if not candidate.sequence and candidate.bundle.envelope.pae() in taken_back:
            found[digest] = replace(candidate, discarded=True)
    return found


def _held(item: Item, made: Attestation, reader: Reader, manifest: Manifest, contents: str, unsigned: set[str]) -> Item:
    """Whether an item is about the target: its subject is the contents' digest, or it lists exactly these files.

    A list in a document that nobody expected signed is not followed: it would choose what is read. One of a part says
    nothing about the whole. Names that a signer left out are added to ``unsigned``.
    """
    if (about := _about(item, contents)) is not None:
        return about
    if made.claims is None:
        difference = files(item.statement, manifest)
        return item if difference is None else replace(item, matched=not difference, difference=difference or None)
    if not item.proofs or made.claims.part:
        return item
    try:
        held, left_out = hold(made, reader, None)
    except AssayError:
        return item
    if held.matched:
        unsigned.update(left_out)
    return replace(item, matched=bool(held.matched), difference=held.difference)


def _about(item: Item, digest: str) -> Item | None:
    """The item as one about the subject with this digest (hex), which then comes first; None when it has none.

    What a statement says of a subject stands beside that subject: with another one first, its labels, its time and
    its context would be taken for this one's.
    """
    subjects = item.statement.subjects
    for i, subject in enumerate(subjects):
        if digest in (subject.digest.get(algorithm) for algorithm in _ALGORITHMS):
            first = subjects if i == 0 else (subject, *subjects[:i], *subjects[i + 1 :])
            return replace(item, matched=True, statement=replace(item.statement, subjects=first))
    return None


def _outside(unsigned: set[str]) -> Iterator[str]:
    """The warning about names that no digest of the target covers, or that its signer left out."""
    if unsigned:
        names = ", ".join(repr(name) for name in sorted(unsigned)[:5])
        yield f"{len(unsigned)} name(s) are no part of what was decided about: {names}"


class _Linked:
    """Evidence about something else, by the digest of a subject of it."""

    def __init__(self, gathered: Gathered, proving: _Proving, wanted: Callable[[str], bool]) -> None:
        self._gathered = gathered
        self._proving = proving
        self._wanted = wanted
        self._found: dict[str, list[Item]] = {}

    def __call__(self, digest: str) -> Sequence[Item]:
        if digest not in self._found:
            self._found[digest] = list(self._look_up(digest))
        return self._found[digest]

    def _look_up(self, digest: str) -> Sequence[Item]:
        made = []
        for name, candidate in _distinct(self._gathered.about(digest, self._wanted)).items():
            found = self._proving.item(name, candidate, self._wanted)
            # The store finds by what documents say of themselves; only a subject's own digest makes them about it.
            if found is not None and (about := _about(found[0], digest)) is not None:
                made.append(about)
        return made


def _wrapped(candidate: Candidate, statement: Statement) -> Mapping[str, Any] | None:
    """The predicate as it was signed, where a wrapper of another tool was taken off; rules of that tool expect it."""
    if b'"environment"' not in candidate.bundle.envelope.payload:
        return None
    signed = documents.statement_of(candidate.bundle, candidate.source)
    return None if signed.predicate == statement.predicate else signed.predicate


def _digest(candidate: Candidate) -> str:
    return hashlib.sha256(candidate.bundle.raw).hexdigest()
