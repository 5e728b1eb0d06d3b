"""`assay.api.running.run` behind the walls: an honest step works, and what is refused is said with its reason."""

import json
import os
import shutil
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from assay.api.running import Step, run
from assay.api.signers import SignWith
from assay.cli.run import _refusals
from assay.config import Config
from assay.errors import UsageError
from assay.evidence import keys

STEP = """
import os, sys
import helper
rows = open("data/train.csv").read().splitlines()
if os.path.isdir("out"):
    with open("out/part", "w") as file:
        file.write(helper.model(rows))
    os.replace("out/part", "out/model")
for path, mode in (
    ("notes.txt", "r"), ("home/.ssh/id_rsa", "r"), ("key.pem", "r"), ("home/.bashrc", "a"), ("other/model", "w")
):
    try:
        open(path, mode).close()
    except OSError:
        continue
    sys.exit(f"{path} was opened")
try:
    os.execv("/bin/sh", ["sh", "-c", ":"])
except OSError:
    pass
"""
TOLD = {
    "notes.txt": "it is no declared input (--inputs)",
    "home/.ssh/id_rsa": "secrets lie there; only --inputs with this very path opens it",
    "key.pem": "secrets lie there; only --inputs with this very path opens it",
    "home/.bashrc": "what is written there runs later by itself",
    "other/model": "it is in no declared output (--outputs)",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "home/.ssh", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/train.csv", "notes.txt", "home/.ssh/id_rsa", "home/.bashrc"):
        (tmp_path / name).write_text("1\n2\n")
    (tmp_path / "train.py").write_text(STEP)
    (tmp_path / "helper.py").write_text("def model(rows):\n    return str(len(rows))\n")
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Path(os.path.realpath(tmp_path))


def go(**more):
    step = Step((sys.executable, "train.py"), inputs=("data",), isolation="strict", **more)
    return run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())


def test_an_honest_step_works_and_refusals_have_reasons(project):
    made = go(outputs=("out",))
    assert made.exit_code == 0 and (project / "out/model").read_text() == "2"
    assert [item.name for item in made.files.products if "out" in item.path] == ["out/model"]
    lines = _refusals(made, 1000)
    assert {f"{project}/{name}: {why}" for name, why in TOLD.items()} <= set(lines)
    assert any(line.endswith("/sh: it is no program of this step") for line in lines)
    assert not any("__pycache__" in line or "train.csv" in line for line in lines)
    assert made.refused >= len(TOLD) + 1


def test_the_evidence_lists_what_was_refused(project):
    made = go(outputs=("out",))
    found = {}
    for bundle in made.bundles:
        statement = json.loads(b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
        for item in statement["predicate"].get("monitorLog", {}).get("process", []):
            if "file" in item:
                found[item["file"]] = (item["decision"], item["rule"])
    assert found[f"{project}/home/.ssh/id_rsa"] == ("denied", "secret")
    assert found[f"{project}/home/.bashrc"] == ("denied", "persistence")
    assert found[f"{project}/other/model"] == ("denied", "undeclared-write")


def test_without_outputs_nothing_is_written(project):
    shutil.rmtree(project / "other")
    made = go()
    assert made.exit_code == 0
    assert [item.path for item in made.files.products if item.path.startswith(str(project))] == []


def test_evidence_and_outputs_lie_apart(project):
    with pytest.raises(UsageError, match="where the step could change it"):
        go(outputs=(".",))
    with pytest.raises(UsageError, match="the whole machine is no output"):
        go(outputs=("/",))
