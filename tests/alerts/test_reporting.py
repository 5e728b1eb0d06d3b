"""`report` as the rest of assay calls it: quick, never raising, delivered by another process, with no secret kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import assay
from alerts.alert_making import NOW, finding, receiver, run_python, settings, wait_until
from assay.alerts import background, dismiss, flush, report, send_test, status
from assay.alerts.outbox import Outbox
from assay.alerts.settings import Settings
from assay.alerts.sinks.interface import SinkError

FILE = {"name": "log", "type": "file", "path": "alerts.jsonl"}
TOKEN = "T0pS3cretTokenOfTheHook"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background process imports what this one does."""
    monkeypatch.setenv("PYTHONPATH", str(Path(assay.__file__).parent.parent))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A background process of a test does not stay to try again."""
    monkeypatch.setattr(background, "LINGER", 0.0)


def test_an_alert_arrives_by_itself(tmp_path: Path, home: Path) -> None:
    sinks = settings(tmp_path, FILE)
    done = report("s", [finding("a")], sinks, datetime.now(UTC))
    assert ([alert.finding.key for alert in done.new], done.resolved, done.undelivered, done.warnings) == (
        ["a"],
        (),
        0,
        (),
    )
    wait_until(lambda: not status(sinks).undelivered)
    done = report("s", [], sinks, datetime.now(UTC))
    assert [alert.finding.key for alert in done.resolved] == ["a"]
    wait_until(lambda: not status(sinks).undelivered)
    lines = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_bytes().splitlines()]
    assert [line["type"] for line in lines] == ["dev.assay.finding.new", "dev.assay.finding.resolved"]
    assert (home / "state" / "assay" / "alerts.db").is_file()
    assert status(sinks).open == ()


def test_a_slow_sink_does_not_delay_the_report(tmp_path: Path) -> None:
    asked, free = threading.Event(), threading.Event()
    with receiver() as server:
        server.before = lambda: (asked.set(), free.wait(120))[0]
        sinks = settings(tmp_path, {"name": "hook", "type": "webhook", "url": server.url})
        done = report("s", [finding("a")], sinks, datetime.now(UTC))
        # The report is back while the sink still holds the request, which it does until we say so.
        assert len(done.new) == 1 and not done.warnings
        assert asked.wait(120)
        again = report("s", [finding("a"), finding("b")], sinks, datetime.now(UTC))
        assert [alert.finding.key for alert in again.new] == ["b"]
        assert not free.is_set()
        free.set()
        wait_until(lambda: not status(sinks).undelivered)
        assert len(server.requests) == 2


def test_the_end_of_the_reporting_process_stops_no_delivery(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom datetime import UTC, datetime\n"
        "from assay.alerts import report\nfrom alerts.alert_making import finding, settings\n"
        "sinks = settings(Path(sys.argv[1]), {'name': 'hook', 'type': 'webhook', 'url': sys.argv[2]})\n"
        "report('s', [finding('a')], sinks, datetime.now(UTC))\n"
        "import os, signal; os.killpg(os.getpgid(0), signal.SIGKILL)\n"
    )
    with receiver() as server:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), server.url],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parents[1])]),
            },
            start_new_session=True,  # what it kills is its own group
        )
        assert process.wait(300) < 0
        wait_until(lambda: len(server.requests) == 1)
        wait_until(lambda: not status(settings(tmp_path)).undelivered)


def test_it_leaves_no_child_and_holds_no_pipe(tmp_path: Path) -> None:
    """A long-running caller collects no zombies, and whoever reads the output of a command sees its end."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom datetime import UTC, datetime\n"
        "from assay.alerts import report\nfrom alerts.alert_making import finding, settings\n"
        "sinks = settings(Path(sys.argv[1]), {'name': 'hook', 'type': 'webhook', 'url': sys.argv[2]})\n"
        "done = report('s', [finding('a')], sinks, datetime.now(UTC))\n"
        "assert not done.warnings, done.warnings\n"
        "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('no children')\n"
    )
    free = threading.Event()
    with receiver() as server:
        server.before = lambda: free.wait(120) and None
        process = run_python(code, tmp_path, server.url)
        out, err = process.communicate(timeout=300)  # returns at the end of both pipes
        assert (process.returncode, out, err) == (0, b"no children\n", b"")
        wait_until(lambda: len(server.requests) == 1)
        assert not free.is_set()
        free.set()
        wait_until(lambda: not status(settings(tmp_path)).undelivered)


