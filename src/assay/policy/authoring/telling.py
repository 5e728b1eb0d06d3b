"""An explanation for people and for machines. It only says what `explaining` found."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from assay.policy.authoring.explaining import Change, Explanation
from assay.policy.evaluation.words import short
from assay.policy.model import TRUSTED
from assay.policy.verdict import Kind, Verdict


def as_text(found: Explanation, target: str, flags: str = "") -> Iterator[str]:
    """Lines for a terminal. ``flags`` are put into every command (`` -d DIR``)."""
    decision = found.decision
    yield f"{decision.verdict} {decision.target} by {decision.policy.name}"
    yield from (f"warning: {text}" for text in decision.warnings)
    if decision.accepted:
        yield from _passing(found)
        return
    if not found.changes:
        yield "no rule of the policy is for this target: no evidence would make it pass"
        return
    count = len(found.changes)
    least = "no fewer would do" if found.exact else "there may be a smaller set"
    yield f"{count} change{'s' if count > 1 else ''} would help ({least}):"
    for number, change in enumerate(found.changes, 1):
        yield ""
        yield from _change(number, change, target, flags, {item.rule: item.reason for item in decision.results})
    yield ""
    if found.after is not None:
        tried = "all of them were tried" if all(change.tried for change in found.changes) else "those that can be tried"
        yield f"with them the verdict is {found.after} ({tried} on the policy, none was made)"
    for rule, reason in found.remaining:
        yield f"  still: {rule}: {reason}"


def _change(number: int, change: Change, target: str, flags: str, now: Mapping[str, str]) -> Iterator[str]:
    yield f"{number}. {change.need.what}"
    if change.existing:
        yield f"   it is there, in {change.existing}, and says what it must"
    for rule in change.rules:
        yield f"   {'satisfies' if rule in change.alone else 'is needed for'} {rule} (now: {now.get(rule, '')})"
    if change.assumes:
        yield f"   assumed, not tried: {'; '.join(change.assumes)}"
    if (text := command(change, target, flags)) is not None:
        yield f"   $ {text}"
        if change.signatures > 1:
            yield f"   {change.signatures} different signers are needed: each of them runs it with a key of their own"


def command(change: Change, target: str, flags: str = "") -> str | None:
    """The command line that makes a change, where one does."""
    line = change.need.command
    if line is None or change.need.kind is Kind.REPAIR:
        return None
    made = line.replace("TARGET", "WHAT-IT-IS-ABOUT" if change.linked else shlex.quote(target)) + flags
    for name in change.need.signers:
        made += " --key KEY.pem" if name == TRUSTED else f" --key KEY-OF-{name}.pem"
        break  # one command signs once; who else must sign is in the words
    return made


def _passing(found: Explanation) -> Iterator[str]:
    for rest in found.rests:
        alone = "" if rest.without.accepts else f"; without it the verdict is {rest.without}"
        yield f"rests on {short(rest.predicate_type)} in {rest.source}, for {', '.join(rest.rules)}{alone}"
    hanging = [rest for rest in found.rests if not rest.without.accepts]
    if found.rests and not hanging:
        yield "no single piece of evidence is indispensable"
    if found.stale is not None:
        yield f"until {found.stale:%Y-%m-%dT%H:%M:%SZ}: then {', '.join(found.stale_rules)} will not pass"
    else:
        yield "it does not go stale within ten years"
    for result in found.decision.results:
        if result.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE):
            yield f"does not pass, and does not reject either: {result.rule} ({result.reason})"


def as_document(found: Explanation) -> dict[str, Any]:
    """For machines."""
    return {
        "verdict": found.decision.verdict.value,
        "target": found.decision.target,
        "policy": found.decision.policy.id,
        "warnings": list(found.decision.warnings),
        "changes": [
            {
                "kind": change.need.kind.value,
                "what": change.need.what,
                "types": list(change.need.types),
                "signers": list(change.need.signers),
                "command": change.need.command,
                "rules": list(change.rules),
                "alone": list(change.alone),
                "conditions": list(change.conditions),
                "assumes": list(change.assumes),
                "signatures": change.signatures,
                "tried": change.tried,
                "existing": change.existing or None,
            }
            for change in found.changes
        ],
        "exact": found.exact,
        "after": found.after.value if found.after is not None else None,
        "remaining": [{"rule": rule, "reason": reason} for rule, reason in found.remaining],
        "rests": [
            {
                "source": rest.source,
                "type": rest.predicate_type,
                "rules": list(rest.rules),
                "without": rest.without.value,
            }
            for rest in found.rests
        ],
        "stale": found.stale.strftime("%Y-%m-%dT%H:%M:%SZ") if found.stale is not None else None,
        "staleRules": list(found.stale_rules),
    }
