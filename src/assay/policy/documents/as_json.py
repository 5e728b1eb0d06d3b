"""A decision for machines: everything that is known of it, under names that stay. Nothing is left out or shortened."""

from __future__ import annotations

from collections import Counter
from typing import Any

from assay.policy.documents import words
from assay.policy.documents.values import plain, timestamp
from assay.policy.verdict import Decision, Need, RuleResult, Used, Verdict, Violation

SCHEMA = "https://assay.dev/decision/v1"
"""Names the form. Fields may be added under it, none is removed or changes its meaning."""


def render(decision: Decision) -> dict[str, Any]:
    """The document, of JSON-like values only."""
    policy = decision.policy
    counts = Counter(result.verdict for result in decision.results)
    made = {
        "schema": SCHEMA,
        "answer": words.answer(decision),
        "verdict": decision.verdict.value,
        "accepted": decision.accepted,
        "exitCode": decision.exit_code,
        "summary": words.summary(decision),
        "time": timestamp(decision.time),
        "target": {
            "reference": decision.target,
            "name": decision.name,
            "sha256": decision.sha256,
            "kind": decision.kind,
        },
        "gate": decision.gate,
        "labels": dict(decision.labels),
        "policy": {
            "id": policy.id,
            "name": policy.name,
            "version": policy.version,
            "uri": policy.uri,
            "sha256": policy.sha256,
            "signer": policy.signer,
        },
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "rules": [_rule(result, decision) for result in decision.results],
        "evidence": decision.evidence,
        "warnings": list(decision.warnings),
    }
    document: dict[str, Any] = plain(made)
    return document


def _rule(result: RuleResult, decision: Decision) -> dict[str, Any]:
    return {
        "id": result.rule,
        "control": result.control,
        "name": result.name,
        "level": result.level.value,
        "verdict": result.verdict.value,
        "effective": result.effective.value,
        "reason": result.reason,
        "violations": [_violation(item) for item in result.violations],
        "used": [_used(item) for item in result.used],
        "needs": [_need(item, decision) for item in result.needs],
        "risk": result.risk,
        "mitigation": result.mitigation,
        "frameworks": {name: list(ids) for name, ids in result.frameworks.items()},
        "labels": list(result.labels),
        "uses": result.uses,
        "file": result.file,
        "line": result.line,
        "notes": list(result.notes),
    }


def _violation(item: Violation) -> dict[str, Any]:
    return {"message": item.message, "path": item.path, "details": dict(item.details)}


def _used(item: Used) -> dict[str, Any]:
    return {
        "digest": item.digest,
        "predicateType": item.predicate_type,
        "subject": item.subject,
        "subjectSha256": item.subject_sha256,
        "signers": list(item.signers),
        "source": item.source,
    }


def _need(item: Need, decision: Decision) -> dict[str, Any]:
    return {
        "kind": item.kind.value,
        "what": item.what,
        "types": list(item.types),
        "signers": list(item.signers),
        "command": words.command(item, decision),
        "alias": item.alias,
    }
