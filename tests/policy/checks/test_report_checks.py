"""Findings, vulnerabilities, tests, scans, monitoring: counts, what counts, and what never looks clean."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from assay.errors import DocumentError
from assay.evidence import predicates
from assay.evidence.predicates.junit import from_junit
from assay.policy.checks import CHECKS
from policy.checks.asking import CYCLONEDX, SHA, ask

SARIF = "http://docs.oasis-open.org/sarif/sarif/2.1.0"


def log(*results: dict[str, Any], rules: Any = (), name: str = "semgrep", **run: Any) -> dict[str, Any]:
    driver = {"name": name, "rules": list(rules)}
    predicate = {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": list(results), **run}]}
    predicates.check(SARIF, predicate)
    return predicate


def result(rule: str | None = "r1", level: str | None = "error", **fields: Any) -> dict[str, Any]:
    stated = {key: value for key, value in (("ruleId", rule), ("level", level)) if value is not None}
    return {"message": {"text": "bad"}, **stated, **fields}


def test_findings_by_level() -> None:
    assert ask("findings", {}, log()) == []
    assert ask("findings", {}, log(result())) == ["error r1: bad"]
    assert ask("findings", {}, log(result(level="note"))) == ["note r1: bad"]
    assert ask("findings", {"max": {"error": 0}}, log(result(level="warning"))) == []
    assert ask("findings", {"max": {"error": 1}}, log(result(), result("r2"))) == [
        "2 findings are error, at most 1 may be",
        "error r1: bad",
        "error r2: bad",
    ]
    # Who tolerates five warnings does not mean to tolerate errors.
    assert len(ask("findings", {"max": {"warning": 5}}, log(result()))) == 1


def test_findings_have_their_rules_level() -> None:
    rules = [{"id": "r1", "defaultConfiguration": {"level": "note"}}, {"id": "r2"}]
    limit = {"max": {"warning": 0}}
    assert ask("findings", limit, log(result(level=None), rules=rules)) == []
    assert len(ask("findings", limit, log(result("r2", None), rules=rules))) == 1
    assert len(ask("findings", limit, log(result(None, None), rules=rules))) == 1
    assert ask("findings", limit, log(result(None, None, ruleIndex=0), rules=rules)) == []
    # An index that leads to another rule than the id names does not lower the level.
    assert len(ask("findings", limit, log(result("r2", None, ruleIndex=0), rules=rules))) == 1
    override = {"descriptor": {"id": "r1"}, "configuration": {"level": "error"}}
    calls = [{"executionSuccessful": True, "ruleConfigurationOverrides": [override]}]
    assert len(ask("findings", limit, log(result(level=None), rules=rules, invocations=calls))) == 1


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"kind": "pass"}, 0),
        ({"kind": "notApplicable"}, 0),
        ({"kind": "informational"}, 0),
        ({"kind": "open"}, 1),
        ({"kind": "review"}, 1),
        ({"kind": "nonsense"}, 1),
        ({"baselineState": "absent"}, 0),
        ({"baselineState": "unchanged"}, 1),
        ({"suppressions": [{"kind": "inSource"}]}, 1),
    ],
)
def test_what_counts(fields: dict[str, Any], count: int) -> None:
    assert len(ask("findings", {}, log(result(level=None, **fields)))) == count


@pytest.mark.parametrize(
    ("suppressions", "count"),
    [
        ([{"kind": "inSource"}], 0),
        ([{"kind": "external", "status": "accepted"}], 0),
        ([{"kind": "external", "status": "underReview"}], 1),
        ([{"kind": "inSource"}, {"kind": "external", "status": "rejected"}], 1),
        ([], 1),
        (["x"], 1),
        ("accepted", 1),
    ],
)
def test_suppressions_when_asked_for(suppressions: Any, count: int) -> None:
    predicate = log(result(suppressions=suppressions))
    assert len(ask("findings", {"suppressions": "accepted"}, predicate)) == count
    assert len(ask("findings", {}, predicate)) == 1


def test_rules_precision_and_tools() -> None:
    rules = [{"id": "sec.a", "properties": {"precision": "low"}}, {"id": "sec.b"}]
    predicate = log(result("sec.a"), result("sec.b"), result("style.c"), rules=rules)
    assert len(ask("findings", {}, predicate)) == 3
    assert len(ask("findings", {"rules": ["sec.*"]}, predicate)) == 2
    assert len(ask("findings", {"ignore": ["style.*", "sec.a"]}, predicate)) == 1
    assert len(ask("findings", {"precision": ["high", "very-high"]}, predicate)) == 2
    assert len(ask("findings", {"rules": ["sec.*"]}, log(result(None)))) == 1
    assert ask("findings", {"tools": ["Sem*"]}, log()) == ["no run of 'Sem*' is there"]
    assert ask("findings", {"tools": ["sem*"]}, log()) == []


@pytest.mark.parametrize(
    "predicate",
    [
        {"runs": []},
        {"runs": [{}]},
        {"runs": ["x"]},
        {"runs": [{"tool": {"driver": {"name": "x"}}, "results": None}]},
        {"runs": [{"tool": {"driver": {"name": "x"}}, "results": ["x"]}]},
        {"runs": [{"tool": {"driver": {"name": "x"}}, "results": [], "invocations": [{"executionSuccessful": False}]}]},
        {"runs": [{"tool": {"driver": {"name": "x"}}, "results": [], "invocations": [{}]}]},
    ],
)
def test_a_run_that_found_out_nothing(predicate: Any) -> None:
    assert ask("findings", {"max": {"none": 1000}}, predicate) != []


def scanned(*results: tuple[str, list[tuple[str, str]]], updated: str = "2026-06-01T00:00:00Z") -> dict[str, Any]:
    rated = [{"id": id, "severity": [{"method": m, "score": s} for m, s in scores]} for id, scores in results]
    scanner = {"uri": "pkg:pypi/pip-audit", "result": rated, "db": {"lastUpdate": updated}}
    times = {"scanStartedOn": "2026-06-01T00:00:00Z", "scanFinishedOn": "2026-06-01T00:00:01Z"}
    predicate = {"scanner": scanner, "metadata": times}
    predicates.check(CHECKS["vulnerabilities"].types[0], predicate)
    return predicate


@pytest.mark.parametrize(
    ("scores", "severity"),
    [
        ([("nvd", "9.8")], "critical"),
        ([("cvss_v3", "7.0")], "high"),
        ([("cvss_v3", "6.9")], "medium"),
        ([("cvss_v3", "0.1")], "low"),
        ([("github", "HIGH")], "high"),
        ([("github", "Moderate")], "medium"),
        ([("nvd", "3.0"), ("github", "critical")], "critical"),
        ([], "critical"),
        ([("epss", "0.01")], "critical"),
        ([("cvss_v3", "CVSS:3.1/AV:N")], "critical"),
        ([("cvss_v3", "11")], "critical"),
        ([("cvss_v3", "-1")], "critical"),
        ([("cvss_v3", "nan")], "critical"),
    ],
)
def test_severity_of_a_vulnerability(scores: list[tuple[str, str]], severity: str) -> None:
    (wrong,) = ask("vulnerabilities", {}, scanned(("CVE-1", scores)))
    assert wrong == f"{severity} vulnerability 'CVE-1'"


def test_limits_of_vulnerabilities() -> None:
    predicate = scanned(("CVE-1", [("nvd", "5.0")]), ("CVE-2", []))
    assert ask("vulnerabilities", {"max": {"high": 0}}, scanned(("CVE-1", [("nvd", "5.0")]))) == []
    assert len(ask("vulnerabilities", {"max": {"high": 0}}, predicate)) == 1
    assert ask("vulnerabilities", {"max": {"high": 0}, "unknown": "medium"}, predicate) == []
    assert ask("vulnerabilities", {}, scanned()) == []
    assert ask("vulnerabilities", {}, scanned(("CVE-1", [("nvd", "0.0")]))) == []


def test_accepted_vulnerabilities_expire() -> None:
    predicate = scanned(("CVE-1", [("nvd", "9.0")]))

    def ignoring(day: str, id: str = "cve-1") -> list[str]:
        return ask("vulnerabilities", {"ignore": [{"id": id, "until": day, "reason": "x"}]}, predicate)

    assert ignoring("2026-06-01") == []
    assert ignoring("2027-01-01", "CVE-*") == []
    assert ignoring("2026-05-31") == ["critical vulnerability 'CVE-1' (accepted until 2026-05-31, which is over)"]
    assert len(ignoring("2027-01-01", "CVE-10")) == 1
    with pytest.raises(DocumentError):
        CHECKS["vulnerabilities"].prepare({"ignore": [{"id": "CVE-1"}]}, "p")


def test_age_of_the_database() -> None:
    assert ask("vulnerabilities", {"database-age": "2d"}, scanned()) == []
    old = scanned(updated="2026-05-01T00:00:00Z")
    assert ask("vulnerabilities", {"database-age": "2d"}, old) == [
        "the scanner's database is 31d 12h old, more than 2d"
    ]
    del old["scanner"]["db"]
    assert ask("vulnerabilities", {"database-age": "2d"}, old) == ["the age of the scanner's database is unknown"]


def test_vulnerabilities_in_cyclonedx() -> None:
    rated = {"id": "CVE-1", "ratings": [{"severity": "low"}, {"severity": "high"}], "affects": [{"ref": "pkg:a"}]}
    predicate: dict[str, Any] = {"bomFormat": "CycloneDX", "vulnerabilities": [rated]}
    assert ask("vulnerabilities", {}, predicate, CYCLONEDX) == ["high vulnerability 'CVE-1' in 'pkg:a'"]
    rated["analysis"] = {"state": "not_affected"}
    assert len(ask("vulnerabilities", {}, predicate, CYCLONEDX)) == 1
    assert ask("vulnerabilities", {"analysis": "accepted"}, predicate, CYCLONEDX) == []
    assert ask("vulnerabilities", {}, {"bomFormat": "CycloneDX"}, CYCLONEDX) != []
    assert ask("vulnerabilities", {}, {"bomFormat": "CycloneDX", "vulnerabilities": []}, CYCLONEDX) == []


JUNIT = b"""<testsuite><testcase classname="m" name="accuracy"/><testcase classname="m" name="bias"/>%s</testsuite>"""


def junit(more: bytes = b"") -> dict[str, Any]:
    return predicates.builtins(from_junit("report.xml", JUNIT % more))


def test_tests() -> None:
    assert ask("tests", {}, junit()) == []
    assert ask("tests", {"require": ["m::accuracy", "*bias"], "minimum": 2}, junit()) == []
    assert ask("tests", {"require": ["robustness*"], "minimum": 3}, junit()) == [
        "no test 'robustness*' passed",
        "2 tests passed, at least 3 are needed",
    ]
    skipped = junit(b'<testcase name="slow"><skipped/></testcase>')
    assert ask("tests", {}, skipped) == [
        "the result is 'WARNED', needs PASSED",
        "the test 'slow' warned or was skipped",
    ]
    assert ask("tests", {"warned": "allow"}, skipped) == []
    assert len(ask("tests", {"warned": "allow", "require": ["slow"]}, skipped)) == 1
    failed = junit(b'<testcase name="bad"><failure/></testcase>')
    assert ask("tests", {"warned": "allow"}, failed) == [
        "the result is 'FAILED', needs PASSED or WARNED",
        "the test 'bad' failed",
    ]


def test_tests_that_contradict_themselves() -> None:
    assert ask("tests", {}, {"result": "PASSED", "failedTests": ["a"]}) == ["the test 'a' failed"]
    both = {"result": "PASSED", "passedTests": ["a"], "failedTests": ["a"]}
    assert "no test 'a' passed" in ask("tests", {"require": ["a"]}, both)
    assert ask("tests", {}, {"result": "passed"}) != []
    assert ask("tests", {}, {"result": "PASSED", "failedTests": "a"}) != []


def scan(*files: dict[str, Any], **fields: Any) -> dict[str, Any]:
    times = {"started": "2026-06-01T00:00:00Z", "finished": "2026-06-01T00:01:00Z"}
    scanner = {"uri": "https://assay.dev/scan", "version": "1"}
    return {"scanner": scanner, "kind": "models", "verdict": "safe", "files": list(files), **times, **fields}


def file(tier: str = "safe", *findings: tuple[str, str], path: str = "a.pkl") -> dict[str, Any]:
    told = [{"rule": rule, "severity": severity, "message": "calls os.system"} for rule, severity in findings]
    return {"path": path, "tier": tier, "digest": {"sha256": SHA}, "findings": told}


def test_a_clean_scan() -> None:
    predicate = scan(file(), file("none", path="b.txt"), tiers={"safe": 1, "none": 1})
    predicates.check("https://assay.dev/scan/v0.1", predicate)
    assert ask("scan", {"kind": "models"}, predicate) == []
    assert ask("scan", {"kind": "models", "scanners": ["https://assay.dev/*"]}, predicate) == []


@pytest.mark.parametrize(
    ("predicate", "arguments", "message"),
    [
        (scan(file("unknown"), verdict="unknown"), {}, "'a.pkl' is unknown"),
        (scan(file("malicious"), verdict="malicious"), {"tiers": ["unknown", "code"]}, "'a.pkl' is malicious"),
        (scan(file("unreadable"), verdict="unreadable"), {"tiers": ["unknown", "code"]}, "'a.pkl' is unreadable"),
        (scan(file("safe", ("r", "high")), verdict="findings"), {}, "high r in 'a.pkl': calls os.system"),
        (scan(file("safe", ("r", "nonsense"))), {}, "critical r in 'a.pkl': calls os.system"),
        (scan(file(), skipped=[{"path": "x", "reason": "too big"}]), {}, "'x' was not scanned: 'too big'"),
        (scan(file(), skipped="x"), {}, "skipped is not a list"),
        (scan(), {}, "the scan lists no files that can be read"),
        (scan(file(), kind="secrets"), {}, "it is a scan for 'secrets', not for models"),
        (scan(file(), verdict="malicious"), {}, "the scan's verdict is 'malicious'"),
        (scan(file(), verdict=None), {}, "the scan's verdict is null"),
        (scan(file()), {"scanners": ["pkg:*"]}, "the scanner 'https://assay.dev/scan' is not one that counts"),
        (scan({"path": "a"}), {}, "'a' is null"),
    ],
)
def test_scans_that_do_not_suffice(predicate: Any, arguments: Any, message: str) -> None:
    assert message in ask("scan", {"kind": "models", **arguments}, predicate)


def test_what_a_scan_may_find() -> None:
    found = scan(file("code", ("r", "medium"), ("i", "info")), verdict="code")
    allowed = {"kind": "models", "tiers": ["safe", "code"], "max": {"high": 0}}
    assert ask("scan", allowed, found) == []
    assert ask("scan", {"kind": "models", "tiers": ["code"], "ignore": ["r"]}, found) == []
    skipping = scan(file(), skipped=[{"path": "x", "reason": "y"}], verdict="unknown")
    assert ask("scan", {"kind": "models", "skipped": "allow"}, skipping) == []
    for tier in ("malicious", "unreadable"):
        with pytest.raises(DocumentError):
            CHECKS["scan"].prepare({"kind": "models", "tiers": [tier]}, "p")
    with pytest.raises(DocumentError):
        CHECKS["scan"].prepare({}, "p")


REPORT: dict[str, Any] = {
    "kind": "drift",
    "status": "ok",
    "period": {"start": "2026-05-31T00:00:00Z", "end": "2026-06-01T00:00:00Z"},
    "monitor": {"uri": "https://assay.dev/monitor"},
    "samples": 1000,
    "constraints": [{"check": "drift:psi", "feature": "age"}],
}


def test_monitoring() -> None:
    predicates.check("https://assay.dev/monitoring/v0.1", REPORT)
    assert ask("monitoring", {"kind": "drift", "max-age": "1d", "checks": ["drift:*"]}, REPORT) == []
    assert ask("monitoring", {"kind": "drift", "max-age": "6h"}, REPORT) == ["the period ended 12h ago, more than 6h"]
    assert ask("monitoring", {"kind": "bias"}, REPORT) == ["it monitors 'drift', not bias"]
    assert ask("monitoring", {"kind": "drift", "samples": 1001}, REPORT) == ["1000 samples were seen, needs 1001"]
    assert ask("monitoring", {"kind": "drift", "checks": ["accuracy"]}, REPORT) == ["'accuracy' was not checked"]
    undecided = REPORT | {"undecided": REPORT["constraints"]}
    assert ask("monitoring", {"kind": "drift", "checks": ["drift:*"]}, undecided) == ["'drift:*' was not checked"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "alarm"},
        {"status": "fine"},
        {"status": "violations"},
        {"period": {}},
        {"period": {"end": "2027-01-01T00:00:00Z"}},
        {"samples": 0},
        {"samples": True},
        {"constraints": []},
        {"violations": "none"},
    ],
)
def test_monitoring_that_does_not_suffice(change: dict[str, Any]) -> None:
    everything = ["error", "warning", "note"]
    assert ask("monitoring", {"kind": "drift", "tolerate": everything}, {**REPORT, **change}) != []


def test_violations_of_a_monitored_model() -> None:
    report = copy.deepcopy(REPORT)
    report |= {"status": "violations", "violations": [{"check": "drift:psi", "severity": "warning", "feature": "age"}]}
    assert ask("monitoring", {"kind": "drift"}, report) == ["drift:psi does not hold for 'age'"]
    assert ask("monitoring", {"kind": "drift", "tolerate": ["warning", "note"]}, report) == []
    report["violations"][0]["severity"] = "unheard of"
    assert ask("monitoring", {"kind": "drift", "tolerate": ["error", "warning", "note"]}, report) != []
