"""Evidence for the catalogue's rules: bills of real files, and the smallest valid documents of every other kind."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save

from assay.api import bom
from assay.evidence import predicates
from assay.policy import bundles
from assay.policy.bundles.builtin import catalogue
from assay.policy.case import Item
from assay.policy.model import Policy
from assay.policy.reading import load
from assay.policy.reading.kinds import types_of
from assay.policy.sources import Packed
from policy_making import NOW, item

DATA = "da" * 32
"""SHA-256 of a data set's contents."""
BASE = "ba" * 32
"""SHA-256 of a base model's contents."""
COMMIT = "c0" * 20
GITHUB = "https://github.com/actions/runner/github-hosted"
GENERATOR = (
    "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/"
    "generator_generic_slsa3.yml@refs/tags/v2.1.0"
)

CARD = b"---\nlicense: mit\nbase_model: google/bert-tiny\npipeline_tag: text-classification\n---\n# A model\n"


def using(rule: str, given: Mapping[str, Any] | None = None, **fields: Any) -> Policy:
    """A policy of one catalogue rule, as somebody would write it."""
    used = {"uses": f"{rule}@v1", "with": given or {}, **fields}
    document = {"assay-policy": 1, "id": "test", "controls": [{"id": "c", "rules": [used]}]}
    sources = Packed("file:test.yml", {"test.yml": json.dumps(document).encode()})
    return load(sources, "test.yml", bundles.resolver(sources, catalogue()))


def rules() -> list[str]:
    """Names of all rules of the catalogue."""
    found = [name for name in catalogue().names() if name.startswith("rules/")]
    return [name.removeprefix("rules/").removesuffix(".yaml") for name in found]


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Files below ``folder``."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def safe_model(folder: Path) -> Path:
    """A model without code."""
    weights = save({"weight": numpy.zeros((4, 4), numpy.float32)})
    config = json.dumps({"architectures": ["BertForSequenceClassification"], "model_type": "bert"}).encode()
    return write(folder, {"model.safetensors": weights, "config.json": config, "README.md": CARD})


def pickled_model(folder: Path) -> Path:
    """A model whose file can hold code."""
    return write(folder, {"model.pkl": pickle.dumps({"weight": [1.0, 2.0]}), "README.md": CARD})


def data_set(folder: Path) -> Path:
    """Two tables."""
    return write(folder, {"train.csv": b"text,label\ngood,1\nbad,0\n", "test.csv": b"text,label\nfine,1\n"})


def code(folder: Path) -> Path:
    """A project with locked packages."""
    project = b'[project]\nname = "serve"\nversion = "1.0"\n'
    locked = b"numpy==1.26.4\nrequests==2.32.3\n"
    return write(folder, {"pyproject.toml": project, "requirements.txt": locked})


def bill(folder: Path) -> dict[str, Any]:
    """What `assay bom` writes about a folder."""
    made: dict[str, Any] = json.loads(bom(str(folder), now=NOW).document)
    return made


def evidence(kind: str, predicate: Mapping[str, Any], **changes: Any) -> Item:
    """An item whose predicate has its type's form: what could not be attested proves nothing in a test."""
    predicates.check(types_of(kind)[0].rstrip("*"), dict(predicate))
    return item(kind, predicate, **changes)


def provenance(builder: str = GITHUB, *digests: str, parameters: Any = None, **changes: Any) -> Item:
    """SLSA provenance that names inputs by SHA-256."""
    inputs = [{"uri": f"git+https://github.com/acme/{i}", "digest": {"sha256": d}} for i, d in enumerate(digests)]
    definition = {
        "buildType": "https://actions.github.io/buildtypes/workflow/v1",
        "externalParameters": {"workflow": {"ref": "refs/heads/main"}} if parameters is None else parameters,
        "resolvedDependencies": inputs,
    }
    predicate = {"buildDefinition": definition, "runDetails": {"builder": {"id": builder}}}
    return evidence("slsaprovenance", predicate, **changes)


def scan(kind: str, tier: str = "safe", *, severity: str | None = None, skipped: bool = False, **changes: Any) -> Item:
    """A scan of one file."""
    findings = [{"rule": "R1", "severity": severity, "message": "found"}] if severity else []
    reached = [tier, *(["findings"] if findings and severity != "info" else []), *(["unknown"] if skipped else [])]
    order = ("none", "safe", "findings", "unknown", "code", "unreadable", "malicious")
    predicate = {
        "scanner": {"uri": "https://scanner.example/s", "version": "1"},
        "kind": kind,
        "started": "2026-06-01T10:00:00Z",
        "finished": "2026-06-01T10:01:00Z",
        "verdict": max(reached, key=order.index),
        "files": [{"path": "model.bin", "tier": tier, "digest": {"sha256": "ab" * 32}, "findings": findings}],
        "tiers": {tier: 1},
        "severities": {severity: 1} if severity else {},
        "skipped": [{"path": "other.bin", "reason": "too large"}] if skipped else [],
    }
    return evidence("scan", predicate, **changes)


