"""What a passing target rests on: the evidence it hangs by, and until when it lasts.

Both are found by deciding again, without a piece of evidence or at a later time; nothing is guessed from the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from assay.policy import evaluation
from assay.policy.case import Case, Item
from assay.policy.evaluation.evaluate import EngineFor
from assay.policy.model import Policy
from assay.policy.verdict import Decision, RuleResult, Verdict

HORIZON = timedelta(days=3650)
"""How far ahead it is looked whether a passing target goes stale."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A piece of evidence that a passing target rests on."""

    source: str
    predicate_type: str
    rules: tuple[str, ...]
    without: Verdict
    """The policy's verdict if it were not there."""


def rests(policy: Policy, case: Case, decision: Decision, engine_for: EngineFor) -> tuple[Rest, ...]:
    """Each piece of evidence that is used, and the verdict without it."""
    rules: dict[str, list[str]] = {}
    pieces = {}
    for result in decision.results:
        for used in result.used if result.verdict.accepts else ():
            rules.setdefault(used.digest, []).append(result.rule)
            pieces[used.digest] = used
    made = []
    for digest, used in pieces.items():
        without = evaluation.evaluate(policy, _without(case, digest), engine_for).verdict
        made.append(Rest(used.source, used.predicate_type, tuple(rules[digest]), without))
    return tuple(sorted(made, key=lambda rest: (rest.without.accepts, -len(rest.rules))))


def _without(case: Case, digest: str) -> Case:
    def lookup(subject: str) -> Sequence[Item]:
        return [item for item in case.lookup(subject) if item.digest != digest]

    return replace(case, items=tuple(item for item in case.items if item.digest != digest), lookup=lookup)


def stale(policy: Policy, case: Case, engine_for: EngineFor) -> tuple[datetime | None, tuple[str, ...]]:
    """The second from which on the policy does not accept any more, and the rules that say so then.

    Found by halving: whatever grows old (evidence, a check's own limits, the policy) stays too old.
    """

    def at(time: datetime) -> Decision:
        return evaluation.evaluate(policy, replace(case, now=time), engine_for)

    good, bad = case.now, case.now + HORIZON
    if (last := at(bad)).accepted:
        return None, ()
    while bad - good > timedelta(seconds=1):
        middle = good + timedelta(seconds=int((bad - good).total_seconds()) // 2)
        decision = at(middle)
        if decision.accepted:
            good = middle
        else:
            bad, last = middle, decision
    return bad, tuple(result.rule for result in last.results if keeps(result))


def keeps(result: RuleResult) -> bool:
    """Whether a rule keeps the policy from accepting."""
    return not result.effective.accepts and result.effective is not Verdict.NOT_APPLICABLE
