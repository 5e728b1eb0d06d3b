"""A scheduler that is killed at any moment: no number is lost or doubled, no action repeated, no evidence half-written.

Each process is a real one and is really killed; the one after it begins when the claims of the dead one have run out.
"""

from __future__ import annotations

import base64
import functools
import json
import multiprocessing
import queue
import random
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from assay.api import tending, watching
from assay.api.keeping import open_store
from assay.api.signers import SignWith
from assay.api.tending import Tended
from assay.watch import settings
from assay.watch.schedule.ledger import LEASE
from monitor_making import hour, make, rows, turn, write

ROUNDS = 24
MORE = [
    "assay.api.watching",
    "assay.api.acting",
    "assay.watch.alarms.run",
    "assay.watch.actions.runner",
    "assay.watch.actions.kinds",
    "assay.watch.metrics.export.settings",
    "assay.watch.integrity",
    "assay.watch.drift.look",
    "assay.watch.suspicion.ledger",
    "assay.watch.evidence",
    "assay.watch.windows",
    "assay.watch.constraints.look",
    "assay.evidence.stores.directory",
]
LATER = LEASE + timedelta(minutes=1)

ALARM = {
    "name": "credit drifts",
    "monitor": "credit",
    "metric": "drift_violations",
    "statistic": "Maximum",
    "period": "1h",
    "threshold": 0,
    "comparison": ">",
    "evaluation-periods": 1,
    "evaluation-range": 1,
    "on-alarm": ["tell"],
    "on-ok": ["tell"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make(tmp_path, [float(number % 2) for number in range(ROUNDS + 1)])
    exports = [{"name": "prom", "type": "prometheus-file", "path": "assay.prom"}]
    write(tmp_path, {"alarms": [ALARM], "exports": exports})
    return tmp_path


class Schedulers:
    """Starts processes that have everything imported already."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._context = multiprocessing.get_context("forkserver")
        # What a fresh process imports for a run costs twenty times the run.
        known = [name for name in sys.modules if name.startswith("assay.")]
        self._context.set_forkserver_preload(["numpy", "polars", "scipy.special", "cronsim", "yaml", *MORE, *known])

    def start(self, at: datetime) -> BaseProcess:
        started = self._context.Process(target=turn, args=(str(self._place), at.isoformat(), "test"))
        started.start()
        return started

    def whole(self, at: datetime) -> float:
        """One that is left alone; how many seconds it took."""
        before = time.monotonic()
        running = self.start(at)
        running.join(600)
        assert running.exitcode == 0
        return time.monotonic() - before

    def killed(self, at: datetime, after: float) -> bool:
        """One that is killed; False where it was ready before."""
        running = self.start(at)
        running.join(after)
        running.kill()
        running.join(600)
        return running.exitcode != 0


def statements(place: Path) -> Iterator[dict[str, Any]]:
    """What the store holds, after it has looked at itself."""
    with open_store(str(place / "evidence")) as store:
        report = store.check()
        assert not report.problems, report
        for entry in store.find():
            envelope = json.loads(store.read(entry))["dsseEnvelope"]
            yield json.loads(base64.b64decode(envelope["payload"]))


def test_killed_at_any_moment(place: Path) -> None:
    schedulers = Schedulers(place)
    schedulers.whole(hour(1) + timedelta(minutes=1))
    usual = schedulers.whole(hour(2) + timedelta(minutes=1))
    draw = random.Random(0)
    killed = 0
    for number in range(3, ROUNDS + 1):
        due = hour(number) + timedelta(minutes=1)
        hit = schedulers.killed(due, draw.uniform(0, usual))
        killed += hit
        took = schedulers.whole(due + LATER)
        usual = max(took, usual / 2) if hit else usual / 4  # it was ready before: it had been slow when it was timed
    assert killed > ROUNDS / 2
    schedulers.whole(hour(ROUNDS) + timedelta(minutes=1) + 2 * LATER)

    # Every window was looked at, and each of its numbers is there once.
    runs = rows(place, "SELECT due, state, tries FROM monitor_run ORDER BY due")
    assert [state for _, state, _ in runs] == ["Completed", "CompletedWithViolations"] * (ROUNDS // 2)
    assert any(tries > 1 for _, _, tries in runs)
    assert rows(place, "SELECT COUNT(*) FROM monitor_window") == [(ROUNDS,)]
    counts = {count for (count,) in rows(place, "SELECT COUNT(*) FROM metric GROUP BY series")}
    found = Counter(series for (series,) in rows(place, "SELECT name FROM series"))
    assert counts == {ROUNDS} and max(found.values()) == 1
    values = rows(
        place,
        "SELECT m.value > 0 FROM metric m JOIN series s ON s.id = m.series WHERE name = 'drift_violations' "
        "ORDER BY m.time",
    )
    assert values == [(0,), (1,)] * (ROUNDS // 2)

    # The alarm went to and fro, and each time somebody was told once, or it is known that nobody can say.
    changes = [state for (state,) in rows(place, "SELECT new FROM alarm_history ORDER BY position")]
    assert changes == ["OK", "ALARM"] * (ROUNDS // 2)
    actions = dict(rows(place, "SELECT id, state FROM action_run"))
    told = (place / "told.txt").read_text().split()
    assert len(set(told)) == len(told) and len(actions) == len(changes)
    assert set(actions.values()) <= {"done", "unknown"}
    assert {key for key, state in actions.items() if state == "done"} <= set(told) <= set(actions)

    # Evidence is whole, about each window and each action.
    kept = list(statements(place))
    looks = {
        (one["predicate"]["period"]["end"], one["predicate"]["kind"]) for one in kept if "period" in one["predicate"]
    }
    ends = [f"{hour(number):%Y-%m-%dT%H:%M:%SZ}" for number in range(1, ROUNDS + 1)]
    assert looks == {(end, kind) for end in ends for kind in ("data-quality", "drift")}
    acted = {one["predicate"]["key"]: one["predicate"]["outcome"] for one in kept if "cause" in one["predicate"]}
    assert acted == actions
    assert (place / "assay.prom").read_text().count('assay_drift_rows{Monitor="credit"} 600.0') == 1


def test_a_database_that_is_busy_does_not_end_the_scheduler(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops: a lock on the database that silences the watch for good."""
    monkeypatch.setattr("assay.watch.database.BUSY", 0.05)
    monitors = settings.load(str(place / "monitors.yml"))
    signing = tending.Signing(SignWith(key=str(place / "key.pem")), str(place / "evidence"))
    stop, told, warned = threading.Event(), queue.Queue[str](), queue.Queue[str]()
    other = sqlite3.connect(place / "monitoring.db", isolation_level=None, check_same_thread=False)

    def clock() -> datetime:
        if not locked.is_set():
            locked.set()
            other.execute("BEGIN IMMEDIATE")
        return hour(2) - timedelta(milliseconds=50)

    def say(tended: Tended) -> None:
        for text in tended.warnings:
            warned.put(text)

    def tell(name: str, ended: watching.Ended) -> None:
        told.put(f"{name} {ended.state}")

    locked = threading.Event()
    serve = functools.partial(watching.serve, monitors, "test", stop=stop, signing=signing, clock=clock)
    running = threading.Thread(target=serve, kwargs={"told": tell, "tended": say})
    try:
        running.start()
        assert "database is locked" in warned.get(timeout=60) and told.empty()
        assert "database is locked" in warned.get(timeout=60)
        other.execute("ROLLBACK")
        assert told.get(timeout=60) == "credit Completed"
    finally:
        stop.set()
        other.close()
        running.join(60)
    assert not running.is_alive()


def test_a_disk_that_is_full_is_the_run_s_own_trouble(place: Path) -> None:
    """Stops: one monitor that cannot keep its evidence and takes all the others along."""
    (place / "evidence").write_text("no folder")
    monitors = settings.load(str(place / "monitors.yml"))
    signing = tending.Signing(SignWith(key=str(place / "key.pem")), str(place / "evidence"))
    ended = watching.due(monitors, "test", signing=signing, clock=lambda: hour(1))
    assert [(name, one.state) for name, one in ended] == [("credit", "Failed")]
    (place / "evidence").unlink()
    again = watching.run_claimed(monitors, "credit", hour(1), "test", signing=signing, clock=lambda: hour(1))
    assert again is not None and again.state == "Completed"
