"""Whoever may edit the baseline file must not be able to hide drift: its signer is demanded, its digest is evidence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from assay.api.baselines import Data, baseline
from assay.api.looking import Question, Signers, see
from assay.api.signers import SignWith
from assay.cli.main import main
from assay.config import Config
from assay.errors import RejectedError, UndecidedError
from assay.watch.evidence import document
from monitor_making import table


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "theirs"):
        assert main(["keys", "generate", "-O", f"{name}.pem"]) == 0
    table(4000).write_parquet("train.parquet")
    table(2000, seed=1).write_parquet("now.parquet")
    made = baseline(
        Data("train.parquet"), output="attest", signer_choice=SignWith("mine.pem"), directory="store", config=Config()
    )
    Path("baseline.json").write_bytes(made.documents["baseline.json"])
    return tmp_path


def question(key: str | None = "mine.pub", path: str = "baseline.json") -> Question:
    signers = Signers((key,), "store", Config()) if key is not None else None
    return Question(path, Data("now.parquet"), signers=signers)


def test_the_file_that_was_signed_is_believed_and_told(place: Path) -> None:
    seen = see(question())
    digest = hashlib.sha256(Path("baseline.json").read_bytes()).hexdigest()
    for look in seen.looks:
        assert look.documents == {"baseline": digest}
        assert document(look).documents[0].digest == {"sha256": digest}


def test_floors_that_hide_drift_are_refused(place: Path) -> None:
    """Stops: a baseline whose profile is untouched and whose noise floors are above every drift."""
    raw = json.loads(Path("baseline.json").read_text())
    for column in raw["floors"]["columns"].values():
        for curve in column["drawn"].values():
            for point in curve:
                point[1] *= 1e3
    Path("edited.json").write_text(json.dumps(raw))
    assert see(question(None, "edited.json")).looks  # without a signer nobody could tell
    with pytest.raises(RejectedError, match="edited"):
        see(question(path="edited.json"))


def test_a_stranger_s_baseline_is_nobody_s(place: Path) -> None:
    with pytest.raises(UndecidedError, match="nobody expected"):
        see(question("theirs.pub"))


def test_a_baseline_that_was_never_attested_is_undecided(place: Path) -> None:
    made = baseline(Data("train.parquet"), config=Config())
    Path("plain.json").write_bytes(made.documents["baseline.json"])
    with pytest.raises(UndecidedError, match="nobody expected"):
        see(question(path="plain.json"))
