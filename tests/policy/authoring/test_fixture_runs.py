"""Tests of policies: evidence in, expected verdict out, and what is said when they differ."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError
from assay.policy.authoring import fixtures, running
from assay.policy.reading import load
from assay.policy.sources import Packed
from assay.policy.verdict import Verdict
from helpers import one_sentence
from policy_making import no_engine, nowhere

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

POLICY = b"""\
assay-policy: 1
id: t
inputs:
- {name: least, type: number, default: 0.9}
signers:
  ci: {identities: [{identity: w, issuer: "https://i.example"}]}
  qa: {identities: [{identity: a, issuer: "https://i.example"}, {identity: b, issuer: "https://i.example"}]}
controls:
- id: c
  rules:
  - {id: signed, require: {evidence: model-signature}}
  - {id: good, require: {evidence: evaluation, signed-by: qa, threshold: 2, max-age: 7d,
      where: ["f1 >= ${{ inputs.least }}"]}}
  - {id: late, when: {gate: deploy}, require: {evidence: scan, signed-by: ci, proved-time: true, max-age: 1d,
      labels: {stage: prod}}}
  - id: lineage
    when: {target: model}
    require:
      evidence: {training: slsaprovenance, data: {type: cyclonedx, linked: true}}
      signed-by: ci
      same: [run_id]
      edges: [data -> training]
"""

GOOD = """\
assay-policy-test: 1
policy: p.yml
cases:
- name: all
  target: {name: m, kind: model}
  gate: deploy
  evidence:
  - {type: model-signature, signed-by: trusted}
  - {type: evaluation, signed-by: [qa/ann, qa/ben], predicate: {metrics: {f1: 0.95}}}
  - {type: scan, signed-by: ci, proved-time: true, labels: {stage: prod}}
  - {type: slsaprovenance, signed-by: ci, inputs: [corpus], context: {run_id: "7"}}
  - {type: cyclonedx, signed-by: ci, about: corpus, context: {run_id: "7"}}
  expect: {verdict: pass, rules: {lineage: pass}}