def test_the_current_folder_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "repository"
    for name in (
        "assay/__init__.py",
        "assay/alerts/__init__.py",
        "assay/alerts/background.py",
        "json.py",
        "sqlite3.py",
    ):
        (trap / name).parent.mkdir(parents=True, exist_ok=True)
        (trap / name).write_text(f"open({str(tmp_path / 'caught')!r}, 'w').close()\n")
    monkeypatch.chdir(trap)
    sinks = settings(tmp_path, FILE)
    assert not report("s", [finding("a")], sinks, datetime.now(UTC)).warnings
    wait_until(lambda: not status(sinks).undelivered)
    assert not (tmp_path / "caught").exists()


def test_no_secret_is_kept_or_said(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, short: None) -> None:
    monkeypatch.setenv("ASSAY_ALERT_HOOK", f"http://127.0.0.1:1/{TOKEN}")
    monkeypatch.setenv("ASSAY_ALERT_CHAT", f"json://user:{TOKEN}@127.0.0.1:1/{TOKEN}")
    monkeypatch.setenv("ASSAY_ALERT_SECRET", TOKEN)
    sinks = settings(
        tmp_path,
        {"name": "hook", "type": "webhook", "url": "${ASSAY_ALERT_HOOK}", "secret": "${ASSAY_ALERT_SECRET}"},
        {"name": "chat", "type": "apprise", "url": "${ASSAY_ALERT_CHAT}"},
    )
    report("s", [finding("a")], sinks, NOW, background=False)
    problems = flush(sinks, NOW).problems
    assert len(problems) == 2
    background.run(sinks, str(home / "state" / "assay" / "alerts.db"))
    done = report("s", [finding("a")], sinks, NOW, background=False)
    assert done.undelivered == 2
    said = [*problems, *done.warnings, *(d.last_error for d in status(sinks).undelivered)]
    assert TOKEN not in " ".join(said)
    for file in filter(Path.is_file, home.rglob("*")):
        assert TOKEN.encode() not in file.read_bytes(), file


def test_what_does_not_arrive_is_said_with_every_report(tmp_path: Path) -> None:
    sinks = settings(tmp_path, {"name": "gone", "type": "syslog", "address": "/nonexistent/log"})
    assert report("s", [finding("a")], sinks, NOW, background=False).warnings == ()
    flush(sinks, NOW)
    done = report("s", [finding("a")], sinks, NOW, background=False)
    assert (done.new, done.undelivered) == ((), 1)
    (warning,) = done.warnings
    assert "'gone'" in warning and "to be tried again" in warning and "/nonexistent/log" in warning
    flush(sinks, NOW + timedelta(days=8))
    (warning,) = report("s", [finding("a")], sinks, NOW, background=False).warnings
    assert "1 given up" in warning
    assert dismiss(sinks) == 1
    assert report("s", [finding("a")], sinks, NOW, background=False).warnings == ()
    flush(sinks, NOW, given_up=True)
    assert report("s", [finding("a")], sinks, NOW, background=False).undelivered == 1


def test_an_outbox_that_cannot_be_used_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for outbox in ("file", "file/alerts.db"):
        done = report("s", [finding("a")], settings(tmp_path, FILE, outbox=outbox), NOW)
        (warning,) = done.warnings
        assert warning.startswith("alerts could not be recorded: ")
        assert done.new == ()


