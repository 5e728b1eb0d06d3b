"""What holds for every check: its contract, its schema, and that no document makes it raise or pass for nothing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from assay.errors import DocumentError
from assay.evidence.predicates import KNOWN
from assay.policy.checks import CHECKS
from assay.policy.checks.reading import MAX_VIOLATIONS
from helpers import one_sentence, places
from policy.checks.asking import CYCLONEDX, SHA, SPDX2, SPDX3, ask, document
from policy.checks.test_report_checks import REPORT, file, log, result, scan, scanned
from policy.checks.test_run_checks import PROVENANCE, trace

ARGUMENTS: dict[str, Any] = {
    "base-models": {"allow": ["a/*"]},
    "bias": {"require": [{"metric": "accuracy/*", "max-gap": 0.1}]},
    "components": {"minimum": 1, "state": ["version", "purl", "licence", "supplier", "digest"]},
    "dataset": {"sources": ["https://*"], "formats": ["csv"], "columns": {"forbid": ["ssn"]}, "rows": 1},
    "field": {"exists": ["metadata.x[*].y"]},
    "findings": {"precision": ["high"], "ignore": ["x"], "suppressions": "accepted"},
    "formats": {"deny": ["pickle"]},
    "isolated": {},
    "licences": {"allow": ["MIT"], "of": "all"},
    "metrics": {"require": {"accuracy": {"minimum": 0.9}}, "datasets": ["x"], "samples": 1},
    "monitoring": {"kind": "drift", "max-age": "1d", "checks": ["drift:*"]},
    "ntia": {},
    "packages": {"deny": ["evil<2"], "require": ["good"], "allow": ["good"]},
    "provenance": {"builders": ["x"], "external-parameters": {"a.b": 1}, "deny-dependencies": ["x"], "digested": True},
    "scan": {"kind": "models"},
    "tests": {"require": ["a*"], "minimum": 1},
    "vulnerabilities": {"database-age": "1d", "analysis": "accepted"},
}

PART = {
    "type": "library",
    "group": "g",
    "name": "a",
    "version": "1",
    "purl": "pkg:pypi/a@1",
    "licenses": [{"license": {"id": "MIT"}}, {"expression": "MIT OR Zlib"}],
    "hashes": [{"alg": "SHA-256", "content": SHA}],
    "supplier": {"name": "A"},
    "properties": [{"name": "assay:model:format", "value": "onnx"}],
}
DATA = {
    "type": "data",
    "name": "t.csv",
    "data": [{"contents": {"properties": [{"name": "assay:data:schema", "value": '[["a","b"]]'}]}}],
}
SAMPLES: list[tuple[str, Any]] = [
    (
        CYCLONEDX,
        {
            "bomFormat": "CycloneDX",
            "metadata": {"timestamp": "2026-01-01T00:00:00Z", "tools": {"components": [PART]}, "component": {**PART}}
            | {"component": {**PART, "pedigree": {"ancestors": [PART]}, "externalReferences": [{"type": "vcs"}]}},
            "components": [{**PART, "components": [PART]}, DATA],
            "dependencies": [{"ref": "a"}],
            "vulnerabilities": [{"id": "C", "ratings": [{"severity": "high", "score": 9, "method": "CVSSv3"}]}],
        },
    ),
    (
        SPDX3,
        {
            "@graph": [
                {"type": "CreationInfo", "@id": "_:c", "created": "2026-01-01T00:00:00Z", "createdBy": ["x"]},
                {"type": "SpdxDocument", "spdxId": "d", "rootElement": ["r"]},
                {"type": "ai_AIPackage", "spdxId": "r", "name": "m"},
                {
                    "type": "software_Package",
                    "spdxId": "p",
                    "name": "a",
                    "suppliedBy": "x",
                    "software_packageVersion": "1",
                },
                {
                    "type": "simplelicensing_LicenseExpression",
                    "spdxId": "l",
                    "simplelicensing_licenseExpression": "MIT",
                },
                {"type": "Relationship", "from": "r", "to": ["l"], "relationshipType": "hasDeclaredLicense"},
                {"type": "Relationship", "from": "p", "to": ["r"], "relationshipType": "ancestorOf"},
            ]
        },
    ),
    (
        SPDX2,
        {
            "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["x"]},
            "packages": [
                {"SPDXID": "a", "name": "a", "licenseDeclared": "MIT", "checksums": [{"algorithm": "SHA256"}]}
            ],
            "relationships": [{"spdxElementId": "a", "relatedSpdxElement": "b", "relationshipType": "DESCRIBES"}],
        },
    ),
    ("", log(result(suppressions=[{}]), rules=[{"id": "r1", "properties": {"precision": "low"}}])),
    ("", scanned(("CVE-1", [("nvd", "9.0")]))),
    ("", {"result": "PASSED", "passedTests": ["a"], "warnedTests": [], "failedTests": ["b"]}),
    ("", scan(file("safe", ("r", "high")), skipped=[{"path": "a", "reason": "b"}])),
    ("", {**REPORT, "violations": [{"check": "a", "severity": "error", "feature": "x"}]}),
    ("", PROVENANCE),
    ("", trace([{"host": "a", "port": 1, "decision": "denied"}, "a:1"], gaps=["x"])),
    (
        "",
        {
            "dataset": {"name": "x", "digest": {"sha256": SHA}},
            "metrics": {"accuracy": 1, "accuracy/a": 1},
            "samples": 1,
        },
    ),
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["MIT", SHA, "\x1b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def kinds(name: str) -> list[str]:
    return [kind.replace("*", "1.6") for kind in CHECKS[name].types]


def test_every_check_has_sample_arguments() -> None:
    assert sorted(ARGUMENTS) == sorted(CHECKS) == list(CHECKS)
    assert "no-such-check" not in CHECKS
    with pytest.raises(KeyError):
        CHECKS["no-such-check"]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_contract(name: str) -> None:
    check = CHECKS[name]
    assert check.name == name and check.types
    for kind in check.types:
        assert kind == "*" or any(known == kind or (kind[-1] == "*" and known.startswith(kind[:-1])) for known in KNOWN)
    Draft202012Validator.check_schema(check.schema)
    assert "$ref" not in json.dumps(check.schema)
    assert check.schema["description"]
    validator = Draft202012Validator(check.schema)
    validator.validate(ARGUMENTS[name])
    for wrong in ({"no-such-argument": 1}, "x", 3, [1]):
        assert not validator.is_valid(wrong)
        with pytest.raises(DocumentError) as error:
            check.prepare(wrong, "policy.yml:7: here")
        assert one_sentence(error.value).startswith("policy.yml:7: here")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_are_refused_name_the_field(name: str) -> None:
    """Every argument replaced by something odd: taken, or refused with a sentence; never anything else."""
    check = CHECKS[name]
    for place in places(ARGUMENTS[name]):
        for odd in (None, True, -1, 1.5, "", "x" * 600, [], [1], {}, {"a": 1}):
            arguments = copy.deepcopy(ARGUMENTS[name])
            inner = arguments
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = odd
            try:
                check.prepare(arguments, "p")
            except DocumentError as error:
                assert one_sentence(error).startswith("p")


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize(
    "predicate", [{}, {"a": 1}, {"components": None, "runs": None, "metrics": None, "files": None}]
)
def test_nothing_to_look_at_never_passes(name: str, predicate: Any) -> None:
    for kind in kinds(name):
        assert ask(name, ARGUMENTS[name], predicate, kind) != []


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "field"])
def test_evidence_of_another_kind_never_passes(name: str) -> None:
    """A rule may ask for one of several kinds of evidence, of which a check can read only some."""
    for _, predicate in SAMPLES:
        assert ask(name, ARGUMENTS[name], predicate, "https://x.example/p") == [
            f"{name} can't read evidence of the type 'https://x.example/p'"
        ]


@settings(max_examples=60, deadline=None)
@given(JSON)
def test_any_document_gets_an_answer(value: Any) -> None:
    keys = "bomFormat metadata components @graph packages runs result scanner files metrics dataset status monitorLog"
    for predicate in (value, dict.fromkeys([*keys.split(), "buildDefinition", "runDetails", "violations"], value)):
        if isinstance(predicate, dict):
            for name, arguments in ARGUMENTS.items():
                for kind in kinds(name):
                    ask(name, arguments, predicate, kind)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_change_to_a_document_gets_an_answer(sample: tuple[str, Any], data: st.DataObject) -> None:
    """A well-formed document with one value replaced by any other, put to every check that might read it."""
    kind, predicate = sample
    changed = copy.deepcopy(predicate)
    place = data.draw(st.sampled_from(list(places(changed))))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(JSON)
    for name, arguments in ARGUMENTS.items():
        check = CHECKS[name]
        readable = kind in check.types or (kind == CYCLONEDX and "*" in check.types[-1]) or not kind
        if readable:
            ask(name, arguments, changed, kind or check.types[0])


def deep(levels: int) -> Any:
    value: Any = {"type": "library", "name": "evil", "licenses": [{"license": {"id": "GPL-3.0-only"}}]}
    for _ in range(levels):
        value = {"type": "library", "name": "a", "components": [value]}
    return value


@pytest.mark.parametrize("name", ["licences", "packages", "components", "ntia", "formats", "dataset", "base-models"])
def test_deep_nesting(name: str) -> None:
    main = {"type": "application", "name": "app", "licenses": [{"license": {"id": "MIT"}}]}
    predicate = {"bomFormat": "CycloneDX", "metadata": {"component": main}, "components": [deep(20_000)]}
    wrong = ask(name, ARGUMENTS[name], predicate)
    if name in ("licences", "packages"):
        assert wrong


@pytest.mark.parametrize("name", ["licences", "packages", "components", "ntia", "formats", "vulnerabilities"])
def test_a_hundred_thousand_components(name: str) -> None:
    """Each is looked at once; what is told of them is bounded."""
    parts = [
        {"type": "library", "name": f"p{i}", "purl": f"pkg:pypi/p{i}", "licenses": [{"license": {"name": "No"}}]}
        for i in range(100_000)
    ]
    main = {"type": "application", "name": "app"}
    rated = [{"id": "CVE-1", "ratings": [{"severity": "high"}]}] * 100_000
    predicate = {
        "bomFormat": "CycloneDX",
        "metadata": {"component": main},
        "components": parts,
        "vulnerabilities": rated,
    }
    check = CHECKS[name]
    arguments = check.prepare({"allow": ["MIT"], "of": "all"} if name == "licences" else ARGUMENTS[name], "p")
    found = list(check.violations(document(predicate, CYCLONEDX), arguments))
    assert 0 < len(found) <= MAX_VIOLATIONS + 1
