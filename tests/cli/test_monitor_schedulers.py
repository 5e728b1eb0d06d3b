"""Schedulers as processes: two over one file never do the same thing twice, and a signal ends one cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars
import pytest

from monitor_making import MONITORS, call, make, rows, table, write

HOURS = 3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Live data of the last hours, all of them shifted, and three monitors that look at them."""
    while time.time() % 3600 > 3600 - 120:  # an hour that begins while a test runs is one more to look at
        time.sleep(1)
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    seen = table(600 * (HOURS + 2), 5, shift=1.0)
    first = last - timedelta(hours=HOURS)
    when = [first + timedelta(seconds=6 * index) for index in range(seen.height)]
    seen.with_columns(polars.Series("when", when)).write_parquet(tmp_path / "live.parquet")
    one = MONITORS["monitors"][0]
    alarm = MONITORS["alarms"][0] | {"evaluation-periods": 1, "datapoints-to-alarm": 1}
    names = ("first", "second", "third")
    write(
        tmp_path,
        {
            "monitors": [one | {"name": name} for name in names],
            "alarms": [alarm | {"name": f"{name} drifts", "monitor": name} for name in names],
        },
        name="first",
    )
    return tmp_path


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "assay", "monitor", *words, "--key", "key.pem", "-d", "evidence"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_schedulers_share_the_work(place: Path) -> None:
    both = [start("schedule", "--once", "--json") for _ in range(2)]
    told = []
    for one in both:
        out, err = one.communicate(timeout=600)
        assert "Traceback" not in err and one.returncode in (0, 1), err
        told.append(json.loads(out))
    ran = [run["monitor"] for made in told for run in made["runs"]]
    assert sorted(ran) == ["first", "second", "third"]
    assert rows(place, "SELECT DISTINCT state, tries FROM monitor_run") == [("CompletedWithViolations", 1)]
    assert rows(place, "SELECT COUNT(*) FROM metric WHERE run LIKE 'first@%'") == rows(
        place, "SELECT COUNT(*) FROM series WHERE dimensions LIKE '%\"first\"%'"
    )
    # Whoever came last asked the alarms when all numbers were there.
    changed = [one["alarm"] for made in told for one in made["transitions"] if one["new"] == "ALARM"]
    assert sorted(changed) == ["first drifts", "second drifts", "third drifts"]
    actions = [one["key"] for made in told for one in made["actions"]]
    assert len(set(actions)) == len(actions) == 3
    assert sorted((place / "told.txt").read_text().split()) == sorted(actions)
    again = start("schedule", "--once")
    out, err = again.communicate(timeout=600)
    assert (again.returncode, out) == (0, "") and "nothing is due" in err


def test_hours_that_nobody_ran_are_caught_up_or_recorded(place: Path, capsys: Any) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    document = json.loads(json.dumps(MONITORS))
    one = document["monitors"][0]
    document["monitors"] = [one | {"name": name, "missed": name} for name in ("all", "last")]
    document |= {"alarms": [], "actions": []}
    Path("monitors.yml").write_text(json.dumps(document))
    for name in ("all", "last"):
        at = f"{hour - timedelta(hours=HOURS):%Y-%m-%dT%H:%M:%SZ}"
        assert call(capsys, "monitor", "run", name, "--at", at, "--key", "key.pem", "-d", "evidence")[0] == 3  # no rows
    assert call(capsys, "monitor", "schedule", "--once", "--key", "key.pem", "-d", "evidence")[0] == 1
    listed = json.loads(call(capsys, "monitor", "list", "--json")[1])["monitors"]
    states = {one["name"]: [run["state"] for run in reversed(one["runs"])] for one in listed}
    late = ["CompletedWithViolations"]
    if states["all"][1:] == late * (HOURS + 1):  # an hour began during the test
        return
    assert states == {
        "all": ["Undecided", *late * HOURS],
        "last": ["Undecided", *["Missed"] * (HOURS - 1), *late],
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_its_work_is_done(place: Path, number: int) -> None:
    running = start("schedule")
    assert running.stdout is not None
    seen = running.stdout.readline()
    assert ": CompletedWithViolations: " in seen
    os.kill(running.pid, number)
    err = running.communicate(timeout=600)[1]
    assert running.returncode == 0 and "Traceback" not in err, err
    # What was begun was finished: no run is left in the middle.
    assert {state for (state,) in rows(place, "SELECT state FROM monitor_run")} == {"CompletedWithViolations"}
    assert set(rows(place, "SELECT state FROM action_run")) <= {("done",)}


def test_schedulers_without_work_say_so(place: Path, capsys: Any) -> None:
    write(place, schedule=None)
    code, _, err = call(capsys, "monitor", "schedule", "--key", "key.pem")
    assert code == 2 and "has no monitor with a schedule" in err
    assert call(capsys, "monitor", "schedule", "--once", "--key", "key.pem")[0] == 0
