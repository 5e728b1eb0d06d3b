"""Evidence that would satisfy a rule, made up from what the rule's selectors ask for.

What can be tried is tried: signers, times, builders, labels, conditions, digests that lead from one piece to the next.
What a check or a program in Rego asks of a report's contents is assumed, and the assumption is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from assay.policy import fields
from assay.policy.authoring import content, supposed
from assay.policy.authoring.supposed import Person, Thing
from assay.policy.case import Case, Item, Proved
from assay.policy.evaluation.choose import Chosen
from assay.policy.evaluation.standing import made as made_at
from assay.policy.model import Condition, Control, Policy, Require, Rule, Selector
from assay.policy.verdict import Kind

MARK = "assay.dev/supposed"
"""Label of supposed evidence whose contents are taken on trust; no other evidence may profit from that."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one selector of one rule lacks."""

    rule: Rule
    selector: Selector
    kind: Kind
    existing: Item | None = None
    """Evidence that is there and lacks a signature, or is too old."""
    about: Thing | None = None
    """What linked evidence must be about; None for the target."""
    inputs: tuple[Thing, ...] = ()
    """What it must name as inputs."""
    conditions: tuple[Condition, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    time: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Its rule and its name there."""
        return (self.rule.id, self.selector.alias)

    @property
    def variant(self) -> str:
        """Reports of one type and different kinds (a scan for secrets, one for models) are different reports."""
        for name, prepared in self.selector.checks.items():
            arguments = prepared[0] if isinstance(prepared, tuple) and prepared else prepared
            if isinstance(kind := getattr(arguments, "kind", None), str):
                return f"{name} {kind}"
        return ""

    @property
    def assumes(self) -> tuple[str, ...]:
        """What its contents must say and nothing here can try."""
        found = [f"the check {name} of {self.rule.id!r} holds" for name in self.selector.checks]
        if self.rule.rego is not None:
            found.append(f"the program of {self.rule.id!r} allows it")
        return tuple(found)


def demands(
    rule: Rule, require: Require, found: Mapping[str, Chosen], replaced: Sequence[str], case: Case, *, anew: bool
) -> list[Demand]:
    """What the selectors named in ``replaced`` lack, beside the evidence that the others have.

    With ``anew`` all of it is made anew; otherwise what is there is kept where a signature or a fresh date is enough.
    """
    kept = {
        alias: chosen.satisfying[0].item
        for alias, chosen in found.items()
        if alias not in replaced and chosen.satisfying
    }
    shared = _shared(require, kept)
    made = []
    for selector in require.selectors:
        alias = selector.alias
        if alias not in replaced:
            continue
        best = found[alias].best
        kind = best.kind if best is not None and best.kind is not None else Kind.ATTEST
        usable = best is not None and best.item.matched and not best.item.discarded and not anew
        existing = best.item if best is not None and usable and kind in (Kind.SIGN, Kind.REFRESH) else None
        wanted = (*selector.where, *(item for item in require.where if item.alias == alias))
        demand = Demand(
            rule, selector, kind if existing is not None or not anew else Kind.ATTEST, existing, conditions=wanted
        )
        made.append(
            replace(
                demand,
                **_linked(require, alias, replaced, kept, case),
                said=shared,
                time=_time(require, alias, kept, case),
            )
        )
    return made


def _linked(
    require: Require, alias: str, replaced: Sequence[str], kept: Mapping[str, Item], case: Case
) -> dict[str, Any]:
    """What supposed evidence is about, and what it names as inputs, so that the edges hold."""
    linked = {selector.alias for selector in require.selectors if selector.linked}
    about: Thing | None = _name(alias) if alias in linked else None
    for source, target in require.edges:
        if source == alias and alias in linked and target in kept:
            digests = sorted(fields.inputs(kept[target].statement) - {case.sha256})
            about = Thing(f"what {alias!r} describes", digests[0]) if digests else about
    inputs = []
    for source, target in require.edges:
        if target != alias:
            continue
        if source in kept:
            digests = sorted(fields.outputs(kept[source].statement))
            inputs.append(Thing(source, digests[0]))
        elif source in replaced:
            inputs.append(_name(source) if source in linked else Thing(case.name, case.sha256))
    return {"about": about, "inputs": tuple(inputs)}


def _name(alias: str) -> Thing:
    return supposed.thing(f"what {alias!r} describes")


def _shared(require: Require, kept: Mapping[str, Item]) -> dict[str, Any]:
    """What statements must have in common, from those that are there, else made up."""
    said: dict[str, Any] = {}
    for name in require.same:
        values = [fields.named(item.statement, name) for item in kept.values()]
        value = next((item for item in values if isinstance(item, str)), "supposed")
        if name.startswith("labels."):
            said.setdefault("labels", {})[name.removeprefix("labels.")] = value
        elif name in ("revision", "origin", "target"):
            said[name] = value
        elif name not in ("subject", "builder"):
            said.setdefault("context", {})[name] = value
        else:
            said[f"{name} "] = value  # for `item`: it stands in the predicate
    return said


def _time(require: Require, alias: str, kept: Mapping[str, Item], case: Case) -> datetime:
    """Now, or what the order in time demands."""
    time = case.now
    if alias in require.order:
        at = require.order.index(alias)
        for later in require.order[at + 1 :]:
            if later in kept and (made := made_at(kept[later], proved=False)) is not None:
                time = min(time, made)
        time -= timedelta(seconds=len(require.order) - at)
    return time


def item(kind: str, group: Sequence[Demand], case: Case, number: int) -> tuple[Item, frozenset[Condition]]:
    """One piece of evidence of the type ``kind`` for all demands of ``group``, and the conditions it does not meet."""
    first = group[0]
    if first.existing is not None and all(one.existing is first.existing for one in group):
        return _mended(group, first.existing, case), frozenset()
    wanted = [condition for one in group for condition in one.conditions]
    predicate, said = content.satisfying(kind, wanted)
    for one in group:
        for name, value in one.said.items():
            said[name] = {**said.get(name, {}), **value} if isinstance(value, dict) else value
        for builder in one.selector.builders[:1]:
            predicate["runDetails"] = {"builder": {"id": content.sample(builder.id)}}
    if (builder_id := said.pop("builder ", None)) is not None:
        predicate["runDetails"] = {"builder": {"id": builder_id}}
    said.pop("subject ", None)
    inputs = tuple(dict.fromkeys(one for demand in group for one in demand.inputs))
    made = supposed.Supposed(
        kind,
        supposed.with_inputs(kind, predicate, inputs) or predicate,
        next((one.about for one in group if one.about is not None), Thing(case.name, case.sha256)),
        people(group),
        min(one.time or case.now for one in group),
        any(one.selector.proved_time for one in group),
        number,
        {**said.pop("labels", {}), **_labels(group), MARK: "yes"},
        said,
        f"supposed evidence {number}",
    )
    missed = content.unsatisfied(kind, made.predicate, made.said, wanted, case.now)
    return supposed.item(made, target=case.sha256), frozenset(map(_frozen, missed))


def _frozen(condition: Condition) -> Condition:
    """A condition that can be in a set: its text tells it apart."""
    return replace(condition, value=None)


def _labels(group: Sequence[Demand]) -> dict[str, str]:
    return {name: content.sample(glob) for one in group for name, glob in one.selector.labels.items()}


def people(group: Sequence[Demand]) -> list[Person]:
    """The fewest who have to sign for every demand of a group."""
    wanted: dict[str, int] = {}
    for one in sorted(group, key=lambda demand: len(demand.selector.signed_by.groups)):
        groups, count = one.selector.signed_by.groups, one.selector.signed_by.threshold
        if groups and not any(wanted.get(name, 0) >= count for name in groups):
            wanted[groups[0]] = max(count, wanted.get(groups[0], 0))
        for builder in one.selector.builders[:1]:
            for name in builder.groups[:1]:
                wanted.setdefault(name, 1)
    return [Person(f"{name} {i + 1}", frozenset([name])) for name, count in wanted.items() for i in range(count)]


def _mended(group: Sequence[Demand], existing: Item, case: Case) -> Item:
    """Evidence that is there, signed by those who are missing, or made again today. Its contents stay what they are."""
    signers = {proof.proof.signer for proof in existing.proofs}
    proofs = list(existing.proofs)
    for person in people(group):
        if person.name not in signers:
            made = supposed.item(
                supposed.Supposed("x:x", {}, Thing("", case.sha256), [person], case.now, proved=True),
                target=case.sha256,
            )
            proofs += made.proofs
    statement = existing.statement
    if any(one.kind is Kind.REFRESH for one in group):
        subject = statement.subjects[0]
        annotations = {**subject.annotations, "time": case.now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        statement = replace(
            statement,
            subjects=(replace(subject, annotations=annotations), *statement.subjects[1:]),
            predicate=content.renewed(statement.predicate, case.now),
        )
        proofs = [_now(proved, case.now) for proved in proofs]
    return replace(existing, statement=statement, proofs=tuple(proofs), digest=f"{existing.digest}+", problem=None)


def _now(proved: Proved, now: datetime) -> Proved:
    """A signature made again: a proof of its time, where there was one, is of today."""
    time = now if proved.proof.time is not None else None
    return replace(proved, proof=replace(proved.proof, time=time))


def relaxed(policy: Policy, group: Sequence[Demand], missed: frozenset[Condition]) -> Policy:
    """``policy`` with the contents of supposed evidence taken on trust, for that evidence alone."""
    assumed = {one.key: one for one in group if one.existing is None}
    controls = [
        replace(control, rules=tuple(_relaxed(rule, assumed, missed) for rule in control.rules))
        for control in policy.controls
    ]
    return replace(policy, controls=tuple(controls))


def _relaxed(rule: Rule, assumed: Mapping[tuple[str, str], Demand], missed: frozenset[Condition]) -> Rule:
    if rule.require is None or not any((rule.id, one.alias) in assumed for one in rule.require.selectors):
        return rule
    selectors = []
    for selector in rule.require.selectors:
        if (rule.id, selector.alias) in assumed:
            where = tuple(item for item in selector.where if _frozen(item) not in missed)
            labels = {**selector.labels, MARK: "yes"}
            selector = replace(selector, checks={}, where=where, labels=labels)
        selectors.append(selector)
    joint = tuple(item for item in rule.require.where if _frozen(item) not in missed)
    return replace(rule, require=replace(rule.require, selectors=tuple(selectors), where=joint), rego=None)


def only(policy: Policy, rule: Rule) -> Policy:
    """``policy`` with nothing but one rule, which applies everywhere."""
    return replace(policy, controls=(Control("c", "c", (rule,)),))


def with_items(case: Case, items: Sequence[Item]) -> Case:
    """``case`` with further evidence. A mended piece takes the place of what it was."""
    gone = {one.digest.removesuffix("+") for one in items if one.digest.endswith("+")}
    linked = [one for one in items if not one.matched]

    def lookup(digest: str) -> Sequence[Item]:
        more = [one for one in linked if one.statement.subjects[0].digest.get("sha256") == digest]
        return [*(replace(one, matched=True) for one in more), *case.lookup(digest)]

    kept = tuple(one for one in case.items if one.digest not in gone)
    return replace(case, items=(*(one for one in items if one.matched), *kept), lookup=lookup)
