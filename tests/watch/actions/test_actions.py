import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from assay.errors import DocumentError, UsageError
from assay.watch.actions.interface import Action, ActionError, Event
from assay.watch.actions.kinds import make
from assay.watch.actions.ledger import LEASE, Ledger, State
from assay.watch.actions.runner import Runner
from assay.watch.actions.settings import parse

AT = datetime(2026, 11, 22, 10, 13, tzinfo=UTC)
EVENT = Event("drift of age", "ALARM", "OK", AT, "2 of 3 datapoints were greater than 1.0", "dir:model", "credit")


class Clock:
    def __init__(self):
        self.now = AT

    def __call__(self):
        return self.now


class Counting:
    """A real action that writes down that it was carried out, and fails as often as it is told to."""

    def __init__(self, fails=0, repeatable=False):
        self.repeatable, self.fails, self.seen = repeatable, fails, []

    def perform(self, event, key):
        self.seen.append(key)
        if len(self.seen) <= self.fails:
            raise ActionError("the other side was busy")
        return "done"

    def rehearse(self, event):
        return "would do it"


def settings(**fields):
    return parse([{"name": "act", "type": "plugin", "plugin": "x", **fields}], "monitors.yml")


def runner(tmp_path, action, blocked=lambda _event: None, **fields):
    return Runner(Ledger(str(tmp_path / "a.db")), settings(**fields), {"act": action}, blocked)


def test_an_action_is_carried_out_once_for_an_event(tmp_path):
    action, clock = Counting(), Clock()
    for _ in range(3):
        carry = runner(tmp_path, action)
        carry.want(["act"], EVENT, clock())
        states = [entry.state for entry in carry.carry_out(clock)]
    assert states == []
    assert action.seen == [EVENT.key("act")]


def test_it_is_tried_again_later_and_given_up_in_the_end(tmp_path):
    action, clock = Counting(fails=9), Clock()
    carry = runner(tmp_path, action, attempts=3)
    carry.want(["act"], EVENT, clock())
    assert [entry.state for entry in carry.carry_out(clock)] == [State.PENDING]
    assert list(carry.carry_out(clock)) == []  # its time has not come
    states = []
    for _ in range(5):
        clock.now += timedelta(hours=1)
        states += [(entry.state, entry.attempts) for entry in carry.carry_out(clock)]
    assert states == [(State.PENDING, 2), (State.FAILED, 3)]
    assert len(action.seen) == 3
    assert carry.retry(EVENT.key("act"), clock())
    assert not carry.retry(EVENT.key("act"), clock())


def test_beyond_its_limit_it_is_recorded_and_not_carried_out(tmp_path):
    action, clock = Counting(), Clock()
    carry = runner(tmp_path, action, **{"at-most": "2 per 1h"})
    states = []
    for n in range(4):
        carry.want(["act"], Event("a", "ALARM", "OK", AT + timedelta(seconds=n), "r"), clock())
        states += [entry.state for entry in carry.carry_out(clock)]
        clock.now += timedelta(minutes=1)
    assert states == [State.DONE, State.DONE, State.LIMITED, State.LIMITED]
    clock.now += timedelta(hours=1)
    carry.want(["act"], Event("a", "OK", "ALARM", AT, "r"), clock())
    assert [entry.state for entry in carry.carry_out(clock)] == [State.DONE]
    assert len(action.seen) == 3


def _killed(path, repeatable):
    class Deadly(Counting):
        def perform(self, event, key):
            with open(path + ".done", "a") as file:
                file.write(key + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.kill(os.getpid(), signal.SIGKILL)

    carry = Runner(Ledger(path), settings(), {"act": Deadly(repeatable=repeatable)}, lambda _event: None)
    carry.want(["act"], EVENT, AT)
    list(carry.carry_out(lambda: AT))


@pytest.mark.parametrize(("repeatable", "ended"), [(False, State.UNKNOWN), (True, State.DONE)])
def test_a_crash_in_the_middle_repeats_only_what_may_be_repeated(tmp_path, repeatable, ended):
    path = str(tmp_path / "a.db")
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(path, repeatable))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    action, clock = Counting(repeatable=repeatable), Clock()
    ledger = Ledger(path)
    carry = Runner(ledger, settings(), {"act": action}, lambda _event: None)
    carry.want(["act"], EVENT, clock())
    assert list(carry.carry_out(clock)) == []  # somebody may still be at it
    clock.now += LEASE + timedelta(seconds=1)
    list(carry.carry_out(clock))
    assert [entry.state for entry in ledger.recent()] == [ended]
    assert len(action.seen) == repeatable


