"""Attestations of every kind that the mapping knows, as valid documents; and near misses that must prove nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from assay.policy.coverage.facts import Record
from helpers import NOW

SHA = {"sha256": "a" * 64}
STAMP = "2026-05-31T12:00:00Z"
SIGNER = "key 3f1a5b"

CYCLONEDX = "https://cyclonedx.org/bom"
SCAN = "https://assay.dev/scan/v0.1"
MONITORING = "https://assay.dev/monitoring/v0.1"
EVALUATION = "https://assay.dev/evaluation/v0.1"
TESTS = "https://in-toto.io/attestation/test-result/v0.1"
PROVENANCE = "https://slsa.dev/provenance/v1"
VSA = "https://slsa.dev/verification_summary/v1"
TRACE = "https://in-toto.io/attestation/runtime-trace/v0.1"
SARIF = "http://docs.oasis-open.org/sarif/sarif/2.1.0"
VERDICT = "https://assay.dev/verdict/v0.1"
SPDX2 = "https://spdx.dev/Document/v2.3"
SPDX3 = "https://spdx.dev/Document/v3"

GITHUB = "https://github.com/acme/model/.github/workflows/release.yml@refs/heads/main"
HOSTED = "https://github.com/actions/runner/github-hosted"


def bom(kind: str, **main: Any) -> dict[str, Any]:
    component = {"type": kind, "name": "thing", **main}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": component}}


def file_part() -> dict[str, Any]:
    return {"type": "file", "name": "a.csv", "hashes": [{"alg": "SHA-256", "content": "a" * 64}]}


def scan(kind: str, verdict: str, tier: str, **changes: Any) -> dict[str, Any]:
    made = {
        "scanner": {"uri": "https://assay.dev/scan", "version": "1"},
        "kind": kind,
        "started": STAMP,
        "finished": STAMP,
        "verdict": verdict,
        "files": [{"path": "a.pkl", "tier": tier, "digest": SHA}],
        "tiers": {tier: 1},
    }
    return made | changes


def monitoring(kind: str, **changes: Any) -> dict[str, Any]:
    made = {
        "kind": kind,
        "status": "alarm",
        "period": {"start": STAMP, "end": STAMP},
        "monitor": {"uri": "https://assay.dev/monitor"},
        "samples": 100,
        "constraints": [{"check": "drift:psi"}],
    }
    return made | changes


def evaluation(*metrics: str, dataset: Any = "squad") -> dict[str, Any]:
    return {"dataset": dataset, "metrics": dict.fromkeys(metrics, 0.9)}


def tests(*passed: str, result: str = "PASSED") -> dict[str, Any]:
    return {"result": result, "configuration": [], "passedTests": list(passed)}


def provenance(builder: str = "https://ci.example.com/1", **changes: Any) -> dict[str, Any]:
    definition = {"buildType": "https://example.com/build/v1", "externalParameters": {}, **changes}
    return {"buildDefinition": definition, "runDetails": {"builder": {"id": builder}}}


def vsa(*levels: str, result: str = "PASSED", **changes: Any) -> dict[str, Any]:
    made = {
        "verifier": {"id": "https://example.com/verifier"},
        "resourceUri": "pkg:generic/model",
        "policy": {"uri": "https://example.com/policy"},
        "verificationResult": result,
        "verifiedLevels": list(levels),
    }
    return made | changes


def trace(**log: Any) -> dict[str, Any]:
    return {
        "monitor": {"type": "https://assay.dev/monitor/seccomp"},
        "monitoredProcess": {"hostID": "host", "type": "training", "event": "run-1"},
        "monitorLog": log,
    }


def sarif(results: list[Any] | None) -> dict[str, Any]:
    run: dict[str, Any] = {"tool": {"driver": {"name": "bandit"}}}
    return {"version": "2.1.0", "runs": [run if results is None else run | {"results": results}]}


def verdict(rules: list[dict[str, Any]], word: str = "pass") -> dict[str, Any]:
    return {
        "policy": {"id": "baseline", "uri": "builtin:ml-baseline", "digest": SHA},
        "target": {"name": "model", "uri": "dir:model", "digest": SHA},
        "verdict": word,
        "accepted": word in ("pass", "warn"),
        "time": STAMP,
        "rules": rules,
    }


def rule(id: str, frameworks: Mapping[str, list[str]], word: str = "pass") -> dict[str, Any]:
    return {"id": id, "level": "error", "verdict": word, "effective": word, "frameworks": dict(frameworks)}


def spdx3(type: str) -> dict[str, Any]:
    return {
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [{"type": type}, {"type": "SpdxDocument"}],
    }


MODEL_CARD = {"modelParameters": {"task": "text-classification"}}
RESOURCES = [{"name": "w.bin", "algorithm": "sha256", "digest": "a" * 64}]
SIGNATURE = {"serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False}}
VULNS = {"scanner": {"uri": "pkg:pypi/pip-audit", "result": []}, "metadata": {}}
VULNS["metadata"] = {"scanStartedOn": STAMP, "scanFinishedOn": STAMP}
VEX = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "us", "version": 1}

Sample = tuple[str, str, dict[str, Any], dict[str, Any]]
"""Measure, predicate type, predicate, and what the statement says of its subject."""

PROVES: list[Sample] = [
    ("model-signed", "https://model_signing/signature/v1.0", {**SIGNATURE, "resources": RESOURCES}, {}),
    ("model-bom", CYCLONEDX, bom("machine-learning-model"), {}),
    ("model-bom", "https://cyclonedx.org/bom/v1.5", {**bom("application"), "components": [
        {"type": "machine-learning-model", "name": "m"}]}, {}),
    ("model-bom", SPDX3, spdx3("ai_AIPackage"), {}),
    ("model-licence", CYCLONEDX, bom("machine-learning-model", licenses=[{"license": {"id": "MIT"}}]), {}),
    ("model-licence", CYCLONEDX, {**bom("application"), "components": [
        {"type": "library", "name": "l", "licenses": [{"license": {"id": "MIT"}}]}]}, {}),
    ("base-model-recorded", CYCLONEDX, bom("machine-learning-model", pedigree={"ancestors": [
        {"type": "machine-learning-model", "name": "bert"}]}), {}),
    ("model-documented", CYCLONEDX, bom("machine-learning-model", modelCard=MODEL_CARD), {}),
    ("limits-documented", CYCLONEDX, bom("machine-learning-model", modelCard={
        "considerations": {"useCases": ["demo"]}}), {}),
    ("model-scanned", SCAN, scan("models", "safe", "safe"), {}),
    ("data-bom", CYCLONEDX, {**bom("data"), "components": [file_part()]}, {}),
    ("data-bom", SPDX3, spdx3("dataset_DatasetPackage"), {}),
    ("data-origin", CYCLONEDX, bom("data"), {"origin": "https://huggingface.co/datasets/squad"}),
    ("inputs-recorded", PROVENANCE, provenance(resolvedDependencies=[{"uri": "hf:squad", "digest": SHA}]), {}),
    ("inputs-recorded", "https://in-toto.io/attestation/link/v0.3",
     {"name": "train", "materials": [{"name": "data.csv", "digest": SHA}]}, {}),
    ("poisoning-scanned", SCAN, scan("poisoning", "none", "none"), {}),
    ("pii-scanned", SCAN, scan("pii", "findings", "none", files=[{"path": "a.csv", "tier": "none", "digest": SHA,
     "findings": [{"rule": "email", "severity": "high", "message": "e-mail addresses"}]}], severities={"high": 1}), {}),
    ("software-bom", CYCLONEDX, {**bom("platform"), "components": [{"type": "library", "name": "numpy"}]}, {}),
    ("software-bom", SPDX2, {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "n",
     "dataLicense": "CC0-1.0", "documentNamespace": "https://example.com/n", "packages": [{"name": "numpy"}],
     "creationInfo": {"created": STAMP, "creators": ["Tool: x"]}}, {}),
    ("software-bom", SPDX3, spdx3("software_Package"), {}),
    ("code-attested", CYCLONEDX, bom("application"), {"target": "git:https://example.com/r.git@0a", "gitCommit": "0a"}),
    ("image-attested", CYCLONEDX, bom("container"), {"target": "oci:registry.example.com/model"}),
    ("provenance", PROVENANCE, provenance(), {}),
    ("slsa-1", VSA, vsa("SLSA_BUILD_LEVEL_1"), {}),
    ("slsa-2", VSA, vsa("SLSA_BUILD_LEVEL_2"), {}),
    ("slsa-3", VSA, vsa("SLSA_BUILD_LEVEL_3"), {}),
    ("dependency-levels", VSA, vsa("SLSA_BUILD_LEVEL_1", dependencyLevels={"SLSA_BUILD_LEVEL_1": 3}), {}),
    ("released", "https://in-toto.io/attestation/release/v0.1", {"purl": "pkg:generic/model@1"}, {}),
    ("run-traced", TRACE, trace(process=[{"pid": 1}]), {}),
    ("run-traced", TRACE, trace(fileAccess=[{"name": "a", "digest": SHA}]), {}),
    ("run-without-network", TRACE, trace(network=[]), {}),
    ("vulnerabilities-scanned", "https://in-toto.io/attestation/vulns/v0.2", VULNS, {}),
    ("vulnerabilities-scanned", SCAN, scan("vulns", "none", "none"), {}),
    ("vulnerabilities-triaged", "https://openvex.dev/ns/v0.2.0", {**VEX, "timestamp": STAMP, "statements": [
        {"vulnerability": {"name": "CVE-2026-1"}, "status": "fixed"}]}, {}),
    ("secrets-scanned", SCAN, scan("secrets", "none", "none"), {}),
    ("code-analysed", SARIF, sarif([]), {}),
    ("code-analysed", SARIF, sarif([{"message": {"text": "eval"}}]), {}),
    ("tests-passed", TESTS, tests("test_it"), {}),
    ("evaluated", EVALUATION, evaluation("accuracy"), {}),
    ("evaluated-on-known-data", EVALUATION, evaluation("f1", dataset={"name": "squad", "digest": SHA}), {}),
    ("robustness-tested", EVALUATION, evaluation("Robust_Accuracy"), {}),
    ("robustness-tested", TESTS, tests("tests.test_adversarial::fgsm"), {}),
    ("safety-tested", EVALUATION, evaluation("toxicity"), {}),
    ("safety-tested", TESTS, tests("test_refusal_rate"), {}),
    ("bias-tested", EVALUATION, evaluation("demographic_parity_difference"), {}),
    ("bias-tested", TESTS, tests("test_bias"), {}),
    ("bias-tested", MONITORING, monitoring("bias"), {}),
    ("privacy-tested", EVALUATION, evaluation("membership_inference_auc"), {}),
    ("privacy-tested", TESTS, tests("test_model_inversion"), {}),
    ("explained", MONITORING, monitoring("explainability"), {}),
    ("data-monitored", MONITORING, monitoring("drift"), {}),
    ("model-monitored", MONITORING, monitoring("model-quality"), {}),
    ("endpoint-monitored", MONITORING, monitoring("endpoint"), {}),
    ("verified", VERDICT, verdict([rule("signed", {})]), {}),
    ("verified", VSA, vsa(), {}),
    ("verified", "https://in-toto.io/attestation/svr/v0.2",
     {"verifier": {"id": "https://example.com/v", "policies": []}, "timeCreated": STAMP, "properties": ["X"]}, {}),
]  # fmt: skip
"""By which measure they must count (platform-provenance depends on the signer and is tested by itself)."""

MISSES: list[Sample] = [
    ("model-signed", "https://model_signing/signature/v1.0", {**SIGNATURE, "resources": []}, {}),
    ("model-bom", CYCLONEDX, bom("application"), {}),
    ("model-licence", CYCLONEDX, bom("machine-learning-model", licenses=[]), {}),
    ("limits-documented", CYCLONEDX, bom("machine-learning-model", modelCard={"considerations": {}}), {}),
    ("model-scanned", SCAN, scan("models", "malicious", "malicious"), {}),
    ("model-scanned", SCAN, scan("models", "unknown", "safe", skipped=[{"path": "b.pkl", "reason": "size"}]), {}),
    ("model-scanned", SCAN, scan("models", "none", "none"), {}),
    ("model-scanned", SCAN, scan("secrets", "safe", "safe"), {}),
    ("secrets-scanned", SCAN, scan("secrets", "malicious", "malicious"), {}),
    ("data-bom", CYCLONEDX, bom("data"), {}),
    ("data-origin", CYCLONEDX, bom("machine-learning-model"), {"origin": "https://huggingface.co/m"}),
    ("inputs-recorded", PROVENANCE, provenance(resolvedDependencies=[{"uri": "hf:squad"}]), {}),
    ("code-attested", CYCLONEDX, bom("application"), {"target": "dir:r", "gitCommit": "0a"}),
    ("slsa-1", VSA, vsa("ACME_LEVEL_9"), {}),
    ("slsa-2", VSA, vsa("SLSA_BUILD_LEVEL_1"), {}),
    ("slsa-3", VSA, vsa("SLSA_BUILD_LEVEL_2"), {}),
    ("slsa-3", VSA, vsa("SLSA_BUILD_LEVEL_3", result="FAILED"), {}),
    ("run-without-network", TRACE, trace(network=[{"host": "evil.example"}]), {}),
    ("run-without-network", TRACE, trace(process=[{"pid": 1}]), {}),
    ("code-analysed", SARIF, sarif(None), {}),
    ("tests-passed", TESTS, tests("test_a", result="FAILED"), {}),
    ("tests-passed", TESTS, tests(), {}),
    ("robustness-tested", TESTS, tests("test_adversarial", result="FAILED"), {}),
    ("robustness-tested", EVALUATION, evaluation("accuracy"), {}),
    ("model-monitored", MONITORING, monitoring("drift"), {}),
    ("data-monitored", MONITORING, monitoring("drift", samples=0), {}),
    ("verified", VERDICT, verdict([rule("signed", {}, "fail")], "fail"), {}),
    ("verified", VSA, vsa(result="FAILED"), {}),
    ("platform-provenance", PROVENANCE, provenance(HOSTED), {}),
]


def record(
    predicate_type: str,
    predicate: Mapping[str, Any],
    said: Mapping[str, Any] | None = None,
    *,
    signers: tuple[str, ...] = (SIGNER,),
    entry: int = 1,
    subject: str = "model",
    days: float | None = 1,
) -> Record:
    """A trusted statement that was made ``days`` before `NOW`; None for one without a time."""
    text = f"{predicate_type} {predicate} {said} {entry} {subject} {days}"
    return Record(
        hashlib.sha256(text.encode()).hexdigest(),
        entry,
        predicate_type,
        predicate,
        said or {},
        subject,
        signers,
        None if days is None else NOW - timedelta(days=days),
    )


def all_records() -> list[Record]:
    """Every sample, trusted, and provenance by GitHub itself."""
    made = [record(type, predicate, said, entry=i) for i, (_, type, predicate, said) in enumerate(PROVES, 1)]
    return [*made, record(PROVENANCE, provenance(HOSTED), signers=(GITHUB,))]
