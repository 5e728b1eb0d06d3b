"""`assay gateway calibrate` and `schema`: what they learn from, and that nonsense is told in one sentence."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import numpy as np
import polars
import pytest

from assay.api import calibrating
from assay.api.calibrating import calibrate
from assay.cli.main import main
from assay.errors import AssayError
from assay.guard.gateway.detect import calibration
from gateway_making import one_sentence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Model:
    """A linear classifier, with what is asked of a model and no more."""

    classes_ = np.array([0, 1])

    def predict_proba(self, rows):
        score = 1 / (1 + np.exp(-(rows[:, 0] + 2 * rows[:, 1] - rows[:, 2])))
        return np.column_stack([1 - score, score])


class Fails(Model):
    def predict_proba(self, rows):
        raise ValueError("on purpose")


def rows(count=300, seed=0):
    chance = np.random.default_rng(seed)
    latent = chance.normal(size=(count, 2))
    return np.column_stack([latent[:, 0], latent[:, 1], latent.sum(axis=1) + chance.normal(scale=0.05, size=count)])


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = polars.DataFrame(rows(), schema=["a", "b", "c"])
    made.with_columns(label=polars.Series([0, 1] * 150), name=polars.Series(["x"] * 300)).write_csv("data.csv")
    return tmp_path


NUMBERS = ("label", "name")


def captured(folder, callers=25, asked=30, odd=None, **changes):
    """What a gateway captured of honest callers, and of ``odd``, who asks about what nobody else does."""
    frames = []
    for caller in range(callers):
        mine = rows(asked, seed=caller + 10) * (50 if caller == odd else 1)
        score = Model().predict_proba(mine)
        columns = {
            "caller": [f"c{caller}"] * asked,
            "inferenceId": [f"request-{caller}-{i}" for i in range(asked)],
            "inferenceTime": [f"2026-06-01T12:{i % 60:02}:00Z" for i in range(asked)],
            **{name: mine[:, i] for i, name in enumerate("abc")},
            "probabilities": score.tolist(),
        }
        frames.append(polars.DataFrame({name: columns[name] for name in columns if changes.get(name, 1) is not None}))
    os.makedirs(folder, exist_ok=True)
    polars.concat(frames).write_parquet(os.path.join(folder, "a.parquet"))


def test_from_simulated_and_from_captured_callers(data, monkeypatch):
    monkeypatch.setattr(calibrating, "CALLERS", 30)
    monkeypatch.setattr(calibrating, "QUERIES", 60)
    made = calibrate("data.csv", "simulated.json", model=Model(), leave_out=NUMBERS, now=NOW)
    assert made.streams == 30 and 0 <= made.expected <= 0.2
    assert calibration.load("simulated.json").version == made.version
    again = calibrate("data.csv", "again.json", model=Model(), leave_out=NUMBERS, now=NOW)
    assert again.version == made.version, "the same seed, the same calibration"
    captured("captured")
    learned = calibrate("data.csv", "captured.json", captured="captured", leave_out=NUMBERS)
    assert learned.streams <= 25 and calibration.load("captured.json").version == learned.version != made.version


def test_who_is_left_out_can_be_found_in_the_access_log(data, capfd):
    captured("captured", callers=40, asked=60, odd=7)
    words = ["--data", "data.csv", "--captured", "captured", "--leave-out", "label", "--leave-out", "name"]
    assert main(["gateway", "calibrate", *words, "-O", "made.json"]) == 0
    told = capfd.readouterr().err
    assert "too unlike the others: c7 (request request-7-0)" in told and "extendedRequestId" in told
    assert "c7 (request request-7-0)" in calibration.load("made.json").excluded


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"model": Model(), "captured": "captured"},
        {"captured": "nowhere"},
        {"captured": "empty"},
        {"captured": "timeless"},
        {"captured": "nobody"},
        {"captured": "narrow"},
        {"captured": "strange"},
        {"model": object()},
        {"model": Fails()},
        {"model": Model(), "leave_out": ("label",)},
        {"model": Model(), "leave_out": (*NUMBERS, "none")},
        {"model": Model(), "leave_out": (*NUMBERS, "a", "b", "c")},
        {"model": Model(), "false_alarms": 0.0},
        {"model": Model(), "false_alarms": float("nan")},
        {"model": Model(), "seed": -1},
        {"model": Model(), "data": "none.csv"},
        {"model": Model(), "data": "few.csv"},
        {"model": Model(), "data": "nothing.csv"},
        {"model": Model(), "data": "holes.csv"},
        {"model": Model(), "output": "none/out.json"},
        {"model": Model(), "output": "empty"},
    ],
)
def test_what_nothing_can_be_learned_from_is_one_sentence(data, more):
    os.mkdir("empty")
    captured("timeless", inferenceTime=None)
    captured("nobody", caller=None)
    captured("narrow", b=None)
    captured("captured", callers=2)
    captured("strange")
    strange = polars.read_parquet("strange/a.parquet").with_columns(
        probabilities=polars.lit("many"), inferenceTime=polars.lit("yesterday")
    )
    strange.write_parquet("strange/a.parquet")
    polars.DataFrame(rows(5), schema=["a", "b", "c"]).write_csv("few.csv")
    (data / "nothing.csv").write_text("a,b,c,label,name\n")
    (data / "holes.csv").write_text("a,b,c\n" + ",,\n" * 300)
    arguments = {"data": "data.csv", "output": "out.json", "leave_out": NUMBERS} | more
    if arguments["data"] in ("few.csv", "holes.csv"):
        arguments["leave_out"] = ()
    with pytest.raises(AssayError) as raised:
        calibrate(arguments.pop("data"), arguments.pop("output"), **arguments)
    assert "\n" not in raised.value.message and not os.path.exists("out.json")


def test_schema_from_a_baseline(data, capfd):
    assert main(["baseline", "data.csv", "--leave-out", "name", "-O", "baseline.json", "-q"]) == 0
    capfd.readouterr()
    assert main(["gateway", "schema", "baseline.json", "--leave-out", "label", "-O", "schema.yaml"]) == 0
    assert "describes 3 column(s)" in capfd.readouterr().err
    for words in (
        ["none.json", "-O", "s.yaml"],
        ["data.csv", "-O", "s.yaml"],
        ["baseline.json", "-O", "none/s.yaml"],
        ["baseline.json", "-O", "."],
        ["baseline.json", "--leave-out", "none", "-O", "s.yaml"],
        ["baseline.json", "--slack", "-1", "-O", "s.yaml"],
        ["baseline.json", "--slack", "nan", "-O", "s.yaml"],
        [
            "baseline.json",
            "--leave-out",
            "a",
            "--leave-out",
            "b",
            "--leave-out",
            "c",
            "--leave-out",
            "label",
            "-O",
            "s.yaml",
        ],
    ):
        assert main(["gateway", "schema", *words]) == 2, words
        one_sentence(capfd.readouterr().err)
        assert not os.path.exists("s.yaml")


@pytest.mark.parametrize(
    "words",
    [
        ["--data", "none.csv", "--model", "m.joblib"],
        ["--data", "data.csv"],
        ["--data", "data.csv", "--captured", "none"],
        ["--data", "data.csv", "--captured", "empty", "--false-alarms", "7"],
    ],
)
def test_the_command_says_one_sentence(data, capfd, words):
    os.mkdir("empty")
    code = main(["gateway", "calibrate", *words, "-O", "out.json"])
    assert code in (2, 3)
    one_sentence(capfd.readouterr().err)
    assert not os.path.exists("out.json")


def test_the_file_is_json_that_others_can_read(data, monkeypatch):
    monkeypatch.setattr(calibrating, "CALLERS", 25)
    monkeypatch.setattr(calibrating, "QUERIES", 40)
    calibrate("data.csv", "simulated.json", model=Model(), leave_out=NUMBERS)
    assert isinstance(json.loads((data / "simulated.json").read_text()), dict)
