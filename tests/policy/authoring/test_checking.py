"""What `assay policy check` says: file, line, sentence, suggestion; and never a traceback, whatever the file holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import AssayError
from assay.policy.authoring import examining
from assay.policy.authoring.places import Place, places
from assay.policy.bundles import BUILTIN, catalogue, resolver
from assay.policy.reading.problems import Problem
from assay.policy.sources import Packed
from helpers import one_sentence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

HEAD = "assay-policy: 1\nid: t\n"
RULES = "controls:\n- id: c\n  rules:\n"
SIGNED = "  - {id: signed, require: {evidence: model-signature}}\n"
QA = 'signers:\n  qa: {identities: [{identity: q, issuer: "https://i.example"}]}\n'


def looked_at(text: str | bytes, what: str = "policy", files: dict[str, bytes] | None = None) -> examining.Report:
    data = text.encode() if isinstance(text, str) else text
    sources = Packed("file:p.yml", {"p.yml": data, **(files or {})})
    return examining.check(Place(what, "p.yml", sources, "p.yml", resolver(sources, catalogue())), NOW)


def problems(text: str | bytes, what: str = "policy", files: dict[str, bytes] | None = None) -> list[Problem]:
    return list(looked_at(text, what, files).problems)


def test_a_good_policy_has_no_problem() -> None:
    report = looked_at(HEAD + RULES + SIGNED)
    assert (report.problems, report.rules, report.exit_code) == ((), 1, 0)


@pytest.mark.parametrize(
    ("text", "line", "message", "suggestion", "fatal"),
    [
        (HEAD + "contrls: []\n" + RULES + SIGNED, 3, "unknown key 'contrls'", "'controls'", True),
        (HEAD + RULES + "  - {id: a, requires: {}}\n", 6, "unknown key 'requires'", "'require'", True),
        (
            HEAD + RULES + SIGNED + '  - {id: b, require: {evidence: cyclonedx, max-age: "${{ inputs.ag }}"}}\n',
            7,
            "there is no input 'ag'",
            None,
            True,
        ),
        (
            HEAD + "controls:\n- id: c\n  when: {gate: train}\n  rules:\n"
            "  - {id: a, when: {gate: deploy}, require: {evidence: cyclonedx}}\n",
            7,
            "can never be reached",
            None,
            True,
        ),
        (
            HEAD + "controls:\n- id: c\n  when: {labels: {env: prod}}\n  rules:\n"
            "  - {id: a, when: {labels: {env: dev}}, require: {evidence: cyclonedx}}\n",
            7,
            "can never be reached: it wants the label env=dev",
            "agree",
            True,
        ),
        (
            HEAD + RULES + "  - {id: a, require: {evidence: cyclonedx, signed: true}}\n",
            6,
            "signed: true names nobody",
            "signed-by",
            False,
        ),
        (HEAD + RULES + "  - {id: a, require: {evidence: cyclonedx, signed-by: []}}\n", 6, "nobody", "leave it", True),
        (
            HEAD + RULES + "  - {id: a, require: {evidence: cyclonedx, signed: false}}\n",
            6,
            "anybody",
            "signed-by",
            False,
        ),
        (HEAD + "expires: 2026-05-31\n" + RULES + SIGNED, 3, "expired on 2026-05-31", "later day", True),
        (HEAD + "expires: 2026-06-10\n" + RULES + SIGNED, 3, "expires on 2026-06-10, in 8 day(s)", "later day", False),
        (HEAD + QA + RULES + SIGNED, 4, "no rule asks for 'qa' to sign", "signed-by: qa", False),
        (
            HEAD + "inputs:\n- {name: age, type: duration, default: 7d}\n" + RULES + SIGNED,
            4,
            "the input 'age' is used nowhere",
            "${{ inputs.age }}",
            False,
        ),
        (HEAD + "controls:\n- id: c\n  atlas: [AML.M0099]\n  rules:\n" + SIGNED, 5, "'AML.M0099'", "AML.", False),
        (HEAD + RULES + "  - {id: a, airmf: [MAP 99.9], require: {evidence: scan}}\n", 6, "'MAP 99.9'", "MAP", False),
        (
            HEAD + RULES + "  - {id: a, level: note, require: {evidence: scan}}\n",
            3,
            "can accept nothing",
            "level",
            True,
        ),
        (HEAD + RULES + "  - {id: a, level: warning, require: {evidence: scan}}\n", 3, "never rejects", "error", False),
        (
            HEAD + RULES + SIGNED + "- id: idle\n  rules:\n  - {id: x, disable: true, require: {evidence: scan}}\n",
            7,
            "no rule of the control 'idle' is in force",
            "enable",
            False,
        ),
        (
            HEAD + "controls:\n- id: c\n  when: {gate: deplooy}\n  rules:\n" + SIGNED,
            5,
            "the gate 'deplooy' is almost 'deploy'",
            "'deploy'",
            False,
        ),
        (
            HEAD + RULES + SIGNED + "  - {id: a, when: {gate: [deploy, Serve]}, require: {evidence: scan}}\n",
            7,
            "the gate 'Serve' is almost 'serve', in the rule 'a'",
            "'serve'",
            False,
        ),
        (
            HEAD + RULES + "  - {id: a, when: {gate: release}, require: {evidence: scan}}\n"
            "  - {id: b, when: {gate: relaese}, require: {evidence: scan}}\n"
            "  - {id: c, when: {gate: relaese}, require: {evidence: scan}}\n",
            7,
            "the gate 'relaese' is almost 'release'",
            "'release'",
            False,
        ),
        (HEAD + RULES + "  - {id: a, when: {gate: ''}, require: {evidence: scan}}\n", 6, "no name", "leave", True),
        (
            HEAD + RULES + '  - {id: a, require: {evidence: slsaprovenance, builder: "*"}}\n',
            6,
            "accepts any builder",
            "URI",
            False,
        ),
        (
            HEAD + RULES + "  - {id: a, require: {evidence: cyclonedx, labels: {stage: '*'}}}\n",
            6,
            "any value of the label 'stage'",
            "value",
            False,
        ),
        (HEAD + RULES + SIGNED + SIGNED, 7, "used twice", "id", True),
        (
            HEAD + RULES + "  - id: a\n    require:\n      evidence: {a: scan, b: {type: scan, linked: true}}\n"
            "      edges: [a -> b, b -> a]\n",
            9,
            "in a circle",
            None,
            True,
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    text: str, line: int, message: str, suggestion: str | None, fatal: bool
) -> None:
    found = [problem for problem in problems(text) if message in problem.message]
    assert len(found) == 1, problems(text)
    assert (found[0].file, found[0].line, found[0].fatal) == ("p.yml", line, fatal)
    if suggestion is not None:
        assert suggestion in (found[0].suggestion or "")
    assert looked_at(text).exit_code == (1 if any(problem.fatal for problem in problems(text)) else 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a: [", "expected"),
        (b"a: &x [1]\nb: [*x, *x]\n", "aliases are not allowed"),
        (b"- 1\n" * 300_000, "larger than"),
        (b"[" * 5000, "nested"),
        (b"other: 1\n", "not a policy"),
        (b"", "not a policy"),
    ],
)
def test_what_cannot_be_read_is_told_so(data: bytes, message: str) -> None:
    report = looked_at(data)
    assert report.exit_code == 2
    assert message in report.problems[0].message
    assert report.problems[0].line or ":" not in report.problems[0].message.partition(" ")[0]


def test_programs_in_rego_are_looked_at() -> None:
    script = "package verify\\nverify := {} {\\n  http.send({})\\n}\\nloop { foo(1) }"
    found = problems(HEAD + RULES + f'  - {{id: r, rego: {{script: "{script}"}}, require: {{evidence: cyclonedx}}}}\n')
    assert found and all(problem.line == 6 and problem.fatal and "the rule 'r'" in problem.message for problem in found)
    assert any("foo" in problem.message or "http.send" in problem.message for problem in found)


def test_required_inputs_need_not_be_given_to_have_the_rest_checked() -> None:
    text = (
        HEAD + "inputs:\n- {name: age, type: duration, required: true}\n- {name: who, required: true}\n" + RULES
        + '  - {id: a, require: {evidence: "${{ inputs.who }}", max-age: "${{ inputs.age }}", newst: true}}\n'
    )  # fmt: skip
    assert [problem.message for problem in problems(text)] == ["unknown key 'newst' in require"]


RULE = """\
assay-rule: 1
id: least
inputs:
- {name: least, type: mapping, required: true}
require:
  evidence: evaluation
  metrics: {require: "${{ inputs.least }}"}