def test_retraining_waits_while_a_suspicion_is_open_and_goes_on_when_released(tmp_path):
    open_suspicions, action, clock = ["3 rows of one source"], Counting(), Clock()
    retrain = parse([{"name": "act", "type": "retrain", "step": "train", "command": ["true"]}], "m")
    carry = Runner(
        Ledger(str(tmp_path / "a.db")),
        retrain,
        {"act": action},
        lambda event: open_suspicions[0] if open_suspicions and event.target == "dir:model" else None,
    )
    carry.want(["act"], EVENT, clock())
    [entry] = carry.carry_out(clock)
    assert (entry.state, entry.said) == (State.BLOCKED, "3 rows of one source")
    assert carry.rehearse(["act"], EVENT) == ["act: blocked, 3 rows of one source"]
    assert carry.release(clock(), lambda event: event.target == "other") == 0
    assert carry.release(clock(), lambda event: event.target == "dir:model") == 1
    assert [entry.state for entry in carry.carry_out(clock)] == [State.BLOCKED]  # released by name only: still open
    open_suspicions.clear()
    carry.release(clock(), lambda event: True)
    assert [entry.state for entry in carry.carry_out(clock)] == [State.DONE]
    assert len(action.seen) == 1


def test_an_action_that_nobody_configured_is_said(tmp_path):
    carry = runner(tmp_path, Counting())
    carry.want(["other"], EVENT, AT)
    [entry] = carry.carry_out(lambda: AT)
    assert entry.state is State.FAILED
    assert "no action of the configuration" in entry.said
    assert carry.rehearse(["other"], EVENT) == ["other: no action of the configuration has this name"]


def made(tmp_path, raw, tell=lambda event, severity: "told", retrain=lambda settings, event: "trained"):
    return make(parse(raw, "monitors.yml"), str(tmp_path), tell, retrain)[raw[0]["name"]]


def test_a_command_gets_the_event_and_few_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("WANTED", "yes")
    script = (
        "import json,os,sys;"
        "json.dump([json.load(sys.stdin), sorted(os.environ), os.getcwd()], open('seen','w'));print('rolled back')"
    )
    action = made(
        tmp_path,
        [{"name": "c", "type": "command", "command": [sys.executable, "-c", script], "environment": ["WANTED"]}],
    )
    assert action.perform(EVENT, "k" * 64).endswith("ended with 0: rolled back")
    event, names, folder = json.loads((tmp_path / "seen").read_text())
    assert (event["alarm"], event["state"], event["key"], event["time"]) == (
        "drift of age",
        "ALARM",
        "k" * 64,
        "2026-11-22T10:13:00Z",
    )
    assert {"WANTED", "ASSAY_ACTION_KEY"} <= set(names)
    assert "SECRET_TOKEN" not in names
    assert folder == os.path.realpath(tmp_path)
    assert not action.repeatable


