"""From a target and its evidence to the case that a policy decides.

The contents' digest is always SHA-256 over every file, computed here: a signed list that vouches for it by another
digest would let whoever may sign lists, and nothing else, lend one model the evidence of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from assay.api.gathering import Gathered
from assay.errors import AssayError, DocumentError
from assay.evidence import listing
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Attestation, Candidate, Reader, by_digest, hold
from assay.evidence.witnesses import weak, witnesses
from assay.policy.case import Case, Item, Proved
from assay.policy.model import Policy
from assay.targets.interface import Manifest


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
    found: dict[str, Candidate] = {}
    for candidate in (*gathered.about(contents, wanted), *gathered.candidates):
        found.setdefault(_digest(candidate), candidate)
    items = [proving.item(digest, candidate, wanted) for digest, candidate in found.items()]
    target = reader.target
    return Case(
        str(target.reference),
        target.name,
        contents,
        target.reference.scheme,
        tuple(_held(item, made, reader, manifest, contents) for item, made in filter(None, items)),
        now,
        circumstances.gate,
        circumstances.kind,
        circumstances.labels or {},
        _Linked(gathered, proving, wanted),
        gathered.incomplete(),
        gathered.where,
        tuple(gathered.problems),
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


def _held(item: Item, made: Attestation, reader: Reader, manifest: Manifest, contents: str) -> Item:
    """Whether an item is about the target: its subject is the contents' digest, or it lists exactly these files.

    A list in a document that nobody expected signed is not followed: it would choose what is read.
    """
    if any(contents in subject.strong.values() for subject in item.statement.subjects):
        return replace(item, matched=True)
    if made.claims is not None:
        if not item.proofs:
            return item
        try:
            held, _ = hold(made, reader, None)
        except AssayError:
            return item
    else:
        held = by_digest(made, contents, manifest)
    return replace(item, matched=bool(held.matched), difference=held.difference)


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
        for candidate in self._gathered.about(digest, self._wanted):
            found = self._proving.item(_digest(candidate), candidate, self._wanted)
            # The store finds by what documents say of themselves; only a subject's strong digest makes them about it.
            if found is not None and any(digest in subject.strong.values() for subject in found[0].statement.subjects):
                made.append(replace(found[0], matched=True))
        return made


def _digest(candidate: Candidate) -> str:
    return hashlib.sha256(candidate.bundle.raw).hexdigest()
