"""What the native language demands, rule by rule, and the ways to fool such rules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assay.evidence.compare import Difference
from assay.policy.verdict import Kind, Verdict
from policy_making import MODEL, NOW, case, decided, item, policy, verdict

SIGNED = "  - {id: signed, require: {evidence: model-signature}}\n"
DATA = "ab" * 32


def test_evidence_by_those_whom_the_caller_trusts_passes() -> None:
    decision = decided(SIGNED, case(item("model-signature")))
    assert decision.verdict is Verdict.PASS
    assert decision.exit_code == 0
    assert [used.signers for used in decision.results[0].used] == [("key alice",)]


def test_no_evidence_is_missing_and_says_what_would_help() -> None:
    decision = decided(SIGNED, case())
    result = decision.results[0]
    assert (result.verdict, decision.exit_code) == (Verdict.MISSING, 3)
    assert result.needs[0].kind is Kind.ATTEST
    assert result.needs[0].command == "assay sign TARGET"


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("endpoint", "assay gateway attest --gateway FILE"),
        ("drift", "assay monitor check --baseline FILE --data DATA --target TARGET"),
    ],
)
def test_what_is_watched_at_the_api_has_a_command_of_its_own(kind: str, command: str) -> None:
    rules = f"  - {{id: watched, require: {{evidence: monitoring, monitoring: {{kind: {kind}}}}}}}\n"
    assert decided(rules, case()).results[0].needs[0].command == command


@pytest.mark.parametrize(
    ("evidence", "expected", "code"),
    [
        (item("model-signature", by=()), Verdict.UNTRUSTED, 1),
        (item("model-signature", groups=("others",)), Verdict.UNTRUSTED, 1),
        (item("evaluation"), Verdict.MISSING, 3),
        (item("model-signature", matched=False), Verdict.MISSING, 3),
        (item("model-signature", matched=False, difference=Difference(modified=("weights.bin",))), Verdict.FAIL, 1),
        (item("model-signature", by=(), matched=False, difference=Difference(modified=("w",))), Verdict.MISSING, 3),
        (item("model-signature", discarded=True), Verdict.MISSING, 3),
    ],
)
def test_evidence_that_does_not_suffice(evidence, expected: Verdict, code: int) -> None:
    decision = decided(SIGNED, case(evidence))
    assert (decision.verdict, decision.exit_code) == (expected, code)


def test_a_document_cannot_say_that_it_is_signed() -> None:
    """Scribe's image-signed rule believed the payload's own ``content_type: attest-cyclonedx-json``."""
    lie = {"environment": {"content_type": "attest-cyclonedx-json", "signed": True}, "signed": True, "verified": True}
    said = {"signed": True, "context": {"signed": "true"}, "proof": {"signer": "alice"}, "groups": ["trusted"]}
    assert verdict("  - {id: s, require: {evidence: cyclonedx}}\n", item("cyclonedx", lie, by=(), said=said)) is (
        Verdict.UNTRUSTED
    )


def test_fresh_enough() -> None:
    rules = "  - {id: fresh, require: {evidence: evaluation, max-age: 7d}}\n"
    assert verdict(rules, item("evaluation", age=timedelta(days=6))) is Verdict.PASS
    assert verdict(rules, item("evaluation", age=timedelta(days=8))) is Verdict.STALE
    assert verdict(rules, item("evaluation", age=None)) is Verdict.STALE
    assert verdict(rules, item("evaluation", age=timedelta(days=-1))) is Verdict.STALE


def test_a_proved_time_counts_over_a_claimed_one() -> None:
    rules = "  - {id: fresh, require: {evidence: evaluation, max-age: 7d}}\n"
    old = NOW - timedelta(days=30)
    assert verdict(rules, item("evaluation", age=timedelta(hours=1), proved_at=old)) is Verdict.STALE
    proved = "  - {id: fresh, require: {evidence: evaluation, max-age: 7d, proved-time: true}}\n"
    assert verdict(proved, item("evaluation", age=timedelta(hours=1))) is Verdict.STALE
    assert verdict(proved, item("evaluation", proved_at=NOW - timedelta(hours=2))) is Verdict.PASS


def test_thresholds_on_fields() -> None:
    rules = "  - {id: good, require: {evidence: evaluation, where: ['evaluation.accuracy >= 0.9']}}\n"

    def evaluation(accuracy: object):
        return item("evaluation", {"dataset": "d", "metrics": {"accuracy": accuracy}})

    assert verdict(rules, evaluation(0.93)) is Verdict.PASS
    assert verdict(rules, evaluation(0.87)) is Verdict.FAIL
    assert verdict(rules, evaluation("0.99")) is Verdict.FAIL
    assert verdict(rules, evaluation(True)) is Verdict.FAIL
    assert verdict(rules, item("evaluation", {})) is Verdict.FAIL
    assert "0.87" in decided(rules, case(evaluation(0.87))).results[0].reason


def test_any_piece_of_evidence_may_satisfy_and_contradictions_are_told() -> None:
    rules = "  - {id: good, require: {evidence: evaluation, where: ['accuracy >= 0.9']}}\n"
    good = item("evaluation", {"metrics": {"accuracy": 0.95}}, seq=1)
    bad = item("evaluation", {"metrics": {"accuracy": 0.5}}, seq=2)
    decision = decided(rules, case(bad, good))
    assert decision.verdict is Verdict.PASS
    assert "newer and does not hold" in decision.results[0].notes[0]


def test_newest_counts_alone_when_the_log_is_whole() -> None:
    rules = "  - {id: good, require: {evidence: evaluation, newest: true, where: ['accuracy >= 0.9']}}\n"
    good = item("evaluation", {"metrics": {"accuracy": 0.95}}, seq=1)
    bad = item("evaluation", {"metrics": {"accuracy": 0.5}}, seq=2)
    assert verdict(rules, bad, good) is Verdict.FAIL
    assert verdict(rules, good) is Verdict.PASS
    assert verdict(rules, good, incomplete="an entry is missing") is Verdict.ERROR
    # Nobody unexpected may veto, and what was taken back does not bring older evidence back.
    stranger = item("evaluation", {"metrics": {"accuracy": 0.1}}, by=(), seq=3)
    assert verdict(rules, stranger, good) is Verdict.PASS
    taken_back = item("evaluation", {"metrics": {"accuracy": 0.5}}, seq=2, discarded=True)
    assert verdict(rules, taken_back, good) is Verdict.MISSING


def test_k_of_n_different_signers() -> None:
    rules = "  - {id: two, require: {evidence: evaluation, threshold: 2}}\n"
    same = {"metrics": {"accuracy": 0.95}}
    assert verdict(rules, item("evaluation", same, by=("alice", "bob"))) is Verdict.PASS
    assert verdict(rules, item("evaluation", same, by=("alice",)), item("evaluation", same, by=("bob",), seq=2)) is (
        Verdict.PASS
    )
    # One person twice is one; two people who say different things do not say it together.
    twice = [item("evaluation", same, by=("alice",), seq=seq) for seq in (1, 2, 3)]
    assert verdict(rules, *twice) is Verdict.UNTRUSTED
    other = item("evaluation", {"metrics": {"accuracy": 0.5}}, by=("bob",), seq=2)
    assert verdict(rules, item("evaluation", same, by=("alice",)), other) is Verdict.UNTRUSTED
    stale = rules.replace("threshold: 2", "threshold: 2, max-age: 1d")
    old = item("evaluation", same, by=("bob",), seq=2, age=timedelta(days=3))
    # Bob said it long ago: with him there are two, and what they say together is stale.
    assert verdict(stale, item("evaluation", same, by=("alice",)), old) is Verdict.STALE


def test_builders_are_believed_with_their_own_signers_only() -> None:
    rules = """\
