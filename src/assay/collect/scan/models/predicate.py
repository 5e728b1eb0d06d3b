"""A scan's result as evidence, and as plain JSON: every file, every finding, who scanned and by which rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import assay
from assay.collect.scan.models.baseline import Baseline
from assay.collect.scan.models.interface import FileResult, Finding, Rules, TargetResult
from assay.evidence import predicates
from assay.evidence.predicates import scan as documents

SCANNER = "https://assay.dev/scan"
"""Identifies this scanner."""


def document(
    result: TargetResult, rules: Rules, *, started: datetime, finished: datetime, kind: str = "models"
) -> documents.Scan:
    """The predicate. Raises ``ValueError`` where a file that was judged has no digest: digest all when scanning."""
    files = [_file(item) for item in result.files]
    skipped = [documents.Skipped(path=path, reason=why) for path, why in result.skipped.items()]
    allow = _allow_list(rules)
    return documents.Scan(
        scanner=documents.Scanner(
            uri=SCANNER,
            version=assay.__version__,
            rules={"sha256": result.rules},
            allow_list={"sha256": allow} if allow is not None else None,
        ),
        kind=kind,  # type: ignore[arg-type]
        started=started,
        finished=finished,
        verdict=documents.answer(files, skipped),
        files=files,
        tiers=_count([item.tier for item in files]),
        severities=_count([finding.severity for item in files for finding in item.findings]),
        skipped=skipped,
    )


def _allow_list(rules: Rules) -> str | None:
    """Hex SHA-256 over all that is allowed, in order; None for rules that have no such list."""
    allowed: Mapping[str, Mapping[str, int]] | None = getattr(rules, "allowed", None)
    if allowed is None:
        return None
    made = hashlib.sha256()
    for module in sorted(allowed):
        for name, uses in sorted(allowed[module].items()):
            made.update(f"{module}\0{name}\0{int(uses)}\n".encode("utf-8", "surrogateescape"))
    return made.hexdigest()


def _count(words: list[Any]) -> dict[Any, int]:
    made: dict[Any, int] = {}
    for word in words:
        made[word] = made.get(word, 0) + 1
    return made


def _file(item: FileResult) -> documents.File:
    return documents.File(
        path=item.path,
        tier=item.tier.value,
        format=item.format,
        digest={"sha256": item.sha256} if item.sha256 is not None else None,
        findings=[_finding(finding) for finding in item.findings],
    )


def _finding(finding: Finding) -> documents.Finding:
    located = finding.member is not None or finding.offset is not None
    return documents.Finding(
        rule=finding.rule,
        severity=finding.severity.value,
        message=finding.message,
        location=documents.Location(member=finding.member, offset=finding.offset) if located else None,
        call=finding.call,
        atlas=list(finding.atlas),
        mitigation=finding.mitigation or None,
    )


def verdict(result: TargetResult) -> str:
    """The answer in one word: the worst tier, or ``findings`` where no tier is bad and something was found."""
    if result.tier.rank <= 1 and any(finding.severity != "info" for item in result.files for finding in item.findings):
        return "findings"
    return result.tier.value


def as_json(result: TargetResult, target: str, baseline: Baseline) -> dict[str, Any]:
    """``target``, ``verdict`` and ``files``. A finding that the baseline accepts says so, and counts as before."""
    return {
        "target": target,
        "verdict": verdict(result),
        "files": [
            {
                "path": item.path,
                "tier": item.tier.value,
                "format": item.format,
                "digest": f"sha256:{item.sha256}" if item.sha256 is not None else None,
                "findings": [_plain(item, finding, baseline) for finding in item.findings],
            }
            for item in result.files
        ]
        + [
            {"path": path, "tier": "unknown", "format": None, "digest": None, "findings": [_skipped(why)]}
            for path, why in result.skipped.items()
        ],
    }


def _plain(item: FileResult, finding: Finding, baseline: Baseline) -> dict[str, Any]:
    made = {"tier": finding.tier.value, **predicates.builtins(_finding(finding))}
    if baseline.accepts(item, finding):
        made["accepted"] = {"reason": baseline.reason, "by": baseline.by}
    return made


def _skipped(why: str) -> dict[str, Any]:
    return {"tier": "unknown", "rule": "scan/skipped", "severity": "medium", "message": f"it was not scanned: {why}"}
