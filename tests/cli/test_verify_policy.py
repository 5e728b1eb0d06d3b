"""`assay verify` with a policy, as people and pipelines call it: exit codes, outputs, flags, and any nonsense."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.cli.main import main
from policy.attacks.scene import BILL, BILL_OF_NOTHING, Scene, evaluation

DATA = Path(__file__).parents[1] / "data" / "valint"
RULE = '- {id: accurate, require: {evidence: evaluation, where: ["accuracy >= 0.9"]}}'

Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene.at(tmp_path)
    made.now = datetime.now(UTC)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Assay:
    """The command line; gives the exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(["verify", *arguments])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


def flags(scene: Scene, policy: str | None, *more: str) -> list[str]:
    """What most calls have."""
    named = ["-p", policy] if policy else []
    return [str(scene.model), *named, "--key", *scene.public("alice"), "-d", scene.store, *more]


# exit codes


@pytest.mark.parametrize(
    ("rule", "code", "word"),
    [
        (RULE, 0, "pass"),
        ("- {id: r, level: warning, require: {evidence: sarif}}", 0, "warn"),
        (RULE.replace("0.9", "0.99"), 1, "fail"),
        ("- {id: r, require: {evidence: evaluation, signed-by: {keys: [bob.pub]}}}", 1, "untrusted"),
        ("- {id: r, require: {evidence: evaluation, max-age: 1m}}", 1, "stale"),
        ("- {id: r, require: {evidence: sarif}}", 3, "missing"),
        ('- {id: r, require: {evidence: evaluation}, rego: {script: "package verify"}}', 3, "error"),
        ("- {id: r, when: {gate: other}, require: {evidence: sarif}}", 3, "not-applicable"),
    ],
)
def test_exit_codes(scene: Scene, run: Assay, rule: str, code: int, word: str) -> None:
    scene.attest("alice")
    scene.public("bob")
    found, out, err = run(*flags(scene, scene.policy(rule), "--gate", "this", "-o", "json"))
    document = json.loads(out)
    assert (found, document["verdict"], document["exitCode"]) == (code, word, code), err
    assert run(*flags(scene, scene.policy(rule), "--gate", "this", "-q"))[0] == code


@pytest.mark.parametrize(
    "more",
    [
        ["-p", "nowhere.yml"],
        ["-p", "builtin:nothing"],
        ["-p", "broken.yml"],
        ["-p", "policy.yml", "--path", "*.json"],
        ["-p", "policy.yml", "--path", "config.json", "--range", "0-4"],
        ["-p", "policy.yml", "--no-policy"],
        ["-p", "policy.yml", "--set", "accuracy"],
        ["-p", "policy.yml", "--set", "nothing=1"],
        ["-p", "policy.yml", "--set", "=1"],
        ["-p", "policy.yml", "-L", "stage"],
        ["-p", "policy.yml", "-L", "a=1", "-L", "a=2"],
        ["-p", "policy.yml", "--as", "cat"],
        ["-p", "policy.yml", "--engine", "eval"],
        ["-p", "policy.yml", "-o", "xml"],
        ["-p", "policy.yml", "-c", "nowhere.yaml"],
        ["-p", "policy.yml", "--policy-key", "nowhere.pub"],
        ["-p", "policy.yml", "--key", "nowhere.pub"],
        ["-p", "policy.yml", "--key", "broken.yml"],
        ["-p", "policy.yml", "--workers", "0"],
        ["-p", "policy.yml", "--signature", "nowhere.json"],
        ["-p", "git:https://example.invalid/policies.git"],
        ["-p", ""],
        ["-o", "sarif"],
        ["--attest"],
    ],
)
def test_wrong_usage_and_unreadable_input(scene: Scene, run: Assay, more: list[str]) -> None:
    scene.attest("alice")
    os.replace(scene.policy(RULE), "policy.yml")
    Path("broken.yml").write_text("assay-policy: 1\ncontrols: [")
    code, out, err = run(*flags(scene, None, *more))
    assert code == 2 and err and not out
    assert "assay" in err