assay-policy: 1
id: b
signers:
  github: {identities: [{identity: w, issuer: "https://i.example"}]}
  jenkins: {identities: [{identity: j, issuer: "https://i.example"}]}
controls:
- id: c
  rules:
  - id: built
    require:
      evidence: slsaprovenance
      signed-by: [github, jenkins]
      builder: [{id: "https://github.example/*", signed-by: github}, {id: "https://ci.example/*", signed-by: jenkins}]
"""

    def provenance(builder: str, group: str):
        return item("slsaprovenance", {"runDetails": {"builder": {"id": builder}}}, groups=(group,))

    assert verdict(rules, provenance("https://github.example/w", "github")) is Verdict.PASS
    assert verdict(rules, provenance("https://github.example/w", "jenkins")) is Verdict.UNTRUSTED
    assert verdict(rules, provenance("https://evil.example/w", "github")) is Verdict.UNTRUSTED
    assert verdict(rules, item("slsaprovenance", {}, groups=("github",))) is Verdict.UNTRUSTED


TRAINED = """\
  - id: trained
    require:
      evidence:
        training: slsaprovenance
        data: {type: cyclonedx, linked: true}
      edges: [data -> training]
      order: [data, training]
"""


def training(*digests: str, **changes):
    inputs = [{"uri": "file:data", "digest": {"sha256": digest}} for digest in digests]
    return item("slsaprovenance", {"buildDefinition": {"resolvedDependencies": inputs}}, **changes)


def test_digest_edges_lead_to_evidence_about_the_inputs() -> None:
    data = item("cyclonedx", subject=DATA, name="data", matched=True, age=timedelta(hours=5))
    assert decided(TRAINED, case(training(DATA), linked=[data])).verdict is Verdict.PASS
    assert decided(TRAINED, case(training("cd" * 32), linked=[data])).verdict is Verdict.MISSING
    assert decided(TRAINED, case(training(DATA))).verdict is Verdict.MISSING
    unsigned = item("cyclonedx", subject=DATA, matched=True, by=())
    assert decided(TRAINED, case(training(DATA), linked=[unsigned])).verdict is Verdict.UNTRUSTED
    # A data set that was attested after the training cannot be what was looked at before it.
    late = item("cyclonedx", subject=DATA, matched=True, age=timedelta(minutes=1))
    assert decided(TRAINED, case(training(DATA), linked=[late])).verdict is Verdict.FAIL
    # An unsigned training statement leads nowhere.
    assert decided(TRAINED, case(training(DATA, by=()), linked=[data])).verdict is Verdict.MISSING


def test_weak_digests_are_no_edge() -> None:
    weak = item(
        "slsaprovenance", {"buildDefinition": {"resolvedDependencies": [{"uri": "d", "digest": {"sha1": "a" * 40}}]}}
    )
    assert decided(TRAINED, case(weak)).verdict is Verdict.MISSING


def test_the_same_commit_in_all_of_them() -> None:
    rules = "  - {id: same, require: {evidence: [cyclonedx, evaluation], same: [git_commit]}}\n"

    def at(kind: str, commit: str | None, seq: int = 1):
        return item(kind, said={"context": {"git_commit": commit}} if commit else {}, seq=seq)

    assert verdict(rules, at("cyclonedx", "a" * 40), at("evaluation", "a" * 40)) is Verdict.PASS
    assert verdict(rules, at("cyclonedx", "a" * 40), at("evaluation", "b" * 40)) is Verdict.FAIL
    assert verdict(rules, at("cyclonedx", "a" * 40), at("evaluation", None)) is Verdict.FAIL
    # Some combination fits, though the newest ones do not.
    assert (
        verdict(rules, at("cyclonedx", "a" * 40), at("evaluation", "b" * 40, 3), at("evaluation", "a" * 40, 2))
        is Verdict.PASS
    )


def test_labels_select_signed_labels() -> None:
    rules = "  - {id: staged, require: {evidence: cyclonedx, labels: {stage: 'prod*'}}}\n"
    assert verdict(rules, item("cyclonedx", labels={"stage": "production"})) is Verdict.PASS
    assert verdict(rules, item("cyclonedx", labels={"stage": "test"})) is Verdict.MISSING
    assert verdict(rules, item("cyclonedx")) is Verdict.MISSING


def test_rules_are_skipped_only_when_the_caller_contradicts_them() -> None:
    rules = "  - {id: s, when: {gate: deploy, target: model, labels: {env: prod}}, require: {evidence: cyclonedx}}\n"
    assert verdict(rules) is Verdict.MISSING
    assert verdict(rules, gate="deploy", kind="model", labels={"env": "prod"}) is Verdict.MISSING
    for changes in ({"gate": "train"}, {"kind": "dataset"}, {"labels": {"env": "test"}}):
        decision = decided(rules, case(item("cyclonedx"), **changes))
        assert (decision.verdict, decision.exit_code) == (Verdict.NOT_APPLICABLE, 3), changes
    # What evidence says of itself never switches a rule off.
    assert verdict(rules, item("cyclonedx", by=(), labels={"env": "test"})) is Verdict.UNTRUSTED


def test_levels() -> None:
    missing = "  - {id: w, level: warning, require: {evidence: cyclonedx}}\n"
    present = "  - {id: e, require: {evidence: evaluation}}\n"
    note = "  - {id: n, level: note, require: {evidence: cyclonedx}}\n"
    assert verdict(missing + present, item("evaluation")) is Verdict.WARN
    assert verdict(note + present, item("evaluation")) is Verdict.PASS
    assert verdict(note) is Verdict.NOT_APPLICABLE
    assert verdict(missing) is Verdict.WARN


def test_an_expired_policy_accepts_nothing() -> None:
    rule = "{id: r, require: {evidence: cyclonedx}}"
    text = f"assay-policy: 1\nid: old\nexpires: 2026-05-31\ncontrols:\n- {{id: c, rules: [{rule}]}}\n"
    decision = decided(policy(text), case(item("cyclonedx")))
    assert (decision.verdict, decision.exit_code) == (Verdict.ERROR, 3)
    assert "expired" in decision.results[0].reason


def test_the_overall_verdict_is_the_worst_and_a_refusal_is_a_refusal() -> None:
    rules = (
        "  - {id: a, require: {evidence: cyclonedx}}\n  - {id: b, require: {evidence: evaluation, where: ['x == 1']}}\n"
    )
    decision = decided(rules, case(item("evaluation", {"x": 2})))
    assert [result.verdict for result in decision.results] == [Verdict.MISSING, Verdict.FAIL]
    assert (decision.verdict, decision.exit_code) == (Verdict.MISSING, 1)


def test_too_many_combinations_end_as_an_error() -> None:
    rules = "  - {id: same, require: {evidence: [cyclonedx, evaluation], same: [run_id]}}\n"
    many = [
        item(kind, said={"context": {"run_id": f"{kind}{i}"}}, seq=i)
        for kind in ("cyclonedx", "evaluation")
        for i in range(500)
    ]
    assert decided(rules, case(*many)).verdict is Verdict.ERROR


def test_evidence_about_another_thing_with_the_same_name_does_not_count() -> None:
    other = item("model-signature", subject="ef" * 32, name="model")
    assert MODEL != "ef" * 32
    assert verdict(SIGNED, other) is Verdict.MISSING


def test_a_report_of_another_kind_is_not_the_newest_of_this_kind() -> None:
    """A model is scanned for code, then for secrets: the second scan says nothing of the first."""
    rules = "  - {id: s, require: {evidence: scan, newest: true, scan: {kind: models}}}\n"

    def scan(kind: str, tier: str, seq: int):
        file = {"path": "m", "tier": tier, "digest": {"sha256": MODEL}}
        return item("scan", {"kind": kind, "verdict": tier, "files": [file], "skipped": []}, seq=seq)

    assert verdict(rules, scan("models", "safe", 1), scan("secrets", "none", 2)) is Verdict.PASS
    assert verdict(rules, scan("models", "malicious", 1), scan("secrets", "none", 2)) is Verdict.FAIL
    assert verdict(rules, scan("models", "safe", 1), scan("models", "malicious", 2)) is Verdict.FAIL
    assert verdict(rules, scan("secrets", "none", 2)) is Verdict.MISSING
