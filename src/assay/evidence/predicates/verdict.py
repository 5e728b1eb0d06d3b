"""What a policy decided about the subject, in full: every rule with its verdict, its reason and the evidence it used.

Our own type; SLSA's summary and in-toto's simple result say less and refer to it. It must never hold a path of the
machine that decided, and never a verdict that does not follow from its rules.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from assay.evidence.predicates.common import DigestSet, Predicate, ResourceDescriptor, Text, Time, check_digests

PREDICATE_TYPE = "https://assay.dev/verdict/v0.1"

Word = Literal["error", "missing", "untrusted", "stale", "fail", "warn", "pass", "not-applicable"]
"""The lattice of `assay.policy.verdict`."""

ORDER: tuple[Word, ...] = ("error", "missing", "untrusted", "stale", "fail", "warn", "pass", "not-applicable")
"""Worst first."""

ACCEPTING = ("pass", "warn")
"""Words on which an enforcement point may go on."""


class Policy(Predicate, frozen=True, kw_only=True):
    """Which policy decided."""

    id: Text
    """Its id."""
    uri: Text
    """Where it came from: ``builtin:ml-baseline``."""
    digest: DigestSet
    """Of all that was read for it."""
    name: str = ""
    """Its name."""
    version: str = ""
    """Its version."""
    signer: str | None = None
    """Who was proved to have signed it; absent for one that was not verified."""

    def check(self) -> None:
        """Digests have their form."""
        check_digests(self.digest, "digest")


class Violation(Predicate, frozen=True, kw_only=True):
    """One thing that is wrong."""

    message: str
    """One sentence."""
    path: str = ""
    """Where in the evidence's predicate."""
    details: dict[str, Any] | None = None
    """Facts for machines."""


class Used(Predicate, frozen=True, kw_only=True):
    """A piece of evidence that the result rests on."""

    digest: DigestSet
    """Of the signed document."""
    predicate_type: Text
    """What kind of evidence it is."""
    subject: str = ""
    """Name of its first subject."""
    subject_digest: DigestSet | None = None
    """Digests of its first subject."""
    signers: list[str] = field(default_factory=list)
    """Proved ones, in words; absent for none."""

    def check(self) -> None:
        """Digests have their form."""
        check_digests(self.digest, "digest")
        if self.subject_digest is not None:
            check_digests(self.subject_digest, "subjectDigest")


class Need(Predicate, frozen=True, kw_only=True):
    """One change that would help."""

    kind: Literal["attest", "sign", "refresh", "correct", "link", "repair"]
    """What sort of change."""
    what: str
    """In words."""
    types: list[str] = field(default_factory=list)
    """Predicate types of which one would do."""
    signers: list[str] = field(default_factory=list)
    """Who has to sign, in words."""
    command: str | None = None
    """A command line that makes the change; ``TARGET`` stands for the target."""
    alias: str = ""
    """The selector in the rule that needs it."""


class Rule(Predicate, frozen=True, kw_only=True):
    """What became of one rule."""

    id: Text
    """Unique in the policy."""
    level: Literal["error", "warning", "note"]
    """How much it weighs."""
    verdict: Word
    """Its own."""
    effective: Word
    """What it contributes to the policy's, given its level."""
    control: str = ""
    """Id of its control."""
    name: str = ""
    """Its name."""
    reason: str = ""
    """One sentence."""
    violations: list[Violation] = field(default_factory=list)
    """At most so many as the writer keeps; `violation_count` has their number."""
    violation_count: Annotated[int, Meta(ge=0)] = 0
    """How many there were."""
    used: list[Used] = field(default_factory=list)
    """What it rests on, or the evidence that came furthest."""
    needs: list[Need] = field(default_factory=list)
    """What would help; nothing for a rule that passes."""
    risk: str = ""
    """What may happen if it does not hold."""
    mitigation: str = ""
    """What to do about it."""
    frameworks: dict[str, list[Text]] = field(default_factory=dict)
    """Framework to the ids that the rule speaks for: ``{"atlas": ["AML.M0013"]}``."""
    labels: list[str] = field(default_factory=list)
    """The rule's."""
    uses: str | None = None
    """The catalogue rule that it is."""
    notes: list[str] = field(default_factory=list)
    """What does not change the verdict and somebody should know."""

    def check(self) -> None:
        """What it contributes follows from its level and verdict."""
        if self.effective != effective(self.level, self.verdict):
            raise ValueError(f"a rule of level {self.level} that is {self.verdict} cannot count as {self.effective}")
        if self.verdict == "pass" and (self.needs or self.violation_count):
            raise ValueError("a rule that passes has neither needs nor violations")
        if len(self.violations) > self.violation_count:
            raise ValueError("violationCount is less than the violations that are listed")


class Verdict(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    policy: Policy
    """Which policy decided."""
    target: ResourceDescriptor
    """What was decided about; the statement's subject, with a URI."""
    verdict: Word
    """The worst of what the rules contribute."""
    accepted: bool
    """Whether an enforcement point may go on."""
    time: Time
    """When it was decided."""
    rules: list[Rule]
    """In the policy's order."""
    gate: str | None = None
    """Where in the pipeline: what the caller said."""
    kind: str | None = None
    """What the target is: what the caller said."""
    labels: dict[str, str] = field(default_factory=dict)
    """The caller's."""
    warnings: list[str] = field(default_factory=list)
    """What the caller should hear beside the results."""

    def check(self) -> None:
        """The verdict follows from the rules."""
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise ValueError("rules holds an id twice")
        follows = min((rule.effective for rule in self.rules), key=ORDER.index, default="not-applicable")
        if self.verdict != follows:
            raise ValueError(f"verdict is {self.verdict} where the rules say {follows}")
        if self.accepted != (self.verdict in ACCEPTING):
            raise ValueError(f"accepted is {str(self.accepted).lower()} for the verdict {self.verdict}")


def effective(level: str, verdict: Word) -> Word:
    """What a rule contributes to the policy's verdict (`assay.policy.verdict.RuleResult.effective`)."""
    if level == "note":
        return "not-applicable"
    if level == "error" or ORDER.index(verdict) > ORDER.index("warn"):
        return verdict
    return "warn"
