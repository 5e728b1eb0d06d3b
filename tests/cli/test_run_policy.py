"""What `assay run` has signed, held against the rule that a training used the declared inputs only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.evidence import keys

TRAIN = """
import os, sys
rows = open("data/a.csv").read()
if len(sys.argv) > 1:
    rows += open(sys.argv[1]).read()
open("model/weights", "w").write(rows)
"""
SYSTEM = ["/usr/*", "/etc/*", "/lib*", "/proc/*", "$ENV/*", "$ENV2/*", "~/.pyenv/*", f"{sys.base_prefix}/*"]
DECLARED = ["data", "data/*", "train.py"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("home", "data", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "data/a.csv").write_text("1\n")
    (tmp_path / "elsewhere/leaked.csv").write_text("2\n")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assay("keys", "generate", code=0)
    return tmp_path


def assay(*words: str, code: int) -> str:
    done = subprocess.run([sys.executable, "-m", "assay", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def train(*arguments: str) -> None:
    words = ["run", "-q", "--inputs", "data", "--outputs", "model", "--", sys.executable, "-S", "train.py", *arguments]
    assay(*words, code=0)


def verify(declared: Sequence[str], code: int) -> str:
    policy = {
        "assay-policy": 1, "id": "p", "name": "P", "version": 1,
        "controls": [{
            "id": "c", "name": "C",
            "rules": [{"uses": "training/inputs-declared@v1", "with": {"declared": list(declared)}}],
        }],
    }  # fmt: skip
    Path("policy.yml").write_text(json.dumps(policy))
    return assay("verify", "model", "--as", "model", "-p", "policy.yml", code=code)


def test_a_training_on_the_declared_inputs_passes(place):
    train()
    assert "its one rule passes" in verify([*SYSTEM, *DECLARED], 0)


def test_what_nobody_declared_is_named(place):
    train("elsewhere/leaked.csv")
    told = verify([*SYSTEM, *DECLARED], 1)
    assert "'elsewhere/leaked.csv' is not on the allow list" in told
    verify([*SYSTEM, *DECLARED, "elsewhere/*"], 0)


def test_an_input_may_be_declared_by_its_digest(place):
    import hashlib

    train("elsewhere/leaked.csv")
    digest = hashlib.sha256(b"2\n").hexdigest()
    verify([*SYSTEM, *DECLARED, f"sha256:{digest}"], 0)
    verify([*SYSTEM, *DECLARED, f"sha256:{digest[:-1]}*"], 1)  # no pattern stands for a digest
    (place / "elsewhere/leaked.csv").write_text("3\n")
    train("elsewhere/leaked.csv")
    verify([*SYSTEM, *DECLARED, f"sha256:{digest}"], 1)
