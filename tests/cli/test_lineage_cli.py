"""`assay lineage` as a person calls it: exit codes, forms, and what is said when nothing is known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli.main import main
from lineage_making import Place, key


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.pipeline()
    return made


def call(place: Place, *arguments: str, trusted: bool = True) -> int:
    who = ["--key", str(place.root / "own.pub")] if trusted else []
    return main(["lineage", *arguments, "-d", place.store, *who])


def test_a_tree_for_people(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, key("model")) == 0
    out = capsys.readouterr().out
    assert out.index("comes from") < out.index("'train'") < out.index("'prepare'") < out.index("went into")
    assert "proved to be used for" in out and "\x1b" not in out
    assert call(place, key("raw"), "--down") == 0
    assert "comes from" not in capsys.readouterr().out


def test_nobody_named_means_undecided_and_shows_what_is_claimed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(place, key("model"), trusted=False) == 3
    out, err = capsys.readouterr()
    assert "NOT PROVED" in out and "no proved use" in out and "--key" in err


def test_no_evidence_is_exit_3_with_what_to_do(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = place.root / "unknown"
    unknown.mkdir()
    (unknown / "file").write_text("x")
    assert call(place, str(unknown)) == 3
    err = capsys.readouterr().err
    assert "no evidence about" in err and "assay run" in err and "Traceback" not in err


@pytest.mark.parametrize("arguments", [("--depth", "0"), ("--graph", "picture.png"), ("--path", "*.csv")])
def test_wrong_usage_is_exit_2(place: Place, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, key("model"), *arguments) == 2
    assert capsys.readouterr().err.startswith("assay: ")


def test_forms_for_machines_are_json_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for form, field in (("json", "edges"), ("prov", "wasGeneratedBy")):
        assert call(place, key("model"), "-o", form) == 0
        assert field in json.loads(capsys.readouterr().out)
    assert call(place, key("model"), "-o", "openlineage", "-O", str(place.root / "events.json")) == 0
    assert len(json.loads((place.root / "events.json").read_text())) == 4
    assert call(place, key("model"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["target"] == key("model")


@pytest.mark.parametrize(("ending", "start"), [("svg", "<svg "), ("html", "<!doctype html>"), ("dot", "digraph ")])
def test_pictures_are_written_beside_the_answer(place: Place, ending: str, start: str) -> None:
    assert call(place, key("model"), "-q", "--graph", str(place.root / f"graph.{ending}")) == 0
    assert (place.root / f"graph.{ending}").read_text().startswith(start)


def test_a_run_of_assay_is_a_step_with_its_folders(tmp_path: Path) -> None:
    """The whole way: two steps under `assay run`, and the question that an incident asks."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "reviews.csv").write_text("text,label\ngood,1\n")
    (tmp_path / "clean").mkdir()
    (tmp_path / "model").mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "assay", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )

    assert run("keys", "generate").returncode == 0
    for step, source, made in (("prepare", "raw", "clean"), ("train", "clean", "model")):
        copy = f"cat {source}/*.csv > {made}/{step}.csv"
        ran = run(
            "run", "--step", step, "--inputs", source, "--outputs", made, "--allow-degraded", "--", "sh", "-c", copy
        )
        assert ran.returncode == 0, ran.stderr
    found = run("lineage", "raw", "--down", "--json")
    assert found.returncode == 0, found.stderr
    graph = json.loads(found.stdout)
    kinds = {item["name"]: item["kind"] for item in graph["artifacts"]}
    assert kinds == {"raw": "dataset", "clean": "dataset", "model": "model"}
    assert graph["usesByKind"] == {"dataset": 1, "model": 1} and all(edge["proved"] for edge in graph["edges"])
    (tmp_path / "raw" / "reviews.csv").write_text("other")
    assert run("lineage", "raw").returncode == 3
