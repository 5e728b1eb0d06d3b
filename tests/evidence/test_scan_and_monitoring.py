"""The scan and monitoring predicates: what may not contradict itself, and what they look like in JSON."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.evidence import predicates
from assay.evidence.predicates import monitoring, scan

SHA = "ab" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SCAN: dict[str, Any] = {
    "scanner": {
        "uri": "https://assay.dev/scan",
        "version": "0.1",
        "rules": {"sha256": SHA},
        "allowList": {"sha256": SHA},
    },
    "kind": "models",
    "started": "2026-01-02T03:04:05Z",
    "finished": "2026-01-02T03:04:06Z",
    "verdict": "malicious",
    "tiers": {"malicious": 1, "safe": 1},
    "severities": {"critical": 1},
    "files": [
        {
            "path": "model.pkl",
            "tier": "malicious",
            "format": "pickle",
            "digest": {"sha256": SHA},
            "findings": [
                {
                    "rule": "pickle-call",
                    "severity": "critical",
                    "message": "loading it runs a command",
                    "location": {"member": "archive/data.pkl", "offset": 12},
                    "call": 'os.system("id")',
                    "atlas": ["AML.T0011.000"],
                    "mitigation": "do not load it",
                }
            ],
        },
        {"path": "model.safetensors", "tier": "safe", "format": "safetensors", "digest": {"sha256": SHA}},
    ],
}

CLEAN = SCAN | {"verdict": "safe", "tiers": {"safe": 1}, "severities": {}, "files": SCAN["files"][1:]}

MONITORING: dict[str, Any] = {
    "kind": "drift",
    "status": "violations",
    "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "monitor": {"uri": "https://assay.dev/monitor", "version": "0.1"},
    "samples": 10_000,
    "baseline": {"name": "train.parquet", "digest": {"sha256": SHA}},
    "constraints": [{"check": "drift:psi", "feature": "age", "expected": 0.2}],
    "violations": [
        {"check": "drift:psi", "feature": "age", "severity": "error", "expected": 0.2, "observed": 0.41, "message": "x"}
    ],
}

OK = MONITORING | {"status": "ok", "violations": []}


@pytest.mark.parametrize(
    ("name", "document"), [("scan", SCAN), ("scan", CLEAN), ("monitoring", MONITORING), ("monitoring", OK)]
)
def test_read_and_written(name: str, document: dict[str, Any]) -> None:
    uri = predicates.predicate_type(name)
    made = predicates.builtins(predicates.read(uri, document))
    full = {key: value for key, value in document.items() if value not in ([], {})}
    assert made == full
    assert predicates.read(uri, made) == predicates.read(uri, document)


def test_made_in_code() -> None:
    made = scan.Scan(
        scanner=scan.Scanner(uri="https://assay.dev/scan", version="0.1"),
        kind="secrets",
        started=NOW,
        finished=NOW,
        verdict="findings",
        files=[
            scan.File(
                path="a.py",
                tier="none",
                digest={"sha256": SHA},
                findings=[scan.Finding(rule="aws-key", severity="high", message="an access key")],
            )
        ],
        tiers={"none": 1},
        severities={"high": 1},
    )
    predicates.check(scan.PREDICATE_TYPE, predicates.builtins(made))
    run = monitoring.Monitoring(
        kind="endpoint",
        status="alarm",
        period=monitoring.Period(start=NOW, end=NOW),
        monitor=monitoring.Monitor(uri="https://assay.dev/monitor"),
        samples=0,
        constraints=[monitoring.Constraint(checked="latency", expected=0.2)],
    )
    assert predicates.builtins(run)["constraints"] == [{"check": "latency", "expected": 0.2}]


def changed(base: dict[str, Any], change: Callable[[Any], object]) -> dict[str, Any]:
    document = copy.deepcopy(base)
    change(document)
    return document


FILE = {"path": "b", "tier": "safe", "digest": {"sha256": SHA}}
SKIPPED = {"path": "b", "reason": "larger than 10 GB"}
INFO = {"rule": "r", "severity": "info", "message": "m"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(verdict="safe"), "verdict is safe where the files say malicious"),
        (lambda p: p.update(verdict="none"), "the files say malicious"),
        (lambda p: p.update(verdict="unreadable"), "the files say malicious"),
        (lambda p: p.update(verdict="clean"), "verdict"),
        (lambda p: p.update(verdict="none", files=[], tiers={}, severities={}), "looked at nothing"),
        (lambda p: p["tiers"].update(malicious=0), "tiers is not what the files add up to"),
        (lambda p: p["tiers"].update(code=1), "tiers is not"),
        (lambda p: p.pop("severities"), "severities is not"),
        (lambda p: p["tiers"].update(safe=-1), "tiers"),
        (lambda p: p["files"].append(p["files"][0]), "listed twice"),
        (lambda p: p.update(skipped=[{"path": "model.pkl", "reason": "x"}]), "listed twice"),
        (lambda p: p.update(finished="2025-01-01T00:00:00Z"), "finished is before started"),
        (lambda p: p["files"][1].pop("digest"), "tier safe needs a digest"),
        (lambda p: p["files"][1].update(digest={"sha256": "00"}), "lower-case hex"),
        (lambda p: p["files"][1].update(tier="clean"), "tier"),
        (lambda p: p["files"][0]["findings"][0].update(severity="bad"), "severity"),
        (lambda p: p["files"][0]["findings"][0]["location"].update(offset=-1), "offset"),
        (lambda p: p.update(kind="all"), "kind"),
        (lambda p: p["scanner"].update(rules={}), "rules is empty"),
    ],
)
def test_scans_that_are_refused(change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        predicates.check(scan.PREDICATE_TYPE, changed(SCAN, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(skipped=[SKIPPED]), "safe where the files say unknown"),
        (lambda p: p["files"][0].update(findings=[INFO | {"severity": "low"}]) or p.update(severities={"low": 1}),
         "safe where the files say findings"),
    ],
)  # fmt: skip
def test_nothing_that_was_skipped_or_found_is_safe(change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        predicates.check(scan.PREDICATE_TYPE, changed(CLEAN, change))


def test_information_is_no_reason_against_a_file_and_worse_may_be_said() -> None:
    predicates.check(
        scan.PREDICATE_TYPE,
        changed(CLEAN, lambda p: p["files"][0].update(findings=[INFO]) or p.update(severities={"info": 1})),
    )
    predicates.check(scan.PREDICATE_TYPE, CLEAN | {"verdict": "unknown"})


@given(st.lists(st.sampled_from(scan.ORDER).filter(lambda tier: tier != "findings"), max_size=4), st.booleans())
def test_more_files_never_make_a_scan_better(tiers: list[Any], skipped: bool) -> None:
    files = [scan.File(path=str(i), tier=tier, digest={"sha256": SHA}) for i, tier in enumerate(tiers)]
    left_out = [scan.Skipped(path="x", reason="y")] if skipped else []
    ranks = [scan.ORDER.index(scan.answer(files[:i], left_out)) for i in range(len(files) + 1)]
    assert all(one <= other for one, other in itertools.pairwise(ranks))
    if skipped:
        assert ranks[0] >= scan.ORDER.index("unknown")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(status="ok"), "status is ok where a violation of severity error"),
        (lambda p: p.update(status="ok", violations=[], samples=0), "nothing was checked"),
        (lambda p: p.update(status="ok", violations=[], constraints=[]), "nothing was checked"),
        (lambda p: p.update(violations=[]), "status is violations where none"),
        (lambda p: p.update(samples=-1), "samples"),
        (lambda p: p.pop("constraints"), "constraints"),
        (lambda p: p["period"].update(end="2020-01-01T00:00:00Z"), "end is before start"),
        (lambda p: p["period"].pop("end"), "end"),
        (lambda p: p["period"].update(end="2026-01-02T00:00:00+02:00"), "not in UTC"),
        (lambda p: p["violations"][0].update(observed=float("nan")), "observed is not finite"),
        (lambda p: p["constraints"][0].update(expected=float("inf")), "expected is not finite"),
        (lambda p: p["violations"][0].update(severity="critical"), "severity"),
        (lambda p: p["violations"][0].pop("check"), "check"),
        (lambda p: p.update(baseline={"name": "x"}), "needs a uri"),
        (lambda p: p.update(kind="quality"), "kind"),
        (lambda p: p.update(status="OK"), "status"),
    ],
)
def test_monitoring_that_is_refused(change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        predicates.check(monitoring.PREDICATE_TYPE, changed(MONITORING, change))


def test_a_warning_does_not_contradict_ok() -> None:
    predicates.check(
        monitoring.PREDICATE_TYPE,
        changed(MONITORING, lambda p: p["violations"][0].update(severity="warning") or p.update(status="ok")),
    )
