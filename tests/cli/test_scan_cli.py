"""`assay scan` as a user meets it: words, exit codes, documents, and no traceback, whatever it is given."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from assay.api import scanning
from assay.api.anchors import TrustIn
from assay.api.verifying import verify
from assay.cli.main import COMMANDS, main
from assay.errors import ChangedError
from assay.evidence import predicates
from assay.evidence.predicates.sarif import PREDICATE_TYPE as SARIF
from assay.evidence.predicates.scan import PREDICATE_TYPE as SCAN
from assay.files import write_atomic

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "sarif" / "sarif-schema-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

EVIL = b"cos\nsystem\n(S'true'\ntR."
UNKNOWN = b"cnobody.listed\nThing\n)R."
SAFE = pickle.dumps({"layers": list(range(20))})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert "scan" in COMMANDS
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    (model / "README.md").write_text("# a model\n")
    (model / "safe.pkl").write_bytes(SAFE)
    assert main(["keys", "generate", "-O", "ci.pem"]) == 0
    return tmp_path


def add(place: Path, **files: bytes) -> None:
    for name, data in files.items():
        (place / "model" / f"{name}.pkl").write_bytes(data)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["scan", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, *arguments, "-o", "json")
    return code, json.loads(out)


def test_json_has_this_form_and_lists_every_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, evil=EVIL)
    with zipfile.ZipFile(place / "model" / "weights.pt", "w") as archive:
        archive.writestr("weights/data.pkl", EVIL)
    code, made = as_json(capsys, "model")
    assert code == 1 and made.keys() == {"target", "verdict", "files"} and made["verdict"] == "malicious"
    assert made["target"] == "dir:model"
    assert [(item["path"], item["tier"]) for item in made["files"]] == [
        ("README.md", "none"),
        ("evil.pkl", "malicious"),
        ("safe.pkl", "safe"),
        ("weights.pt", "malicious"),
    ]
    for item in made["files"]:
        assert item.keys() == {"path", "tier", "format", "digest", "findings"}
        assert item["digest"].startswith("sha256:")
    (finding, *_) = made["files"][1]["findings"]
    assert finding["tier"] == "malicious" and finding["call"] == "os.system('true')"
    assert made["files"][3]["findings"][0]["location"]["member"].endswith("data.pkl")


@pytest.mark.parametrize(
    ("files", "flags", "code"),
    [
        ({}, [], 0),
        ({"a": EVIL}, [], 1),
        ({"a": UNKNOWN}, [], 1),
        ({"a": UNKNOWN}, ["--fail-on", "code"], 0),
        ({"a": UNKNOWN}, ["--fail-on", "malicious"], 0),
        ({"a": UNKNOWN}, ["--fail-on", "malicious,unknown"], 1),
        ({"a": UNKNOWN}, ["--fail-on", "findings:info"], 1),
        ({"a": EVIL}, ["--fail-on", "malicious"], 1),
        ({"a": EVIL}, ["--fail-on", "findings:critical"], 1),
        ({"a": EVIL}, ["--fail-on", "unreadable"], 1),
        ({"a": SAFE[:-3]}, [], 1),
        ({"a": SAFE[:-3]}, ["--fail-on", "unreadable"], 1),
        ({"a": SAFE[:-3]}, ["--fail-on", "malicious"], 3),  # what was not seen is never success
    ],
)
def test_exit_codes(
    place: Path, capsys: pytest.CaptureFixture[str], files: dict[str, bytes], flags: list[str], code: int
) -> None:
    add(place, **files)
    assert run(capsys, "model", *flags)[0] == code


def test_the_table_names_the_call_and_what_to_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, evil=EVIL)
    (place / "model" / ".git").mkdir()
    (place / "model" / ".git" / "config").write_text("[core]")
    code, out, err = run(capsys, "model")
    assert code == 1 and out.startswith("malicious dir:model: 3 files: 1 malicious, 1 safe, 1 none")
    assert "evil.pkl (pickle)" in out and "os.system('true')" in out and "→" in out and ".git/" in out
    assert "safe.pkl" not in out and err == ""
    assert "safe.pkl" in run(capsys, "model", "-v")[1]


def test_a_clean_target_says_so_in_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "model")
    assert code == 0 and out == "safe dir:model: 2 files: 1 safe, 1 none\n"
    assert run(capsys, "model", "-q") == (0, "", "")


def test_names_cannot_steer_the_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(place / "model" / "m.zip", "w") as archive:
        archive.writestr("\x1b[2Jevil.pkl", EVIL)
    for output in ("table", "json", "sarif"):
        code, out, err = run(capsys, "model", "-o", output)
        assert code == 1 and "\x1b" not in out + err and "evil.pkl" in out
    (place / "model" / "\x1b[2Jevil.pkl").write_bytes(EVIL)
    code, out, err = run(capsys, "model")
    assert code == 1 and "\x1b" not in out + err and "\\u001b[2Jevil.pkl: the name" in out


def test_sarif_is_valid(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, evil=EVIL, unknown=UNKNOWN, broken=SAFE[:-3])
    (place / "model" / "[x](https:) é.pkl").write_bytes(EVIL)
    code, out, _ = run(capsys, "model", "-o", "sarif")
    log = json.loads(out)
    assert [f"{list(error.path)}: {error.message[:200]}" for error in VALIDATOR.iter_errors(log)] == []
    predicates.check(SARIF, log)
    (made,) = log["runs"]
    assert code == 1 and made["invocations"][0]["exitCode"] == 1
    assert len(made["artifacts"]) == 6
    assert {item["properties"]["tier"] for item in made["artifacts"]} >= {"malicious", "unknown", "safe", "unreadable"}
    evil = [item for item in made["results"] if item["level"] == "error" and "os.system" in item["message"]["text"]]
    assert len(evil) == 2 and "suppressions" not in evil[0]
    uri = evil[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "%5Bx%5D%28https%3A%29%20%C3%A9.pkl"
    marks = [item["partialFingerprints"]["assayFinding/v1"] for item in made["results"]]
    assert len(set(marks)) == len(marks)
    again = json.loads(run(capsys, "model", "-o", "sarif", "--no-cache")[1])["runs"][0]
    assert [item["partialFingerprints"]["assayFinding/v1"] for item in again["results"]] == marks
    assert str(place) not in out
    for rule in made["tool"]["driver"]["rules"]:  # what GitHub's code scanning asks for
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"] and rule["help"]["text"]
    for item in made["results"]:
        assert set(item["locations"][0]["physicalLocation"]["region"]) == {
            "startLine", "startColumn", "endLine", "endColumn"
        }  # fmt: skip


def test_the_hook_lets_an_honest_project_commit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hook,) = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    command, *words = hook["entry"].split()
    assert command == "assay"
    (place / "src").mkdir()
    (place / "src" / "train.py").write_text("import pickle\nprint(pickle.load(open('x', 'rb')))\n")
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": "!ls"}
    (place / "look.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert words == ["scan"] and run(capsys, *hook["args"])[0] == 0
    add(place, unknown=UNKNOWN)
    assert run(capsys, *hook["args"])[0] == 1


def test_the_same_advice_is_given_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, one=UNKNOWN, two=UNKNOWN)
    out = run(capsys, "model")[1]
    assert out.count("pickle/unlisted-global") == 2 and out.count("→") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scn", "model"], "did you mean scan?"),
        (["nonsense"], "assay --help"),
        (["scan", "model", "--failon", "code"], "did you mean --fail-on?"),
        (["scan", "model", "--quux"], "assay scan --help"),
        (["run", "--inptus", "x", "--", "true"], "did you mean --inputs?"),
        ([], "evidence store"),
    ],
)
def test_a_wrong_word_is_told_with_what_may_have_been_meant(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_attest_then_verify(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, evil=EVIL)
    code, out, _ = run(capsys, "model", "-o", "attest", "--key", "ci.pem", "-d", "att", "-O", "bundle.json")
    assert code == 1 and "attested dir:model" in out  # evidence of what was found is kept in any case
    assert verify("model", trust=TrustIn(("ci.pub",)), directory="att").accepted
    made = scanning.scan("model", output="statement")
    statement = json.loads(made.document)
    assert statement["predicateType"] == SCAN
    assert statement["subject"][0]["digest"]["sha256"] == made.contents
    predicate = statement["predicate"]
    predicates.check(SCAN, predicate)
    assert predicate["verdict"] == "malicious" and predicate["tiers"] == {"malicious": 1, "none": 1, "safe": 1}
    assert {"uri", "version", "rules", "allowList"} <= predicate["scanner"].keys()
    assert [item["path"] for item in predicate["files"]] == ["README.md", "evil.pkl", "safe.pkl"]


def test_evidence_is_about_the_bytes_that_were_scanned(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between scan and statement the file becomes another one."""

    def late(done: int, count: int) -> None:
        if done == count:
            (place / "model" / "safe.pkl").write_bytes(EVIL)

    with pytest.raises(ChangedError, match=r"safe\.pkl"):
        scanning.scan("model", output="statement", progress=late)


