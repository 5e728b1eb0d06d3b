"""The predicates that a decision becomes, read by the in-toto bindings where there are any, and what they never say."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2

from assay.errors import DocumentError
from assay.evidence import predicates
from assay.evidence.predicates import svr as svr_type
from assay.evidence.predicates import verdict as verdict_type
from assay.evidence.predicates import vsa as vsa_type
from assay.evidence.statement import Statement, Subject, parse
from assay.policy.documents import attestations
from assay.policy.verdict import Decision, Kind, Level, Need, Verdict, Violation
from policy.documents.decisions import ACCEPTED, ANSWERS, EVERY, UNDECIDED, decision, decisions, rule, used

RESULT = "5e" * 32
BINDINGS_ARE_WRONG = ("verifiedLevels",)
"""in_toto_attestation 0.9.3 has one string where the specification has a list."""


def slsa(number: int, verdict: Verdict, **changes: Any) -> Any:
    return rule(f"l{number}-{verdict}", verdict, frameworks={"slsa": (f"SLSA_BUILD_LEVEL_{number}",)}, **changes)


@pytest.mark.parametrize("answer", ANSWERS)
def test_they_are_statements(answer: str) -> None:
    made = ANSWERS[answer]
    for kind, predicate in (attestations.result(made), attestations.vsa(made, RESULT), attestations.svr(made, RESULT)):
        predicates.check(kind, predicate)
        data = Statement((Subject(made.name, {"sha256": made.sha256}),), kind, predicate).dump()
        assert parse(data, "statement").predicate == predicate
        assert json_format.Parse(data, statement_pb2.Statement()).predicate_type == kind


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_bindings_read_the_summary(answer: str) -> None:
    _, predicate = attestations.vsa(ANSWERS[answer], RESULT)
    seen = {key: value for key, value in predicate.items() if key not in BINDINGS_ARE_WRONG}
    # Unknown: verifier.version, which the bindings do not have yet, and our extension, which is named by a URI.
    parsed = json_format.ParseDict(seen, vsa_pb2.VerificationSummary(), ignore_unknown_fields=True)
    again = json_format.MessageToDict(parsed)
    assert {key: value for key, value in seen.items() if "://" not in key} == again | {
        "verifier": predicate["verifier"]
    }


def test_the_summary_in_full() -> None:
    kind, predicate = attestations.vsa(ACCEPTED, RESULT)
    assert kind == vsa_type.PREDICATE_TYPE
    assert predicate == {
        "verifier": {"id": attestations.VERIFIER, "version": predicate["verifier"]["version"]},
        "timeVerified": "2026-06-01T12:00:00Z",
        "resourceUri": "pkg:generic/bert",
        "policy": {"uri": "builtin:ml-baseline", "digest": {"sha256": "ab" * 32}},
        "inputAttestations": [{"digest": {"sha256": "c2" * 32}}, {"digest": {"sha256": "c3" * 32}}],
        "verificationResult": "PASSED",
        "verifiedLevels": ["SLSA_BUILD_LEVEL_2", "ASSAY_POLICY_ML_BASELINE"],
        "slsaVersion": "1.1",
        "https://assay.dev/verdict/v0.1": {"digest": {"sha256": RESULT}},
    }


def test_the_simple_result_in_full() -> None:
    kind, predicate = attestations.svr(ACCEPTED)
    assert kind == svr_type.PREDICATE_TYPE
    assert predicate == {
        "verifier": {
            "id": attestations.VERIFIER,
            "policies": [{"name": "ml-baseline", "uri": "builtin:ml-baseline", "digest": {"sha256": "ab" * 32}}],
        },
        "timeCreated": "2026-06-01T12:00:00Z",
        "properties": [
            "SLSA_BUILD_LEVEL_2",
            "ASSAY_POLICY_ML_BASELINE",
            "ASSAY_RULE_ML_BASELINE.MODEL_SIGNED",
            "ASSAY_RULE_ML_BASELINE.BUILT",
        ],
    }


@pytest.mark.parametrize("made", [EVERY, UNDECIDED, decision(), replace(EVERY, results=EVERY.results[-1:])])
def test_what_is_not_accepted_never_passed(made: Decision) -> None:
    _, summary = attestations.vsa(made)
    assert (summary["verificationResult"], summary["verifiedLevels"]) == ("FAILED", ["FAILED"])
    _, simple = attestations.svr(made)
    assert not [name for name in simple["properties"] if "ASSAY_POLICY" in name]


def test_a_rejected_decision_lists_what_did_pass() -> None:
    _, simple = attestations.svr(EVERY)
    assert simple["properties"] == [
        "SLSA_BUILD_LEVEL_2",
        "ASSAY_RULE_ML_BASELINE.MODEL_SIGNED",
        "ASSAY_RULE_ML_BASELINE.BUILT",
    ]


@pytest.mark.parametrize(
    ("results", "levels"),
    [
        ([slsa(2, Verdict.PASS)], ["SLSA_BUILD_LEVEL_2"]),
        ([slsa(1, Verdict.PASS), slsa(3, Verdict.PASS)], ["SLSA_BUILD_LEVEL_3"]),
        ([slsa(2, Verdict.PASS), slsa(3, Verdict.FAIL, level=Level.NOTE)], ["SLSA_BUILD_LEVEL_2"]),
        ([slsa(3, Verdict.PASS), slsa(2, Verdict.FAIL, level=Level.NOTE)], []),
        ([slsa(2, Verdict.PASS), slsa(2, Verdict.STALE, level=Level.WARNING)], []),
        ([slsa(2, Verdict.WARN)], []),
        ([slsa(2, Verdict.PASS), slsa(1, Verdict.NOT_APPLICABLE)], ["SLSA_BUILD_LEVEL_2"]),
        ([slsa(9, Verdict.PASS)], []),
        ([rule("a", Verdict.PASS, frameworks={"slsa": ("SLSA_MADE_UP_LEVEL_3", "SLSA_BUILD_LEVEL_33")})], []),
        ([rule("a", Verdict.PASS, frameworks={"atlas": ("SLSA_BUILD_LEVEL_3",)})], []),
    ],
)
def test_levels(results: list[Any], levels: list[str]) -> None:
    made = decision(rule("other", Verdict.PASS), *results)
    for predicate, field in ((attestations.vsa(made)[1], "verifiedLevels"), (attestations.svr(made)[1], "properties")):
        assert [level for level in predicate[field] if level.startswith("SLSA_")] == levels


def test_a_policy_of_which_rules_were_left_out_says_so() -> None:
    made = decision(rule("a", Verdict.PASS), rule("b", Verdict.NOT_APPLICABLE))
    assert attestations.vsa(made)[1]["verifiedLevels"] == ["ASSAY_POLICY_ML_BASELINE.APPLICABLE_RULES"]
    assert "ASSAY_POLICY_ML_BASELINE" not in attestations.svr(made)[1]["properties"]


def test_two_rules_of_one_name_must_both_pass() -> None:
    for verdicts in ((Verdict.PASS, Verdict.FAIL), (Verdict.FAIL, Verdict.PASS)):
        made = decision(
            *(rule(name, verdict) for name, verdict in zip(("no-pickle", "no_pickle"), verdicts, strict=True))
        )
        assert attestations.svr(made)[1]["properties"] == []


def test_a_custom_level_never_looks_like_slsa() -> None:
    made = decision(rule("SLSA_BUILD_LEVEL_3", Verdict.PASS), policy=replace(EVERY.policy, id="SLSA_BUILD_LEVEL_3"))
    names = attestations.vsa(made)[1]["verifiedLevels"] + attestations.svr(made)[1]["properties"]
    assert names and all(name.startswith("ASSAY_") for name in names)


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("dir:/home/somebody/models/bert", "pkg:generic/bert"),
        ("hf:org/bert@" + "a" * 40, "pkg:huggingface/org/bert@" + "a" * 40),
        ("git:https://github.com/Org/bert@" + "b" * 40, "pkg:github/org/bert@" + "b" * 40),
        ("git:/home/somebody/bert@" + "b" * 40, "pkg:generic/bert@" + "b" * 40),
        ("git:https://user:secret@git.example/bert.git@" + "b" * 40, None),
        ("git:git@git.example:org/bert.git", None),
    ],
)
def test_the_resource_has_no_path_and_no_secret(target: str, uri: str | None) -> None:
    found = attestations.resource_uri(replace(ACCEPTED, target=target))
    assert uri is None or found == uri
    assert found.startswith("pkg:") and "someone" not in found and "secret" not in found


def test_a_summary_for_one_gate_is_none_for_another() -> None:
    uris = {
        attestations.resource_uri(replace(ACCEPTED, gate=gate, labels=labels))
        for gate in (None, "build", "deploy")
        for labels in ({}, {"stage": "dev"}, {"stage": "a&gate=deploy"})
    }
    assert len(uris) == 9


def test_the_full_result() -> None:
    kind, predicate = attestations.result(EVERY)
    read = predicates.read(kind, predicate)
    assert (read.verdict, read.accepted, read.gate, read.kind, read.labels) == (
        "error",
        False,
        "build",
        "model",
        {"team": "nlp"},
    )
    assert [(item.id, item.verdict, item.effective) for item in read.rules] == [
        (result.rule, result.verdict.value, result.effective.value) for result in EVERY.results
    ]
    licence = read.rules[2]
    assert licence.violation_count == 42 and licence.violations[1].details["package"] == "readline1"
    assert licence.needs[0].command == "assay bom TARGET -o attest"
    assert licence.used[0].digest == {"sha256": "c1" * 32}
    assert licence.frameworks["airmf"] == ["GOVERN 6.1"]
    assert read.policy.digest == {"sha256": "ab" * 32} and read.policy.signer is None


def test_the_full_result_is_bounded_and_names_no_folder() -> None:
    many = tuple(Violation("x" * 9000, details={"a": "y" * 9000}) for _ in range(5000))
    lying = replace(used(), source="/home/somebody/att/bom.json")
    made = decision(
        rule(
            "a",
            Verdict.FAIL,
            reason="cyclonedx in /home/somebody/att/bom.json does not hold",
            violations=many,
            used=(lying,),
            needs=(Need(Kind.CORRECT, "another /home/somebody/att/bom.json"),),
            notes=("/home/somebody/att/bom.json is old",),
        ),
        target="dir:/home/somebody/bert",
        evidence="/home/somebody/store",
        warnings=("/home/somebody/att/x.json cannot be read; see https://h.example/a/b",),
    )
    _, predicate = attestations.result(made)
    text = json.dumps(predicate)
    assert len(text) < 400_000
    assert predicate["rules"][0]["violationCount"] == 5000
    assert "someone" not in text
    assert "in bom.json does not hold" in text and "https://h.example/a/b" in text


def test_a_result_that_contradicts_itself_is_refused() -> None:
    _, valid = attestations.result(EVERY)

    def broken(**changes: Any) -> dict[str, Any]:
        return copy.deepcopy(valid) | changes

    better = copy.deepcopy(valid)
    better["rules"][2]["effective"] = "pass"
    counted = copy.deepcopy(valid)
    counted["rules"][2]["violationCount"] = 3
    needy = copy.deepcopy(valid)
    needy["rules"][0]["needs"] = [{"kind": "sign", "what": "x"}]
    for document, message in (
        (broken(verdict="pass", accepted=True), "verdict is pass where the rules say error"),
        (broken(accepted=True), "accepted is true"),
        (broken(rules=[], verdict="pass", accepted=True), "the rules say not-applicable"),
        (broken(rules=valid["rules"] * 2), "an id twice"),
        (broken(verdict="PASSED"), "verdict"),
        (broken(policy={**valid["policy"], "digest": {"sha256": "x"}}), "lower-case hex"),
        (better, "cannot count as pass"),
        (counted, "violationCount"),
        (needy, "neither needs nor violations"),
    ):
        with pytest.raises(DocumentError, match=message):
            predicates.check(verdict_type.PREDICATE_TYPE, document)


def test_the_words_are_those_of_the_lattice() -> None:
    assert tuple(sorted((item.value for item in Verdict), key=lambda word: Verdict(word).rank)) == verdict_type.ORDER
    assert set(verdict_type.ACCEPTING) == {item.value for item in Verdict if item.accepts}
    for level in Level:
        for verdict in Verdict:
            expected = rule("a", verdict, level=level).effective
            assert verdict_type.effective(level.value, verdict.value) == expected.value


@settings(max_examples=100, deadline=None)
@given(decisions)
def test_random_decisions_claim_nothing_that_did_not_pass(made: Decision) -> None:
    summary, simple = attestations.vsa(made)[1], attestations.svr(made)[1]
    assert (summary["verificationResult"] == "PASSED") == made.accepted
    policy_names = [name for name in simple["properties"] if name.startswith("ASSAY_POLICY_")]
    assert len(policy_names) == made.accepted
    passed = {
        attestations.name_of("ASSAY_RULE_", made.policy.id, result.rule)
        for result in made.results
        if result.verdict is Verdict.PASS
    }
    assert {name for name in simple["properties"] if name.startswith("ASSAY_RULE_")} <= passed
    inputs = {item["digest"]["sha256"] for item in summary.get("inputAttestations", ())}
    assert inputs == {item.digest for result in made.results for item in result.used}
    read = predicates.read(*attestations.result(made))
    assert read.verdict == made.verdict.value and read.accepted == made.accepted


def test_the_summaries_name_the_signed_result() -> None:
    kept: dict[str, tuple[str, dict[str, Any]]] = {}

    def keep(kind: str, predicate: dict[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps([kind, predicate]).encode()).hexdigest()
        kept[digest] = kind, predicate
        return digest

    digests = attestations.all_of(ACCEPTED, keep)
    assert [kept[digest][0] for digest in digests] == [
        verdict_type.PREDICATE_TYPE,
        vsa_type.PREDICATE_TYPE,
        svr_type.PREDICATE_TYPE,
    ]
    for digest in digests[1:]:
        kind, predicate = kept[digest]
        assert predicate[verdict_type.PREDICATE_TYPE] == {"digest": {"sha256": digests[0]}}
        predicates.check(kind, predicate)


def test_golden() -> None:
    made = dict([attestations.result(EVERY), attestations.svr(EVERY)])
    assert made == json.loads((Path(__file__).parent / "golden" / "attestations.json").read_text())