def test_a_target_that_is_not_there(scene: Scene, run: Assay) -> None:
    policy = scene.policy(RULE)
    assert run("nowhere", "-p", policy, "--key", *scene.public("alice"), "-d", scene.store)[0] == 2


def test_nothing_to_decide_with(scene: Scene, run: Assay) -> None:
    policy = scene.policy(RULE)
    code, out, err = run(*flags(scene, policy))
    assert code == 3 and "no evidence directory" in err and not out
    scene.attest("alice")
    code, out, err = run(str(scene.model), "-p", policy, "-d", scene.store)
    assert code == 3 and "nobody is named" in err and "--key" in err and not out


# outputs


def test_the_table(scene: Scene, run: Assay) -> None:
    scene.attest("alice")
    rules = RULE + "\n- {id: scanned, name: Scanned for malware, mitigation: Scan it, require: {evidence: scan}}"
    code, out, _ = run(*flags(scene, scene.policy(rules)))
    assert code == 3 and "Scanned for malware" in out and "Scan it" in out and "\x1b" not in out
    assert "assay attest" in out, "the command that mends it"
    assert run(*flags(scene, scene.policy(RULE), "-q")) == (0, "", "")


@pytest.mark.parametrize("accuracy", [0.95, 0.1])
def test_forms(scene: Scene, run: Assay, accuracy: float) -> None:
    """In every form the same answer, alone on standard output."""
    scene.attest("alice", predicate=evaluation(accuracy))
    policy = scene.policy(RULE)
    expected = 0 if accuracy > 0.9 else 1
    code, out, _ = run(*flags(scene, policy, "-o", "json"))
    document = json.loads(out)
    assert code == expected and document["accepted"] == (not expected)
    assert document["rules"][0]["id"] == "accurate" and document["target"]["sha256"] == scene.contents
    assert json.loads(run(*flags(scene, policy, "--json"))[1])["rules"] == document["rules"]
    code, out, _ = run(*flags(scene, policy, "-o", "sarif"))
    (result,) = json.loads(out)["runs"][0]["results"]
    assert code == expected and result["kind"] == ("pass" if not expected else "fail")
    code, out, _ = run(*flags(scene, policy, "-o", "markdown"))
    assert code == expected and out.startswith("#") and "accurate" in out


@pytest.mark.parametrize("form", ["json", "sarif", "markdown", "table"])
def test_a_file_of_output(scene: Scene, run: Assay, form: str) -> None:
    scene.attest("alice")
    policy = scene.policy(RULE)
    code, out, _ = run(*flags(scene, policy, "-o", form, "-O", "verdict"))
    text = Path("verdict").read_text()
    assert code == 0 and (form == "table") == bool(out)
    if form in ("json", "table"):
        assert json.loads(text)["accepted"]
    assert run(*flags(scene, policy, "-O", "no/such/folder"))[0] == 2


# the verdict as evidence

SECOND = """\
- id: decided
  require:
    evidence: verdict
    signed-by: gate
    where: ["accepted == true", "policy.id == p", "gate == ci"]
"""


def test_a_verdict_is_evidence_for_a_second_policy(scene: Scene, run: Assay) -> None:
    scene.attest("alice")
    first = scene.policy(RULE)
    second = scene.policy(SECOND, signers=["gate"], name="second.yml")
    assert run(*flags(scene, second))[0] == 3
    code, _, err = run(*flags(scene, first, "--gate", "dev", "--attest", "--attest-key", scene.private("gate")))
    assert code == 0 and "signed the verdict" in err
    assert run(*flags(scene, second))[0] == 1, "for another gate"
    run(*flags(scene, first, "--gate", "ci", "--attest", "--attest-key", scene.private("mallory")))
    assert run(*flags(scene, second))[0] == 1, "by another signer"
    run(*flags(scene, first, "--gate", "ci", "--attest", "--attest-key", scene.private("gate")))
    code, out, _ = run(*flags(scene, second, "-o", "json"))
    assert code == 0 and json.loads(out)["rules"][0]["used"][0]["predicateType"] == "https://assay.dev/verdict/v0.1"
    rules = '- {id: vsa, require: {evidence: vsa, signed-by: gate, where: ["verificationResult == PASSED"]}}\n'
    rules += '- {id: svr, require: {evidence: svr, signed-by: gate, where: ["properties contains ASSAY_POLICY_P"]}}\n'
    assert run(*flags(scene, scene.policy(rules, signers=["gate"], name="third.yml")))[0] == 0
    scene.write({"weights.bin": b"poisoned"})
    assert run(*flags(scene, second))[0] == 3


