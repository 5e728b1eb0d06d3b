"""SARIF against the official schema, and what consumers of it rely on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from assay.evidence import predicates
from assay.evidence.predicates.sarif import PREDICATE_TYPE
from assay.policy.documents import sarif
from assay.policy.verdict import Decision, Level, Verdict, Violation
from policy.documents.decisions import ACCEPTED, EVERY, HOSTILE, LICENCES, UNDECIDED, decision, decisions, rule

SCHEMA = json.loads((Path(__file__).parents[2] / "data" / "sarif" / "sarif-schema-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def run(made: Decision) -> dict[str, Any]:
    """The one run of the log, after validating it."""
    log = sarif.render(made)
    assert [f"{list(error.path)}: {error.message[:200]}" for error in VALIDATOR.iter_errors(log)] == []
    predicates.check(PREDICATE_TYPE, log)
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    return log["runs"][0]


def test_the_schema_is_the_official_one_and_refuses() -> None:
    assert SCHEMA["id"] == sarif.SCHEMA
    assert not VALIDATOR.is_valid({"version": "2.1.0", "runs": [{"tool": {}}]})


@pytest.mark.parametrize(
    ("rule_id", "kind", "level"),
    [
        ("model-signed", "pass", None),
        ("documented", "review", None),
        ("licence", "fail", "error"),
        ("fresh", "fail", "error"),
        ("evaluated", "fail", "error"),
        ("sized", "fail", "warning"),
        ("scanned", "open", None),
        ("custom", "open", None),
        ("told", "open", None),
        ("deployed", "notApplicable", None),
    ],
)
def test_every_verdict_has_its_kind(rule_id: str, kind: str, level: str | None) -> None:
    found = [item for item in run(EVERY)["results"] if item["ruleId"] == rule_id]
    assert {item["kind"] for item in found} == {kind}
    assert {item.get("level") for item in found} == {level}  # 3.27.10: a level other than none only with fail


def test_results_and_rules() -> None:
    made = run(EVERY)
    driver = made["tool"]["driver"]
    assert [item["id"] for item in driver["rules"]] == [result.rule for result in EVERY.results]
    licences = [item for item in made["results"] if item["ruleId"] == "licence"]
    assert len(licences) == len(LICENCES)
    assert licences[3]["message"]["text"] == f"{LICENCES[3].message} (at components[3].licenses)"
    assert licences[3]["properties"]["details"] == LICENCES[3].details
    assert "needs" in licences[0]["properties"] and "needs" not in licences[1]["properties"]
    for item in made["results"]:
        assert driver["rules"][item["ruleIndex"]]["id"] == item["ruleId"]
        assert len(item["locations"]) == 1
        place = item["locations"][0]["physicalLocation"]
        assert place == {"artifactLocation": {"uri": "p.yml"}, "region": {"startLine": 7}}
        assert item["locations"][0]["logicalLocations"][0]["name"] == "bert"
    rule_ = driver["rules"][2]
    assert "ask the legal department" in rule_["help"]["text"]
    assert rule_["properties"]["security-severity"] == "8.0"
    assert rule_["defaultConfiguration"] == {"level": "error"}


def test_taxonomies_resolve() -> None:
    made = run(EVERY)
    taxonomies = made["taxonomies"]
    assert [item["name"] for item in taxonomies] == ["NIST AI RMF", "MITRE ATLAS", "SLSA"]
    seen = set()
    references = [taxon for item in made["results"] for taxon in item.get("taxa", ())]
    references += [link["target"] for item in made["tool"]["driver"]["rules"] for link in item.get("relationships", ())]
    for reference in references:
        component = taxonomies[reference["toolComponent"]["index"]]
        assert component["name"] == reference["toolComponent"]["name"]
        assert component["taxa"][reference["index"]]["id"] == reference["id"]
        seen.add(reference["id"])
    assert seen == {id for result in EVERY.results for ids in result.frameworks.values() for id in ids}
    atlas = next(item for item in taxonomies if item["name"] == "MITRE ATLAS")
    assert atlas["version"][0].isdigit()
    signing = next(item for item in atlas["taxa"] if item["id"] == "AML.M0013")
    assert signing["name"] == "Code Signing" and signing["helpUri"].endswith("/mitigations/AML.M0013")
    assert made["tool"]["driver"]["supportedTaxonomies"][1] == {"name": "MITRE ATLAS", "index": 1}


def test_the_invocation_tells_the_answer() -> None:
    told = [run(made)["invocations"][0] for made in (ACCEPTED, EVERY, UNDECIDED)]
    assert [item["exitCode"] for item in told] == [0, 1, 3]
    assert [item["executionSuccessful"] for item in told] == [True, False, True]
    assert told[1]["toolExecutionNotifications"][0]["associatedRule"] == {"id": "custom", "index": 6}
    properties = run(EVERY)["properties"]
    assert (properties["verdict"], properties["accepted"]) == ("error", False)


def fingerprints(made: Decision) -> list[str]:
    return [item["partialFingerprints"]["assayViolation/v1"] for item in run(made)["results"]]


def test_fingerprints_are_stable_and_distinct() -> None:
    base = fingerprints(EVERY)
    assert len(set(base)) == len(base)
    moved = tuple(
        replace(result, line=99, reason="other words", violations=result.violations[::-1]) for result in EVERY.results
    )
    later = replace(EVERY, time=EVERY.time + timedelta(days=1), results=moved[::-1], sha256="99" * 32)
    assert set(fingerprints(later)) == set(base)
    assert not set(fingerprints(replace(EVERY, name="other"))) & set(base)
    assert not set(fingerprints(replace(EVERY, policy=replace(EVERY.policy, id="other")))) & set(base)
    twice = decision(rule("a", Verdict.FAIL, violations=(Violation("x"), Violation("x"))))
    assert len(set(fingerprints(twice))) == 2


def test_no_more_results_than_consumers_take() -> None:
    many = tuple(Violation(f"v{i}") for i in range(30_000))
    made = sarif.render(
        decision(rule("a", Verdict.FAIL, violations=many), rule("b", Verdict.FAIL, violations=many[:9]))
    )
    results = made["runs"][0]["results"]
    assert len(results) == sarif.MAX_RESULTS
    assert {item["ruleId"] for item in results} == {"a", "b"}
    assert made["runs"][0]["properties"]["resultsLeftOut"] == 30_009 - 25_000


@pytest.mark.parametrize("file", [*HOSTILE, "a/../../b.yml", "C:\\x\\y.yml", "a b.yml", "http://h.example/p.yml"])
def test_locations_are_relative_and_inside(file: str) -> None:
    (item,) = run(decision(rule("a", Verdict.FAIL, file=file, line=-5)))["results"]
    place = item["locations"][0]["physicalLocation"]
    uri = place["artifactLocation"]["uri"]
    assert uri and not uri.startswith("/") and ".." not in uri.split("/") and ":" not in uri
    assert place["region"]["startLine"] == 1


def test_messages_hold_no_links() -> None:
    (item,) = run(decision(rule("a", Verdict.FAIL, level=Level.NOTE, reason="[click](https://evil.example)")))[
        "results"
    ]
    assert "](" not in item["message"]["text"]


@settings(max_examples=60, deadline=None)
@given(decisions)
def test_random_decisions_are_valid(made: Decision) -> None:
    run(made)
