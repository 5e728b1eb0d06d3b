"""``scan``: what a scan of the target may have found, and that it left nothing out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.policy.checks.arguments import Arguments, Maximum, Unknown, Words, convert, limits, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, listed, odd, show, string, told
from assay.policy.checks.vulnerabilities import over
from assay.policy.verdict import Violation

TYPES = ("https://assay.dev/scan/v0.1",)
_SEVERITIES = ("critical", "high", "medium", "low")
_SHOWN = 300
"""Characters of a finding's message in a reason."""


class Scan(Arguments, frozen=True):
    """A scan: of which kind, and what it may have found. An attack or an unreadable file is never accepted."""

    kind: Annotated[
        Literal["models", "secrets", "pii", "vulns", "poisoning"], Meta(description="What was scanned for.")
    ]
    tiers: Annotated[tuple[Literal["none", "safe", "unknown", "code"], ...], Meta(description="What files may be.")] = (
        "none",
        "safe",
    )
    max: Annotated[Maximum, Meta(description="Most findings of each severity; without it none but info.")] = Maximum(
        critical=0, high=0, medium=0, low=0
    )
    ignore: Annotated[Words, Meta(description="Rules whose findings do not count (globs). Tiers still do.")] = ()
    skipped: Annotated[Unknown, Meta(description="Whether files may have been left out.")] = "fail"
    scanners: Annotated[Words, Meta(description="Scanners that count (globs over the URI).")] = ()


class _Check:
    name = "scan"
    types: tuple[str, ...] = TYPES
    schema = schema(Scan)

    def prepare(self, arguments: Any, place: str) -> Scan:
        """See `Check.prepare`."""
        return convert(Scan, arguments, place)

    def concerns(self, document: Document, arguments: Scan) -> bool:
        """See `Particular.concerns`: one of another kind is about something else."""
        return document.predicate.get("kind") == arguments.kind

    def violations(self, document: Document, arguments: Scan) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document.predicate, arguments))


def _wrong(scan: Mapping[str, Any], wanted: Scan) -> Iterator[Violation]:
    if scan.get("kind") != wanted.kind:
        yield Violation(f"it is a scan for {show(scan.get('kind'))}, not for {wanted.kind}", "kind")
    scanner = string(dig(scan, "scanner", "uri")) or ""
    if wanted.scanners and not first(wanted.scanners, scanner):
        yield Violation(f"the scanner {show(scanner)} is not one that counts", "scanner.uri")
    # The verdict is at least as bad as the files; it may be worse for what a list of files does not show.
    verdict = scan.get("verdict")
    known = ("none", "safe", "findings", "unknown", "code")
    if verdict not in known or (verdict == "code" and "code" not in wanted.tiers):
        yield Violation(f"the scan's verdict is {show(verdict)}", "verdict")
    elif verdict == "unknown" and "unknown" not in wanted.tiers and wanted.skipped == "fail":
        yield Violation("the scan's verdict is 'unknown'", "verdict")
    files, skipped = scan.get("files"), scan.get("skipped")
    if odd(files) or not listed(files):
        yield Violation("the scan lists no files that can be read", "files")
    if skipped is not None and not isinstance(skipped, list):
        yield Violation("skipped is not a list", "skipped")
    for i, item in enumerate(listed(skipped) if wanted.skipped == "fail" else ()):
        reason = show(dig(item, "reason"))
        yield Violation(f"{show(dig(item, 'path'))} was not scanned: {reason}", f"skipped[{i}]")
    found: dict[str, list[Violation]] = {severity: [] for severity in _SEVERITIES}
    for i, file in enumerate(listed(files)):
        if isinstance(file, Mapping):
            yield from _file(file, f"files[{i}]", wanted, found)
    most = limits(wanted.max)
    for severity, items in found.items():
        yield from over(severity, len(items), most, items)


def _file(file: Mapping[str, Any], place: str, wanted: Scan, found: dict[str, list[Violation]]) -> Iterator[Violation]:
    name, tier = show(file.get("path")), file.get("tier")
    details = {"file": str(file.get("path"))[:500], "tier": str(tier)[:100]}
    if not isinstance(tier, str) or tier not in wanted.tiers:
        yield Violation(f"{name} is {tier if isinstance(tier, str) else show(tier)}"[:300], f"{place}.tier", details)
    findings = file.get("findings")
    if odd(findings):
        yield Violation(f"the findings in {name} can't be read", f"{place}.findings", details)
    for j, finding in enumerate(listed(findings)):
        if not isinstance(finding, Mapping):
            continue
        rule, severity = string(finding.get("rule")) or "without a rule", finding.get("severity")
        if severity == "info" or first(wanted.ignore, rule):
            continue
        level = severity if isinstance(severity, str) and severity in found else "critical"
        message = " ".join((string(finding.get("message")) or "").split())
        message = message if len(message) <= _SHOWN else message[: _SHOWN - 1] + "…"
        text = f"{level} {rule[:100]} in {name}" + (f": {message}" if message else "")
        found[level].append(Violation(text, f"{place}.findings[{j}]", {**details, "rule": rule[:200]}))


CHECK = _Check()
