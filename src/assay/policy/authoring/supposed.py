"""Evidence that nobody made: what a test states, or what an explanation supposes, in the form that decisions read.

It never leaves this room: nothing here is signed, stored or shown as if it were there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assay.evidence.statement import Statement, Subject
from assay.evidence.trust.interface import Proof
from assay.policy.case import Item, Proved


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is supposed to have signed."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Thing:
    """What evidence is about."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Supposed:
    """A piece of evidence in a few words."""

    kind: str
    """Predicate type (URI)."""
    predicate: Mapping[str, Any]
    about: Thing
    people: Sequence[Person]
    time: datetime | None
    proved: bool = False
    """A log or an authority proves the time."""
    sequence: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    """What the statement says of its subject beside time and labels."""
    source: str = "supposed evidence"


def thing(name: str) -> Thing:
    """Something that is known by its name only: its digest is that of the name."""
    return Thing(name, hashlib.sha256(name.encode()).hexdigest())


def item(supposed: Supposed, *, target: str) -> Item:
    """The piece of evidence; ``target`` is the digest (hex) of what is decided about."""
    annotations: dict[str, Any] = dict(supposed.said)
    if supposed.time is not None:
        annotations["time"] = supposed.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    if supposed.labels:
        annotations["labels"] = dict(supposed.labels)
    about = supposed.about
    statement = Statement(
        (Subject(about.name, {"sha256": about.sha256}, annotations),), supposed.kind.rstrip("*"), supposed.predicate
    )
    proofs = tuple(
        Proved(
            person.groups,
            Proof(
                "stated",
                person.name,
                None,
                "none",
                supposed.time if supposed.proved else None,
                "stated" if supposed.proved else None,
            ),
        )
        for person in supposed.people
    )
    marks = (supposed.kind, supposed.predicate, about, tuple(supposed.people), annotations, supposed.sequence)
    return Item(
        hashlib.sha256(repr(marks).encode()).hexdigest(),
        supposed.source,
        supposed.sequence,
        statement,
        proofs,
        None if proofs else "no signature by anybody expected",
        matched=about.sha256 == target,
    )


def with_inputs(kind: str, predicate: Mapping[str, Any], inputs: Sequence[Thing]) -> dict[str, Any] | None:
    """``predicate`` naming further inputs by digest, where its type has a place for them; None where it has none."""
    made = dict(predicate)
    named = [{"name": one.name, "digest": {"sha256": one.sha256}} for one in inputs]
    if not inputs:
        return made
    if kind.startswith("https://slsa.dev/provenance/v1"):
        definition = dict(made.get("buildDefinition") or {})
        definition["resolvedDependencies"] = [*(definition.get("resolvedDependencies") or []), *named]
        return {**made, "buildDefinition": definition}
    if kind.startswith("https://assay.dev/evaluation/") and len(named) == 1:
        stated = made.get("dataset")
        return {**made, "dataset": {**(stated if isinstance(stated, dict) else {}), **named[0]}}
    if kind.startswith("https://in-toto.io/attestation/link/"):
        return {**made, "materials": [*(made.get("materials") or []), *named]}
    if kind.startswith("https://cyclonedx.org/bom"):
        metadata = dict(made.get("metadata") or {})
        component = dict(metadata.get("component") or {"type": "machine-learning-model", "name": "target"})
        pedigree = dict(component.get("pedigree") or {})
        ancestors = [
            {"type": "data", "name": one.name, "hashes": [{"alg": "SHA-256", "content": one.sha256}]} for one in inputs
        ]
        pedigree["ancestors"] = [*(pedigree.get("ancestors") or []), *ancestors]
        return {**made, "metadata": {**metadata, "component": {**component, "pedigree": pedigree}}}
    return None
