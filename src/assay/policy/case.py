"""What a policy decides about: a target, and the evidence that concerns it with what was proved of each piece.

The verifier fills `Item.proofs`; documents fill the rest. A rule that wants to know whether something is signed reads
the former and can't reach it from the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assay.evidence.compare import Difference
from assay.evidence.statement import Statement
from assay.evidence.trust.interface import Proof


@dataclass(frozen=True, slots=True)
class Proved:
    """One proved signature."""

    groups: frozenset[str]
    """Names of the policy's groups of signers that the signer belongs to."""
    proof: Proof


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of evidence."""

    digest: str
    """SHA-256 (hex) of the signed document."""
    source: str
    """File or store entry, for messages."""
    sequence: int
    """Position in the store, larger is newer; 0 for one that lies in a file."""
    statement: Statement
    """What the document says, with other tools' wrappers taken off the predicate."""
    proofs: tuple[Proved, ...]
    """What was proved: every expected signer who signed it."""
    problem: str | None = None
    """Why nothing was proved."""
    matched: bool = True
    """It is about the target (of the lookup), by digest."""
    difference: Difference | None = None
    """It lists the target's files, and these are other ones."""
    discarded: bool = False
    """A later entry of the store takes it back. It satisfies nothing and still counts as newer than older ones."""
    wrapped: Mapping[str, Any] | None = None
    """The predicate as signed, where `statement` has a wrapper taken off."""

    @property
    def said(self) -> Mapping[str, Any]:
        """What the document says of its subject: time, context, labels."""
        return self.statement.subjects[0].annotations


@dataclass(frozen=True, slots=True)
class Case:
    """One target with its evidence."""

    target: str
    """Reference, pinned."""
    name: str
    sha256: str
    """Contents' digest, hex."""
    scheme: str
    items: tuple[Item, ...]
    """That are, or pretend to be, about the target; newest first."""
    now: datetime
    gate: str | None = None
    kind: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """The caller's."""
    lookup: Callable[[str], Sequence[Item]] = lambda digest: ()
    """Evidence about something else, by the hex digest of a subject of it."""
    incomplete: str | None = "nobody says that the evidence is complete"
    """Why pieces of evidence may be missing; None when it is known to be all of an intact log."""
    evidence: str = ""
    """Where it was looked for, for messages."""
    warnings: tuple[str, ...] = ()
    doubt: Callable[[], str | None] = lambda: None
    """Why pieces of evidence may be missing, as far as `lookup` found out while it was used."""
