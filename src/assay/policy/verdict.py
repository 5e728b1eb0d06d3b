"""The verdict: a lattice, never a boolean, and what explains it.

The order is how far the evidence for a rule came: to none at all, to some that nobody expected signed, to some that is
too old, to some that says the wrong thing, to some that satisfies. A rule takes the best that its evidence reaches
(`best`), a policy the worst of its rules (`worst`). Both are monotone, so that taking evidence or a signature away can
never improve a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The lattice, best first. Only `PASS` and `WARN` accept."""

    NOT_APPLICABLE = "not-applicable"
    """The rule is not for this target or gate. Neutral beside others; alone it accepts nothing."""
    PASS = "pass"  # noqa: S105 - not a password
    """Some evidence satisfies the rule."""
    WARN = "warn"
    """It does, with a reservation; or a rule of level ``warning`` does not pass."""
    FAIL = "fail"
    """Expected signers say what the rule forbids, or do not say what it demands."""
    STALE = "stale"
    """Evidence by expected signers is too old, or of no provable age."""
    UNTRUSTED = "untrusted"
    """Evidence is there, and not signed by those whom the rule expects."""
    MISSING = "missing"
    """There is no evidence of the kind that the rule demands."""
    ERROR = "error"
    """The rule could not be evaluated."""

    @property
    def accepts(self) -> bool:
        """Whether an enforcement point may go on."""
        return self in (Verdict.PASS, Verdict.WARN)

    @property
    def rejects(self) -> bool:
        """Whether evidence was examined and does not suffice, as opposed to: nothing could be decided."""
        return self in (Verdict.FAIL, Verdict.STALE, Verdict.UNTRUSTED)

    @property
    def rank(self) -> int:
        """Height in the lattice, 0 for `ERROR`."""
        return _RANK[self]


_RANK = {verdict: rank for rank, verdict in enumerate(reversed(Verdict))}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The meet: what several rules say together. `NOT_APPLICABLE` for none."""
    return min(verdicts, key=_RANK.__getitem__, default=Verdict.NOT_APPLICABLE)


def best(verdicts: Iterable[Verdict]) -> Verdict:
    """The join: what several pieces of evidence reach for one rule. `MISSING` for none."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.MISSING)


class Level(StrEnum):
    """How much a rule weighs."""

    ERROR = "error"
    """A rule that does not pass rejects."""
    WARNING = "warning"
    """It warns: the policy's verdict is `Verdict.WARN` at worst."""
    NOTE = "note"
    """It is reported and counts neither way: a policy of notes alone accepts nothing."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, in one sentence."""

    message: str
    """``licence 'GPL-3.0-only' of 'readline' is not on the allow list``."""
    path: str = ""
    """Where in the predicate, as a JSON path without the leading ``$.``; empty for the whole."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON-like facts for machines: ``{"package": "readline", "licence": "GPL-3.0-only"}``."""


@dataclass(frozen=True, slots=True)
class Used:
    """A piece of evidence that a result rests on."""

    digest: str
    """SHA-256 (hex) of the signed document, by which the store has it."""
    predicate_type: str
    subject: str
    """Name of its first subject."""
    signers: tuple[str, ...]
    """Proved ones, in words; empty for unsigned."""
    source: str = ""
    """File or store entry, for messages."""
    subject_sha256: str | None = None
    """Digest (hex) of its first subject."""


class Kind(StrEnum):
    """What sort of change would help a rule that does not pass."""

    ATTEST = "attest"
    """Make evidence of a kind that is missing."""
    SIGN = "sign"
    """Have evidence signed by (further) expected signers."""
    REFRESH = "refresh"
    """Make it anew: it is too old."""
    CORRECT = "correct"
    """What the evidence says must change: another licence, a fixed package, a better metric."""
    LINK = "link"
    """Pieces of evidence must name each other's digests, or carry the same value."""
    REPAIR = "repair"
    """The rule or its evidence could not be read."""


@dataclass(frozen=True, slots=True)
class Need:
    """One change that would help, the smallest for the piece of evidence that came furthest."""

    kind: Kind
    what: str
    """In words: ``a cyclonedx statement about the target, signed by ci``."""
    types: tuple[str, ...] = ()
    """Predicate types (URIs) of which one would do."""
    signers: tuple[str, ...] = ()
    """In words, those of whom ``threshold`` must sign."""
    command: str | None = None
    """A command line that makes the change, where one does; ``TARGET`` stands for the target's reference."""
    alias: str = ""
    """The selector in the rule that needs it."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one rule."""

    control: str
    """Id of its control."""
    rule: str
    """Its id, unique in the policy."""
    name: str
    level: Level
    verdict: Verdict
    """Its own, whatever its level."""
    reason: str
    """One sentence: which evidence was missing or wrong."""
    violations: tuple[Violation, ...] = ()
    used: tuple[Used, ...] = ()
    """For a rule that passes, what it rests on; otherwise the evidence that came furthest."""
    needs: tuple[Need, ...] = ()
    """Empty for a rule that passes."""
    risk: str = ""
    """What may happen if it does not hold."""
    mitigation: str = ""
    """What to do about it, in words."""
    frameworks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Framework id (``atlas``, ``airmf``, …) to the ids that the rule speaks for."""
    labels: tuple[str, ...] = ()
    uses: str | None = None
    """The catalogue rule that it is, ``family/name@v1``."""
    file: str = ""
    """Policy file that states it."""
    line: int = 0
    notes: tuple[str, ...] = ()
    """What does not change the verdict and somebody should know."""

    @property
    def effective(self) -> Verdict:
        """What the rule contributes to the policy's verdict, given its level."""
        if self.level is Level.NOTE:
            return Verdict.NOT_APPLICABLE
        if self.level is Level.ERROR or self.verdict.rank > Verdict.WARN.rank:
            return self.verdict
        return Verdict.WARN


@dataclass(frozen=True, slots=True)
class PolicyReference:
    """Which policy decided."""

    id: str
    name: str
    version: str
    uri: str
    """Where it came from: ``builtin:ml-baseline``, ``file:policy.yml``, ``git:https://…@<commit>#policy.yml``."""
    sha256: str
    """Digest (hex) of all that was read for it: of the whole bundle where it came in one."""
    signer: str | None = None
    """Who was proved to have signed the bundle, in words; None for one that was not verified."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of one policy about one target."""

    target: str
    """Reference, pinned to its revision."""
    name: str
    """What statements call it."""
    sha256: str
    """Digest (hex) of its contents."""
    policy: PolicyReference
    results: tuple[RuleResult, ...]
    """In the policy's order."""
    time: datetime
    """When it was decided; UTC."""
    gate: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """The caller's."""
    kind: str | None = None
    """What the caller says the target is: ``model``, ``dataset``, …"""
    evidence: str = ""
    """Where evidence was looked for, for messages."""
    warnings: tuple[str, ...] = ()
    """What the caller should hear beside the results."""

    @property
    def verdict(self) -> Verdict:
        """The worst of what the rules contribute."""
        return worst(result.effective for result in self.results)

    @property
    def accepted(self) -> bool:
        """Whether an enforcement point may go on."""
        return self.verdict.accepts

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 when some rule says no, 3 when none does and still not all could be decided."""
        if self.accepted:
            return 0
        return 1 if any(result.effective.rejects for result in self.results) else 3
