"""`assay policy generate`: the policy that a known-good target's trusted evidence satisfies.

It demands what was found and no more, so it is a start and no judgement: what it leaves open is said in its comments.
Nothing that was not proved to be signed by somebody expected finds its way into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from assay.errors import AssayError, UndecidedError
from assay.policy import evaluation, fields
from assay.policy.authoring import yaml_text
from assay.policy.authoring.found import Demanded, demanded
from assay.policy.case import Case, Item
from assay.policy.evaluation.evaluate import EngineFor
from assay.policy.evaluation.standing import made as made_at
from assay.policy.evaluation.words import short
from assay.policy.model import Control, Policy, Require, Rule, Selector
from assay.policy.reading import load
from assay.policy.reading.kinds import FAMILIES, types_of
from assay.policy.sources import Packed, Sources
from assay.policy.verdict import Decision, PolicyReference

EVERYTHING = Policy(
    PolicyReference("everything", "everything", "", "", ""),
    (Control("c", "c", (Rule("r", "r", require=Require((Selector("any", ("*",)),))),)),),
)
"""Asks for evidence of every kind, so that all of it is gathered."""

MAX_RULES = 100


@dataclass(frozen=True, slots=True)
class SignerText:
    """An expected signer as a policy names it."""

    declared: Mapping[str, Any]
    file: str | None = None
    """Name of the file that must lie beside the policy."""
    pem: bytes = b""


@dataclass(frozen=True, slots=True)
class Generated:
    """A policy that was made, not written yet."""

    text: str
    keys: Mapping[str, bytes]
    """Files that must lie beside it."""
    rules: tuple[str, ...]
    loose: tuple[str, ...]
    """What it leaves open, one sentence each."""
    decision: Decision | None = None
    """What it says of the target that it was made from."""

    def files(self, name: str = "policy.yml") -> dict[str, bytes]:
        """All files, the policy as ``name``."""
        return {name: self.text.encode(), **self.keys}

    def policy(self) -> Policy:
        """As it is read. Raises `DocumentError`."""
        return load(Packed("file:policy.yml", self.files()), "policy.yml", _nothing)


@dataclass(frozen=True, slots=True)
class _Found:
    """The newest good piece of evidence of one kind."""

    item: Item
    groups: tuple[str, ...]
    """Who signed it."""
    others: int
    demanded: Demanded
    age: timedelta | None
    max_age: str | None = None
    notes: list[str] = field(default_factory=list)


def _nothing(name: str) -> tuple[Sources, str]:
    raise UndecidedError(f"there is no rule {name!r}")


def generate(case: Case, signers: Mapping[str, SignerText], name: str) -> Generated:
    """The policy for everything in ``case`` that is about the target and proved to be by one of ``signers`` (by group).

    Raises `UndecidedError` when there is no such evidence: a policy that demands nothing would accept anything.
    """
    found = list(_found(case))
    if not found:
        raise UndecidedError(
            "there is no evidence about this target that an expected signer signed, so that there is nothing to demand",
            hint="make some: assay sign TARGET, assay bom TARGET -o attest",
        )
    used = [group for group in signers if any(group in one.groups for one in found)]
    loose = [*_absent(found), *_of_signers(signers, used)]
    lines = _head(case, name, loose, {group: signers[group] for group in used})
    rules: list[str] = []
    for one in found[:MAX_RULES]:
        rule = _id(one, rules)
        rules.append(rule)
        told = _loose(one)
        loose += [f"{rule}: {text}" for text in told]
        lines += [f"  - id: {rule}", *(f"    # loose: {_comment(text)}" for text in told)]
        lines += yaml_text.block({"name": one.demanded.name, "require": _require(one)}, 2)
    keys = {text.file: text.pem for group, text in signers.items() if group in used and text.file is not None}
    return Generated("\n".join(lines) + "\n", keys, tuple(rules), tuple(loose))


def tried(made: Generated, policy: Policy, case: Case, engine_for: EngineFor) -> Generated:
    """``made`` with what it says of the target, and of the target with each piece of evidence taken away.

    Raises `UndecidedError` for one that does not accept the target: it would be no policy of this target.
    """
    decision = evaluation.evaluate(policy, case, engine_for)
    if not decision.accepted:
        reasons = "; ".join(f"{result.rule}: {result.reason}" for result in decision.results if result.needs)
        raise UndecidedError(f"the policy that was made does not accept the target: {reasons}"[:1000])
    loose = list(made.loose)
    for result in decision.results:
        for used in result.used:
            fewer = replace(case, items=tuple(item for item in case.items if item.digest != used.digest))
            if evaluation.evaluate(policy, fewer, engine_for).accepted:
                loose.append(f"{result.rule}: {used.source} may go, others of its kind are enough")
    return replace(made, decision=decision, loose=tuple(loose))


def _found(case: Case) -> Iterator[_Found]:
    """One for each kind of report, the newest: scans for two things are of two kinds."""
    kinds: dict[tuple[str, str], list[Item]] = {}
    for item in case.items:
        if item.matched and not item.discarded and item.proofs:
            kind = item.statement.predicate.get("kind")
            kinds.setdefault((_name(item), kind if isinstance(kind, str) else ""), []).append(item)
    for _, items in sorted(kinds.items()):
        newest = max(items, key=lambda item: item.sequence)
        groups = tuple(sorted({group for proved in newest.proofs for group in proved.groups}))
        time = made_at(newest, proved=False)
        age = case.now - time if time is not None else None
        wanted = demanded(newest, _name(newest), case.now)
        yield _Found(newest, groups, len(items) - 1, wanted, age, _max_age(age) if wanted.ages else None)


def _name(item: Item) -> str:
    """The short name under which a policy asks for it."""
    kind = item.statement.predicate_type
    for name, types in FAMILIES.items():
        if name != "sbom" and any(kind == one or (one.endswith("*") and kind.startswith(one[:-1])) for one in types):
            return name
    named = short(kind)
    try:
        return named if kind in types_of(named) else kind
    except AssayError:
        return kind


def _max_age(age: timedelta | None) -> str | None:
    """Twice the age, at least a week, in whole days."""
    if age is None or age < timedelta(0):
        return None
    return f"{max(7, math.ceil(2 * age.total_seconds() / 86_400))}d"


def _require(one: _Found) -> dict[str, Any]:
    made: dict[str, Any] = {"evidence": _name(one.item), "signed-by": list(one.groups)}
    if len(one.groups) > 1:
        made["threshold"] = len(one.groups)
    if one.max_age is not None:
        made["max-age"] = one.max_age
    return {**made, **one.demanded.require}


def _loose(one: _Found) -> list[str]:
    told = list(one.demanded.loose)
    if one.max_age is not None and one.age is not None:
        told.append(f"max-age is {one.max_age}, the evidence is {one.age.total_seconds() / 86_400:.1f} days old")
    elif one.demanded.ages:
        told.append("its age is not limited: it states no time")
    else:
        told.append("its age is not limited: what it says stays true while the bytes stay the same")
    if one.others:
        told.append(f"{one.others} more of this kind {'is' if one.others == 1 else 'are'} there; one is enough")
    builder = fields.named(one.item.statement, "builder")
    if "provenance" in one.item.statement.predicate_type and not isinstance(builder, str):
        told.append("accepts any builder: none is named")
    return told


def _id(one: _Found, taken: Sequence[str]) -> str:
    kind = one.item.statement.predicate.get("kind")
    words = [_name(one.item).rpartition("://")[2], kind if isinstance(kind, str) else ""]
    base = "-".join(
        "".join(c if c.isalnum() and c.isascii() else "-" for c in word).strip("-") for word in words if word
    )
    made = base = base[:60].strip("-") or "evidence"
    number = 2
    while made in taken:
        made, number = f"{base}-{number}", number + 1
    return made


_WISHES = {
    "model-signature": "no signature over the files was there to demand",
    "cyclonedx": "no bill of materials was there to demand: formats and licences are open",
    "slsaprovenance": "no provenance was there to demand: it accepts any builder",
    "vuln": "no vulnerability scan was there to demand",
    "scan": "no scan of the files was there to demand",
    "evaluation": "no evaluation was there to demand",
}


def _absent(found: Sequence[_Found]) -> list[str]:
    there = {_name(one.item) for one in found}
    there |= {"cyclonedx"} if "spdx" in there else set()
    return [text for name, text in _WISHES.items() if name not in there]


def _of_signers(signers: Mapping[str, SignerText], used: Sequence[str]) -> list[str]:
    idle = [group for group in signers if group not in used]
    told = [f"{len(idle)} of those whom you trust signed nothing here and are not named"] if idle else []
    if len(used) == 1:
        told.append("one signer is enough for everything: whoever has that key or identity can say anything")
    return told


def _comment(text: str) -> str:
    """``text`` on one line, whatever a document put into it: what follows a line break would be read as policy."""
    return "".join(char if char.isprintable() else " " for char in text)[:500]


def _head(case: Case, name: str, loose: Sequence[str], signers: Mapping[str, SignerText]) -> list[str]:
    identifier = (
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).strip("-._") or "policy"
    )
    lines = [
        "# Made by 'assay policy generate' from the evidence about one known-good target. It demands what was found",
        "# there, exactly; read it, and tighten what is loose.",
        *(f"# loose: {_comment(text)}" for text in loose),
        "assay-policy: 1",
        f"id: {yaml_text.flow(identifier)}",
        f"name: {yaml_text.flow(f'What {case.name} had')}",
        "signers:",
    ]
    lines += yaml_text.block({group: dict(text.declared) for group, text in signers.items()}, 1)
    return [*lines, "controls:", "- id: found", "  name: As it was found", "  rules:"]
