"""Findings of a run as a SARIF 2.1.0 log: the form that a policy's ``findings`` check reads, and that people's tools
show. A run that was compared and had no findings says so with an empty list; one that was not compared has no log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import assay
from assay.alerts.finding import Finding, Severity

PREDICATE_TYPE = "http://docs.oasis-open.org/sarif/sarif/2.1.0"
TOOL = "assay profile"
"""What a policy names in ``tools:``."""

_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "none",
}


def log(
    findings: Sequence[Finding], *, step: str, runs: int, sha256: str, started: int, finished: int, complete: bool
) -> dict[str, Any]:
    """The log. ``runs`` and ``sha256`` (hex) are the profile's, the times are those of the run (nanoseconds).

    ``complete``: whether what was compared is all that the step did. Without that, and without earlier runs, the log
    says that the comparison did not succeed: whoever throws a profile away must not get a clean one.
    """
    rules = list(dict.fromkeys(_rule(item) for item in findings))
    examples = {_rule(item): item for item in reversed(findings)}
    run = {
        "tool": {
            "driver": {
                "name": TOOL,
                "version": assay.__version__,
                "informationUri": "https://assay.dev",
                "rules": [_described(rule, examples[rule]) for rule in rules],
            }
        },
        "automationDetails": {"id": f"assay-profile/{step}/"},
        "invocations": [
            {
                "executionSuccessful": complete and runs > 0,
                "startTimeUtc": _time(started),
                "endTimeUtc": _time(finished),
            }
        ],
        "results": [_result(item, rules.index(_rule(item))) for item in findings],
        "columnKind": "unicodeCodePoints",
        "properties": {"step": step, "profile": {"runs": runs, "sha256": sha256}},
    }
    return {"version": "2.1.0", "runs": [run]}


def _rule(finding: Finding) -> str:
    """``profile/destinations``, ``profile/number/opens``: a few stable ids, never a fact's own text."""
    kind, _, rest = finding.key.partition("/")
    return f"profile/{kind}/{rest}" if kind in ("number", "missing") else f"profile/{kind}"


def _described(rule: str, example: Finding) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": rule,
        "shortDescription": {"text": rule.replace("/", ": ")},
        "defaultConfiguration": {"level": _LEVELS[example.severity]},
        "properties": {"tags": ["anomaly", *_atlas(example.frameworks)]},
    }
    if example.mitigation:
        made["help"] = {"text": example.mitigation}
    return made


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    mark = hashlib.sha256(finding.key.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    informs = finding.severity is Severity.INFO
    return {
        "ruleId": _rule(finding),
        "ruleIndex": rule,
        "kind": "informational" if informs else "fail",
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.title}: {finding.message}".replace("[", "\\[").replace("]", "\\]")},
        "partialFingerprints": {"assayFinding/v1": mark},
        "properties": {"severity": finding.severity.value, "atlas": _atlas(finding.frameworks)},
    }


def _atlas(frameworks: Mapping[str, Sequence[str]]) -> list[str]:
    return list(frameworks.get("atlas", ()))


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
