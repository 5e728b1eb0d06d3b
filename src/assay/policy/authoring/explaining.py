"""`assay policy explain`: the smallest set of changes that would make a failing target pass, each of them tried.

What evidence a rule lacks is made up, put beside what is there, and the policy is decided again: a change is offered
only with what that said. For a target that passes: what its passing hangs by, and until when it lasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations

from assay.errors import AssayError
from assay.policy import evaluation
from assay.policy.authoring import supposing
from assay.policy.authoring.covering import cover
from assay.policy.authoring.resting import Rest, keeps, rests, stale
from assay.policy.authoring.supposing import Demand
from assay.policy.case import Case, Item
from assay.policy.evaluation import words
from assay.policy.evaluation.choose import Chosen, Evidence
from assay.policy.evaluation.evaluate import EngineFor
from assay.policy.evaluation.join import choose_all
from assay.policy.model import Condition, Policy, Rule
from assay.policy.reading.kinds import FAMILIES
from assay.policy.verdict import Decision, Kind, Need, RuleResult, Verdict

MAX_TRIES = 64
"""Sets of a rule's selectors that are tried; a rule that asks for more than six kinds of evidence may need more."""
MAX_MENDED = 6
"""Pieces of evidence that lack something, for which it is tried whether new ones would make them needless."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do."""

    need: Need
    rules: tuple[str, ...]
    """Ids of the rules that need it."""
    alone: tuple[str, ...] = ()
    """Of these, those that pass when nothing else is done."""
    assumes: tuple[str, ...] = ()
    """What the evidence must say and could not be tried."""
    conditions: tuple[str, ...] = ()
    """What the evidence must say, as the rules' conditions put it."""
    tried: bool = False
    """The policy was decided with it."""
    existing: str = ""
    """The evidence that is there and lacks only this."""
    linked: bool = False
    """It is about something else than the target."""
    signatures: int = 1
    """How many have to sign."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer."""

    decision: Decision
    changes: tuple[Change, ...] = ()
    """What unblocks most rules comes first."""
    exact: bool = True
    """There is no smaller set of changes."""
    after: Verdict | None = None
    """The verdict with all changes that could be tried; None where there was none to try."""
    remaining: tuple[tuple[str, str], ...] = ()
    """Rules that would still not pass, each with the reason."""
    rests: tuple[Rest, ...] = ()
    stale: datetime | None = None
    """For a target that passes: from then on it does not."""
    stale_rules: tuple[str, ...] = ()
    """Whose evidence is too old then."""


def explain(policy: Policy, case: Case, engine_for: EngineFor) -> Explanation:
    """What would make the target pass, or what its passing rests on."""
    decision = evaluation.evaluate(policy, case, engine_for)
    if decision.accepted:
        until, rules = stale(policy, case, engine_for)
        return Explanation(decision, rests=rests(policy, case, decision, engine_for), stale=until, stale_rules=rules)
    return _Changes(policy, case, engine_for, decision).find()


_Group = tuple[str, list[Demand]]
"""A type, and the demands that one piece of evidence of that type meets."""


