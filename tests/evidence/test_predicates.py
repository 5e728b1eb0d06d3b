"""Predicates: the in-toto bindings read what we write, what is malformed is refused, reports become evidence."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from in_toto_attestation.predicates.link.v0 import link_pb2
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.scai.v0 import scai_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2

from assay.errors import DocumentError
from assay.evidence import predicates
from assay.evidence.predicates import generic, link, provenance, sarif, scai, test_result, vsa
from assay.evidence.predicates.common import ResourceDescriptor
from assay.evidence.predicates.reports import from_report

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHA = "ab" * 32
THING = ResourceDescriptor(
    name="x", uri="https://x.example/a", digest={"sha256": SHA}, media_type="text/plain", annotations={"k": [1]}
)

WRITTEN: dict[str, tuple[Any, Any]] = {
    provenance.PREDICATE_TYPE: (
        provenance.Provenance(
            build_definition=provenance.BuildDefinition(
                build_type="https://assay.dev/train/v1",
                external_parameters={"epochs": 3},
                internal_parameters={"host": "ci"},
                resolved_dependencies=[THING],
            ),
            run_details=provenance.RunDetails(
                builder=provenance.Builder(id="https://ci.example", version={"ci": "1"}, builder_dependencies=[THING]),
                metadata=provenance.Metadata(invocation_id="7", started_on=NOW, finished_on=NOW),
                byproducts=[THING],
            ),
        ),
        provenance_pb2.Provenance,
    ),
    vsa.PREDICATE_TYPE: (
        vsa.VerificationSummary(
            verifier=vsa.Verifier(id="https://assay.dev"),  # the bindings know no version yet
            time_verified=NOW,
            resource_uri="pkg:huggingface/org/name@abc",
            policy=vsa.Policy(uri="https://x.example/policy", digest={"sha256": SHA}),
            input_attestations=[vsa.InputAttestation(uri="https://x.example/att", digest={"sha256": SHA})],
            verification_result="PASSED",
            verified_levels=["SLSA_BUILD_LEVEL_2"],
            dependency_levels={"SLSA_BUILD_LEVEL_1": 4},
            slsa_version="1.0",
        ),
        vsa_pb2.VerificationSummary,
    ),
    scai.PREDICATE_TYPE: (
        scai.AttributeReport(
            attributes=[scai.Attribute(attribute="ISOLATED", target=THING, conditions={"a": 1}, evidence=THING)],
            producer=THING,
        ),
        scai_pb2.AttributeReport,
    ),
    test_result.PREDICATE_TYPE: (
        test_result.TestResult(
            result="WARNED",
            configuration=[THING],
            url="https://ci.example/7",
            passed_tests=["a"],
            warned_tests=["b"],
            failed_tests=[],
        ),
        test_result_pb2.TestResult,
    ),
    link.PREDICATE_TYPE: (
        link.Link(
            name="train",
            command=["python", "t.py"],
            materials=[THING],
            byproducts={"rc": 0},
            environment={"os": "linux"},
        ),
        link_pb2.Link,
    ),
}

BINDINGS_ARE_WRONG = {vsa.PREDICATE_TYPE: ("verifiedLevels",)}
"""Fields that in_toto_attestation 0.9.3 has otherwise than the specification: here one string instead of a list."""


@pytest.mark.parametrize("uri", WRITTEN)
def test_the_bindings_read_what_we_write(uri: str) -> None:
    document, message = WRITTEN[uri]
    predicate = predicates.builtins(document)
    predicates.check(uri, predicate)
    assert predicates.read(uri, predicate) == document
    seen = {key: value for key, value in predicate.items() if key not in BINDINGS_ARE_WRONG.get(uri, ())}
    parsed = json_format.ParseDict(seen, message())  # raises for a field that it does not know
    again = json_format.MessageToDict(parsed)
    assert {key for key, value in seen.items() if value != []} == set(again)
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": SHA}}],
        "predicateType": uri,
        "predicate": predicate,
    }
    assert json_format.ParseDict(statement, statement_pb2.Statement()).predicate_type == uri


VALID: dict[str, Any] = {uri: predicates.builtins(document) for uri, (document, _) in WRITTEN.items()} | {
    "https://in-toto.io/attestation/svr/v0.2": {
        "verifier": {"id": "https://v.example", "policies": []},
        "timeCreated": "2026-01-02T03:04:05Z",
        "properties": ["SCANNED"],
    },
    "https://in-toto.io/attestation/vulns/v0.2": {
        "scanner": {
            "uri": "pkg:pypi/pip-audit@2.7",
            "db": {"lastUpdate": "2026-01-02T03:04:05.123Z"},
            "result": [{"id": "CVE-1", "severity": [{"method": "nvd", "score": "9.8"}]}],
        },
        "metadata": {"scanStartedOn": "2026-01-02T03:04:05Z", "scanFinishedOn": "2026-01-02T03:04:06Z"},
    },
    "https://in-toto.io/attestation/release/v0.1": {"purl": "pkg:pypi/a@1", "releaseId": "7"},
    "https://in-toto.io/attestation/reference/v0.1": {
        "attester": {"id": "https://a.example"},
        "references": [
            {"downloadLocation": "https://x.example/sbom", "mediaType": "application/json", "digest": {"sha256": SHA}}
        ],
    },
    "https://in-toto.io/attestation/runtime-trace/v0.1": {
        "monitor": {"type": "https://assay.dev/trace/v1", "tracePolicy": {"a": 1}},
        "monitoredProcess": {"hostID": "h", "type": "train", "event": "7"},
        "monitorLog": {"fileAccess": [{"uri": "file:a", "digest": {"sha256": SHA}}]},
        "metadata": {"buildStartedOn": "2026-01-02T03:04:05Z"},
    },
    "https://cyclonedx.org/bom/v1.5": {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1},
    "https://spdx.dev/Document/v3": {
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [{"type": "SpdxDocument", "spdxId": "urn:x"}],
    },
    "https://spdx.dev/Document/v2.3": {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "x",
        "dataLicense": "CC0-1.0",
        "documentNamespace": "https://x.example/1",
        "creationInfo": {"created": "2026-01-02T03:04:05Z", "creators": ["Tool: x"]},
    },
    sarif.PREDICATE_TYPE: {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {"tool": {"driver": {"name": "bandit"}}, "results": [{"message": {"text": "x"}, "level": "error"}]},
            {"tool": {"driver": {"name": "empty"}}, "results": None},
        ],
    },
    "https://openvex.dev/ns/v0.2.0": {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://x.example/vex/1",
        "author": "x",
        "timestamp": "2026-01-02T03:04:05Z",
        "version": 1,
        "statements": [
            {"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "justification": "component_not_present"}
        ],
    },
    "https://model_signing/signature/v1.0": {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        "resources": [{"name": "a", "algorithm": "sha256", "digest": SHA, "annotations": {"size": 1}}],
    },
    generic.EVALUATION: {"dataset": "conll2003", "metrics": {"f1": 0.9, "n": 3}, "split": "test", "samples": 100},
    generic.GENERIC: {"report": {"name": "x.json", "digest": {"sha256": SHA}}, "content": [1, None]},
    "https://assay.dev/scan/v0.1": {
        "scanner": {"uri": "https://assay.dev/scan", "version": "0.1"},
        "kind": "models",
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:04:06Z",
        "verdict": "safe",
        "tiers": {"safe": 1},
        "files": [{"path": "a.safetensors", "tier": "safe", "digest": {"sha256": SHA}}],
    },
    "https://assay.dev/profile/v0.1": {
        "step": "train",
        "runs": 3,
        "action": "accepted",
        "made": "2026-01-02T03:04:05Z",
        "by": "Ada",
        "reason": "the new mirror",
    },
    "https://assay.dev/scan-baseline/v0.1": {
        "until": "2026-06-01T00:00:00Z",
        "reason": "looked at by two people",
        "accepted": [{"path": "a.pkl", "digest": {"sha256": SHA}, "rule": "pickle/unknown-global"}],
    },
    "https://assay.dev/monitoring/v0.1": {
        "kind": "drift",
        "status": "ok",
        "samples": 100,
        "monitor": {"uri": "https://assay.dev/monitor"},
        "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
        "constraints": [{"check": "drift:psi", "feature": "age", "expected": 0.2}],
        "profile": {"digest": {"sha256": SHA}},
        "metrics": [{"name": "feature_baseline_drift_age", "value": 0.01}],
    },
    "https://assay.dev/baseline/v0.1": {
        "made": "2026-01-02T03:04:05Z",
        "tool": "assay 1.0",
        "rows": 100,
        "columns": [{"name": "age", "kind": "integral", "missing": 3, "distinct": 60}],
        "profile": {"name": "profile", "digest": {"sha256": SHA}},
        "document": {"name": "baseline.json", "digest": {"sha256": SHA}},
    },
    "https://assay.dev/action/v0.1": {
        "name": "rollback",
        "kind": "command",
        "key": SHA,
        "cause": {"alarm": "drift", "state": "ALARM", "before": "OK", "time": "2026-01-02T03:04:05Z"},
        "outcome": "done",
        "attempts": 1,
        "finished": "2026-01-02T03:04:06Z",
    },
    "https://assay.dev/verdict/v0.1": {
        "policy": {"id": "p", "uri": "builtin:p", "digest": {"sha256": SHA}},
        "target": {"name": "m", "digest": {"sha256": SHA}},
        "verdict": "pass",
        "accepted": True,
        "time": "2026-01-02T03:04:05Z",
        "rules": [{"id": "a", "level": "error", "verdict": "pass", "effective": "pass"}],
    },
}


@pytest.mark.parametrize("uri", VALID)
def test_valid(uri: str) -> None:
    predicates.check(uri, VALID[uri])
    predicates.check(uri, VALID[uri] | {"somethingNew": {"a": 1}}) if "model_signing" not in uri else None


def test_every_known_type_is_tried_here() -> None:
    modules = {module for uri, (module, _) in predicates.KNOWN.items()}
    assert modules == {predicates.KNOWN[uri][0] for uri in VALID}
    assert set(predicates.SHORT.values()) <= predicates.KNOWN.keys()
    for module, name in predicates.KNOWN.values():
        assert hasattr(import_module(f"assay.evidence.predicates.{module}"), name)


REQUIRED = [
    (uri, path)
    for uri, path in [
        (provenance.PREDICATE_TYPE, "buildDefinition.buildType"),
        (provenance.PREDICATE_TYPE, "buildDefinition.externalParameters"),
        (provenance.PREDICATE_TYPE, "runDetails.builder.id"),
        (vsa.PREDICATE_TYPE, "verifier.id"),
        (vsa.PREDICATE_TYPE, "resourceUri"),
        (vsa.PREDICATE_TYPE, "policy.uri"),
        (vsa.PREDICATE_TYPE, "verificationResult"),
        (vsa.PREDICATE_TYPE, "verifiedLevels"),
        (vsa.PREDICATE_TYPE, "inputAttestations.0.digest"),
        ("https://in-toto.io/attestation/svr/v0.2", "verifier.policies"),
        ("https://in-toto.io/attestation/svr/v0.2", "timeCreated"),
        ("https://in-toto.io/attestation/svr/v0.2", "properties"),
        (scai.PREDICATE_TYPE, "attributes"),
        (scai.PREDICATE_TYPE, "attributes.0.attribute"),
        ("https://in-toto.io/attestation/vulns/v0.2", "scanner.uri"),
        ("https://in-toto.io/attestation/vulns/v0.2", "scanner.result"),
        ("https://in-toto.io/attestation/vulns/v0.2", "scanner.db.lastUpdate"),
        ("https://in-toto.io/attestation/vulns/v0.2", "scanner.result.0.severity.0.score"),
        ("https://in-toto.io/attestation/vulns/v0.2", "metadata.scanFinishedOn"),
        (test_result.PREDICATE_TYPE, "result"),
        (test_result.PREDICATE_TYPE, "configuration"),
        ("https://in-toto.io/attestation/release/v0.1", "purl"),
        (link.PREDICATE_TYPE, "name"),
        (link.PREDICATE_TYPE, "materials.0.digest"),
        (link.PREDICATE_TYPE, "materials.0.name"),
        ("https://in-toto.io/attestation/reference/v0.1", "attester.id"),
        ("https://in-toto.io/attestation/reference/v0.1", "references.0.downloadLocation"),
        ("https://in-toto.io/attestation/reference/v0.1", "references.0.mediaType"),
        ("https://in-toto.io/attestation/runtime-trace/v0.1", "monitor.type"),
        ("https://in-toto.io/attestation/runtime-trace/v0.1", "monitoredProcess.hostID"),
        ("https://in-toto.io/attestation/runtime-trace/v0.1", "monitorLog.fileAccess"),
        ("https://spdx.dev/Document/v3", "@graph.0.type"),
        ("https://spdx.dev/Document/v2.3", "creationInfo.creators"),
        (sarif.PREDICATE_TYPE, "runs.0.tool.driver.name"),
        (sarif.PREDICATE_TYPE, "runs.0.results.0.message"),
        ("https://openvex.dev/ns/v0.2.0", "statements.0.justification"),
        ("https://model_signing/signature/v1.0", "serialization.allow_symlinks"),
        (generic.EVALUATION, "metrics"),
        (generic.EVALUATION, "dataset"),
        (generic.GENERIC, "report.digest"),
    ]
]


@pytest.mark.parametrize(("uri", "path"), REQUIRED)
def test_a_required_field_that_is_missing_is_named(uri: str, path: str) -> None:
    predicate = copy.deepcopy(VALID[uri])
    *inner, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    node: Any = predicate
    for part in inner:
        node = node[part]
    del node[last]
    with pytest.raises(DocumentError) as caught:
        predicates.check(uri, predicate)
    assert caught.value.message.startswith("predicate")
    assert uri in caught.value.message


def at(uri: str, change: Callable[[Any], object], message: str) -> Any:
    return pytest.param(uri, change, message, id=f"{uri.split('/')[-2]} {message}")


@pytest.mark.parametrize(
    ("uri", "change", "message"),
    [
        at(vsa.PREDICATE_TYPE, lambda p: p.update(verificationResult="passed"), "verificationResult"),
        at(vsa.PREDICATE_TYPE, lambda p: p.update(timeVerified="2026-01-02 03:04:05"), "timeVerified"),
        at(vsa.PREDICATE_TYPE, lambda p: p.update(timeVerified="2026-01-02T03:04:05"), "timeVerified"),
        at(vsa.PREDICATE_TYPE, lambda p: p.update(timeVerified="2026-02-30T03:04:05Z"), "timeVerified"),
        at(vsa.PREDICATE_TYPE, lambda p: p.update(timeVerified="2026-01-02T03:04:05+02:00"), "not in UTC"),
        at(vsa.PREDICATE_TYPE, lambda p: p["policy"].update(digest={}), "digest is empty"),
        at(vsa.PREDICATE_TYPE, lambda p: p["policy"].update(digest={"sha256": SHA.upper()}), "lower-case hex"),
        at(vsa.PREDICATE_TYPE, lambda p: p["inputAttestations"][0].update(digest={"sha256": "ab"}), "lower-case"),
        at(vsa.PREDICATE_TYPE, lambda p: p.update(verifiedLevels="SLSA_BUILD_LEVEL_3"), "verifiedLevels"),
        at(test_result.PREDICATE_TYPE, lambda p: p["configuration"].append({"name": "x"}), "configuration[1]"),
        at(link.PREDICATE_TYPE, lambda p: p["materials"].append(p["materials"][0]), "listed twice"),
        at(provenance.PREDICATE_TYPE, lambda p: p["runDetails"]["builder"].update(id=""), "builder.id"),
        at("https://in-toto.io/attestation/release/v0.1", lambda p: p.update(purl="pkg:pypi/a"), "predicate.purl"),
        at("https://spdx.dev/Document/v3", lambda p: p["@graph"].append(p["@graph"][0]), "exactly one"),
        at("https://spdx.dev/Document/v3", lambda p: p.update({"@context": "https://evil.example"}), "@context"),
        at("https://cyclonedx.org/bom/v1.5", lambda p: p.update(bomFormat="cyclonedx"), "bomFormat"),
        at(
            "https://cyclonedx.org/bom/v1.5",
            lambda p: p.update(environment={}, bom=p.copy()) or p.pop("bomFormat"),
            "bomFormat",
        ),
        at(sarif.PREDICATE_TYPE, lambda p: p.update(runs=[]), "predicate.runs"),
        at(sarif.PREDICATE_TYPE, lambda p: p["runs"][0]["results"][0].update(level="critical"), "level"),
        at("https://model_signing/signature/v1.0", lambda p: p.update(extra=1), "extra"),
        at("https://model_signing/signature/v1.0", lambda p: p["resources"].append(p["resources"][0]), "sorted"),
        at(generic.EVALUATION, lambda p: p["metrics"].update(f1="0.9"), "metrics"),
        at(generic.EVALUATION, lambda p: p["metrics"].update(f1=True), "metrics"),
        at(generic.EVALUATION, lambda p: p["metrics"].update(f1=float("nan")), "not finite"),
        at(generic.EVALUATION, lambda p: p["metrics"].update(f1=10**400), "not finite"),
        at(generic.EVALUATION, lambda p: p["metrics"].update(f1=float("-inf")), "not finite "),
        at(generic.EVALUATION, lambda p: p.update(metrics={}), "metrics"),
    ],
)
def test_malformed(uri: str, change: Callable[[Any], object], message: str) -> None:
    predicate = copy.deepcopy(VALID[uri])
    change(predicate)
    with pytest.raises(DocumentError) as caught:
        predicates.check(uri, predicate)
    assert message in caught.value.message


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(predicates.KNOWN)),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
    st.randoms(use_true_random=False),
)
def test_any_shape_gives_a_sentence(uri: str, junk: object, random: Any) -> None:
    """Junk alone, and junk in one place of a valid predicate."""
    base = copy.deepcopy(VALID.get(uri, {}))
    if isinstance(base, dict) and base:
        base[random.choice(sorted(base))] = junk
    for predicate in (junk, base):
        try:
            predicates.check(uri, predicate)
        except DocumentError as error:
            assert error.message.startswith("predicate")
            assert error.message.isprintable()


@pytest.mark.parametrize("uri", ["https://x.example/eval/v1", "urn:x:y", "https://in-toto.io/attestation/new/v9"])
def test_unknown_types_are_allowed(uri: str) -> None:
    predicates.check(uri, {"anything": 1})
    with pytest.raises(DocumentError, match="not one that assay knows"):
        predicates.read(uri, {})


@pytest.mark.parametrize(
    "uri", ["", "sarif", "/relative", "https://", "x y:z", "https://a b", "a:" + "b" * 600, "a:\x1b"]
)
def test_a_type_must_be_an_absolute_uri(uri: str) -> None:
    with pytest.raises(DocumentError, match="absolute URI"):
        predicates.check(uri, {})


# Reports


@pytest.mark.parametrize("uri", [uri for uri in VALID if uri.split("/")[2] in {"cyclonedx.org", "docs.oasis-open.org"}])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_reports_are_recognised(uri: str, mark: bytes) -> None:
    found, predicate = from_report("/some/where/r.json", mark + json.dumps(VALID[uri]).encode())
    assert found == uri.replace("/v1.5", "")
    assert predicate == VALID[uri]


@pytest.mark.parametrize(
    ("hint", "uri"),
    [
        ("spdx", "https://spdx.dev/Document/v3"),
        ("spdx", "https://spdx.dev/Document/v2.3"),
        ("vuln", "https://in-toto.io/attestation/vulns/v0.2"),
        ("slsaprovenance", provenance.PREDICATE_TYPE),
        ("test-result", test_result.PREDICATE_TYPE),
        ("evaluation", generic.EVALUATION),
        ("openvex", "https://openvex.dev/ns/v0.2.0"),
        ("https://in-toto.io/attestation/link/v0.3", link.PREDICATE_TYPE),
    ],
)
def test_hints(hint: str, uri: str) -> None:
    assert from_report("r", json.dumps(VALID[uri]).encode(), hint) == (uri, VALID[uri])


@pytest.mark.parametrize("uri", ["https://spdx.dev/Document/v2.3", "https://openvex.dev/ns/v0.2.0", generic.EVALUATION])
def test_no_hint_needed(uri: str) -> None:
    assert from_report("r", json.dumps(VALID[uri]).encode())[0] == uri


def test_any_json_under_a_uri_of_ones_own_or_wrapped() -> None:
    uri = "https://x.example/mine/v1"
    assert from_report("r", b'{"a": 1}', uri) == (uri, {"a": 1})
    found, predicate = from_report("/d/r.json", b"[1, 2]", "custom")
    assert found == generic.GENERIC
    assert predicate["content"] == [1, 2]
    assert predicate["report"]["name"] == "r.json"
    predicates.check(found, predicate)


@pytest.mark.parametrize(
    ("data", "hint", "message"),
    [
        (b'{"a": 1}', None, "no type that is recognised"),
        (b"[1]", "https://x.example/mine", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "https://x.example/mine", "twice"),
        (b'{"a": NaN}', "https://x.example/mine", "not JSON"),
        (b"[" * 100_000, "custom", "nested too deeply"),
        (b"PK\x03\x04", None, "not"),
        (b"", None, "not JSON"),
        (b"\xff\xfe{}", None, "UTF-8"),
        (b'{"a": 1}', "nonsense", "neither known nor an absolute URI"),
        (b'{"version": "2.1.0", "runs": [{}]}', None, "runs[0]"),
        (b'{"version": "2.1.0", "runs": []}', "sarif", "runs"),
        (b'{"_type": "x", "predicateType": "y"}', None, "already"),
        (b'{"payload": "", "payloadType": "x", "signatures": []}', "https://x.example/y", "already"),
        (b"<a/>", "sarif", "only JUnit XML"),
        (b"<a/>", None, "not a JUnit report"),
        (b"<testsuite/>", None, "no test case"),
        (b"<testsuite><testcase/></testsuite>", None, "no name"),
        (b"<testsuite>", None, "not well-formed"),
        (b"{}", "junit", "not well-formed"),
        (b'<?xml version="1.0" encoding="x-nope"?><testsuite/>', None, "r.x"),
        (b"<!DOCTYPE testsuite><testsuite/>", None, "document type"),
        (
            b'<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>',
            None,
            "document type",
        ),
        (
            b'<!DOCTYPE t SYSTEM "file:///etc/passwd"><testsuite><testcase name="x"/></testsuite>',
            "junit",
            "document type",
        ),
        (b"<a>" * 200, None, "nested too deeply"),
    ],
)
def test_refused_reports(data: bytes, hint: str | None, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        from_report("r.x", data, hint)
    assert message in caught.value.message


def junit(body: str, attributes: str = "") -> dict[str, Any]:
    text = f'<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite {attributes}>{body}</testsuite></testsuites>'
    uri, predicate = from_report("junit.xml", text.encode())
    assert uri == test_result.PREDICATE_TYPE
    json_format.ParseDict(predicate, test_result_pb2.TestResult())
    return predicate


def test_junit_outcomes() -> None:
    found = junit(
        '<testcase classname="t.A" name="ok"/>'
        '<testcase classname="t.A" name="bad"><failure message="m">x</failure></testcase>'
        '<testcase classname="t.A" name="error"><error/></testcase>'
        '<testcase name="later"><skipped/></testcase>'
    )
    assert found["result"] == "FAILED"
    assert found["passedTests"] == ["t.A::ok"]
    assert found["failedTests"] == ["t.A::bad", "t.A::error"]
    assert found["warnedTests"] == ["later"]


def test_junit_without_a_failure() -> None:
    assert junit('<testcase name="a"/>')["result"] == "PASSED"
    assert junit('<testcase name="a"/><testcase name="b"><skipped/></testcase>')["result"] == "WARNED"


def test_junit_a_suite_that_failed_outside_of_its_tests() -> None:
    assert junit('<testcase name="a"/>', 'errors="1"')["result"] == "FAILED"
    assert junit('<testcase name="a"/>', 'errors="0" failures="00"')["result"] == "PASSED"


def test_junit_a_repeated_test_keeps_its_worst_outcome() -> None:
    twice = '<testcase name="a"><failure/></testcase><testcase name="a"/>'
    found = junit(twice)
    assert (found["result"], found["failedTests"], found["passedTests"]) == ("FAILED", ["a"], [])


def test_junit_as_pytest_writes_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\ndef test_c(): assert 0\n"
    )
    report = tmp_path / "report.xml"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_it.py"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    assert ElementTree.parse(report).getroot().tag == "testsuites"
    _, predicate = from_report(str(report), report.read_bytes(), "test-result")
    assert predicate["result"] == "FAILED"
    assert predicate["passedTests"] == ["test_it::test_a"]
    assert predicate["failedTests"] == ["test_it::test_c"]
    assert predicate["warnedTests"] == ["test_it::test_b"]
    assert str(tmp_path) not in json.dumps(predicate)


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from([None, "junit", "custom"]))
def test_any_bytes_give_a_sentence(data: bytes, hint: str | None) -> None:
    try:
        uri, predicate = from_report("r", data, hint)
    except DocumentError as error:
        assert error.message.isprintable()
    else:
        predicates.check(uri, predicate)


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from(
            [
                "<testsuite>",
                "</testsuite>",
                '<testcase name="a">',
                "</testcase>",
                "<failure/>",
                "&x;",
                "\x00",
                "<!DOCTYPE a>",
                "é",
            ]
        ),
        max_size=12,
    )
)
def test_any_xml_gives_a_sentence(parts: list[str]) -> None:
    try:
        from_report("r", "".join(["<testsuite>", *parts]).encode(), "junit")
    except DocumentError as error:
        assert error.message.startswith("r ")
        assert error.message.isprintable()