@pytest.mark.parametrize(
    ("command", "timeout", "said"),
    [
        (["/nowhere/at/all"], "5m", "cannot be started"),
        ([sys.executable, "-c", "import sys;print('no \\x1b[31mway');sys.exit(3)"], "5m", "ended with 3: no [31mway"),
        ([sys.executable, "-c", "import time;time.sleep(600)"], "1s", "was killed after 1s"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path, command, timeout, said):
    action = made(tmp_path, [{"name": "c", "type": "command", "command": command, "timeout": timeout}])
    with pytest.raises(ActionError) as raised:
        action.perform(EVENT, "k")
    assert said in raised.value.message
    assert raised.value.message.isprintable()


def test_what_a_killed_command_started_is_killed_too(tmp_path):
    start = "import subprocess,time;p=subprocess.Popen(['sleep','600']);"
    script = start + "open('pid','w').write(str(p.pid));time.sleep(600)"
    command = {"name": "c", "type": "command", "command": [sys.executable, "-c", script]}
    for timeout in ("2s", "10s", "60s", "300s"):  # on a busy machine it may not have come far when the first is over
        with pytest.raises(ActionError):
            made(tmp_path, [{**command, "timeout": timeout}]).perform(EVENT, "k")
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    stat = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    for _ in range(12_000):  # a signal is sent at once and acted upon when the process is next on a core
        try:
            if stat.read_text().split(") ")[1][0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise AssertionError("what the command started still runs")


def test_a_command_that_says_more_than_memory_holds_keeps_its_last_words(tmp_path):
    """Stops: a program, or whoever writes what it prints, that fills the scheduler's memory."""
    script = "import sys\nfor _ in range(64): sys.stdout.write('x' * (1 << 20))\nprint(' the end')"
    action = made(tmp_path, [{"name": "c", "type": "command", "command": [sys.executable, "-c", script]}])
    tracemalloc.start()
    try:
        assert action.perform(EVENT, "k").endswith("x the end")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_command_without_a_place_for_its_event_has_failed_and_may_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    action = made(tmp_path, [{"name": "c", "type": "command", "command": [sys.executable, "-c", "open('ran', 'w')"]}])
    with pytest.raises(ActionError, match="no place to write the event to: No such file"):
        action.perform(EVENT, "k")
    assert not (tmp_path / "ran").exists()


def test_what_a_command_leaves_behind_does_not_hold_it_up(tmp_path):
    script = "import subprocess;subprocess.Popen(['sleep','600'], start_new_session=True);print('begun')"
    action = made(tmp_path, [{"name": "c", "type": "command", "command": [sys.executable, "-c", script]}])
    assert action.perform(EVENT, "k").endswith("ended with 0: begun")


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.seen.append((dict(self.headers), json.loads(body)))
            self.send_response(self.server.answer)
            self.end_headers()

        def log_message(self, *_):
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.answer = [], 204
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_webhook_gets_a_cloud_event_with_the_key(tmp_path, server, monkeypatch):
    monkeypatch.setenv("ASSAY_ALERT_SECRET", "s3cret")
    url = f"http://127.0.0.1:{server.server_port}/hook"
    action = made(tmp_path, [{"name": "w", "type": "webhook", "url": url, "secret": "${ASSAY_ALERT_SECRET}"}])
    assert action.perform(EVENT, "key1") == "the webhook took it"
    headers, body = server.seen[0]
    assert headers["webhook-id"] == body["id"] == "key1"
    assert headers["webhook-signature"].startswith("v1,")
    assert body["type"] == "dev.assay.alarm.state-change"
    assert body["data"]["alarm"] == "drift of age"
    server.answer = 503
    with pytest.raises(ActionError, match="503"):
        action.perform(EVENT, "key1")
    assert url not in action.rehearse(EVENT)


def test_alerts_and_retraining_are_handed_in(tmp_path):
    seen = []
    alert = made(
        tmp_path, [{"name": "a", "type": "alert", "severity": "low"}], tell=lambda *all: seen.append(all) or "t"
    )
    assert alert.perform(EVENT, "k") == "t"
    assert seen == [(EVENT, "low")]
    retrain = made(tmp_path, [{"name": "r", "type": "retrain", "step": "train", "command": ["python", "t.py"]}])
    assert retrain.perform(EVENT, "k") == "trained"
    assert retrain.rehearse(EVENT) == "runs the step train: python t.py"


def _distribution(tmp_path, monkeypatch, code):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "their_plugin.py").write_text(code)
    info = tmp_path / "site" / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[assay.actions]\nrollback = their_plugin:Rollback\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "their_plugin", raising=False)


def plugin(tmp_path):
    raw = [{"name": "p", "type": "plugin", "plugin": "rollback", "settings": {"to": "v1"}}]
    return made(tmp_path, raw)


def test_a_plug_in_is_found_by_its_entry_point(tmp_path, monkeypatch):
    _distribution(
        tmp_path,
        monkeypatch,
        """
class Rollback:
    repeatable = True
    def __init__(self, settings): self.to = settings["to"]
    def perform(self, event, key):
        if event.state == "OK": raise ZeroDivisionError("secret")
        return f"rolled back to {self.to}"
    def rehearse(self, event): return f"rolls back to {self.to}"
""",
    )
    action = plugin(tmp_path)
    assert isinstance(action, Action)
    assert action.repeatable
    assert action.perform(EVENT, "k") == "rolled back to v1"
    with pytest.raises(ActionError, match="ZeroDivisionError"):
        action.perform(Event("a", "OK", "ALARM", AT, "r"), "k")


@pytest.mark.parametrize(
    "code", ["Rollback = dict", "raise RuntimeError('x')", "class Rollback:\n    def __init__(self): pass"]
)
def test_a_plug_in_that_does_not_keep_the_contract_is_named(tmp_path, monkeypatch, code):
    _distribution(tmp_path, monkeypatch, code)
    with pytest.raises(UsageError, match="rollback"):
        plugin(tmp_path)


def test_a_plug_in_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="there is no plug-in 'nothing'"):
        made(tmp_path, [{"name": "p", "type": "plugin", "plugin": "nothing"}])


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([{"name": "Bad Name", "type": "alert"}], "small letters"),
        ([{"name": "a", "type": "alert"}, {"name": "a", "type": "alert"}], "another action"),
        ([{"name": "a", "type": "alert", "attempts": 0}], "1 to 20"),
        ([{"name": "a", "type": "alert", "severity": "loud"}], "severity"),
        ([{"name": "a", "type": "alert", "at-most": "lots"}], "3 per 1d"),
        ([{"name": "a", "type": "alert", "at-most": "3 per never"}], "at-most"),
        ([{"name": "a", "type": "alert", "surprise": 1}], "surprise"),
        ([{"name": "a", "type": "sing"}], "sing"),
        ([{"name": "a", "type": "command", "command": []}], "empty"),
        ([{"name": "a", "type": "command", "command": ["a\0b"]}], "zero byte"),
        ([{"name": "a", "type": "command", "command": "rm -rf x"}], "command"),
        ([{"name": "a", "type": "command", "command": ["x"], "environment": ["A=B"]}], "no name of a variable"),
        ([{"name": "a", "type": "command", "command": ["x"], "timeout": "0s"}], "no time"),
        ([{"name": "a", "type": "webhook", "url": "ftp://x"}], "https"),
        ([{"name": "a", "type": "webhook", "url": "https://${HOME}"}], "ASSAY_ALERT_"),
        ([{"name": "a", "type": "webhook", "url": "https://x", "secret": "plain"}], "never written"),
        ([{"name": "a", "type": "retrain", "step": "s", "command": []}], "empty"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said(raw, said):
    with pytest.raises(DocumentError, match=said):
        parse(raw, "monitors.yml")