def vulnerabilities(*scores: str, **changes: Any) -> Item:
    """A scan that found vulnerabilities of these severities."""
    result = [{"id": f"CVE-2026-{i}", "severity": [{"method": "nvd", "score": s}]} for i, s in enumerate(scores)]
    scanner = {"uri": "pkg:pypi/pip-audit", "result": result, "db": {"lastUpdate": "2026-06-01T00:00:00Z"}}
    times = {"scanStartedOn": "2026-06-01T10:00:00Z", "scanFinishedOn": "2026-06-01T10:01:00Z"}
    return evidence("vuln", {"scanner": scanner, "metadata": times}, **changes)


def vex(status: str, **changes: Any) -> Item:
    """An assessment of one vulnerability."""
    statement = {"vulnerability": {"name": "CVE-2026-1"}, "status": status}
    statement |= {"impact_statement": "not reachable"} if status == "not_affected" else {}
    predicate = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://acme.example/vex/1",
        "author": "acme",
        "timestamp": "2026-06-01T10:00:00Z",
        "version": 1,
        "statements": [statement],
    }
    return evidence("openvex", predicate, **changes)


def sarif(*levels: str, tool: str = "semgrep", **changes: Any) -> Item:
    """A log with results of these levels."""
    results = [{"ruleId": "r1", "level": level, "message": {"text": "bad"}} for level in levels]
    run = {"tool": {"driver": {"name": tool}}, "results": results}
    return evidence("sarif", {"version": "2.1.0", "runs": [run]}, **changes)


def evaluation(metrics: Mapping[str, float], dataset: Any = "imdb", **changes: Any) -> Item:
    """An evaluation."""
    return evidence("evaluation", {"dataset": dataset, "metrics": dict(metrics)}, **changes)


def monitoring(
    kind: str = "drift",
    status: str = "ok",
    *,
    end: str = "2026-06-01T11:00:00Z",
    severity: str = "error",
    samples: int = 100,
    **changes: Any,
) -> Item:
    """A monitoring report."""
    violated = [{"check": "drift:psi", "severity": severity}] if status == "violations" else []
    predicate = {
        "kind": kind,
        "status": status,
        "period": {"start": "2026-05-20T00:00:00Z", "end": end},
        "monitor": {"uri": "https://monitor.example/m"},
        "samples": samples,
        "constraints": [{"check": "drift:psi"}],
        "violations": violated,
    }
    return evidence("monitoring", predicate, **changes)


def tests(result: str = "PASSED", passed: tuple[str, ...] = ("test_robustness",), **changes: Any) -> Item:
    """Results of tests."""
    failed = [] if result == "PASSED" else ["test_loading"]
    predicate = {"result": result, "configuration": [], "passedTests": list(passed), "failedTests": failed}
    return evidence("test-result", predicate, **changes)


def trace(network: list[Any], gaps: list[str] | None = None, **changes: Any) -> Item:
    """What a monitor saw of a run."""
    predicate = {
        "monitor": {"type": "https://assay.dev/monitor/ptrace", "tracePolicy": {"gaps": gaps or []}},
        "monitoredProcess": {"hostID": "builder-1", "type": "https://acme.example/train", "event": "run-7"},
        "monitorLog": {"process": ["python train.py"], "network": network},
    }
    return evidence("runtime-trace", predicate, **changes)


def summary(result: str = "PASSED", level: str = "SLSA_BUILD_LEVEL_2", **changes: Any) -> Item:
    """A verification summary."""
    predicate = {
        "verifier": {"id": "https://assay.dev/verifier/v0.1"},
        "timeVerified": "2026-06-01T10:00:00Z",
        "resourceUri": "pkg:generic/model",
        "policy": {"uri": "builtin:slsa"},
        "verificationResult": result,
        "verifiedLevels": [level] if result == "PASSED" else ["FAILED"],
    }
    return evidence("vsa", predicate, **changes)


def verdict_of(policy: str, verdict: str = "pass", **changes: Any) -> Item:
    """A verdict of another policy, of one rule."""
    level = "warning" if verdict == "warn" else "error"
    own = "missing" if verdict == "warn" else verdict
    predicate = {
        "policy": {"id": policy, "uri": f"builtin:{policy}", "digest": {"sha256": "ee" * 32}},
        "target": {"name": "model", "digest": {"sha256": "ab" * 32}},
        "verdict": verdict,
        "accepted": verdict in ("pass", "warn"),
        "time": "2026-06-01T10:00:00Z",
        "rules": [{"id": "r", "level": level, "verdict": own, "effective": verdict}],
    }
    return evidence("verdict", predicate, **changes)