def test_a_full_disk_is_a_warning(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from assay.alerts import report\nfrom alerts.alert_making import NOW, finding, settings\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sinks = settings(Path(sys.argv[1]), {'name': 'log', 'type': 'file', 'path': 'alerts.jsonl'})\n"
        "print(report('s', [finding('a')], sinks, NOW, background=False).new[0].finding.key)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "done = report('s', [finding('b')], sinks, NOW, background=False)\n"
        "print(len(done.new), done.warnings[0])\n"
    )
    out, err = run_python(code, tmp_path).communicate(timeout=300)
    assert out.startswith(b"a\n0 alerts could not be recorded: "), err.decode()
    # Nothing was written by half: what was refused is announced when there is room again.
    again = report("s", [finding("b")], settings(tmp_path, FILE), NOW, background=False)
    assert ([alert.finding.key for alert in again.new], len(again.resolved)) == (["b"], 1)


def test_a_finding_that_makes_no_sense_is_a_warning(tmp_path: Path) -> None:
    done = report("s", [finding("a", frameworks=7)], settings(tmp_path, FILE), NOW)
    assert done.warnings == ("alerts could not be recorded: unexpected AttributeError",)


def test_a_process_that_cannot_be_started_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    done = report("s", [finding("a")], settings(tmp_path, FILE), datetime.now(UTC))
    assert len(done.new) == 1
    assert ["not being sent" in warning for warning in done.warnings] == [True]


def test_without_sinks_nothing_is_kept(tmp_path: Path, home: Path) -> None:
    done = report("s", [finding("a")], settings(tmp_path), NOW)
    assert (done.new, done.warnings) == ((), ())
    assert not (home / "state").exists()
    found = status(settings(tmp_path))
    assert (found.open, found.undelivered, found.delivered) == ((), (), ())
    assert not (home / "state").exists()


def test_two_configurations_share_an_outbox_without_mixing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = settings(tmp_path / "one", FILE), settings(tmp_path / "two", FILE)
    report("s", [finding("a")], one, NOW, background=False)
    assert report("s", [], two, NOW, background=False).resolved == ()
    assert flush(two, NOW).sent == 0
    assert flush(two, NOW + timedelta(days=30)).given_up == 0
    assert flush(one, NOW).sent == 1
    assert len(status(two).open) == 1  # and yet nothing is hidden from whoever looks


def test_a_named_outbox_knows_its_findings_wherever_it_is_checked_out(tmp_path: Path) -> None:
    for build in ("build-1", "build-2"):
        (tmp_path / build).mkdir()
    shared = str(tmp_path / "shared.db")
    first = report("s", [finding("a")], settings(tmp_path / "build-1", FILE, outbox=shared), NOW, background=False)
    second = report("s", [finding("a")], settings(tmp_path / "build-2", FILE, outbox=shared), NOW, background=False)
    assert (len(first.new), len(second.new)) == (1, 0)


def test_one_process_stays_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as server:
        server.status = 503
        sinks = settings(tmp_path, {"name": "hook", "type": "webhook", "url": server.url})
        path = str(tmp_path / "alerts.db")
        report("s", [finding("a")], sinks, datetime.now(UTC), outbox_path=path, background=False)
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 2:
                server.status = 200
            background.run(sinks, path)  # another process comes by meanwhile: it does not stay as well
            _make_due(sinks, path)

        monkeypatch.setattr(background.time, "sleep", sleep)
        background.run(sinks, path)
        assert len(waited) == 2 and min(waited) >= background.PAUSE
        assert not status(sinks, outbox_path=path).undelivered


def _make_due(sinks: Settings, path: str) -> None:
    with Outbox(path, sinks.owner) as box:
        box.retry(datetime.now(UTC), given_up=False)


def test_a_test_alert_goes_straight_to_the_sink(tmp_path: Path, home: Path) -> None:
    send_test(settings(tmp_path, FILE).sinks[0], NOW)
    assert b"nothing is wrong" in (tmp_path / "alerts.jsonl").read_bytes()
    assert not (home / "state").exists()
    gone = settings(tmp_path, {"name": "gone", "type": "syslog", "address": "/nonexistent/log"})
    with pytest.raises(SinkError):
        send_test(gone.sinks[0], NOW)
