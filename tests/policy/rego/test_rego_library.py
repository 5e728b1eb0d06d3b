"""The modules that published rules import: what they say of evidence, and that unreadable evidence is not allowed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from assay.policy.rego import library
from assay.policy.rego.contract import RegoResult, read_result
from assay.policy.rego.interface import Query
from assay.policy.rego.regorus import RegorusEngine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SARIF = """package verify
import data.sarif
import data.scribe as scribe
default allow = false
default asset = {}
asset = scribe.get_asset_data(input.evidence)
verify = v {
	v := {
		"allow": allow,
		"violation": {"type": "SARIF", "details": violations},
		"asset": asset,
		"summary": [{"allow": allow, "reason": sprintf("%d", [count(violations)]), "violations": count(violations)}],
	}
}
allow {
	sarif.allow(input.config.args) == {true}
}
violations = v {
	v := sarif.violations(input.config.args)
}
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[RegorusEngine]:
    with RegorusEngine() as opened:
        yield opened


def result(rule: str, level: str | None = None, **more: Any) -> dict[str, Any]:
    return {"ruleId": rule, "message": {"text": f"about {rule}"}, **({"level": level} if level else {}), **more}


LOG = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "Scan",
                    "rules": [
                        {"id": "A", "defaultConfiguration": {"level": "error"}, "properties": {"precision": "high"}},
                        {
                            "id": "B",
                            "defaultConfiguration": {"level": "note"},
                            "properties": {"security-severity": "9.8"},
                        },
                    ],
                }
            },
            "results": [
                result(
                    "A",
                    locations=[{"physicalLocation": {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 3}}}],
                ),
                result("B"),
                result("C"),
                result("A", kind="pass"),
            ],
        },
        {"tool": {"driver": {"name": "Other"}}, "results": [result("D", "error")]},
    ],
}


def ask(engine: RegorusEngine, predicate: Any, **arguments: Any) -> RegoResult:
    evidence = {
        "predicateType": "t",
        "subject": [{"name": "model", "annotations": {"revision": "r1"}}],
        "predicate": predicate,
    }
    inputs = [{"evidence": evidence, "config": {"args": arguments}}]
    return read_result(engine.evaluate(Query({"rule.rego": SARIF}), inputs, now=NOW)[0])


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        ({}, "ABCD"),
        ({"rule_ids": [], "rule_level": [], "precision": [], "ignore": []}, "ABCD"),
        ({"rule_ids": ["A", "D"]}, "AD"),
        ({"ignore": ["A"]}, "BCD"),
        ({"ignore": "all"}, ""),
        ({"rule_level": ["error"]}, "AD"),
        ({"rule_level": ["warning"]}, "C"),
        ({"rule_level": ["note", "error"]}, "ABD"),
        ({"precision": ["high"]}, "ACD"),
        ({"precision": ["9.8"]}, "BCD"),
    ],
)
def test_results_that_count(engine: RegorusEngine, arguments: dict[str, Any], rules: str) -> None:
    found = ask(engine, {"content": LOG}, max_allowed=0, **arguments)
    assert found.error is None
    assert "".join(violation.details["ruleID"] for violation in found.violations) == rules
    assert found.allow is (rules == "")
    assert ask(engine, {"content": LOG}, max_allowed=len(rules), **arguments).allow is True


def test_a_result_is_described(engine: RegorusEngine) -> None:
    first = ask(engine, LOG).violations[0]
    assert first.message == "SARIF: about A"
    assert first.details["file"] == "a.py" and first.details["region"] == {"startLine": 3}


@pytest.mark.parametrize(
    "predicate",
    [
        *({}, [], 3),
        *({"content": content} for content in ({}, {"runs": []}, {"runs": [{}]}, {"runs": "x"}, "%", "e30=", 3)),
        {"runs": [{"tool": {}, "results": {}}]},
    ],
)
@pytest.mark.parametrize("allowed", [0, 5])
def test_what_is_no_log_is_not_allowed(engine: RegorusEngine, predicate: Any, allowed: int) -> None:
    assert ask(engine, predicate, max_allowed=allowed).allow is False


def test_logs_as_text(engine: RegorusEngine) -> None:
    import base64
    import json

    text = json.dumps(LOG)
    for content in (text, base64.b64encode(text.encode()).decode()):
        assert len(ask(engine, {"content": content}).violations) == 4
    assert ask(engine, {"content": LOG}, max_allowed="9").allow is False


def test_assets(engine: RegorusEngine) -> None:
    assert ask(engine, {"content": LOG}).asset["name"] == "model"
    assert ask(engine, {"content": LOG}).asset["version"] == "r1"
    wrapped = {"environment": {"sbomname": "bom", "target_type": "git", "labels": ["a=b"]}, "content": LOG}
    asset = ask(engine, wrapped).asset
    assert (asset["name"], asset["type"], asset["labels"]) == ("bom", "git", ["a=b"])
    odd = Query({"r.rego": "package verify\nimport data.scribe\nverify := scribe.get_asset_data(input)"})
    answers = engine.evaluate(odd, [{}, {"predicate": 3, "subject": [7]}, {"subject": {}}], now=NOW)
    assert [(answer.error, answer.value["name"]) for answer in answers] == [(None, "")] * 3


@pytest.mark.parametrize(
    "text",
    [
        "package verify\nimport data.superset.policy as p\nverify := 1",
        'package verify\nverify := data["superset"].x',
        "package verify\nverify := 1 { not data . superset.x }",
    ],
)
def test_the_service_is_not_there(engine: RegorusEngine, text: str) -> None:
    (answer,) = engine.evaluate(Query({"r.rego": text}), [{}], now=NOW)
    assert answer.error is not None and answer.error.startswith("r.rego: the rule asks data.superset")


def test_only_what_is_used_is_added() -> None:
    assert library.needed({"a": "package verify\nverify := 1"}) == {}
    assert list(library.needed({"a": "import data.scribe"})) == ["library/scribe.rego"]
    assert library.needed({"a": "import data.scribe", "b": "package scribe\nget_asset_data(x) := 1"}) == {}
    assert library.unavailable({"a": "# import data.superset\npackage verify"}) is None
