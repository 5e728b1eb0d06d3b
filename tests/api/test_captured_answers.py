"""Captured predictions held against a baseline: what the model answered is no stranger among what it was asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.cli.main import main
from assay.guard.gateway.capture.writer import Capturer
from assay.guard.gateway.interface import Answers, Table
from assay.guard.gateway.settings.keeping import Capture
from assay.watch.interface import Topic
from guard.gateway.capture.samples import sample

NAMES = ("age", "x")


def rows(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.column_stack([random.integers(18, 90, count), random.normal(size=count)]).astype(float)


def captured(folder: Path, seed: int = 1, names: tuple[str, ...] = NAMES, *, labels: bool = True) -> None:
    """Two files of the gateway's; the first one may be from when the model said less."""
    warned: list[str] = []
    one = Capturer(Capture(folder=str(folder), format=("parquet",)), str(folder), b"k", warned.append)
    for hour, known in ((0, labels), (1, True)):
        for i in range(100):
            given = rows(seed + i + 100 * hour, 2)
            answers = Answers(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])) if known else None
            given = np.column_stack([given, given[:, :1]])[:, : len(names)]
            one.see(sample(3600 * hour + i, rows=2), Table(given, names), answers)
    one.close()
    assert not warned and one.figures.captured == 200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(rows(0, 2000), list(NAMES)).with_columns(pl.col("age").cast(pl.Int64)).write_parquet("train.parquet")
    assert main(["baseline", "train.parquet", "-q"]) == 0
    return tmp_path


def checks(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[tuple[str, str | None], str]]:
    capsys.readouterr()
    code = main(["monitor", "check", "--baseline", "baseline.json", "--data", "captured/parquet", "--json", *words])
    looks = json.loads(capsys.readouterr().out)["looks"]
    return code, {(one["check"], one["feature"]): one["outcome"] for look in looks for one in look["checks"]}


@pytest.mark.parametrize("labels", [True, False])
def test_answers_are_no_extra_columns(folder: Path, capsys: pytest.CaptureFixture[str], labels: bool) -> None:
    captured(folder / "captured", labels=labels)
    code, found = checks(capsys)
    assert code == 0, found
    assert not [check for check, outcome in found.items() if outcome == "violated"]


def test_other_columns_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captured(folder / "captured", names=("age", "x", "prediction"))
    code, found = checks(capsys)
    assert code == 1
    assert found["extra-column", "prediction"] == "violated", "the caller's own, and not what the model said"
    assert ("extra-column", "output.prediction") not in found


def test_a_baseline_that_knows_answers_watches_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captured(folder / "captured")
    assert main(["baseline", "captured/parquet", "-q"]) == 0
    known = {column["name"] for column in json.loads(Path("baseline.json").read_text())["columns"]}
    assert known >= {"age", "x", "prediction"}
    code, found = checks(capsys, "--topic", Topic.DRIFT.value)
    assert code == 0 and any(feature == "prediction" for _, feature in found)


@pytest.mark.parametrize("named", ["{", "5", '{"a": 1}', "[1, null]", "[" * 100_000])
def test_metadata_of_strangers_name_no_answers(named: str, tmp_path: Path) -> None:
    from assay.collect.profile.sources.opening import open_source

    path = str(tmp_path / "a.parquet")
    pl.DataFrame({"x": [1.5]}).write_parquet(path, metadata={"assay.answers": named})
    assert open_source(path).answers == frozenset()