def test_evidence_does_not_rest_on_time_stamps(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store through a mapping whose page is dirty already changes no time stamp: a statement must see it."""
    monkeypatch.setattr("assay.collect.scan.models.cache.RACY", -(10**10))
    with open("model/safe.pkl", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:] = SAFE
        assert scanning.scan("model").exit_code == 0
        mapping[: len(EVIL)] = EVIL
        predicate = json.loads(scanning.scan("model", output="statement").document)["predicate"]
        assert predicate["verdict"] == "malicious"


def baseline(place: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> None:
    code, _, err = run(
        capsys, "baseline", "model", "-O", "b.json", "--until", "30d", "--reason", "our own class", *flags
    )
    assert code == 0 and "accepted" in err


def test_a_baseline_accepts_what_somebody_signed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, mine=UNKNOWN)
    baseline(place, capsys, "--key", "ci.pem")
    flags = ["--baseline", "b.json", "--baseline-key", "ci.pub"]
    code, out, _ = run(capsys, "model", *flags)
    assert code == 0 and "(accepted)" in out and "our own class" in out
    code, made = as_json(capsys, "model", *flags)
    (item,) = [item for item in made["files"] if item["path"] == "mine.pkl"]
    assert code == 0 and made["verdict"] == "unknown" and item["tier"] == "unknown"  # it is what it is
    assert all(finding["accepted"]["reason"] == "our own class" for finding in item["findings"])
    log = json.loads(run(capsys, "model", *flags, "-o", "sarif")[1])
    assert [f"{list(error.path)}: {error.message[:200]}" for error in VALIDATOR.iter_errors(log)] == []
    assert all(item["suppressions"][0]["status"] == "accepted" for item in log["runs"][0]["results"])


@pytest.mark.parametrize("attack", ["other bytes", "another file", "tampered", "unsigned", "other signer", "expired"])
def test_a_baseline_accepts_nothing_else(place: Path, capsys: pytest.CaptureFixture[str], attack: str) -> None:
    add(place, mine=UNKNOWN)
    baseline(place, capsys, "--key", "ci.pem")
    flags = ["--baseline", "b.json", "--baseline-key", "ci.pub"]
    assert run(capsys, "model", *flags)[0] == 0
    document = json.loads((place / "b.json").read_text())
    now: datetime | None = None
    if attack == "other bytes":
        add(place, mine=UNKNOWN.replace(b"Thing", b"Thong"))
    elif attack == "another file":
        add(place, other=UNKNOWN + b"\n")
    elif attack == "tampered":
        from base64 import b64decode, b64encode

        payload = b64decode(document["dsseEnvelope"]["payload"]).replace(b'"until":"2', b'"until":"3')
        document["dsseEnvelope"]["payload"] = b64encode(payload).decode()
    elif attack == "unsigned":
        document["dsseEnvelope"]["signatures"] = []
    elif attack == "other signer":
        assert main(["keys", "generate", "-O", "mallory.pem"]) == 0
        baseline(place, capsys, "--key", "mallory.pem")
        document = json.loads((place / "b.json").read_text())
    elif attack == "expired":
        now = datetime.now(UTC) + timedelta(days=31)
    write_atomic("b.json", json.dumps(document).encode())
    if attack == "unsigned":
        assert run(capsys, "model", *flags)[0] == 2  # no signed document at all: unreadable input
        return
    made = scanning.scan("model", baseline="b.json", baseline_keys=("ci.pub",), now=now)
    assert made.exit_code == 1
    if attack not in ("other bytes", "another file"):
        assert made.baseline.marks == frozenset() and "accepts nothing" in made.warnings[0]


def test_a_baseline_for_an_attack_covers_no_second_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, a=EVIL)
    baseline(place, capsys, "--key", "ci.pem")
    flags = ["--baseline", "b.json", "--baseline-key", "ci.pub"]
    assert run(capsys, "model", *flags)[0] == 0
    add(place, b=EVIL.replace(b"true", b"uname"))
    assert run(capsys, "model", *flags)[0] == 1


def test_without_anybody_to_trust_a_baseline_is_undecided(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, mine=UNKNOWN)
    baseline(place, capsys, "--key", "ci.pem")
    code, _, err = run(capsys, "model", "--baseline", "b.json")
    assert code == 3 and "nobody is named" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["baseline", "model", "--until", "30d", "--reason", "x"],
        ["baseline", "model", "-O", "b.json", "--reason", "x"],
        ["baseline", "model", "-O", "b.json", "--until", "30d"],
        ["baseline", "model", "-O", "b.json", "--until", "2001-01-01", "--reason", "x", "--key", "ci.pem"],
        ["baseline", "model", "-O", "b.json", "--until", "soon", "--reason", "x", "--key", "ci.pem"],
        ["model", "other"],
        ["model", "--until", "30d"],
        ["model", "--fail-on", "nothing"],
        ["model", "--fail-on", "findings:awful"],
        ["model", "--baseline", "missing.json", "--baseline-key", "ci.pub"],
        ["nowhere"],
        ["allow", "not a library"],
    ],
)
def test_wrong_usage_is_one_sentence(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and err.startswith("assay: ")
    assert not (place / "b.json").exists()


def test_nothing_to_accept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["baseline", "model", "-O", "b.json", "--until", "30d", "--reason", "x", "--key", "ci.pem"]
    assert run(capsys, *arguments)[0] == 2 and not (place / "b.json").exists()


def test_the_configuration_chooses(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, mine=UNKNOWN)
    (place / "assay.yaml").write_text("scan:\n  fail_on: [code]\n")
    assert run(capsys, "model")[0] == 0
    assert run(capsys, "model", "--fail-on", "unknown")[0] == 1  # a flag says otherwise
    baseline(place, capsys, "--key", "ci.pem")
    (place / "assay.yaml").write_text("scan:\n  baseline: b.json\n  baseline_keys: [ci.pub]\n")
    assert run(capsys, "model")[0] == 0
    for text in ("scan: {fail-on: [code]}", "scan: {fail_on: code}", "scan: {fail_on: [all]}", "scan: []"):
        (place / "assay.yaml").write_text(text)
        assert run(capsys, "model")[0] == 2


def test_a_projects_allow_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assay.collect.scan.models.rules import lists

    add(place, mine=UNKNOWN)
    listed = lists.AllowList(library="nobody", entries={"nobody.listed": {"Thing": lists.KINDS["call"]}})
    (place / "own.txt").write_bytes(lists.render(listed))
    (place / "assay.yaml").write_text("scan: {allow: [own.txt]}")
    code, made = as_json(capsys, "model")
    assert code == 0 and {item["path"]: item["tier"] for item in made["files"]}["mine.pkl"] == "safe"


def test_a_model_cannot_excuse_itself(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A downloaded model brings an assay.yaml, and somebody scans it from inside its folder."""
    add(place, mine=UNKNOWN)
    (place / "model" / "assay.yaml").write_text("scan:\n  fail_on: [malicious]\n")
    os.chdir(place / "model")
    code, _, err = run(capsys, ".")
    assert code == 2 and "lies inside the target" in err
    assert run(capsys, ".", "-c", "assay.yaml")[0] == 0  # named, so it is the user's own


def test_allow_lists_a_library(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assay.collect.scan.models.rules import lists

    assert run(capsys, "allow", "fractions", "-O", "own.txt", "-q")[0] in (0, 2)
    code, _, err = run(capsys, "allow", "joblib", "-O", "own.txt")
    assert code == 0, err
    assert lists.parse((place / "own.txt").read_bytes(), "own.txt").library == "joblib"


def test_no_cache_writes_none(place: Path, capsys: pytest.CaptureFixture[str], home: Path) -> None:
    run(capsys, "model", "--no-cache")
    assert not (home / "cache").exists()
    run(capsys, "model")
    assert (home / "cache" / "assay" / "digests").is_dir()


def test_one_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, evil=EVIL)
    code, made = as_json(capsys, "model/evil.pkl")
    assert code == 1 and [item["path"] for item in made["files"]] == ["evil.pkl"]


def test_a_commit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(place, evil=EVIL)
    git = ["git", "-C", "model", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    (place / "model" / "evil.pkl").unlink()  # the commit still has it
    code, made = as_json(capsys, "git:model")
    assert code == 1 and made["target"].startswith("git:model@") and made["verdict"] == "malicious"


def test_scanning_imports_no_framework_and_no_scanner_for_what_is_known(place: Path) -> None:
    code = (
        "import sys\nfrom assay.api.scanning import scan\n"
        "print(scan('model').exit_code, *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert made[0] == "0"
    assert not {"torch", "numpy", "joblib", "sklearn", "h5py", "onnx", "pydantic", "asyncio"} & set(made)


def test_nothing_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The payload would leave a mark; that it works is shown by loading it."""
    mark = place / "mark"
    payload = f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode()
    add(place, evil=payload)
    assert run(capsys, "model")[0] == 1
    assert not mark.exists()
    pickle.loads(payload)
    assert mark.exists()