class _Changes:
    """The search for one target."""

    def __init__(self, policy: Policy, case: Case, engine_for: EngineFor, decision: Decision) -> None:
        self._policy, self._case, self._engine_for, self._decision = policy, case, engine_for, decision
        self._evidence = Evidence(case.items)
        self._exact = True
        self._others: dict[Need, list[str]] = {}  # what no evidence can mend

    def plan(self) -> list[_Group]:
        """The pieces of evidence to make, each with its type and the demands that it meets."""
        demands: list[Demand] = []
        for rule, result in self._failing():
            found = self._demands(rule, result)
            if found is None:
                for need in result.needs or (Need(Kind.REPAIR, result.reason),):
                    self._others.setdefault(replace(need, alias=""), []).append(rule.id)
            else:
                demands += found
        groups = self._grouped(demands)
        served = {one.rule.id for one in demands}
        if served and any(
            item.rule in served and not item.verdict.accepts for item in self.decide_with(groups).results
        ):
            # What serves each rule alone does not serve all of them at once: nothing is shared then.
            groups, self._exact = [(one.selector.types[0].rstrip("*"), [one]) for one in demands], False
        return groups

    def find(self) -> Explanation:
        """The whole."""
        groups = self.plan()
        after = self.decide_with(groups)
        changes = [self._change(kind, group, number) for number, (kind, group) in enumerate(groups)]
        changes += [Change(need, tuple(rules)) for need, rules in self._others.items()]
        changes.sort(key=lambda change: (-len(change.rules), -len(change.alone)))
        remaining = [(result.rule, result.reason) for result in after.results if keeps(result)]
        return Explanation(
            self._decision,
            tuple(changes),
            self._exact and bool(changes),
            after.verdict if groups else None,
            tuple(remaining),
        )

    def _failing(self) -> list[tuple[Rule, RuleResult]]:
        """Rules that keep the policy from accepting; when none was for this target, there is nothing to change."""
        return [
            (rule, result)
            for rule, result in zip(self._policy.rules, self._decision.results, strict=True)
            if keeps(result)
        ]

    def _demands(self, rule: Rule, result: RuleResult) -> list[Demand] | None:
        """The fewest selectors of a rule whose evidence must change, or None when no evidence would help."""
        require = rule.require
        if require is None or not require.selectors or self._expired() or result.verdict is Verdict.ERROR:
            return None
        try:
            found = choose_all(require, self._evidence, self._case, one=False)
        except AssayError:
            return None
        lacking = {alias for alias, chosen in found.items() if chosen.verdict is not Verdict.PASS}
        if any(_altered(found[alias]) for alias in lacking):
            return None  # new evidence about altered files would bless whatever somebody put there
        aliases = [selector.alias for selector in require.selectors]
        tries = 0
        for size in range(max(1, len(lacking)), len(aliases) + 1):
            for some in combinations(aliases, size):
                if not lacking <= {*some}:
                    continue
                tries += 1
                if tries > MAX_TRIES:
                    self._exact = False
                    return None
                if (demands := self._serving(rule, found, some)) is not None:
                    return demands
        return None

    def _serving(self, rule: Rule, found: Mapping[str, Chosen], some: Sequence[str]) -> list[Demand] | None:
        """Demands for these selectors with which the rule passes: with what is there if possible, else anew."""
        if rule.require is None:
            return None
        for anew in (False, True):
            demands = supposing.demands(rule, rule.require, found, some, self._case, anew=anew)
            groups = [(one.selector.types[0].rstrip("*"), [one]) for one in demands]
            if self.decide_with(groups, supposing.only(self._policy, rule)).results[0].verdict is Verdict.PASS:
                return demands
        return None

    def _expired(self) -> bool:
        return self._policy.expires is not None and self._case.now >= self._policy.expires

    def _grouped(self, demands: Sequence[Demand]) -> list[_Group]:
        """Demands that one piece of evidence can meet, with the type that it should have.

        Evidence that is there is mended, unless what has to be made in any case serves in its place.
        """
        mended: dict[tuple[str, Kind], list[Demand]] = {}
        for one in demands:
            if one.existing is not None:
                mended.setdefault((one.existing.digest, one.kind), []).append(one)
        there = [(_kind(group[0]), group) for group in mended.values()]
        fresh = [one for one in demands if one.existing is None]
        best: list[_Group] | None = None
        self._exact = self._exact and len(there) <= MAX_MENDED
        for size in range(len(there), -1, -1) if len(there) <= MAX_MENDED else (len(there),):
            for kept in combinations(there, size):
                anew = [replace(one, existing=None) for group in there if group not in kept for one in group[1]]
                covered, exact = cover([*fresh, *anew])
                made = [
                    (kind, part) for (kind, _, _), group in covered.items() for part in self._compatible(kind, group)
                ]
                if best is None or len(kept) + len(made) < len(best):
                    best = [*kept, *made]
                self._exact = self._exact and exact
        return best or []

    def _compatible(self, kind: str, group: Sequence[Demand]) -> list[list[Demand]]:
        """Parts of a group whose conditions can hold together."""
        parts: list[list[Demand]] = []
        for one in group:
            alone = supposing.item(kind, [one], self._case, 1)[1]
            for part in parts:
                before = supposing.item(kind, part, self._case, 1)[1]
                if supposing.item(kind, [*part, one], self._case, 1)[1] <= before | alone:
                    part.append(one)
                    break
            else:
                parts.append([one])
        return parts

    def decide_with(self, groups: Sequence[tuple[str, Sequence[Demand]]], policy: Policy | None = None) -> Decision:
        """The decision with supposed evidence for every group."""
        policy = policy or self._policy
        items: list[Item] = []
        newest = max((item.sequence for item in self._case.items), default=0)
        for number, (kind, group) in enumerate(groups, 1):
            item, missed = supposing.item(kind, group, self._case, newest + number)
            items.append(item)
            policy = supposing.relaxed(policy, group, missed)
        return evaluation.evaluate(policy, supposing.with_items(self._case, items), self._engine_for)

    def _change(self, kind: str, group: list[Demand], number: int) -> Change:
        _, missed = supposing.item(kind, group, self._case, 1)
        rules = tuple(dict.fromkeys(one.rule.id for one in group))
        decision = self.decide_with([(kind, group)])
        alone = tuple(
            result.rule for result in decision.results if result.rule in rules and result.verdict is Verdict.PASS
        )
        fresh = group[0].existing is None
        conditions = tuple(dict.fromkeys(item.text for one in group for item in one.conditions))
        assumes = tuple(dict.fromkeys(text for one in group for text in one.assumes)) if fresh else ()
        unmet = tuple(f"{item.text} holds" for item in missed)
        linked = group[0].about is not None
        existing = "" if fresh else _source(group[0])
        return Change(
            _need(kind, group),
            rules,
            alone,
            (*assumes, *unmet),
            conditions,
            True,
            existing,
            linked,
            len(supposing.people(group)),
        )


