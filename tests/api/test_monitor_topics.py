"""Monitors end to end: truth that comes later, bias, attributions, captured traffic, alerts, exports, pictures."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from assay.watch.instants import microseconds
from monitor_making import MONITORS, START, call, hour, make, rows, table, write

KEY = ("--key", "key.pem", "-d", "evidence")
COUNT = 800


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


def predictions(number: int, *, right: float = 0.95, unfair: float = 0.0, swapped: bool = False) -> polars.DataFrame:
    """Answers of hour ``number`` with what is true: ``right`` of them agree; women lose ``unfair`` of their loans."""
    draw = np.random.default_rng(number)
    truth = draw.integers(0, 2, COUNT)
    answer = np.where(draw.random(COUNT) < right, truth, 1 - truth)
    group = draw.choice(["f", "m"], COUNT)
    answer = np.where((group == "f") & (draw.random(COUNT) < unfair), 0, answer)
    weights = draw.normal(0, 1, (COUNT, 2)) * ((0.1, 3.0) if swapped else (3.0, 0.1))
    return table(COUNT, number).with_columns(
        id=polars.Series([f"{number}-{index}" for index in range(COUNT)]),
        when=polars.Series([hour(number) + timedelta(seconds=4 * index) for index in range(COUNT)]),
        prediction=polars.Series(answer),
        truth=polars.Series(truth),
        group=polars.Series(group),
        **{f"attribution:{name}": polars.Series(weights[:, at]) for at, name in enumerate(("age", "balance"))},
    )


def files(place: Path, *hours: polars.DataFrame) -> None:
    """Live predictions without the truth, the truth in a file of its own, and a good past."""
    every = polars.concat(hours)
    every.drop("truth").write_parquet("live.parquet")
    every.select("id", label="truth").write_parquet("truth.parquet")
    predictions(50).rename({"truth": "label"}).write_parquet("before.parquet")
    kept = ["age", "balance", "channel"]
    every.head(COUNT).select(kept).write_parquet("train.parquet")


QUALITY = {
    "problem": "binary",
    "truth": {"from": "truth.parquet"},
    "reference": {"from": "before.parquet"},
    "attributions": True,
}
BIAS = {"facet": "group", "disadvantaged": ["f"]}


def run(capsys: Any, number: int) -> tuple[int, str]:
    at = f"{hour(number):%Y-%m-%dT%H:%M:%SZ}"
    code, out, err = call(capsys, "monitor", "run", "credit", "--at", at, *KEY)
    return code, out + err


def state(number: int) -> dict[str, str]:
    """Topic to outcome of the window ``number``."""
    due = microseconds(hour(number))
    ((looks,),) = rows(Path(), f"SELECT looks FROM monitor_window WHERE due = {due}")
    return {look["topic"]: look["outcome"] for look in json.loads(looks)}


def test_quality_against_truth_that_comes_later(place: Path, capsys: Any) -> None:
    files(place, predictions(0), predictions(1, right=0.6), predictions(2))
    truth = polars.read_parquet("truth.parquet")
    truth.filter(~polars.col("id").str.starts_with("2-")).write_parquet("truth.parquet")
    write(place, topics=["model-quality"], quality=QUALITY, baseline="baseline.json")
    assert run(capsys, 1)[0] == 0
    code, said = run(capsys, 2)
    assert code == 1 and "model-quality violated" in said
    # Of the third hour nothing is known yet: that is no good news; when the labels have come, it is run again.
    assert run(capsys, 3)[0] == 3 and state(3) == {"model-quality": "undecided"}
    truth.write_parquet("truth.parquet")
    assert run(capsys, 3)[0] == 0 and state(3) == {"model-quality": "holds"}
    names = {name for (name,) in rows(place, "SELECT name FROM series")}
    assert {"accuracy", "f1", "recall"} <= names


def test_a_label_in_the_predictions_is_no_truth(place: Path, capsys: Any) -> None:
    """Stops: a caller who sends along the labels by which the model is then judged."""
    bad = predictions(0, right=0.6)
    files(place, bad)
    bad.drop("truth").with_columns(label=polars.col("prediction")).write_parquet("live.parquet")
    write(place, topics=["model-quality"], quality=QUALITY)
    assert run(capsys, 1)[0] == 1


def test_bias_and_attributions(place: Path, capsys: Any) -> None:
    files(place, predictions(0), predictions(1, unfair=0.6), predictions(2, swapped=True))
    write(place, topics=["bias", "explainability"], quality=QUALITY, bias=BIAS)
    assert run(capsys, 1)[0] == 0 and state(1) == {"bias": "holds", "explainability": "holds"}
    assert run(capsys, 2)[0] == 1 and state(2) == {"bias": "violated", "explainability": "holds"}
    assert run(capsys, 3)[0] == 1 and state(3)["explainability"] == "violated"
    assert rows(place, 'SELECT COUNT(*) FROM series WHERE dimensions NOT LIKE \'%"Monitor":"credit"%\'') == [(0,)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quality": QUALITY | {"thresholds": {"fame": 1}}}, "'fame' is no metric of a binary problem"),
        ({"quality": {"problem": "binary", "truth": QUALITY["truth"]}}, "quality is held against thresholds"),
        ({"quality": QUALITY | {"prediction": "nope"}}, "nope"),
        ({"quality": QUALITY | {"id": "nope"}}, "id"),
        ({"quality": QUALITY | {"truth": {"from": "nowhere.parquet"}}}, "nowhere.parquet is not there"),
        ({"quality": QUALITY | {"segments": ["nope"]}}, "nope"),
        ({"topics": ["bias"], "quality": QUALITY, "bias": BIAS | {"facet": "nope"}}, "nope"),
        ({"topics": ["bias"], "quality": {"problem": "binary"}, "bias": BIAS}, "bias is held against"),
    ],
)
def test_questions_that_cannot_be_answered(place: Path, capsys: Any, changes: dict[str, Any], said: str) -> None:
    files(place, predictions(0))
    write(place, **{"topics": ["model-quality"], **changes})
    code, out = run(capsys, 1)
    assert code == 3 and "credit: Failed: " in out and said in out, out


def captured(number: int, shift: float = 0.0) -> str:
    lines = []
    for index, row in enumerate(table(COUNT, number, shift).rows()):
        moment = hour(number) + timedelta(seconds=4 * index)
        ends = {"encoding": "CSV", "observedContentType": "text/csv"}
        line = {
            "captureData": {
                "endpointInput": {**ends, "mode": "INPUT", "data": ",".join(map(str, row))},
                "endpointOutput": {**ends, "mode": "OUTPUT", "data": "0.5"},
            },
            "eventMetadata": {"eventId": f"{number}-{index}", "inferenceTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"},
            "eventVersion": "0",
        }
        lines.append(json.dumps(line) + "\n")
    return "".join(lines)


def test_captured_traffic_in_folders_of_hours(place: Path, capsys: Any) -> None:
    for number, shift in enumerate((0.0, 1.5)):
        folder = place / "captured" / f"{hour(number):%Y/%m/%d/%H}"
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text(captured(number, shift))
    columns = ("--columns", "age,balance,channel", "--outputs", "score")
    first = f"captured/{START:%Y/%m/%d/%H}"
    assert call(capsys, "baseline", first, "--format", "captured", *columns, "-O", "traffic.json")[0] == 0
    data = {"from": "captured", "format": "captured", "columns": ["age", "balance", "channel"], "outputs": ["score"]}
    write(place, baseline="traffic.json", data=data)
    assert run(capsys, 1)[0] == 0
    code, said = run(capsys, 2)
    assert code == 1 and "balance" in said
    assert run(capsys, 3)[0] == 3  # nothing was captured
    assert rows(place, "SELECT value FROM metric m JOIN series s ON s.id = m.series WHERE name = 'drift_rows'") == [
        (float(COUNT),),
        (float(COUNT),),
        (0.0,),
    ]


def test_an_alarm_tells_the_alert_sinks_and_numbers_go_on(place: Path, capsys: Any) -> None:
    (place / "assay.yaml").write_text("alerts:\n  sinks:\n    - {name: here, type: file, path: alerts.jsonl}\n")
    polars.concat(
        [
            table(COUNT, number, shift=2.0 * (number == 1)).with_columns(
                when=polars.Series([hour(number) + timedelta(seconds=4 * index) for index in range(COUNT)])
            )
            for number in range(2)
        ]
    ).write_parquet("live.parquet")
    alarm = MONITORS["alarms"][0] | {"evaluation-periods": 1, "datapoints-to-alarm": 1}
    write(
        place,
        {
            "alarms": [alarm],
            "actions": [{"name": "tell", "type": "alert", "severity": "critical"}],
            "exports": [{"name": "prom", "type": "prometheus-file", "path": "assay.prom"}],
        },
    )
    assert run(capsys, 1)[0] == 0
    text = Path("assay.prom").read_text()
    assert 'assay_drift_violations{Monitor="credit"} 0.0' in text
    assert run(capsys, 2)[0] == 1
    assert 'assay_drift_violations{Monitor="credit"} 1.0' in Path("assay.prom").read_text()
    code, out, _ = call(capsys, "monitor", "alarms", "credit drifts", "--set", "ALARM", "--reason", "a drill", *KEY)
    assert code == 0 and "action tell: done" in out
    assert call(capsys, "alerts", "flush")[0] == 0  # whoever delivers it first
    told = [json.loads(line) for line in Path("alerts.jsonl").read_text().splitlines()]
    assert len(told) == 1 and "credit drifts is ALARM" in json.dumps(told[0])


def test_sagemaker_reads_and_writes(place: Path, capsys: Any) -> None:
    assert call(capsys, "baseline", "train.parquet", "-o", "sagemaker", "-O", "theirs")[0] == 0
    statistics = json.loads(Path("theirs/statistics.json").read_bytes())
    assert statistics["dataset"]["item_count"] == 3000
    assert {one["name"] for one in statistics["features"]} == {"age", "balance", "channel"}
    table(COUNT, 1, shift=2.0).write_parquet("window.parquet")
    window = ("--data", "window.parquet", "--sagemaker", "found")
    code, _, _ = call(capsys, "monitor", "check", "--baseline", "baseline.json", *window)
    found = json.loads(Path("found/constraint_violations.json").read_bytes())["violations"]
    assert code == 1 and {one["constraint_check_type"] for one in found} >= {"baseline_drift_check"}
    assert sorted(path.name for path in Path("found").iterdir()) == [
        "constraint_violations.json",
        "constraints.json",
        "statistics.json",
    ]
    table(COUNT, 1).write_parquet("window.parquet")
    assert call(capsys, "monitor", "check", "--baseline", "baseline.json", *window)[0] == 0
    assert json.loads(Path("found/constraint_violations.json").read_bytes())["violations"] == []


def test_the_page_of_a_monitor(place: Path, capsys: Any) -> None:
    write(place)
    assert run(capsys, 1)[0] == 0
    assert call(capsys, "monitor", "report", "credit", "-O", "page.html", "--pictures", "pictures")[0] == 0
    page = Path("page.html").read_text()
    assert page.startswith("<!doctype html>") and "balance" in page and 'src="http' not in page
    assert {path.suffix for path in Path("pictures").iterdir()} == {".svg", ".png"}