"""


def test_a_rule_of_a_catalogue_is_checked_alone() -> None:
    assert problems(RULE, "rule") == []
    found = problems(RULE + "  licenses: {allow: [MIT]}\n", "rule")
    assert [(problem.file, problem.line) for problem in found] == [("p.yml", 8)]
    assert "unknown key 'licenses'" in found[0].message and found[0].suggestion == "did you mean 'licences'?"
    assert "there is no input 'x'" in problems(RULE + '  max-age: "${{ inputs.x }}"\n', "rule")[0].message
    assert problems(RULE + '  max-age: "${{ inputs.x }}"\n', "rule")[0].line == 8


def test_an_error_in_what_a_check_is_told_is_not_taken_for_one_of_a_sample() -> None:
    found = problems(
        RULE.replace("metrics: {require", "metrics: {splits: 7, samples: -1}\n  where: [x]\n  x: {y"), "rule"
    )
    assert any(problem.message.startswith("metrics") for problem in found)


def test_a_files_of_tests_is_read_too() -> None:
    found = problems("assay-policy-test: 1\ncases:\n- name: a\n  expct: {}\n", "test")
    assert [(problem.line, problem.suggestion) for problem in found] == [(4, "did you mean 'expect'?")]


def test_what_ships_with_assay_has_no_problem() -> None:
    reports = [examining.check(place, NOW) for place in places(BUILTIN)]
    assert len(reports) > 5 and {report.what for report in reports} >= {"policy", "rule"}
    assert [problem for report in reports for problem in report.problems] == []


def test_another_tools_policy_is_checked_too() -> None:
    text = "config-type: initiative\nid: my\nname: my\ncontrols:\n- name: c1\n  rules:\n  - uses: nothing/there@v2\n"
    (found,) = problems(text)
    assert (found.line, found.fatal) == (7, True) and "nothing/there@v2" in found.message


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(HEAD + RULES + SIGNED)
    (tmp_path / "a.test.yaml").write_text("assay-policy-test: 1\ncases: []\n")
    (tmp_path / "broken.yaml").write_text("assay-policy: 1\nid: [\n")
    (tmp_path / "other.yaml").write_text("x: 1\n")
    (tmp_path / "no.yaml").write_text("{{ template }}\n")
    (tmp_path / "rules" / "x").mkdir(parents=True)
    (tmp_path / "rules" / "x" / "y.yaml").write_text(RULE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yml").write_text(HEAD + RULES + "  - {uses: x/y@v1, with: {least: {f1: {minimum: 1}}}}\n")
    found = {Path(place.name).name: examining.check(place, NOW) for place in places(str(tmp_path))}
    assert {name: report.exit_code for name, report in found.items()} == {
        "a.yml": 0,
        "a.test.yaml": 1,
        "broken.yaml": 2,
        "y.yaml": 0,
        "b.yml": 0,
    }
    assert found["broken.yaml"].problems[0].line >= 2


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    for name in (str(tmp_path / "none.yml"), str(tmp_path), "builtin:nothing", "ftp:x"):
        with pytest.raises(AssayError) as caught:
            list(places(name))
        one_sentence(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_fuzzed_policies_get_sentences_with_lines_of_the_file(data: st.DataObject) -> None:
    good = bytearray((HEAD + "expires: 2027-01-01\n" + QA + RULES + SIGNED).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\n", b": ", b"*"])
        )
    report = looked_at(bytes(good))
    assert report.exit_code in (0, 1, 2)
    for problem in report.problems:
        assert problem.message and "Traceback" not in problem.message
        breaks = sum(bytes(good).count(mark) for mark in (b"\n", b"\r", b"\x85", b"\xe2\x80"))  # YAML 1.1's, 5.4
        assert 0 <= problem.line <= breaks + 2
