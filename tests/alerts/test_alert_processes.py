"""Many processes at once, and processes that are killed: exactly one alert, and none is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from datetime import timedelta
from pathlib import Path

from alerts.alert_making import NOW, finding, finish, receiver, run_python, settings
from assay.alerts.outbox import CLAIM, DeliveryState, Outbox

REPORT = """
import sys
from pathlib import Path
from assay.alerts import database
database.BUSY = 300.0  # the limit, not the code: a busy machine may be slow to write
from assay.alerts import report
from alerts.alert_making import NOW, finding, settings
sinks = settings(Path(sys.argv[1]), {"name": "log", "type": "file", "path": "log.jsonl"})
for i in range(10):
    done = report("s", [finding("a"), finding("b")], sinks, NOW, outbox_path=sys.argv[2], background=False)
    assert not done.warnings, done.warnings
    for alert in done.new + done.resolved:
        print(alert.state, alert.finding.key)
"""

RECORD = """
import sys
from pathlib import Path
from assay.alerts import database
database.BUSY = 300.0  # the limit, not the code: a busy machine may be slow to write
from assay.alerts.outbox import Outbox
from alerts.alert_making import NOW, finding, settings
sinks = settings(Path(sys.argv[1]), {"name": "log", "type": "file", "path": "log.jsonl"}).sinks
with Outbox(sys.argv[2]) as box:
    i = int(sys.argv[3])
    while True:
        i += 1
        for alert in box.record("s", [finding(f"{i}-{j}") for j in range(3)], NOW, sinks):
            sys.stdout.write(alert.id + "\\n")
        sys.stdout.flush()
"""

DELIVER = """
import sys
from datetime import timedelta
from pathlib import Path
from assay.alerts import database
database.BUSY = 300.0
from assay.alerts.outbox import Outbox
from assay.alerts.deliver import deliver
from alerts.alert_making import NOW, settings
sinks = settings(Path(sys.argv[1]), {"name": "hook", "type": "webhook", "url": sys.argv[3]}).sinks
with Outbox(sys.argv[2]) as box:
    deliver(box, sinks, NOW + timedelta(minutes=int(sys.argv[4])), 60)
"""


def test_eight_processes_that_find_the_same_make_one_alert(tmp_path: Path) -> None:
    path = tmp_path / "state" / "alerts.db"
    processes = [run_python(REPORT, tmp_path, path) for _ in range(8)]  # the file is not there yet: they all make it
    said = b"".join(finish(process) for process in processes).split(b"\n")
    assert sorted(filter(None, said)) == [b"new a", b"new b"]
    with Outbox(str(path)) as box:
        assert len(box.deliveries(*DeliveryState)) == 2
    assert [name.name for name in path.parent.iterdir() if name.name.endswith(".tmp")] == []


def test_killed_while_recording_leaves_whole_transitions(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    chance = random.Random(3)
    said: set[str] = set()
    for turn in range(6):
        process = run_python(RECORD, tmp_path, path, turn * 1_000_000)
        assert process.stdout is not None
        said.add(process.stdout.readline().decode().strip())
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        said.update(line for line in rest.decode().split("\n")[:-1])
        with Outbox(str(path)) as box:
            open_now = box.open_findings()
            # Every transaction opens three and resolves the three before: anything else would be half of one.
            assert len(open_now) == 3
            assert len({alert.finding.key.split("-")[0] for alert in open_now}) == 1
            pending = {delivery.alert.id for delivery in box.deliveries(DeliveryState.PENDING)}
            assert said <= pending
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        counts = dict(connection.execute("SELECT state, count(*) FROM alert GROUP BY state"))
        assert counts["new"] == counts["resolved"] + 3
        assert connection.execute(
            "SELECT count(*) FROM alert WHERE seq NOT IN (SELECT alert FROM delivery)"
        ).fetchone() == (0,)
    finally:
        connection.close()


def test_killed_while_delivering_sends_again_under_the_same_id(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    with receiver() as server:
        with Outbox(str(path)) as box:
            sinks = settings(tmp_path, {"name": "hook", "type": "webhook", "url": server.url}).sinks
            ids = [alert.id for alert in box.record("s", [finding(str(i)) for i in range(5)], NOW, sinks)]
        killed = []
        begun = threading.Event()

        def kill_at_the_third() -> None:
            begun.wait()
            if len(server.requests) == 3:
                first.send_signal(signal.SIGKILL)
                first.wait()
                killed.append(True)

        server.before = kill_at_the_third
        first = run_python(DELIVER, tmp_path, path, server.url, 0)
        begun.set()
        first.communicate()
        assert killed and first.returncode == -signal.SIGKILL
        server.before = lambda: None
        finish(run_python(DELIVER, tmp_path, path, server.url, 2 * CLAIM // timedelta(minutes=1)))
        got = [headers["webhook-id"] for _, headers, _ in server.requests]
    # Confirmed ones once; the one that was under way when the process died twice, and the receiver can tell.
    assert sorted(got) == sorted([*ids, ids[2]])
    with Outbox(str(path)) as box:
        assert {delivery.state for delivery in box.deliveries(*DeliveryState)} == {"delivered"}


def test_two_deliverers_at_once_send_each_alert_once(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    with receiver() as server:
        with Outbox(str(path)) as box:
            sinks = settings(tmp_path, {"name": "hook", "type": "webhook", "url": server.url}).sinks
            ids = [alert.id for alert in box.record("s", [finding(str(i)) for i in range(20)], NOW, sinks)]
        for process in [run_python(DELIVER, tmp_path, path, server.url, 0) for _ in range(3)]:
            finish(process)
        finish(run_python(DELIVER, tmp_path, path, server.url, 0))
        assert sorted(headers["webhook-id"] for _, headers, _ in server.requests) == sorted(ids)
