"""`assay gateway simulate` and the function behind it: a table, JSON, a page; sentences for what is wrong."""

from __future__ import annotations

import argparse
import json
import re

import joblib
import pytest
from sklearn.linear_model import Ridge

from assay.api.simulating import Asked, simulate
from assay.cli import gateway_simulate, main
from assay.errors import RejectedError, UndecidedError, UsageError
from simulating import COLUMNS, forest, rows, table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Data, a holdout, and a model that somebody has signed; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text(table(0, 300))
    (tmp_path / "holdout.csv").write_text(table(300, 600))
    joblib.dump(forest(), tmp_path / "model.joblib")
    assert main.main(["keys", "generate", "-O", "mine"]) == 0
    assert main.main(["sign", "model.joblib", "--key", "mine", "-d", "evidence", "-q"]) == 0
    return tmp_path


def run(*arguments):
    """The action alone, as the command calls it."""
    parser = argparse.ArgumentParser()
    gateway_simulate.configure(parser.add_subparsers())
    parsed = parser.parse_args(["simulate", *arguments])
    return parsed.run(parsed)


MODEL = ("--model", "model.joblib", "--data", "train.csv", "-d", "evidence", "--key", "mine.pub", "--queries", "50")


def test_a_table_json_and_a_page(folder, capsys):
    (folder / "gateway.yaml").write_text(
        "assay-gateway: 1\nhardenings: {'<script>': {digits: 3}}\nplans: {default: {rows: {hour: 10, week: 700}}}\n"
    )
    more = ("--holdout", "holdout.csv", "--label", "kind", "--config", "gateway.yaml", "--callers", "20")
    assert run(*MODEL, *more, "-O", "page.html", "--json", "-q") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    made = json.loads(captured.out)
    assert (made["members"], made["others"], made["proper"], made["classes"]) == (300, 300, True, 3)
    assert [one["setting"]["name"] for one in made["outcomes"]][-1] == "<script>"
    assert set(made["outcomes"][0]["extraction"]["random"]) == {"2", "10", "50"}
    assert made["budget"] == {"default": {"hour": 10, "week": 700}} and "take one caller 1 day" in made["budgets"][0]
    assert made["detection"]["callers"] == 10

    page = (folder / "page.html").read_text()
    assert page.count("<svg") == 3 and "<script" not in page and "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:href|src)=\"(?!#)[^\"]*", page), "nothing is fetched from anywhere"

    assert run(*MODEL, "--label", "kind", "--callers", "0") == 0
    captured = capsys.readouterr()
    assert "label only" in captured.out and "detectors" not in captured.out
    assert "No plan limits rows:" in captured.out and "mean nothing" in captured.out
    assert "0/7 attacks, as it is" in captured.err


def test_columns_that_the_model_is_not_asked_with_can_be_left_out(folder, capsys):
    for name in ("train.csv", "holdout.csv"):
        lines = (folder / name).read_text().splitlines()
        numbered = [f"customer,{lines[0]}", *(f"nr-{number},{line}" for number, line in enumerate(lines[1:]))]
        (folder / name).write_text("\n".join(numbered))
    (folder / "plain.csv").write_text("\n".join(line.partition(",")[2] for line in numbered))  # a holdout without it
    for holdout in ("holdout.csv", "plain.csv"):
        more = ("--holdout", holdout, "--label", "kind", "--leave-out", "customer", "--callers", "0", "--json", "-q")
        assert run(*MODEL, *more) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["members"], made["others"], made["proper"]) == (300, 300, True)


def test_nothing_is_loaded_that_nobody_vouches_for(folder):
    class Boom:
        def __reduce__(self):
            return (open, (str(folder / "ran"), "w"))

    joblib.dump(Boom(), folder / "model.joblib")
    with pytest.raises((RejectedError, UndecidedError)):
        run(*MODEL)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "nobody"}, "no column 'nobody'"),
        ({"label": "c0"}, "no label of the column 'c0' is a class"),
        ({"queries": 3}, "fewer than 25 queries"),
        ({"callers": 5}, "fewer than 20 honest callers"),
        ({"seed": -1}, "a seed is no negative number"),
        ({"data": "empty.csv"}, "empty.csv has no rows"),
        ({"data": "absent.csv"}, "absent.csv"),
        ({"data": "text.csv"}, "'c1' is no number"),
        ({"data": "short.csv"}, "at least 40 rows"),
        ({"data": "other.csv"}, "no label of the column 'kind' is a class of the model: 'cat'"),
        ({"holdout": "narrow.csv"}, "no column 'c7'"),
        ({"model": Ridge()}, "no classifier with probabilities"),
        ({"config": "absent.yaml"}, "absent.yaml cannot be read"),
        ({"leave_out": ("nowhere",)}, "the data have no column 'nowhere'"),
        ({"leave_out": ("c7",)}, "trained on 8 columns, and the data have 7"),
    ],
)
def test_what_is_wrong_is_a_sentence(folder, change, words):
    lines = table(0, 300).splitlines()
    (folder / "empty.csv").write_text(lines[0] + "\n")
    (folder / "short.csv").write_text("\n".join(lines[:12]) + "\n")
    (folder / "text.csv").write_text(
        "\n".join([lines[0], *(re.sub(r",[^,]*", ",words", x, count=1) for x in lines[1:])])
    )
    (folder / "other.csv").write_text("\n".join([lines[0], *(re.sub(r"[^,]+$", "cat", line) for line in lines[1:])]))
    (folder / "narrow.csv").write_text("\n".join(re.sub(r",[^,]*(,[^,]*)$", r"\1", line) for line in lines))
    model = change.pop("model", forest())
    with pytest.raises(UsageError, match=re.escape(words)):
        simulate(model, Asked(**{"data": "train.csv", "label": "kind", "callers": 0, "queries": 25, **change}))


def test_labels_are_found_where_that_is_clear(folder):
    import polars

    features, labels = rows()
    frame = polars.DataFrame(features[:300], schema=list(COLUMNS))
    named = frame.with_columns(target=polars.Series(labels[:300]))
    report = simulate(forest(), Asked(named, callers=0, queries=25))
    assert report.notes[0] == "Labels are the column 'target'." and not report.proper
    assert (report.members, report.others) == (150, 150)
    with pytest.raises(UsageError, match="not clear"):
        simulate(forest(), Asked(frame.with_columns(kind=polars.Series(labels[:300])), callers=0))


def test_rows_that_cannot_be_used_are_counted(folder):
    import polars

    features, labels = rows()
    frame = polars.DataFrame(features, schema=list(COLUMNS)).with_columns(y=polars.Series(labels.astype(float)))
    holed = frame.with_columns(
        c0=polars.when(polars.int_range(polars.len()) < 7).then(None).otherwise(polars.col("c0"))
    )
    report = simulate(forest(), Asked(holed[:300], frame[250:], callers=0, queries=25))
    assert any(note.startswith("7 rows were left out") for note in report.notes)
    assert any(note.startswith("50 rows of the holdout are also in the data") for note in report.notes)