def test_a_rejection_is_signed_too_and_accepts_nothing(scene: Scene, run: Assay) -> None:
    scene.attest("alice", predicate=evaluation(0.1))
    key = scene.private("gate")
    assert run(*flags(scene, scene.policy(RULE), "--gate", "ci", "--attest", "--attest-key", key))[0] == 1
    second = scene.policy(SECOND, signers=["gate"], name="second.yml")
    assert run(*flags(scene, second))[0] == 1
    vsa = '- {id: vsa, require: {evidence: vsa, signed-by: gate, where: ["verificationResult == PASSED"]}}'
    assert run(*flags(scene, scene.policy(vsa, signers=["gate"], name="third.yml")))[0] == 1


# which policy


def test_a_file_of_the_published_product_as_configuration(scene: Scene, run: Assay) -> None:
    """``-c verify-license.yml``: the example of the article, on attested evidence, without asking the hub."""
    folder = shutil.copytree(DATA, scene.root / "valint")
    component = {"type": "machine-learning-model", "name": "wtp-bert-tiny", "licenses": [{"license": {"id": "MIT"}}]}
    bill = {**BILL_OF_NOTHING, "metadata": {"component": component}}
    said = {"origin": "https://huggingface.co/benjamin/wtp-bert-tiny", "revision": "c0ffee"}
    scene.attest("mallory", kind=BILL, predicate=bill, said=said)
    configured = ["-c", str(folder / "verify-license.yml"), "-o", "json"]
    assert run(*flags(scene, None, *configured))[0] == 1
    scene.attest("alice", kind=BILL, predicate=bill, said=said)
    code, out, err = run(*flags(scene, None, *configured))
    assert code == 0 and json.loads(out)["accepted"], (out, err)


def config(text: str, where: Path | None = None) -> str:
    path = (where or Path()) / "assay.yaml"
    path.write_text(text)
    return str(path)


def test_the_policy_of_the_configuration(scene: Scene, run: Assay) -> None:
    scene.attest("alice", predicate=evaluation(0.1))
    scene.policy(RULE)
    config(f"version: 1\nevidence: {scene.store}\ntrust: [{{keys: [../alice.pub]}}]\npolicy: {{use: ../policy.yml}}\n")
    scene.public("alice")
    code, out, err = run(str(scene.model), "-o", "json")
    assert code == 1 and json.loads(out)["policy"]["id"] == "p", err
    code, out, _ = run(str(scene.model), "--no-policy", "--json")
    assert code != 1 or "policy" not in json.loads(out)
    assert run(str(scene.model), "-p", scene.policy(RULE.replace("0.9", "0.05"), name="low.yml"))[0] == 0


