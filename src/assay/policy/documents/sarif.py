"""A decision as SARIF 2.1.0 (OASIS, errata 01): one result for every rule, one for each of its violations.

Identity over runs is the policy, the rule, the target and the violation, never a position or a time. Nothing here
names a path of the machine that decided.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import assay
from assay.policy.documents import taxonomies, words
from assay.policy.documents.markdown import prose
from assay.policy.documents.values import plain, timestamp
from assay.policy.verdict import Decision, Level, RuleResult, Verdict, Violation

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

MAX_RESULTS = 25_000
"""Results of one run; GitHub takes no more."""

_KINDS = {
    Verdict.PASS: "pass",
    Verdict.WARN: "review",
    Verdict.FAIL: "fail",
    Verdict.STALE: "fail",
    Verdict.UNTRUSTED: "fail",
    Verdict.MISSING: "open",
    Verdict.ERROR: "open",
    Verdict.NOT_APPLICABLE: "notApplicable",
}
"""Verdict to ``result.kind`` (3.27.9). ``open``: what was there did not suffice to decide."""

_SEVERITIES = {Level.ERROR: "8.0", Level.WARNING: "5.0", Level.NOTE: "2.0"}
"""Level to ``security-severity``, a score from 0.1 to 10 by which GitHub ranks: high, medium, low."""


def render(decision: Decision) -> dict[str, Any]:
    """The log, of JSON-like values only: one run, at most `MAX_RESULTS` results and as many rules."""
    results = decision.results[:MAX_RESULTS]
    frameworks = taxonomies.Taxonomies(results)
    shown, left_out = _results(decision, results, frameworks)
    run = {
        "tool": {
            "driver": {
                "name": "assay",
                "version": assay.__version__,
                "informationUri": "https://assay.dev",
                "rules": [_rule(result, frameworks) for result in results],
                "supportedTaxonomies": frameworks.references(),
            }
        },
        "automationDetails": {"id": f"assay/{decision.policy.id}/{decision.name}/"},
        "invocations": [_invocation(decision, results)],
        "taxonomies": frameworks.components(),
        "results": shown,
        "columnKind": "unicodeCodePoints",
        "properties": _properties(decision) | {"resultsLeftOut": left_out},
    }
    log: dict[str, Any] = plain({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})
    return log


def message(text: str) -> str:
    """Text of a stranger for a message: SARIF makes links of ``[text](target)`` in plain text too (3.11.6)."""
    return words.clean(text).replace("](", "] (") or "-"


def _rule(result: RuleResult, frameworks: taxonomies.Taxonomies) -> dict[str, Any]:
    help_text = [f"Risk: {message(result.risk)}"] if result.risk else []
    help_text += [f"Mitigation: {message(result.mitigation)}"] if result.mitigation else []
    shown = [f"**Risk**: {prose(result.risk)}"] if result.risk else []
    shown += [f"**Mitigation**: {prose(result.mitigation)}"] if result.mitigation else []
    made: dict[str, Any] = {
        "id": result.rule,
        "shortDescription": {"text": message(result.name or result.rule)},
        "defaultConfiguration": {"level": result.level.value},
        "properties": {
            "tags": list(dict.fromkeys(["security", *result.labels]))[:20],
            "security-severity": _SEVERITIES[result.level],
            "control": result.control,
        },
    }
    if help_text:
        made["help"] = {"text": "\n".join(help_text), "markdown": "\n\n".join(shown)}
    if result.uses:
        made["properties"]["uses"] = result.uses
    if relationships := frameworks.relationships(result):
        made["relationships"] = relationships
    return made


def _results(
    decision: Decision, results: tuple[RuleResult, ...], frameworks: taxonomies.Taxonomies
) -> tuple[list[dict[str, Any]], int]:
    """Every rule has one result at least; further violations fill what room there is."""
    room = MAX_RESULTS - len(results)
    made: list[dict[str, Any]] = []
    left_out = 0
    for index, result in enumerate(results):
        violations = result.violations if _KINDS[result.verdict] == "fail" else ()
        taken = violations[: room + 1]
        room -= max(0, len(taken) - 1)
        left_out += len(violations) - len(taken)
        made += _of_rule(decision, index, result, taken, frameworks)
    return made, left_out


def _of_rule(
    decision: Decision,
    index: int,
    result: RuleResult,
    violations: tuple[Violation, ...],
    frameworks: taxonomies.Taxonomies,
) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    for violation in violations or (None,):
        kind = _KINDS[result.verdict]
        text = words.violation(violation) if violation is not None else result.reason
        identity = f"{violation.path}\0{violation.message}" if violation is not None else ""
        seen[identity] = number = seen.get(identity, 0) + 1
        mark = _fingerprint(decision, result, f"{identity}\0{number}")
        made: dict[str, Any] = {
            "ruleId": result.rule,
            "ruleIndex": index,
            "kind": kind,
            "message": {"text": message(text)},
            "locations": [_location(decision, result)],
            "partialFingerprints": {"assayViolation/v1": mark, "primaryLocationLineHash": mark},
            "properties": _of_result(decision, result, violation, first=len(seen) == number == 1),
        }
        if kind == "fail":
            made["level"] = result.level.value
        if taxa := frameworks.taxa(result):
            made["taxa"] = taxa
        yield made


def _fingerprint(decision: Decision, result: RuleResult, violation: str) -> str:
    parts = "\0".join((decision.policy.id, result.rule, decision.name, violation))
    return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:32]


def _location(decision: Decision, result: RuleResult) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": _relative(result.file or f"{decision.policy.id}.yml")},
            "region": {"startLine": max(1, result.line)},
        },
        "logicalLocations": [
            {
                "name": decision.name,
                "fullyQualifiedName": decision.target,
                "decoratedName": f"{decision.name}@sha256:{decision.sha256}",
                "kind": "resource",
            }
        ],
    }


def _relative(name: str) -> str:
    """A file name as a relative reference: no path of this machine, and none that leads out."""
    name = words.clean(name).replace("\\", "/")
    name = posixpath.basename(name) if name.startswith("/") else posixpath.normpath(name)
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return quote("/".join(parts) or "policy.yml", safe="/-._~")


def _of_result(decision: Decision, result: RuleResult, violation: Violation | None, *, first: bool) -> dict[str, Any]:
    """What needs the whole rule stands in its first result only: a rule may have thousands."""
    made: dict[str, Any] = {
        "verdict": result.verdict.value,
        "effective": result.effective.value,
        "level": result.level.value,
        "control": result.control,
    }
    if violation is not None and violation.details:
        made["details"] = dict(violation.details)
    if first and result.needs:
        made["needs"] = [
            {"kind": need.kind.value, "what": words.clean(need.what), "command": words.command(need, decision)}
            for need in result.needs
        ]
    if first and result.used:
        made["used"] = [{"sha256": used.digest, "predicateType": used.predicate_type} for used in result.used]
    return made


def _invocation(decision: Decision, results: tuple[RuleResult, ...]) -> dict[str, Any]:
    failed = [(i, result) for i, result in enumerate(results) if result.effective is Verdict.ERROR]
    notes = [
        {
            "level": "error",
            "message": {"text": message(result.reason)},
            "associatedRule": {"id": result.rule, "index": index},
        }
        for index, result in failed
    ]
    notes += [{"level": "warning", "message": {"text": message(warning)}} for warning in decision.warnings]
    return {
        "executionSuccessful": not failed,
        "exitCode": decision.exit_code,
        "exitCodeDescription": words.answer(decision),
        "endTimeUtc": timestamp(decision.time),
        "toolExecutionNotifications": notes,
    }


def _properties(decision: Decision) -> dict[str, Any]:
    policy = decision.policy
    return {
        "answer": words.answer(decision),
        "verdict": decision.verdict.value,
        "accepted": decision.accepted,
        "summary": words.summary(decision),
        "policy": {
            "id": policy.id,
            "version": policy.version,
            "uri": policy.uri,
            "sha256": policy.sha256,
            "signer": policy.signer,
        },
        "target": {"reference": decision.target, "name": decision.name, "sha256": decision.sha256},
        "gate": decision.gate,
        "labels": dict(decision.labels),
    }
