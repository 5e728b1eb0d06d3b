"""A scan's result as SARIF 2.1.0 (OASIS, errata 01): one result for every finding, one artifact for every file.

Identity over runs is the rule, the file and the finding, never a position in a list or a time. Nothing here names a
path of the machine that scanned, and what does not fit into a log is counted in it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import assay
from assay.collect.scan.models.baseline import Baseline
from assay.collect.scan.models.interface import FileResult, Finding, Severity, TargetResult, Tier
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.models.predicate import verdict

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

MAX_RESULTS = 25_000
"""Results of one run; GitHub takes no more."""

MAX_ARTIFACTS = 100_000
"""Files that are listed one by one."""

_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}

_SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.0",
    Severity.LOW: "3.0",
    Severity.INFO: "1.0",
}
"""``security-severity``, a score from 0.1 to 10 by which GitHub ranks."""


def render(
    result: TargetResult,
    name: str,
    baseline: Baseline,
    *,
    finished: datetime,
    exit_code: int,
    ignored: tuple[str, ...] = (),
    kind: str = "models",
) -> dict[str, Any]:
    """The log. ``name`` is what the target is called; ``ignored`` are names that are no part of it.

    ``kind`` is what was scanned for: two kinds of scan of one target do not replace each other.
    """
    found = [(item, finding) for item in result.files for finding in item.findings]
    found.sort(key=lambda pair: -pair[1].tier.rank)  # what does not fit is the least bad
    shown = found[:MAX_RESULTS]
    rules = list(dict.fromkeys(finding.rule for _, finding in shown))
    worst = {rule: _worst(rule, shown) for rule in rules}
    artifacts = {item.path: i for i, item in enumerate(result.files[:MAX_ARTIFACTS])}
    run = {
        "tool": {
            "driver": {
                "name": "assay scan",
                "version": assay.__version__,
                "informationUri": "https://assay.dev",
                "rules": [_rule(rule, worst[rule]) for rule in rules],
            }
        },
        "automationDetails": {"id": f"assay-scan/{kind}/{one_line(name, 200)}/"},
        "invocations": [_invocation(result, finished, exit_code, ignored)],
        "artifacts": [_artifact(item) for item in result.files[:MAX_ARTIFACTS]],
        "results": list(_results(shown, {rule: i for i, rule in enumerate(rules)}, artifacts, baseline)),
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": verdict(result),
            "rules": {"sha256": result.rules},
            "resultsLeftOut": len(found) - len(shown),
            "artifactsLeftOut": max(0, len(result.files) - MAX_ARTIFACTS),
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _worst(rule: str, found: list[tuple[FileResult, Finding]]) -> Finding:
    order = list(Severity)
    return min((finding for _, finding in found if finding.rule == rule), key=lambda item: order.index(item.severity))


def _rule(rule: str, example: Finding) -> dict[str, Any]:
    title = rule.replace("/", ": ").replace("-", " ")
    help_text = _text(example.mitigation or "Look at the finding, and load the file only if you know why it is there.")
    return {
        "id": rule,
        "shortDescription": {"text": title},
        # GitHub wants both of these from every rule.
        "fullDescription": {"text": f"{title}. {help_text}"},
        "help": {"text": help_text},
        "defaultConfiguration": {"level": _LEVELS[example.severity]},
        "properties": {
            "tags": ["security", *example.atlas][:20],
            "security-severity": _SCORES[example.severity],
        },
    }


def _results(
    found: list[tuple[FileResult, Finding]], rules: dict[str, int], artifacts: dict[str, int], baseline: Baseline
) -> Iterator[dict[str, Any]]:
    seen: Counter[str] = Counter()
    for item, finding in found:
        place = "\0".join(map(str, (finding.rule, item.path, finding.member, finding.call, finding.message)))
        seen[place] += 1
        mark = hashlib.sha256(f"{place}\0{seen[place]}".encode("utf-8", "replace")).hexdigest()[:32]
        bad = finding.tier is not Tier.NONE or finding.severity is not Severity.INFO
        made: dict[str, Any] = {
            "ruleId": finding.rule,
            "ruleIndex": rules[finding.rule],
            "kind": "fail" if bad else "informational",
            "level": _LEVELS[finding.severity] if bad else "none",
            "message": {"text": _text(finding.message + (f": {finding.call}" if finding.call else ""))},
            "locations": [_location(item, finding, artifacts)],
            "partialFingerprints": {"assayFinding/v1": mark, "primaryLocationLineHash": mark},
            "properties": {
                "tier": finding.tier.value,
                "severity": finding.severity.value,
                "byteOffset": finding.offset,
                "call": finding.call,
                "atlas": list(finding.atlas),
                "fileTier": item.tier.value,
            },
        }
        if baseline.accepts(item, finding):
            made["suppressions"] = [
                {
                    "kind": "external",
                    "status": "accepted",
                    "justification": f"{one_line(baseline.reason)} (signed by {one_line(baseline.by, 200)})",
                }
            ]
        yield made


def _text(text: str) -> str:
    """Text of a stranger for a message: SARIF makes links of ``[text](target)`` in plain text too (3.11.6)."""
    return one_line(text, 2000).replace("](", "] (") or "-"


def _location(item: FileResult, finding: Finding, artifacts: dict[str, int]) -> dict[str, Any]:
    place: dict[str, Any] = {"uri": _uri(item.path)}
    if item.path in artifacts:
        place["index"] = artifacts[item.path]
    # A region is what viewers insist on; the offset that means something is among the properties.
    region = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    physical = {"artifactLocation": place, "region": region}
    made: dict[str, Any] = {"physicalLocation": physical}
    if finding.member is not None:
        where = one_line(finding.member)
        at = f" at byte {finding.offset}" if finding.offset is not None else ""
        made["logicalLocations"] = [
            {"name": where + at, "fullyQualifiedName": f"{one_line(item.path)}!/{where}", "kind": "member"}
        ]
    return made


def _uri(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe="/-._~")


def _artifact(item: FileResult) -> dict[str, Any]:
    made: dict[str, Any] = {
        "location": {"uri": _uri(item.path)},
        "properties": {"tier": item.tier.value, "format": item.format},
    }
    if item.sha256 is not None:
        made["hashes"] = {"sha-256": item.sha256}
    return made


def _invocation(result: TargetResult, finished: datetime, exit_code: int, ignored: tuple[str, ...]) -> dict[str, Any]:
    notes = [
        {"level": "error", "message": {"text": _text(f"{item.path} could not be read to its end")}}
        for item in result.files
        if item.tier is Tier.UNREADABLE
    ][:1000]
    notes += [
        {"level": "error", "message": {"text": _text(f"{path} was not scanned: {why}")}}
        for path, why in list(result.skipped.items())[:1000]
    ]
    if ignored:
        few = ", ".join(ignored[:5]) + (" …" if len(ignored) > 5 else "")
        notes.append({"level": "note", "message": {"text": _text(f"{len(ignored):,} ignored name(s): {few}")}})
    return {
        "executionSuccessful": not result.skipped,
        "exitCode": exit_code,
        "endTimeUtc": finished.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "toolExecutionNotifications": notes,
    }
