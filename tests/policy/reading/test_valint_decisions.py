"""The published example from file to verdict, in all three forms, by the engine that answers it in earnest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from assay.policy.model import Policy
from assay.policy.reading import load
from assay.policy.rego import engine
from assay.policy.rego.interface import Engine
from assay.policy.sources import Loose, Packed
from assay.policy.verdict import RuleResult, Verdict
from policy_making import NOW, case, decided, item, nowhere

DATA = Path(__file__).parents[2] / "data" / "valint"
ORIGIN = {
    "origin": "https://huggingface.co/benjamin/wtp-bert-tiny",
    "revision": "c0ffee",
    "context": {"git_branch": "x"},
}


@pytest.fixture(scope="module")
def regorus() -> Iterator[Engine]:
    with engine("regorus") as made:
        yield made


def loose(entry: str, **given: Any) -> Policy:
    return load(Loose(str(DATA), f"file:{entry}"), entry, nowhere, given)


def initiative() -> Policy:
    root = DATA / "bundle"
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return load(Packed("git:bundle", files), "v2/initiatives/models.yaml", nowhere, {"licence": "mit"})


GENERATIONS = {
    "first": lambda: loose("verify-license.yml"),
    "second": lambda: loose("rules.valint.yaml"),
    "third": initiative,
}


def bill(licences: Any, components: Any = ()) -> Mapping[str, Any]:
    component = {"type": "machine-learning-model", "name": "wtp-bert-tiny", "licenses": licences}
    return {"bomFormat": "CycloneDX", "metadata": {"component": component}, "components": list(components)}


MIT = [{"license": {"id": "MIT"}}]


def result(made: Policy, rule: str, evidence: Any, engine_: Engine, **changes: Any) -> RuleResult:
    items = () if evidence is None else (evidence,)
    decision = decided(made, case(*items, **changes), lambda name: engine_)
    return next(found for found in decision.results if found.rule == rule)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    ("licences", "verdict"),
    [
        (MIT, Verdict.PASS),
        ([{"expression": "Apache-2.0 OR MIT"}], Verdict.PASS),
        ([{"license": {"id": "GPL-3.0-only"}}], Verdict.FAIL),
        ([{"expression": "MIT AND GPL-3.0-only"}], Verdict.FAIL),
        ([{"license": {"name": "other"}}], Verdict.FAIL),
        ([], Verdict.ERROR),  # no licence is attested, and nobody is asked
    ],
)
def test_the_article(generation: str, licences: Any, verdict: Verdict, regorus: Engine) -> None:
    evidence = item("cyclonedx", bill(licences), said=ORIGIN)
    assert result(GENERATIONS[generation](), "model-licence", evidence, regorus).verdict is verdict


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_article_without_its_evidence(generation: str, regorus: Engine) -> None:
    made = GENERATIONS[generation]()
    assert result(made, "model-licence", None, regorus).verdict is Verdict.MISSING
    unsigned = item("cyclonedx", bill(MIT), said=ORIGIN, by=())
    assert result(made, "model-licence", unsigned, regorus).verdict is Verdict.UNTRUSTED
    other = item("cyclonedx", bill(MIT), said=ORIGIN, matched=False)
    assert result(made, "model-licence", other, regorus).verdict is Verdict.MISSING
    taken_back = item("cyclonedx", bill(MIT), said=ORIGIN, discarded=True)
    assert result(made, "model-licence", taken_back, regorus).verdict is Verdict.MISSING
    another_kind = item("spdx", {"licence": "mit"}, said=ORIGIN)
    assert result(made, "model-licence", another_kind, regorus).verdict is Verdict.MISSING


def test_a_document_cannot_sign_itself(regorus: Engine) -> None:
    forged = {**bill(MIT), "verified": {"signed": True}, "signed": True}
    evidence = item("cyclonedx", forged, said={**ORIGIN, "signed": True}, by=())
    assert result(loose("verify-license.yml"), "model-licence", evidence, regorus).verdict is Verdict.UNTRUSTED


def test_a_gate_of_the_third_generation(regorus: Engine) -> None:
    evidence = item("cyclonedx", bill(MIT), said=ORIGIN, labels={"team": "vision"})
    made = initiative()
    assert result(made, "model-licence", evidence, regorus, gate="Build").verdict is Verdict.PASS
    assert result(made, "model-licence", evidence, regorus, gate="Deploy").verdict is Verdict.NOT_APPLICABLE
    assert result(made, "bom-exists", evidence, regorus).verdict is Verdict.PASS
    unlabelled = item("cyclonedx", bill(MIT), said=ORIGIN)
    assert result(made, "bom-exists", unlabelled, regorus).verdict is Verdict.MISSING


def test_a_script_in_the_file_sees_the_published_form(regorus: Engine) -> None:
    made = loose("rules.valint.yaml")
    clean = item("cyclonedx", bill(MIT, [{"type": "file", "name": "model.safetensors"}]), said=ORIGIN)
    assert result(made, "no-pickles", clean, regorus).verdict is Verdict.PASS
    found = result(made, "no-pickles", item("cyclonedx", bill(MIT, [{"type": "file", "name": "m.pkl"}])), regorus)
    assert found.verdict is Verdict.FAIL and "m.pkl" in found.violations[0].message


def test_a_filter_is_a_condition(regorus: Engine) -> None:
    text = b"rules:\n- name: r\n  evidence: {signed: true, format-type: cyclonedx-json, git_branch: main}\n"
    made = load(Packed("file:p.yml", {"p.yml": text}), "p.yml", nowhere)
    for branch, verdict in (("main", Verdict.PASS), ("dev", Verdict.FAIL)):
        evidence = item("cyclonedx", bill(MIT), said={"context": {"git_branch": branch}})
        assert result(made, "r", evidence, regorus).verdict is verdict
    assert result(made, "r", item("cyclonedx", bill(MIT)), regorus).verdict is Verdict.FAIL


def test_a_rule_that_asks_a_service_is_an_error(regorus: Engine) -> None:
    text = b"""\
