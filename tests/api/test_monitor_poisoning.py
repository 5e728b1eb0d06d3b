"""Poisoned data and the retraining that an attacker waits for: blocked until a person answers for the data."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars
import pytest

from assay.api import tending, watching
from assay.api.signers import SignWith
from assay.cli.main import main
from assay.watch import settings
from monitor_making import START, call, hour, rows
from watch.suspicion import poisoned

KEY = ("--key", "key.pem", "-d", "evidence")
TRAIN = "import pathlib; pathlib.Path('out/model').write_bytes(pathlib.Path('live.parquet').read_bytes()[:100])"

MONITORS: dict[str, Any] = {
    "assay-monitors": 1,
    "monitors": [
        {
            "name": "labels",
            "target": "model",
            "data": {"from": "live.parquet", "time": "when"},
            "baseline": "baseline.json",
            "reference": {"from": "train.parquet"},
            "label": "label",
            "source": "source",
            "topics": ["drift", "poisoning"],
            "schedule": "0 * * * *",
        }
    ],
    "alarms": [
        {
            "name": "train again",
            "monitor": "labels",
            "metric": "poisoning_rows",
            "statistic": "Maximum",
            "period": "1h",
            "threshold": 0,
            "comparison": ">",
            "evaluation-periods": 1,
            "on-alarm": ["retrain"],
        }
    ],
    "actions": [
        {
            "name": "retrain",
            "type": "retrain",
            "step": "train",
            "command": [sys.executable, "-c", TRAIN],
            "inputs": ["live.parquet"],
            "outputs": ["out"],
        }
    ],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One hour in which sources 1 and 2 feed the model what contradicts the attested training data."""
    monkeypatch.chdir(tmp_path)
    for name in ("model", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    reference, window = poisoned.make("feedback", 0)
    reference.write_parquet("train.parquet")
    when = [START + timedelta(seconds=index) for index in range(window.height)]
    window.with_columns(polars.Series("when", when)).write_parquet("live.parquet")
    (tmp_path / "monitors.yml").write_text(json.dumps(MONITORS))
    assert main(["keys", "generate", "-O", "key.pem"]) == 0
    assert main(["baseline", "train.parquet", "-o", "attest", "-O", "baseline.json", *KEY]) == 0
    return tmp_path


def turn(now: Any) -> tuple[Any, tending.Tended]:
    monitors = settings.load("monitors.yml")
    signing = tending.Signing(SignWith(key="key.pem"), "evidence")
    ended = watching.run(monitors, "labels", hour(1), signing=signing, now=now)
    return ended, tending.tend(monitors, signing=signing, clock=lambda: now)


def test_retraining_waits_for_a_person(place: Path, capsys: Any) -> None:
    """Stops: retraining as the attack's own path."""
    now = hour(1) + timedelta(minutes=1)
    ended, tended = turn(now)
    assert ended.state == "CompletedWithViolations" and "poisoning violated" in ended.said
    assert [(one.action, one.state) for one in tended.actions] == [("retrain", "blocked")]
    assert "a suspicion is open" in tended.actions[0].said and not (place / "out" / "model").exists()

    # Neither time nor another turn, nor asking again, lets it go on.
    monitors = settings.load("monitors.yml")
    assert not tending.tend(monitors, clock=lambda: now + timedelta(minutes=2)).actions
    listed = json.loads(call(capsys, "monitor", "list", "--json")[1])
    assert len(listed["suspicions"]) == 1 and listed["actions"][0]["state"] == "blocked"
    code, out, _ = call(capsys, "monitor", "alarms", "train again", "--dry-run", "ALARM", *KEY)
    assert code == 0 and "retrain: blocked, a suspicion is open" in out
    assert call(capsys, "monitor", "retry", listed["actions"][0]["key"], *KEY)[0] == 2
    assert call(capsys, "monitor", "release", "labels", "--by", " ", "--reason", "x", *KEY)[0] == 2
    assert (
        call(capsys, "monitor", "release", "labels", "--by", "x", "--reason", "y", "--at", "2020-01-01", *KEY)[0] == 3
    )
    assert not (place / "out" / "model").exists()

    code, out, err = call(capsys, "monitor", "release", "labels", "--by", "Ada", "--reason", "checked by hand", *KEY)
    assert code == 0 and "released labels" in out and "action retrain: done" in out, out + err
    assert (place / "out" / "model").exists()
    assert rows(place, "SELECT released_by, reason FROM suspicion") == [("Ada", "checked by hand")]
    assert call(capsys, "monitor", "release", "labels", "--by", "x", "--reason", "y", *KEY)[0] == 3  # none is open

    # The same window does not open it again, and what was done is in the evidence, with the step's own.
    turn(now + timedelta(minutes=5))
    assert json.loads(call(capsys, "monitor", "list", "--json")[1])["suspicions"] == []
    kinds = call(capsys, "evidence", "list", "--json", "-d", "evidence")[1]
    for kind in ("https://assay.dev/action/", "https://slsa.dev/provenance/v1", "https://assay.dev/monitoring/"):
        assert kind in kinds


def test_a_reference_that_was_changed_is_refused(place: Path) -> None:
    """Stops: an attacker who poisons what the window is put beside."""
    polars.read_parquet("train.parquet").with_columns(label=1 - polars.col("label")).write_parquet("train.parquet")
    monitors = settings.load("monitors.yml")
    signing = tending.Signing(SignWith(key="key.pem"), "evidence")
    ended = watching.run_claimed(monitors, "labels", hour(1), "test", signing=signing)
    assert ended is not None and ended.state == "Failed" and "is not what the baseline was made from" in ended.said
    assert rows(place, "SELECT COUNT(*) FROM monitor_run WHERE state = 'Failed'") == [(1,)]


def test_a_baseline_that_does_not_name_its_data_decides_nothing(place: Path, capsys: Any) -> None:
    assert call(capsys, "baseline", "train.parquet", "-O", "baseline.json")[0] == 0
    code, out, _ = call(capsys, "monitor", "run", "labels", "--at", f"{hour(1):%Y-%m-%dT%H:%M:%SZ}", *KEY)
    assert code == 3 and "does not say which data it was made from" in out


def test_one_look_by_hand(place: Path, capsys: Any) -> None:
    polars.read_parquet("live.parquet").drop("when").write_parquet("window.parquet")
    flags = ("--topic", "poisoning", "--label-column", "label", "--source-column", "source")
    words = ("--baseline", "baseline.json", "--reference", "train.parquet", *flags)
    code, out, _ = call(capsys, "monitor", "check", *words, "--data", "window.parquet")
    assert code == 1 and "!! poisoning: nearly the same rows come again and again" in out