def test_inputs_of_the_configuration_are_for_its_own_policy(scene: Scene, run: Assay) -> None:
    scene.attest("alice", predicate=evaluation(0.5))
    path = inputs_policy(scene)
    config(f"version: 1\npolicy: {{use: {path}, inputs: {{least: 0.4}}}}\n")
    assert run(*flags(scene, None))[0] == 0
    assert run(*flags(scene, None, "--set", "least=0.6"))[0] == 1
    assert run(*flags(scene, path))[0] == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_configuration_found_inside_the_target_is_refused(
    scene: Scene, run: Assay, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    scene.attest("alice")
    policy = scene.policy(RULE)
    config(f"policy: {{use: {policy}}}\n", scene.model)
    scene.attest("alice")
    monkeypatch.chdir(scene.model)
    given_flags = flags(scene, policy if named else None)
    code, out, err = run(*given_flags)
    assert code == 2 and "lies inside the target" in err and not out
    assert run(*given_flags, "-c", "assay.yaml")[0] == 0, "the caller names it"


# what a policy is told


def inputs_policy(scene: Scene) -> str:
    path = Path(scene.policy('- {id: r, require: {evidence: evaluation, where: ["accuracy >= ${{ inputs.least }}"]}}'))
    declared = "id: p\ninputs: [{name: least, type: number, default: 0.9}]\n"
    path.write_text(path.read_text().replace("id: p\n", declared, 1))
    return str(path)


@pytest.mark.parametrize(
    ("value", "code"), [("0.4", 0), ("0.6", 1), ("1", 1), ("high", 2), ("[1]", 2), ("", 2), ("{{", 2)]
)
def test_inputs(scene: Scene, run: Assay, value: str, code: int) -> None:
    scene.attest("alice", predicate=evaluation(0.5))
    assert run(*flags(scene, inputs_policy(scene), "--set", f"least={value}"))[0] == code


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ([], 3),
        (["--gate", "prod", "--as", "model", "-L", "team=nlp-1"], 3),
        (["--gate", "dev"], 0),
        (["--as", "dataset"], 0),
        (["-L", "team=vision"], 0),
        (["-L", "other=nlp"], 3),
        (["--gate", "prod", "--as", "dataset"], 0),
    ],
)
def test_gates_kinds_and_labels(scene: Scene, run: Assay, more: list[str], code: int) -> None:
    """A rule goes away only where the caller contradicts it."""
    scene.attest("alice")
    rule = '- {id: r, when: {gate: prod, target: model, labels: {team: "nlp-*"}}, require: {evidence: sarif}}'
    assert run(*flags(scene, scene.policy(f"{RULE}\n{rule}"), *more))[0] == code


AT_SERVE = f"{RULE}\n- {{id: watched, when: {{gate: serve}}, require: {{evidence: monitoring}}}}"


