"""Policies from text and cases from a few words, for tests of decisions. Nothing here stands in for the product."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from assay.evidence.compare import Difference
from assay.evidence.statement import Statement, Subject
from assay.evidence.trust.interface import Proof
from assay.policy import evaluation
from assay.policy.case import Case, Item, Proved
from assay.policy.model import Policy
from assay.policy.reading import load
from assay.policy.reading.kinds import types_of
from assay.policy.sources import Packed, Sources
from assay.policy.verdict import Decision, Verdict

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MODEL = hashlib.sha256(b"the model").hexdigest()


def nowhere(name: str) -> tuple[Sources, str]:
    """A catalogue without rules."""
    from assay.errors import DocumentError

    raise DocumentError(f"there is no rule {name!r}")


def policy(text: str, files: Mapping[str, bytes] | None = None, **given: Any) -> Policy:
    """A policy from the text of its controls' rules, or from a whole file."""
    if "assay-policy" not in text:
        text = "assay-policy: 1\nid: test\ncontrols:\n- id: c\n  rules:\n" + text
    return load(Packed("file:test.yml", {"test.yml": text.encode(), **(files or {})}), "test.yml", nowhere, given)


def item(
    kind: str,
    predicate: Mapping[str, Any] | None = None,
    *,
    by: Sequence[str] = ("alice",),
    groups: Sequence[str] = ("trusted",),
    age: timedelta | None = timedelta(hours=1),
    subject: str = MODEL,
    name: str = "model",
    seq: int = 1,
    matched: bool | None = None,
    discarded: bool = False,
    difference: Difference | None = None,
    proved_at: datetime | None = None,
    labels: Mapping[str, str] | None = None,
    said: Mapping[str, Any] | None = None,
) -> Item:
    """A piece of evidence; ``by`` are the people who were proved to have signed it."""
    annotations: dict[str, Any] = dict(said or {})
    if age is not None:
        annotations["time"] = (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    if labels:
        annotations["labels"] = dict(labels)
    uri = types_of(kind)[0].rstrip("*")
    statement = Statement((Subject(name, {"sha256": subject}, annotations),), uri, dict(predicate or {}))
    digest = hashlib.sha256(repr((kind, predicate, tuple(by), annotations, subject, seq)).encode()).hexdigest()
    proofs = tuple(
        Proved(frozenset(groups), Proof("key", who, None, "ed25519", proved_at, key_id=f"key of {who}")) for who in by
    )
    return Item(
        digest,
        f"evidence {digest[:12]}",
        seq,
        statement,
        proofs,
        None if proofs else "no signature by anybody expected",
        matched=subject == MODEL if matched is None else matched,
        difference=difference,
        discarded=discarded,
    )


def case(*items: Item, incomplete: str | None = None, linked: Sequence[Item] = (), **changes: Any) -> Case:
    """A case about the model."""

    def lookup(digest: str) -> Sequence[Item]:
        return [one for one in linked if digest in one.statement.subjects[0].digest.values()]

    return Case(
        "dir:model",
        "model",
        MODEL,
        "dir",
        tuple(items),
        **{"now": NOW, "lookup": lookup, "incomplete": incomplete, **changes},
    )


def no_engine(name: str) -> Any:
    """For policies without Rego."""
    raise AssertionError(f"no rule asks for an engine, and {name} was made")


def decided(rules: Policy | str, what: Case, engine_for: Callable[[str], Any] = no_engine) -> Decision:
    """The decision."""
    return evaluation.evaluate(policy(rules) if isinstance(rules, str) else rules, what, engine_for)


def verdict(rules: Policy | str, *items: Item, **changes: Any) -> Verdict:
    """The verdict of a policy about the model with this evidence."""
    return decided(rules, case(*items, **changes)).verdict