rules:
- name: r
  require-scribe-api: true
  evidence: {format-type: cyclonedx-json}
  script: |
    package verify
    import data.superset.policy as policy
    default allow = false
    allow { count(policy.findings(input.config.args)) == 0 }
    verify = {"allow": allow, "summary": [{"allow": allow, "reason": "asked"}]}
"""
    made = load(Packed("file:p.yml", {"p.yml": text}), "p.yml", nowhere)
    assert not result(made, "r", item("cyclonedx", bill(MIT)), regorus).verdict.accepts


# -- who committed what ------------------------------------------------------------------------------------------------


def file(name: str, commit: str | None) -> dict[str, Any]:
    return {"type": "file", "name": name, "properties": [{"name": "last_commit", "value": commit}] if commit else []}


def commit(name: str, author: str, signature: str = "") -> dict[str, Any]:
    stated = [{"name": "Author", "value": author}, {"name": "PGPSignature", "value": signature}]
    return {"type": "file", "name": name, "properties": stated}


BOB = commit("c1", "Bob <bob@example.com>", "-----BEGIN")
ALICE = commit("c2", "Alice <alice@example.com>", "-----BEGIN")


@pytest.mark.parametrize(
    ("components", "verdict", "word"),
    [
        ([file("model.py", "c1"), BOB], Verdict.PASS, ""),
        ([file("model.py", "c1"), commit("c1", "Bob <bob@example.com>")], Verdict.FAIL, "not signed"),
        ([file("docs/x.md", "c1"), commit("c1", "Bob <bob@example.com>")], Verdict.PASS, ""),
        ([file(".ci/run.yml", "c2"), ALICE], Verdict.PASS, ""),
        ([file(".ci/run.yml", "c1"), BOB], Verdict.FAIL, "author"),
        ([file(".ci/run.yml", "c1"), commit("c1", "alice@example.com.evil", "x")], Verdict.FAIL, "author"),
        ([file(".ci/run.yml", "c1"), commit("c1", "alice@example.com <m@evil>", "x")], Verdict.FAIL, "author"),
        ([file("model.py", "c9"), BOB], Verdict.FAIL, "not in the bill"),
        ([file("model.py", None), BOB], Verdict.FAIL, "not in the bill"),
        ([file("model.py", None)], Verdict.FAIL, "no commits"),
        ([BOB], Verdict.FAIL, "no files"),
        ([], Verdict.FAIL, "no commits"),
        ([file("a", "c1"), BOB, commit("c1", "Eve", "x")], Verdict.ERROR, ""),
        ([file("a", "c1"), {**BOB, "properties": None}], Verdict.ERROR, ""),
    ],
)
def test_owners_of_files(components: Any, verdict: Verdict, word: str, regorus: Engine) -> None:
    made = loose("git-owners.yml")
    assert any("whether a commit's signature is good" in note for note in made.notes)
    found = result(made, "workflow-owners", item("cyclonedx", bill(MIT, components)), regorus)
    assert found.verdict is verdict, found
    assert not word or any(word in violation.message for violation in found.violations)


def test_time_is_the_cases(regorus: Engine) -> None:
    """A rule on age answers by the time of the decision, not by the clock of the machine."""
    text = b"""\
rules:
- name: fresh
  evidence: {format-type: cyclonedx-json}
  with: {max_days: 30}
  script: |
    package verify
    default allow = false
    allow {
      made := time.parse_rfc3339_ns(input.evidence.predicate.bom.metadata.timestamp)
      time.now_ns() - made < input.config.args.max_days * 24 * 60 * 60 * 1000000000
    }
    verify = v { v := {"allow": allow} }
"""
    made = load(Packed("file:p.yml", {"p.yml": text}), "p.yml", nowhere)
    for day, verdict in (("2026-05-20", Verdict.PASS), ("2026-04-20", Verdict.FAIL)):
        predicate = {**bill(MIT), "metadata": {"timestamp": f"{day}T00:00:00Z"}}
        assert NOW.year == 2026
        assert result(made, "fresh", item("cyclonedx", predicate), regorus).verdict is verdict