@pytest.mark.parametrize(
    ("rules", "gate", "hint"),
    [
        (AT_SERVE, "serv", "did you mean 'serve'?"),
        (AT_SERVE, "Serve", "did you mean 'serve'?"),
        (AT_SERVE.replace("serve", "sevre"), "serve", "did you mean 'sevre'?"),
        (AT_SERVE, "", "leave it out"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"], ["-q"], ["-o", "sarif"]])
def test_a_mistyped_gate_accepts_nothing(
    scene: Scene, run: Assay, rules: str, gate: str, hint: str, more: list[str]
) -> None:
    """It would leave out every rule for the gate that was meant, and accept by the others."""
    scene.attest("alice")
    assert run(*flags(scene, scene.policy(AT_SERVE), "--gate", "serve"))[0] == 3
    code, out, err = run(*flags(scene, scene.policy(rules), "--gate", gate, *more))
    assert (code, out) == (2, "") and hint in err


def test_a_gate_that_no_rule_names_is_told(scene: Scene, run: Assay) -> None:
    scene.attest("alice")
    given = flags(scene, scene.policy(AT_SERVE), "--gate", "staging")
    warning = "no rule of this policy is for the gate 'staging' (it names: serve)"
    code, out, _ = run(*given)
    assert code == 0 and f"warning: {warning}\n" in out
    code, out, _ = run(*given, "--json")
    assert code == 0 and json.loads(out)["warnings"] == [warning]
    code, _, err = run(*given, "--strict")
    assert code == 1 and warning in err
    assert run(*flags(scene, scene.policy(AT_SERVE), "--gate", "train", "--strict"))[0] == 0, "a gate that assay knows"


# bundles that must be signed


@pytest.mark.parametrize(
    "how", ["unsigned", "signed", "another key", "altered", "added", "removed", "of another bundle"]
)
def test_a_bundle_that_must_be_signed(scene: Scene, run: Assay, how: str) -> None:
    scene.attest("alice")
    bundle = scene.root / "bundle"
    rules = Path(scene.policy(RULE)).read_text()
    scene.write({"policy.yaml": rules.encode(), "notes.txt": b"about"}, bundle)
    other = scene.write({"policy.yaml": rules.encode() + b"# other\n"}, scene.root / "other")
    if how != "unsigned":
        signer = "mallory" if how == "another key" else "boss"
        target = other if how == "of another bundle" else bundle
        assert main(["sign", f"dir:{target}", "--key", scene.private(signer), "-d", scene.store, "-q"]) == 0
    if how == "altered":
        (bundle / "policy.yaml").write_text(rules.replace("0.9", "0.0"))
    elif how == "added":
        (bundle / "rules.yaml").write_text("x: 1")
    elif how == "removed":
        (bundle / "notes.txt").unlink()
    demanded = ["--policy-key", *scene.public("boss")]
    code, out, err = run(*flags(scene, f"dir:{bundle}", *demanded, "-o", "json"))
    if how == "signed":
        assert code == 0 and json.loads(out)["policy"]["signer"], err
    else:
        assert code == 3 and not out and "signed" in err
    scene.public("boss")
    config("version: 1\npolicy: {use: 'dir:../bundle', signed_by: {keys: [../boss.pub]}}\n")
    assert run(*flags(scene, None))[0] == (0 if how == "signed" else 3), "as the configuration demands"


def test_a_bundle_that_cannot_be_read_where_a_signed_one_is_demanded(scene: Scene, run: Assay) -> None:
    scene.attest("alice")
    key = ["--policy-key", *scene.public("boss")]
    for name in ("dir:nowhere", "git:nowhere", "oci:nowhere"):
        code, out, err = run(*flags(scene, name, *key))
        assert code in (2, 3) and err and not out, name
    bundle = scene.write({"policy.yaml": b"\xff\xfe"}, scene.root / "bundle")
    assert run(*flags(scene, f"dir:{bundle}", *key))[0] == 3


# nonsense

WORDS = st.one_of(
    st.sampled_from([
        "-p", "--policy", "--no-policy", "--set", "--gate", "--as", "-L", "-o", "json", "sarif", "markdown", "table",
        "-q", "--json", "--signature", "--key", "-d", "-c", "--policy-key", "--engine", "regorus", "--range", "0-1",
        "--path",
        "*", "--strict", "-O", "/dev/null", "--attest-key", "--", "-", "", "=", "a=b", "model", "../model",
        "../policy.yml", "../alice.pub", "../evidence", "dir:../model", "file:../model/weights.bin", "builtin:", "git:",
        "oci:", "env:", "..", ".", "../model/config.json", "--offline", "--trust-cache", "--ca",
        "--identity", "--issuer",
    ]),
    st.text(max_size=12).filter(lambda text: "\0" not in text),
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(words=st.lists(WORDS, max_size=7))
def test_any_command_line_ends_in_an_exit_code(scene: Scene, run: Assay, words: list[str]) -> None:
    """And in 0 only where something was accepted."""
    if not Path(scene.store).exists():
        scene.attest("alice")
        scene.policy(RULE.replace("0.9", "0.99"))
        scene.public("alice")
    if "-h" in words or "--help" in words or any(word.startswith(("-h", "--h")) for word in words):
        return
    code, out, err = run("--offline", *words)
    # Everything here is either about a policy that rejects, or signed by nobody.
    assert code in (1, 2, 3), (words, out, err)
    assert code != 2 or err


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60), data=st.data())
def test_any_policy_file_ends_in_an_exit_code(scene: Scene, run: Assay, text: str, data: st.DataObject) -> None:
    if not Path(scene.store).exists():
        scene.attest("alice")
    good = Path(scene.policy(RULE)).read_text()
    at = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(at, len(good)))
    Path("fuzz.yml").write_text(good[:at] + text + good[end:], encoding="utf-8", errors="replace")
    code, _, _ = run(*flags(scene, "fuzz.yml", "-o", "json"))
    assert code in (0, 1, 2, 3)


def test_alerts_of_a_configuration_are_told_and_can_be_kept_quiet(scene: Scene, run: Assay) -> None:
    scene.attest("alice", predicate=evaluation(0.1))
    policy = scene.policy(RULE)
    config("version: 1\nalerts: {outbox: outbox.sqlite, sinks: [{name: f, type: file, path: alerts.jsonl}]}\n")
    assert run(*flags(scene, policy, "--no-alerts"))[0] == 1 and not Path("outbox.sqlite").exists()
    assert run(*flags(scene, policy))[0] == 1 and Path("outbox.sqlite").exists()