def _kind(demand: Demand) -> str:
    """The type of the evidence that a demand is to be met with."""
    return demand.existing.statement.predicate_type if demand.existing is not None else demand.selector.types[0]


def _altered(chosen: Chosen) -> bool:
    return chosen.best is not None and chosen.best.item.difference is not None


def _source(demand: Demand) -> str:
    return demand.existing.source if demand.existing is not None else ""


def _need(kind: str, group: Sequence[Demand]) -> Need:
    """What one piece of evidence has to be, in words."""
    first = group[0]
    people = supposing.people(group)
    who = tuple(dict.fromkeys(group for person in people for group in sorted(person.groups)))
    several = len(people) > len(who)
    signed = f", signed by {f'{len(people)} of ' if several else ''}{' and '.join(who)}" if who else ""
    named = _short(kind)
    about = first.about.name if first.about is not None else "the target"
    conditions: Sequence[Condition] = [item for one in group for item in one.conditions]
    says = f" with {' and '.join(dict.fromkeys(item.text for item in conditions))}" if conditions else ""
    # Labels and builders are what an author overlooks first: they are no part of the report.
    builders = [builder.id for one in group for builder in one.selector.builders[:1]]
    built = f", built by {' or '.join(dict.fromkeys(builders))}" if builders else ""
    labels = {name: glob for one in group for name, glob in one.selector.labels.items()}
    labelled = f", labelled {', '.join(f'{name}={glob}' for name, glob in labels.items())}" if labels else ""
    ages = [one.selector.max_age for one in group if one.selector.max_age is not None]
    fresh = f", not older than {_days(min(ages))}" if ages else ""
    if first.existing is not None and first.kind is Kind.SIGN:
        what = f"the {named} statement in {first.existing.source}{signed}"
    elif first.existing is not None:
        what = f"the {named} statement in {first.existing.source} made again{signed}{fresh}"
    else:
        article = "an" if named[:1] in "aeiou" else "a"
        what = f"{article} {named} statement about {about}{says}{built}{labelled}{signed}{fresh}"
    kinds = {one.kind for one in group}
    change = next((item for item in (Kind.CORRECT, Kind.ATTEST, Kind.SIGN, Kind.REFRESH) if item in kinds), first.kind)
    made_by = words.command([kind])
    return Need(change, what, (kind,), who, made_by.replace(kind, named) if made_by is not None else None)


def _short(kind: str) -> str:
    """A short name for a type, also where only its beginning is given."""
    families = (name for name, types in FAMILIES.items() if name != "sbom" and f"{kind}*" in types)
    return next(families, None) or words.short(kind)


def _days(span: timedelta) -> str:
    from assay.policy.durations import text

    return text(span)
