"""`assay policy` as a user meets it: words, exit codes, files; real keys, real evidence, real decisions."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from assay.cli.main import main

POLICY = """\
assay-policy: 1
id: t
signers:
  ci: {keys: [ci.pub]}
  qa: {keys: [qa.pub]}
controls:
- id: c
  rules:
  - {id: signed, require: {evidence: model-signature, signed-by: ci}}
  - {id: good, require: {evidence: evaluation, signed-by: qa, max-age: 7d, where: ["accuracy >= 0.9"]}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "eval.json").write_text('{"dataset": "d", "metrics": {"accuracy": 0.95}}')
    (tmp_path / "policy.yml").write_text(POLICY)
    for name in ("ci", "qa"):
        assert main(["keys", "generate", "-O", f"{name}.pem"]) == 0
    assert main(["sign", "model", "--key", "ci.pem", "-d", "att"]) == 0
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["policy", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def attest(*more: str) -> None:
    assert main(["attest", "model", "--type", "evaluation", "--predicate", "eval.json", "-d", "att", *more]) == 0


def test_check(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", "policy.yml")
    assert (code, out) == (0, "1 file(s), 2 rule(s): 0 problem(s), 0 warning(s)\n")
    (place / "policy.yml").write_text(POLICY.replace("max-age: 7d", "max-aeg: 7d").replace("[qa.pub]", "[q.pub]"))
    code, out, _ = run(capsys, "check", "policy.yml")
    assert code == 1
    assert "policy.yml:10: unknown key 'max-aeg' in require\n  did you mean 'max-age'?\n" in out
    assert "policy.yml:5: " in out
    code, out, _ = run(capsys, "check", "policy.yml", "--json")
    found = json.loads(out)["problems"]
    assert code == 1 and {"file": "policy.yml", "line": 10}.items() <= found[-1].items()
    assert run(capsys, "check", "eval.json")[0] == 2
    assert run(capsys, "check", "nothing.yml")[0] == 2
    (place / "big.yml").write_bytes(b"assay-policy: 1\n" + b"#" * (100 << 20))
    code, out, _ = run(capsys, "check", "big.yml")
    assert code == 2 and out.startswith("big.yml: ") and "larger than" in out
    (place / "bomb.yml").write_text("assay-policy: 1\na: &a [x, x]\nb: &b [*a, *a]\n")
    code, out, _ = run(capsys, "check", "bomb.yml", "--json")
    assert code == 2 and json.loads(out)["problems"][0]["line"] == 2


def test_test(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = "{type: evaluation, signed-by: qa, predicate: {metrics: {accuracy: 0.95}}}"
    (place / "policy.test.yaml").write_text(
        "assay-policy-test: 1\npolicy: policy.yml\ncases:\n"
        f"- name: all\n  evidence: [{{type: model-signature, signed-by: ci}}, {good}]\n  expect: {{verdict: pass}}\n"
        "- name: none\n  expect: {verdict: missing}\n"
    )
    code, out, _ = run(capsys, "test", "policy.yml")
    assert (code, out.splitlines()[-1]) == (0, "2 passed, 0 failed")
    assert run(capsys, "test")[0] == 0
    (place / "policy.yml").write_text(POLICY.replace(">= 0.9", ">= 0.99"))
    code, out, _ = run(capsys, "test", "policy.test.yaml", "--junit", "out.xml")
    assert code == 1 and "FAIL  policy.test.yaml:4 all\n      verdict\n      - pass\n      + fail\n" in out
    assert ElementTree.parse(place / "out.xml").getroot()[0].get("failures") == "1"
    code, out, _ = run(capsys, "test", "policy.test.yaml", "--json")
    assert code == 1 and json.loads(out)["failed"] == 1
    (place / "policy.yml").unlink()
    code, out, _ = run(capsys, "test", "policy.test.yaml")
    assert code == 1 and "there is no policy" in out
    assert run(capsys, "test", "model")[0] == 2


def test_explain_and_doing_what_it_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands that it prints, run as they stand but for the names of files, make the target pass."""
    attest("--key", "ci.pem")
    code, out, _ = run(capsys, "explain", "model", "-p", "policy.yml", "-d", "att")
    assert code == 1 and "1 change would help (no fewer would do)" in out and "and says what it must" in out
    command = next(line.split("$ assay ")[1] for line in out.splitlines() if "$ assay " in line)
    assert command == "assay attest"[6:] + " model --type evaluation --predicate REPORT.json -d att --key KEY-OF-qa.pem"
    assert main(command.replace("REPORT.json", "eval.json").replace("KEY-OF-qa.pem", "qa.pem").split()) == 0
    assert main(["verify", "model", "-p", "policy.yml", "-d", "att"]) == 0
    code, out, _ = run(capsys, "explain", "model", "-p", "policy.yml", "-d", "att")
    assert code == 0 and "without it the verdict is missing" in out and "then good will not pass" in out
    code, out, _ = run(capsys, "explain", "model", "-p", "policy.yml", "-d", "att", "--json")
    assert code == 0 and {rest["without"] for rest in json.loads(out)["rests"]} == {"missing", "untrusted"}


def test_explain_at_a_gate_that_no_rule_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "policy.yml").write_text(POLICY.replace("{id: good,", "{id: good, when: {gate: serve},"))
    assert (place / "policy.yml").read_text() != POLICY
    given = ["explain", "model", "-p", "policy.yml", "-d", "att", "--gate"]
    code, out, err = run(capsys, *given, "serv")
    assert (code, out) == (2, "") and "did you mean 'serve'?" in err
    warning = "no rule of this policy is for the gate 'staging' (it names: serve)"
    code, out, _ = run(capsys, *given, "staging")
    assert code == 0 and f"warning: {warning}\n" in out
    assert json.loads(run(capsys, *given, "staging", "--json")[1])["warnings"] == [warning]


def test_explain_when_files_were_altered(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "model" / "weights.bin").write_bytes(b"weightz")
    code, out, _ = run(capsys, "explain", "model", "-p", "policy.yml", "-d", "att")
    assert code == 1 and "weights.bin" in out and "assay sign" not in out


@pytest.mark.parametrize("answers", ["model,key,basics", "both,several,all"])
def test_init_from_flags(place: Path, capsys: pytest.CaptureFixture[str], answers: str) -> None:
    keys = ["--key", "ci.pub", "--key", "qa.pub"]
    assert run(capsys, "init", "new", "--answers", answers, *keys)[0] == 0
    assert sorted(path.name for path in (place / "new").iterdir()) == [
        "ci.pub",
        "policy.test.yaml",
        "policy.yml",
        "qa.pub",
    ]
    assert run(capsys, "check", "new")[0] == 0
    assert run(capsys, "test", "new")[0] == 0
    (place / "new" / "policy.yml").write_text("mine")
    code, _, err = run(capsys, "init", "new", "--answers", answers, *keys)
    assert code == 2 and "exists already" in err and (place / "new" / "policy.yml").read_text() == "mine"
    assert run(capsys, "init", "new", "--answers", answers, *keys, "--force")[0] == 0


def test_init_asks(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run(capsys, "init", "new")
    assert code == 2 and "--answers" in err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    workflow = "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main"
    monkeypatch.setattr(sys, "stdin", Terminal(f"1\ngithub\n3\n{workflow}\n"))
    code, out, err = run(capsys, "init", "new")
    assert code == 0 and "What do you protect?" in err and out == ""
    assert workflow in (place / "new" / "policy.yml").read_text()
    assert run(capsys, "test", "new")[0] == 0


def test_a_starting_policy_decides(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "init", ".", "--answers", "model,key,warn", "--key", "ci.pub", "--force")[0] == 0
    assert main(["verify", "model", "-p", "policy.yml", "-d", "att"]) == 0
    assert run(capsys, "init", ".", "--answers", "model,key,all", "--key", "ci.pub", "--force")[0] == 0
    assert main(["verify", "model", "-p", "policy.yml", "-d", "att"]) == 3


def test_generate(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attest("--key", "qa.pem")
    assert main(["bom", "model", "-o", "attest", "--key", "ci.pem", "-d", "att"]) == 0
    keys = ["--key", "ci.pub", "--key", "qa.pub"]
    code, _, err = run(capsys, "generate", "model", "-d", "att", *keys, "-O", "made/policy.yml")
    assert code == 0 and "loose: no vulnerability scan was there to demand" in err
    verify = ["verify", "model", "-p", "made/policy.yml", "-d"]
    assert run(capsys, "check", "made")[0] == 0
    assert main([*verify, "att"]) == 0
    # One document less.
    for kind in ("sign", "bom", "attest"):
        capsys.readouterr()
        store = f"less-{kind}"
        if kind != "sign":
            assert main(["sign", "model", "--key", "ci.pem", "-d", store]) == 0
        if kind != "bom":
            assert main(["bom", "model", "-o", "attest", "--key", "ci.pem", "-d", store]) == 0
        if kind != "attest":
            command = ["attest", "model", "--type", "evaluation", "--predicate", "eval.json"]
            assert main([*command, "--key", "qa.pem", "-d", store]) == 0
        (place / "model.sig").unlink(missing_ok=True)
        assert main([*verify, store]) == 3
    # One byte other.
    (place / "model" / "weights.bin").write_bytes(b"weightz")
    assert main([*verify, "att"]) == 1
    code, _, err = run(capsys, "generate", "model", "-d", "att", *keys, "-O", "other.yml")
    assert code == 3 and "nothing to demand" in err and not (place / "other.yml").exists()


def test_generate_overwrites_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "generate", "model", "-d", "att", "--key", "ci.pub")
    assert code == 2 and "policy.yml exists already" in err and (place / "policy.yml").read_text() == POLICY
    code, out, _ = run(capsys, "generate", "model", "-d", "att", "--key", "ci.pub", "--force", "--json")
    assert code == 0 and json.loads(out)["rules"] == ["model-signature"]
    assert main(["verify", "model", "-p", "policy.yml", "-d", "att"]) == 0


def test_a_targets_own_configuration_decides_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A downloaded model with an assay.yaml that trusts its author: neither explained nor generated from by that."""
    (place / "model" / "assay.yaml").write_text("trust:\n- keys: [../ci.pub]\n")
    monkeypatch.chdir(place / "model")
    for arguments in (["explain", ".", "-p", "../policy.yml"], ["generate", "."]):
        code, _, err = run(capsys, *arguments, "-d", "../att")
        assert code == 2 and "lies inside the target" in err
