"""One policy over one case: the room's whole sentence.

Pure but for the Rego engine, which is made only when a rule needs it. A rule takes the best that its evidence reaches,
the policy the worst of its rules; see `assay.policy.verdict` for why removing evidence can't improve either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from assay.errors import AssayError
from assay.policy import gates
from assay.policy.case import Case
from assay.policy.evaluation import words
from assay.policy.evaluation.choose import Chosen, Evidence
from assay.policy.evaluation.join import TooManyError, choose_all, fit
from assay.policy.evaluation.standing import Standing
from assay.policy.model import Control, Policy, Require, Rule, When
from assay.policy.rego.interface import Engine
from assay.policy.verdict import Decision, Kind, Need, RuleResult, Verdict, worst

EngineFor = Callable[[str], Engine]
"""Gives the engine of a name (``auto``, ``regorus``, ``opa``); the caller closes it."""


def evaluate(policy: Policy, case: Case, engine_for: EngineFor) -> Decision:
    """The decision. Never raises for what evidence says; what can't be evaluated is `Verdict.ERROR`."""
    evidence = Evidence(case.items)
    results = []
    for control in policy.controls:
        for rule in control.rules:
            results.append(_result(policy, control, rule, case, evidence, engine_for))
    return Decision(
        case.target,
        case.name,
        case.sha256,
        policy.reference,
        tuple(results),
        case.now,
        case.gate,
        case.labels,
        case.kind,
        case.evidence,
        (*case.warnings, *policy.notes, *filter(None, [gates.doubt(policy, case.gate)])),
    )


def applies(when: When, case: Case) -> bool:
    """Whether a rule is for this target: what the caller left unsaid fits."""
    if when.gates and case.gate is not None and case.gate not in when.gates:
        return False
    if when.targets and case.kind is not None and not {case.kind, case.scheme} & {*when.targets}:
        return False
    return all(fnmatchcase(case.labels[name], glob) for name, glob in when.labels.items() if name in case.labels)


def _result(
    policy: Policy, control: Control, rule: Rule, case: Case, evidence: Evidence, engine_for: EngineFor
) -> RuleResult:
    blank = RuleResult(
        control.id,
        rule.id,
        rule.name,
        rule.level,
        Verdict.ERROR,
        "",
        risk=rule.risk,
        mitigation=rule.mitigation or control.mitigation,
        frameworks=_merged(control.frameworks, rule.frameworks),
        labels=rule.labels,
        uses=rule.uses,
        file=rule.file,
        line=rule.line,
    )
    if not (applies(control.when, case) and applies(rule.when, case)):
        return replace(blank, verdict=Verdict.NOT_APPLICABLE, reason=_not_for(control.when, rule.when, case))
    if policy.expires is not None and case.now >= policy.expires:
        reason = f"the policy expired on {policy.expires:%Y-%m-%d}"
        return replace(blank, reason=reason, needs=(Need(Kind.REPAIR, "a policy that has not expired"),))
    try:
        return _evaluated(blank, rule, case, evidence, engine_for)
    except AssayError as error:
        return replace(blank, reason=error.message, needs=(Need(Kind.REPAIR, error.message),))
    except RecursionError:
        return replace(blank, reason="some evidence is nested too deeply", needs=(Need(Kind.REPAIR, "the evidence"),))


def _evaluated(blank: RuleResult, rule: Rule, case: Case, evidence: Evidence, engine_for: EngineFor) -> RuleResult:
    require = rule.require
    if require is None or not require.selectors:
        if rule.rego is None:
            return replace(blank, reason="the rule demands nothing")
        from assay.policy.evaluation.rego import without_evidence

        verdict, reason = without_evidence(rule, rule.rego, case, engine_for(rule.rego.engine))
        return replace(blank, verdict=verdict, reason=reason)
    alone = len(require.selectors) == 1 and not require.where and not require.same
    found = choose_all(require, evidence, case, one=alone and rule.rego is None)
    if rule.rego is not None and all(chosen.verdict is Verdict.PASS for chosen in found.values()):
        from assay.policy.evaluation.rego import ask

        alias = require.selectors[0].alias
        told = ask(rule, rule.rego, found[alias].satisfying, case, engine_for(rule.rego.engine))
        found[alias] = replace(found[alias], standings=tuple(told))
    verdict = worst(chosen.verdict for chosen in found.values())
    if verdict is not Verdict.PASS:
        return _unsatisfied(blank, rule, verdict, [chosen.explained(case.now) for chosen in found.values()])
    if alone:
        chosen = found[require.selectors[0].alias]
        return _passed(blank, {chosen.selector.alias: chosen.satisfying[0]}, found)
    return _together(blank, require, found, case)


def _unsatisfied(blank: RuleResult, rule: Rule, verdict: Verdict, found: Sequence[Chosen]) -> RuleResult:
    """Some selector's evidence does not suffice: each such selector says what it lacks, the worst one first."""
    lacking = sorted(
        (chosen for chosen in found if chosen.verdict is not Verdict.PASS),
        key=lambda chosen: chosen.verdict.rank,
    )
    reason = "; ".join(words.sentence(chosen) for chosen in lacking)
    if verdict is Verdict.MISSING and rule.missing:
        reason = f"{reason} ({rule.missing})"
    furthest = [chosen.best for chosen in lacking if chosen.best is not None]
    return replace(
        blank,
        verdict=verdict,
        reason=reason,
        violations=tuple(violation for standing in furthest for violation in standing.violations),
        used=tuple(words.used(standing) for standing in furthest),
        needs=tuple(words.need(chosen) for chosen in lacking),
    )


def _together(blank: RuleResult, require: Require, found: Mapping[str, Chosen], case: Case) -> RuleResult:
    """Each selector has evidence: does some of it fit together?"""
    try:
        fitting = fit(require, found, case.now)
    except TooManyError:
        return replace(blank, reason="there are too many combinations of evidence to try them all")
    if isinstance(fitting, str):
        newest = [chosen.satisfying[0] for chosen in found.values()]
        return replace(
            blank,
            verdict=Verdict.FAIL,
            reason=fitting,
            used=tuple(map(words.used, newest)),
            needs=(Need(Kind.LINK, f"evidence that fits together: {fitting}"),),
        )
    return _passed(blank, fitting, found)


def _passed(blank: RuleResult, fitting: Mapping[str, Standing], found: Mapping[str, Chosen]) -> RuleResult:
    names = [f"{words.short(item.item.statement.predicate_type)} in {item.item.source}" for item in fitting.values()]
    return replace(
        blank,
        verdict=Verdict.PASS,
        reason=" and ".join(names),
        used=tuple(words.used(standing) for standing in fitting.values()),
        notes=tuple(_contradictions(fitting, found)),
    )


def _contradictions(fitting: Mapping[str, Standing], found: Mapping[str, Chosen]) -> Sequence[str]:
    """Newer evidence by expected signers that says otherwise: the rule holds without it, people should know."""
    notes = []
    for alias, standing in fitting.items():
        for other in found[alias].standings:
            if other.item.sequence > standing.item.sequence and other.verdict is Verdict.FAIL and other.item.matched:
                notes.append(f"{other.item.source} is newer and does not hold: {other.reason}")
                break
    return notes


def _not_for(control: When, rule: When, case: Case) -> str:
    named = [*control.gates, *rule.gates]
    if named and case.gate is not None and case.gate not in named:
        return f"for the gate {' or '.join(named)}, not {case.gate}"
    return "not for this kind of target"


def _merged(one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(dict.fromkeys([*one.get(name, ()), *other.get(name, ())])) for name in dict.fromkeys([*one, *other])
    }
