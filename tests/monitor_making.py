"""What tests of monitoring need: a table that a model sees, its baseline, keys, and a monitors file that works."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars

from assay.api.baselines import Data, Shape, baseline
from assay.cli.main import main
from assay.files import write_atomic

START = datetime(2026, 3, 1, tzinfo=UTC)
"""Of the first hour of `live`."""

MONITORS: dict[str, Any] = {
    "assay-monitors": 1,
    "monitors": [
        {
            "name": "credit",
            "target": "model",
            "data": {"from": "live.parquet", "time": "when"},
            "baseline": "baseline.json",
            "schedule": "0 * * * *",
            "missed": "all",
        }
    ],
    "alarms": [
        {
            "name": "credit drifts",
            "monitor": "credit",
            "metric": "drift_violations",
            "statistic": "Maximum",
            "period": "1h",
            "threshold": 0,
            "comparison": ">",
            "evaluation-periods": 3,
            "datapoints-to-alarm": 2,
            "on-alarm": ["tell"],
        }
    ],
    "actions": [
        {
            "name": "tell",
            "type": "command",
            "command": ["sh", "-c", 'echo "$ASSAY_ACTION_KEY" >> told.txt'],
        }
    ],
}


def hour(number: int) -> datetime:
    """The end of the window ``number`` of `live`, from 1."""
    return START + timedelta(hours=number)


def table(count: int, seed: int = 0, shift: float = 0.0) -> polars.DataFrame:
    """What the model sees: ``shift`` moves ``balance`` by so many standard deviations."""
    draw = np.random.default_rng(seed)
    return polars.DataFrame(
        {
            "age": draw.integers(18, 90, count),
            "balance": draw.normal(1000 + 200 * shift, 200, count),
            "channel": draw.choice(["web", "app", "shop"], count, p=[0.5, 0.3, 0.2]),
        }
    )


def live(shifts: list[float], count: int = 600) -> polars.DataFrame:
    """One hour of rows for each shift, with the time that they came at in ``when``."""
    step = timedelta(hours=1) / count
    return polars.concat(
        table(count, seed=100 + number, shift=shift).with_columns(
            polars.Series("when", [hour(number) + step * index for index in range(count)])
        )
        for number, shift in enumerate(shifts)
    )


def make(folder: Path, shifts: list[float] | None = None) -> Path:
    """A model, training data with their baseline, live data, and a key, in ``folder``."""
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(b"weights")
    table(3000).write_parquet(folder / "train.parquet")
    made = baseline(Data(str(folder / "train.parquet")), shape=Shape(seed=1))
    write_atomic(str(folder / "baseline.json"), made.documents["baseline.json"])
    live([0.0] if shifts is None else shifts).write_parquet(folder / "live.parquet")
    assert main(["keys", "generate", "-O", str(folder / "key.pem")]) == 0
    return folder


def write(folder: Path, changes: dict[str, Any] | None = None, **monitor: Any) -> Path:
    """The file ``monitors.yml``: `MONITORS` with other sections, and other keys of its monitor (None drops one)."""
    document = json.loads(json.dumps(MONITORS | (changes or {})))
    first = document["monitors"][0]
    first.update(monitor)
    document["monitors"][0] = {key: value for key, value in first.items() if value is not None}
    (folder / "monitors.yml").write_text(json.dumps(document))  # which is YAML, and has no anchors
    return folder / "monitors.yml"


def rows(folder: Path, query: str) -> list[Any]:
    """What the database of the monitors says."""
    with closing(sqlite3.connect(folder / "monitoring.db")) as database:
        return database.execute(query).fetchall()


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    """`assay` with these words: exit code, standard output and error, after checking that they are fit for a person."""
    capsys.readouterr()
    code = main([str(word) for word in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert os.environ["HOME"] not in out
    return code, out, err


def turn(folder: str, at: str, owner: str) -> None:
    """What `assay monitor schedule --once` does, at a time of the test's choice; as a process that can be killed."""
    from assay.api import tending, watching
    from assay.api.signers import SignWith
    from assay.watch import settings

    signing = tending.Signing(SignWith(key=os.path.join(folder, "key.pem")), os.path.join(folder, "evidence"))
    monitors = settings.load(os.path.join(folder, "monitors.yml"))
    now = datetime.fromisoformat(at)
    watching.due(monitors, owner, signing=signing, clock=lambda: now)
    tending.tend(monitors, signing=signing, clock=lambda: now)