"""


def run(text: str, files: dict[str, bytes] | None = None, policy: bytes = POLICY) -> list[running.Result]:
    tests = fixtures.read(text.encode(), "p.test.yaml")
    sources = Packed("file:p", {"p.yml": policy, **(files or {})})

    def verify(*arguments: object) -> object:
        raise AssertionError("no case has files")

    return running.run(
        tests,
        "p.test.yaml",
        sources,
        lambda name, given: load(sources, name, nowhere, given),
        verify,  # type: ignore[arg-type]
        no_engine,
        NOW,
    )


def test_everything_that_a_case_can_state() -> None:
    (result,) = run(GOOD)
    assert result.passed, (result.differences, result.error)
    assert result.decision is not None and result.decision.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        ("signed-by: trusted", "signed-by: ci", {"signed": "untrusted"}),
        ("signed-by: trusted", "signed-by: []", {"signed": "untrusted"}),
        ("[qa/ann, qa/ben]", "[qa/ann, qa/ann]", {"good": "untrusted"}),
        ("{f1: 0.95}}", "{f1: 0.85}}", {"good": "fail"}),
        ("{f1: 0.95}}", "{f1: 0.95}}, age: 8d", {"good": "stale"}),
        ("{f1: 0.95}}", '{f1: 0.95}}, time: "2026-05-30T12:00:00Z"', {"good": "pass"}),
        (", proved-time: true, labels", ", labels", {"late": "stale"}),
        ("stage: prod}}", "stage: dev}}", {"late": "missing"}),
        ("gate: deploy", "gate: train", {"late": "not-applicable"}),
        ("kind: model", "kind: dataset", {"lineage": "not-applicable"}),
        ("inputs: [corpus]", "inputs: [other]", {"lineage": "missing"}),
        ('corpus, context: {run_id: "7"}', 'corpus, context: {run_id: "8"}', {"lineage": "fail"}),
        ("signature, signed-by: trusted}", "signature, discarded: true}", {"signed": "missing"}),
        ("  gate: deploy", "  gate: deploy\n  inputs: {least: 0.99}", {"good": "fail"}),
    ],
)  # fmt: skip
def test_what_is_stated_decides(old: str, new: str, rules: dict[str, str]) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new).replace("verdict: pass, rules: {lineage: pass}", f"rules: {json.dumps(rules)}")
    (result,) = run(text)
    assert result.passed, (result.differences, result.error)


def test_a_difference_says_what_was_expected_what_came_and_why() -> None:
    (result,) = run(GOOD.replace("f1: 0.95", "f1: 0.5"))
    assert not result.passed
    (said,) = result.differences
    assert said.splitlines()[:3] == ["verdict", "- pass", "+ fail"] and "f1 is 0.5" in said
    (result,) = run(GOOD.replace("{lineage: pass}", "{lineage: fail, linage: pass}"))
    assert result.differences[0].splitlines()[:3] == ["rule lineage", "- fail", "+ pass"]
    assert result.differences[1] == "the policy has no rule 'linage'; did you mean 'lineage'?"


def test_a_predicate_from_a_file() -> None:
    text = GOOD.replace("predicate: {metrics: {f1: 0.95}}", "file: e.json")
    assert run(text, {"e.json": b'{"metrics": {"f1": 0.95}}'})[0].passed
    for data in (b"[]", b"{", b'{"a": 1, "a": 2}'):
        error = run(text, {"e.json": data})[0].error
        assert error is not None and "e.json" in error
    assert "no file" in str(run(text)[0].error)
    assert "leads" in str(run(text.replace("e.json", "../e.json"))[0].error) or run(text)[0].error


def test_rules_that_no_case_makes_fail_are_named() -> None:
    more = GOOD + "- name: none\n  target: {kind: dataset}\n  expect: {verdict: missing}\n"
    results = run(more)
    assert all(result.passed for result in results)
    assert running.never_failed(results) == ("lineage",)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("assay-policy-test: 2\ncases: [{name: a, expect: {verdict: pass}}]\n", 1, "version 2"),
        ("assay-policy-test: 1\ncases: []\n", 2, "no case"),
        ("assay-policy-test: 1\ncases:\n- {name: a, expect: {}}\n", 3, "expects nothing"),
        ("assay-policy-test: 1\ncases:\n- name: a\n  expect: {verdict: pas}\n", 4, "pas"),
        (
            "assay-policy-test: 1\ncases:\n- name: a\n  expect: {verdict: pass}\n  evidence:\n  - {typ: scan}\n",
            6,
            "'typ'",
        ),
        (
            "assay-policy-test: 1\ncases:\n- name: a\n  expect: {verdict: pass}\n  evidence:\n  - {age: 1d}\n",
            6,
            "neither",
        ),
        (
            "assay-policy-test: 1\ncases:\n- name: a\n  expect: {verdict: pass}\n  evidence:\n  - {bundle: b}\n",
            6,
            "no files",
        ),
        (
            "assay-policy-test: 1\ncases:\n- &a {name: a, expect: {verdict: pass}}\n- *a\n",
            3,
            "aliases",
        ),
        (
            "assay-policy-test: 1\ncases:\n" + "- {name: a, expect: {verdict: pass}}\n" * 2,
            4,
            "stands twice",
        ),
        ("assay-policy-test: 1\nlines: []\ncases: []\n", 2, "unknown key"),
    ],
)
def test_bad_files_of_tests(text: str, line: int, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        fixtures.read(text.encode(), "p.test.yaml")
    assert one_sentence(caught.value).startswith(f"p.test.yaml:{line}: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("signed-by: trusted", "signed-by: nobody", "evidence 1: the policy calls nobody 'nobody'"),
        ("type: scan", "type: skan", "'skan' is not known"),
        ("proved-time: true", "age: soon", "evidence 3: age"),
        ("type: scan, signed-by: ci", "type: scan, signed-by: ci, inputs: [x]", "no place for these inputs"),
        ("gate: deploy", "now: yesterday", "'yesterday' is not a time"),
        ("gate: deploy", "inputs: {most: 1}", "no input 'most'"),
        ("  gate: deploy", "  gate: depoly", "(did you mean 'deploy'?)"),
    ],
)
def test_a_case_that_cannot_be_run_has_failed_and_says_why(old: str, new: str, message: str) -> None:
    results = run(GOOD.replace(old, new) + "- name: other\n  expect: {rules: {signed: missing}}\n")
    assert message in (results[0].error or "") and not results[0].passed
    assert results[1].passed


def test_junit_is_xml_whatever_the_names_are() -> None:
    text = GOOD.replace("name: all", 'name: "<a> & \\u2028 ]]>"').replace("verdict: pass", "verdict: fail")
    results = [*run(text), *run(GOOD), *run(GOOD.replace("type: scan", "type: skan"))]
    root = ElementTree.fromstring(running.as_junit(results))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [[child.tag for child in case] for case in suite] == [["failure"], [], ["error"]]
    assert "- fail" in (suite[0][0].text or "")


def test_the_document_for_machines() -> None:
    made = running.as_document(run(GOOD.replace("verdict: pass", "verdict: fail")))
    assert (made["passed"], made["failed"]) == (0, 1)
    assert made["cases"][0]["verdict"] == "pass" and made["cases"][0]["line"] == 4
    assert json.dumps(made)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_fuzzed_tests_get_sentences(data: st.DataObject) -> None:
    text = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=3) | st.just(b": "))
    try:
        results = run(bytes(text).decode("latin-1"))
    except AssayError as error:
        one_sentence(error)
    else:
        assert all(result.error is None or "Traceback" not in result.error for result in results)


def test_bundles_are_really_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed document beside the test: its own signature counts, and nobody else's."""
    from assay.api.authoring import test as run_all
    from assay.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(b"weights")
    for name in ("ci", "eve"):
        assert main(["keys", "generate", "-O", f"{name}.pem"]) == 0
    assert main(["sign", "model", "--key", "ci.pem", "--no-store"]) == 0
    (tmp_path / "model.sig").rename(tmp_path / "signed.json")
    (tmp_path / "p.yml").write_text(
        "assay-policy: 1\nid: t\nsigners: {ci: {keys: [ci.pub]}}\ncontrols:\n- id: c\n  rules:\n"
        "  - {id: ours, require: {evidence: model-signature, signed-by: ci}}\n"
        "  - {id: theirs, level: warning, require: {evidence: model-signature}}\n"
    )
    (tmp_path / "p.test.yaml").write_text("""\
assay-policy-test: 1
policy: p.yml
cases:
- name: by the right one
  target: {files: model}
  trusted: [eve.pub]
  evidence: [{bundle: signed.json}]
  expect: {rules: {ours: pass, theirs: untrusted}}
- name: nothing
  target: {files: model}
  trusted: [ci.pub]
  expect: {rules: {ours: missing, theirs: missing}}
""")
    results = run_all(str(tmp_path / "p.yml"))
    assert [(result.differences, result.error) for result in results] == [((), None), ((), None)]
    (tmp_path / "model" / "w.bin").write_bytes(b"weightz")
    assert [result.passed for result in run_all(str(tmp_path))] == [False, True]
