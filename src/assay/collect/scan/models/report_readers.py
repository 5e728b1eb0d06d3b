"""Reading what other scanners write: modelscan, fickling and modelaudit in JSON or SARIF, picklescan's text.

A report is a stranger's document: it is read strictly, nothing in it is followed, and one that is not understood to
its end is refused, since what was skipped in it may be the finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from assay.collect.scan.models.judging import one_line
from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.evidence.predicates import scan as documents

MAX_REPORT = 256 << 20
"""Bytes of the largest report that is read."""

MAX_FINDINGS = 100_000
"""Findings of one report."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that a report says of a file."""

    path: str
    """As the report names the file, with the member of an archive behind a colon."""
    tier: documents.Tier
    rule: str
    severity: documents.Severity
    message: str
    offset: int | None = None
    call: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report in our words."""

    uri: str
    """Identifies the scanner."""
    version: str
    findings: list[Said]
    scanned: list[str] | None
    """Files that were scanned, as the report names them; None where it does not say."""
    failed: dict[str, str] = field(default_factory=dict)
    """Files that were not scanned, or not to their end, and why."""
    time: datetime | None = None
    """When, in UTC, where the report says so."""
    digests: dict[str, str] = field(default_factory=dict)
    """By file: the SHA-256 (hex) of what was scanned, where the report says so."""


def read(name: str, data: bytes) -> Report:
    """The report. Raises `DocumentError` where its form is not one of those that are known."""
    if len(data) > MAX_REPORT:
        raise DocumentError(f"{name} is {len(data):,} bytes, more than the {MAX_REPORT:,} that are read")
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith((b"{", b"[")):
        return _picklescan_text(name, data)
    content = strict_json.loads(text, name)
    if isinstance(content, dict):
        for fits, reader in _READERS:
            if fits(content):
                return _guarded(reader, content, name)
    raise DocumentError(
        f"{name} is no report of a scanner that is known here",
        hint="modelscan, fickling and modelaudit in JSON or SARIF, picklescan's output",
    )


def _guarded(reader: Callable[[Mapping[str, Any]], Report], content: Mapping[str, Any], name: str) -> Report:
    """Read a report whose parts may be of any type: it is a stranger's document."""
    import msgspec

    try:
        # Read back by its types: a list where a text belongs is found here, and nowhere later.
        report = msgspec.convert(asdict(reader(content)), Report)
    except (
        msgspec.ValidationError,
        RecursionError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        IndexError,
    ) as error:
        raise DocumentError(f"{name} is not what its scanner writes: {one_line(repr(error), 150)}") from None
    if len(report.findings) > MAX_FINDINGS:
        raise DocumentError(f"{name} has more than the {MAX_FINDINGS:,} findings that are read")
    return report


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (made if made.tzinfo is not None else made.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


_SEVERITIES: dict[str, documents.Severity] = {
    "critical": "critical",
    "high": "high",
    "error": "high",
    "warning": "medium",
    "medium": "medium",
    "low": "low",
    "note": "low",
    "info": "info",
    "debug": "info",
}

_TIERS: dict[str, documents.Tier] = {
    "critical": "malicious",
    "high": "malicious",
    "medium": "unknown",
    "low": "unknown",
}
"""What another scanner's severity says of a file at best; ``info`` says nothing."""


def _severity(word: object) -> documents.Severity:
    """A word that nobody knows is taken for the worst."""
    return _SEVERITIES.get(_text(word).lower(), "critical")


def _modelscan(content: Mapping[str, Any]) -> Report:
    """modelscan 0.5 to 0.8: ``-r json``."""
    summary = content["summary"]
    findings = []
    for issue in content["issues"]:
        severity = _severity(issue["severity"])
        module, operator = _text(issue.get("module")), _text(issue.get("operator"))
        findings.append(
            Said(
                issue["source"],
                _TIERS.get(severity, "safe"),
                _text(issue.get("scanner")) or "modelscan",
                severity,
                issue["description"],
                call=f"{module}.{operator}" if module and operator else operator or None,
            )
        )
    failed = {}
    for error in [*(content.get("errors") or ()), *((summary.get("skipped") or {}).get("skipped_files") or ())]:
        source = error.get("source")
        if source is None:
            raise ValueError("an error that names no file")
        failed[source] = _text(error.get("description")) or _text(error.get("category")) or "an error"
    if summary["total_issues"] != len(findings):
        raise ValueError("total_issues is not the number of issues")
    return Report(
        "https://github.com/protectai/modelscan",
        _text(summary.get("modelscan_version")),
        findings,
        list((summary.get("scanned") or {}).get("scanned_files") or ()),
        failed,
        _time(summary.get("timestamp")),
    )


_FICKLING: dict[str, tuple[documents.Tier, documents.Severity]] = {
    "LIKELY_SAFE": ("safe", "info"),
    "POSSIBLY_UNSAFE": ("unknown", "medium"),
    "SUSPICIOUS": ("unknown", "medium"),
    "LIKELY_UNSAFE": ("unknown", "high"),
    "LIKELY_OVERTLY_MALICIOUS": ("malicious", "critical"),
    "OVERTLY_MALICIOUS": ("malicious", "critical"),
}


def _fickling(content: Mapping[str, Any]) -> Report:
    """fickling 0.1: ``--check-safety --json-output``. It names no file: it is about a target of one."""
    tier, severity = _FICKLING[content["severity"]]
    analysis = _text(content["analysis"])
    detailed = (content.get("detailed_results") or {}).get("AnalysisResult") or {}
    findings = []
    if tier != "safe" or detailed:
        findings = [
            Said("", tier, f"fickling/{rule}", severity, f"{rule}: {detail}") for rule, detail in detailed.items()
        ] or [Said("", tier, "fickling", severity, analysis or "no details")]
    return Report("https://github.com/trailofbits/fickling", "", findings, None)


def _modelaudit(content: Mapping[str, Any]) -> Report:
    """modelaudit 0.2: ``--format json``."""
    findings = []
    failed = {}
    for issue in content["issues"]:
        severity = _severity(issue["severity"])
        location = _text(issue.get("location"))
        if not location and severity == "info":
            continue  # about all files together: licences
        path, offset = _position(location)
        findings.append(
            Said(
                path,
                _TIERS.get(severity, "safe"),
                _text(issue.get("rule_code")) or _text(issue.get("type")) or "modelaudit",
                severity,
                issue["message"],
                offset,
                _text((issue.get("details") or {}).get("import_reference")) or None,
            )
        )
    scanned = [_text(asset["path"]) for asset in content.get("assets") or ()]
    if content.get("has_errors") or content.get("success") is False:
        failed = dict.fromkeys(scanned, "the scanner met errors")
    started = content.get("start_time")
    time = datetime.fromtimestamp(float(started), UTC).replace(microsecond=0) if started is not None else None
    metadata = content.get("file_metadata") or {}
    hashes = {path: (entry.get("file_hashes") or {}).get("sha256") for path, entry in metadata.items()}
    return Report(
        "https://github.com/promptfoo/modelaudit",
        _text(content.get("version")) or _text(content.get("modelaudit_version")),
        findings,
        scanned,
        failed,
        time,
        {path: digest for path, digest in hashes.items() if digest is not None},
    )


def _position(location: str) -> tuple[str, int | None]:
    """``model.pkl (pos 21)`` apart."""
    match = re.fullmatch(r"(.*) \(pos (\d{1,18})\)", location, re.DOTALL)
    return (match[1], int(match[2])) if match else (location, None)


_SARIF_TOOLS = {
    "modelaudit": "https://github.com/promptfoo/modelaudit",
    "modelscan": "https://github.com/protectai/modelscan",
    "picklescan": "https://github.com/mmaitre314/picklescan",
    "fickling": "https://github.com/trailofbits/fickling",
}


def _is_sarif(content: Mapping[str, Any]) -> bool:
    runs = content.get("runs")
    return content.get("version") == "2.1.0" and isinstance(runs, list)


def _sarif(content: Mapping[str, Any]) -> Report:
    """SARIF 2.1.0 of one of the known scanners. Files that it lists as artifacts were scanned."""
    (run,) = content["runs"]
    driver = run["tool"]["driver"]
    name = _text(driver["name"])
    if name.lower() not in _SARIF_TOOLS:
        raise ValueError(f"the tool {name} is not a model scanner that is known here")
    if run.get("results") is None:
        raise ValueError("results are absent: the run found out nothing")
    levels = {rule["id"]: (rule.get("defaultConfiguration") or {}).get("level") for rule in driver.get("rules") or ()}
    findings = []
    for result in run["results"]:
        if result.get("kind", "fail") in ("pass", "notApplicable", "informational"):
            continue
        level = result.get("level") or levels.get(result.get("ruleId")) or "warning"
        severity: documents.Severity = "critical" if level == "error" else _severity(level)
        places = result.get("locations") or []
        if not places and severity != "critical":
            continue  # about all files together
        uri = places[0]["physicalLocation"]["artifactLocation"]["uri"]
        path, offset = _position(_path_of(uri))
        findings.append(
            Said(
                path,
                _TIERS.get(severity, "safe") if level != "note" else "safe",
                _text(result.get("ruleId")) or name,
                severity,
                _text(result["message"].get("text")),
                offset,
                _text((result.get("properties") or {}).get("import_reference")) or None,
            )
        )
    artifacts = [_path_of(item["location"]["uri"]) for item in run.get("artifacts") or () if item.get("location")]
    hashes = {
        _path_of(item["location"]["uri"]): item["hashes"]["sha-256"]
        for item in run.get("artifacts") or ()
        if (item.get("hashes") or {}).get("sha-256") is not None
    }
    invocations = run.get("invocations") or []
    failed = {}
    if any(item.get("executionSuccessful") is False for item in invocations):
        failed = dict.fromkeys(artifacts, "the scanner's run did not succeed")
    time = next((made for item in invocations if (made := _time(item.get("endTimeUtc")))), None)
    version = _text(driver.get("version")) or _text(driver.get("semanticVersion"))
    return Report(
        _SARIF_TOOLS[name.lower()],
        version,
        findings,
        [_position(path)[0] for path in artifacts],
        failed,
        time,
        hashes,
    )


def _path_of(uri: object) -> str:
    if not isinstance(uri, str):
        raise ValueError("a location is no URI")
    parts = urlsplit(uri)
    return unquote(parts.path if parts.scheme == "file" else uri)


_PICKLESCAN = re.compile(
    r"(?P<path>.+): (?P<kind>dangerous|suspicious) import '(?P<global>[^']*)' FOUND(?: \(promoted by --strict\))?"
)
_UNPARSED = (
    re.compile(r"WARNING: could not parse (?P<path>.+) as pickle: (?P<why>.*)"),
    re.compile(r"ERROR: parsing pickle in (?P<path>.+?): (?P<why>.*)"),  # after some of its names, as in joblib's files
    re.compile(r"Invalid file .+ in zip archive (?P<path>.+?): (?P<why>.*)"),
)
_AGAIN = re.compile(r"WARNING: Invalid PyTorch magic number for file .+ Trying to scan as non-PyTorch file\.")


def _picklescan_text(name: str, data: bytes) -> Report:
    """picklescan's output, its only form. It lists findings and a number of files, so that only what it names counts
    as scanned; where it scanned a single file, that is the target's one file.
    """
    try:
        lines = [line.strip() for line in data.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise DocumentError(f"{name} is neither JSON nor text") from None
    try:
        at = next(i for i, line in enumerate(lines) if re.fullmatch(r"-+ SCAN SUMMARY -+", line))
        counts = dict(line.rsplit(": ", 1) for line in lines[at + 1 :])
        scanned, dangerous = int(counts["Scanned files"]), int(counts["Dangerous globals"])
    except (StopIteration, KeyError, ValueError):
        raise DocumentError(
            f"{name} is no report of a scanner that is known here",
            hint="modelscan, fickling and modelaudit in JSON or SARIF, picklescan's output",
        ) from None
    findings = []
    problems: list[str] = []
    failed: dict[str, str] = {}
    for line in lines[:at]:
        if match := _PICKLESCAN.fullmatch(line):
            bad = match["kind"] == "dangerous"
            findings.append(
                Said(
                    match["path"],
                    "malicious" if bad else "unknown",
                    f"picklescan/{match['kind']}-import",
                    "critical" if bad else "medium",
                    f"{match['kind']} import of {match['global']!r}",
                    call=match["global"].replace(" ", "."),
                )
            )
        elif match := next(filter(None, (form.fullmatch(line) for form in _UNPARSED)), None):
            failed[match["path"]] = match["why"]
        elif not _AGAIN.fullmatch(line):
            problems.append(line)
    if dangerous != sum(said.tier == "malicious" for said in findings) or problems:
        what = f"a line that is not understood: {one_line(problems[0], 100)!r}" if problems else "other numbers"
        raise DocumentError(f"{name} is not what picklescan writes: {what}")
    if len(findings) > MAX_FINDINGS:
        raise DocumentError(f"{name} has more than the {MAX_FINDINGS:,} findings that are read")
    paths = [said.path for said in findings]
    # One file of which it says nothing: that is a report about a target of one file.
    known = None if scanned == 1 and not paths else list(dict.fromkeys(paths))
    return Report("https://github.com/mmaitre314/picklescan", "", findings, known, failed)


_READERS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Report]], ...] = (
    (lambda content: isinstance(content.get("summary"), dict) and "issues" in content, _modelscan),
    (lambda content: {"severity", "analysis"} <= content.keys(), _fickling),
    (lambda content: {"bytes_scanned", "issues"} <= content.keys(), _modelaudit),
    (_is_sarif, _sarif),
)
