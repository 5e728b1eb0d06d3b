"""A policy as values, whatever file format it was written in. Immutable, complete, and free of any I/O.

Readers (`reading`) make these and have then checked all that can be checked without evidence: types known, inputs
given, signers named, durations and conditions parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from assay.policy.verdict import Level, PolicyReference

TRUSTED = "trusted"
"""Name of the group of signers whom the caller trusts: flags, else `assay.yaml`, else the caller's own key."""

FRAMEWORKS = ("atlas", "airmf", "slsa", "ssdf", "owasp-ml", "owasp-llm", "eu-ai-act")
"""Keys under which controls and rules name what they speak for."""


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Somebody who signs with a key."""

    pem: bytes
    """Public key."""
    name: str
    """The file it came from, for messages."""


@dataclass(frozen=True, slots=True)
class IdentitySigner:
    """Somebody who signs with Sigstore."""

    identity: str
    issuer: str
    """Empty: the identity counts when the caller trusts it, with whatever issuer the caller names for it."""


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """Somebody whom a certificate authority vouches for."""

    pem: bytes
    """The authorities' certificates."""
    name: str
    """The file they came from."""
    identity: str


Signer = KeySigner | IdentitySigner | CertificateSigner


@dataclass(frozen=True, slots=True)
class SignerGroup:
    """Named signers, any of whom counts."""

    name: str
    members: tuple[Signer, ...]
    """Empty for `TRUSTED`, whose members the caller brings."""


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Whose signatures a piece of evidence needs."""

    groups: tuple[str, ...] = (TRUSTED,)
    """Names of groups, any of which counts. Empty: nobody has to have signed (``signed: false``)."""
    threshold: int = 1
    """How many different signers."""


@dataclass(frozen=True, slots=True)
class When:
    """For what a rule or control is meant. Only what the caller says counts here, never what evidence says.

    What the caller left unsaid fits everything: a rule is skipped only when the caller contradicts it.
    """

    gates: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    """Kinds (``model``, ``dataset``, ``code``, ``environment``, ``image``, ``service``) or schemes (``git``)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Name to glob over the value."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a field with a value: ``evaluation.metrics.accuracy >= 0.9``."""

    path: tuple[str | int, ...]
    """Keys and list positions from the predicate's root; ``*`` stands for every item of a list or value of an
    object (at least one), ``?`` for some item.
    """
    operator: str
    """``==``, ``!=``, ``>=``, ``<=``, ``>``, ``<``, ``in``, ``not in``, ``matches`` (glob), ``contains`` or
    ``exists``.
    """
    value: Any
    """Number, string, boolean, or a list of them."""
    text: str
    """As written, for messages."""
    alias: str = ""
    """The selector whose evidence is meant; empty in a selector's own conditions."""
    root: str = "predicate"
    """``predicate``, or ``said`` for what the statement says of its subject (context, labels, revision)."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A build platform that is believed when one of these signed: an id alone can be written by anybody."""

    id: str
    """Glob over the builder's id."""
    groups: tuple[str, ...] = ()
    """Groups of which one must have signed; empty: those of the selector."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which evidence a rule asks for, and what a single piece of it must satisfy."""

    alias: str
    """Its name in the rule."""
    types: tuple[str, ...]
    """Predicate types (URIs) of which one will do; a trailing ``*`` matches any ending."""
    signed_by: SignedBy = SignedBy()
    max_age: timedelta | None = None
    proved_time: bool = False
    """Its age counts from a time that a log or an authority proves, not from what the document says."""
    newest: bool = False
    """Only the newest piece counts, of those that the expected signers signed. Needs a log that is known complete."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Signed labels that it must carry: name to glob."""
    linked: bool = False
    """It is about something else than the target, which an edge leads to."""
    builders: tuple[Builder, ...] = ()
    """Of which one must have built it (SLSA provenance)."""
    where: tuple[Condition, ...] = ()
    checks: Mapping[str, Any] = field(default_factory=dict)
    """Name of a check (`assay.policy.checks`) to its arguments."""


@dataclass(frozen=True, slots=True)
class Require:
    """What must exist together for a rule to pass: one piece of evidence for each selector."""

    selectors: tuple[Selector, ...]
    same: tuple[str, ...] = ()
    """Fields that must be equal in all of them: ``git_commit``, ``run_id``, …"""
    edges: tuple[tuple[str, str], ...] = ()
    """Pairs of aliases: what the first is about is an input of the second, by digest."""
    order: tuple[str, ...] = ()
    """Aliases in the order of time."""
    where: tuple[Condition, ...] = ()
    """Conditions that name an alias."""


@dataclass(frozen=True, slots=True)
class Rego:
    """A rule in Rego, evaluated for each piece of evidence that the rule selects; one that allows is enough."""

    modules: Mapping[str, str]
    """File name to text; the package to ask is ``verify``."""
    version: str = "auto"
    """``v1``, ``v0``, or ``auto``: v0 where the module is not v1."""
    network: tuple[str, ...] = ()
    """Hosts that ``http.send`` may ask; empty: none."""
    wrapped: bool = False
    """`input.evidence.predicate` has valint's wrapper (``bom`` or ``content`` beside ``environment``)."""
    engine: str = "auto"
    """``regorus``, ``opa`` or ``auto``."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand."""

    id: str
    name: str
    level: Level = Level.ERROR
    description: str = ""
    risk: str = ""
    mitigation: str = ""
    help: str = ""
    """URL."""
    labels: tuple[str, ...] = ()
    when: When = When()
    require: Require | None = None
    """None only for a Rego rule that asks for no evidence."""
    rego: Rego | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The rule's ``with``: `input.config.args` of a Rego rule."""
    frameworks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uses: str | None = None
    missing: str | None = None
    """What to say, beside the general sentence, when its evidence is missing."""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """Rules that serve one purpose."""

    id: str
    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    mitigation: str = ""
    when: When = When()
    frameworks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole: an initiative."""

    reference: PolicyReference
    controls: tuple[Control, ...]
    signers: Mapping[str, SignerGroup] = field(default_factory=dict)
    description: str = ""
    help: str = ""
    expires: datetime | None = None
    """From then on it accepts nothing."""
    notes: tuple[str, ...] = ()
    """What the reader of the file wants its user to know: a loose rule, an ignored key of another tool's format."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, in order."""
        return tuple(rule for control in self.controls for rule in control.rules)
