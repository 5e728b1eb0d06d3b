"""A monitors file, or its database, that is wrong in any way: told in a sentence, before anything is kept."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor_making import MONITORS, call, hour, live, make, rows, write

AT = ("--at", f"{hour(1):%Y-%m-%dT%H:%M:%SZ}")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("things"))


@pytest.fixture
def place(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(things, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: Any, *more: str) -> tuple[int, str, str]:
    return call(capsys, "monitor", "run", "credit", "--key", "key.pem", *AT, *more)


ALARM = MONITORS["alarms"][0]
ACTION = MONITORS["actions"][0]

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"foo": 1}, "unknown field `foo`"),
    ({"monitors": []}, "monitors: is empty"),
    ({"monitors": 3}, "`$.monitors`"),
    ({"monitors": [MONITORS["monitors"][0]] * 2}, "another monitor has it"),
    ({"directory": "/"}, "'directory' is not a key"),
    ({"alarms": ["x"]}, "`$.alarms[0]`"),
    ({"alarms": [ALARM | {"foo": 1}]}, "'credit drifts': Object contains unknown field `foo`"),
    ({"alarms": [ALARM | {"monitor": "other"}]}, "there is no monitor 'other'"),
    ({"alarms": [ALARM | {"monitor": ["credit"]}]}, "there is no monitor ['credit']"),
    ({"alarms": [ALARM | {"on-alarm": ["shout"]}]}, "there is no action 'shout'"),
    ({"alarms": [ALARM | {"threshold": "x"}]}, "threshold: "),
    ({"alarms": [ALARM | {"period": "7s"}]}, "period"),
    ({"alarms": [ALARM, ALARM]}, "two alarms have the name"),
    ({"alarms": [ALARM, {"name": "c", "rule": 'ALARM("nobody")'}]}, "names 'nobody'"),
    ({"alarms": [ALARM, {"name": "c", "rule": "ALARM("}]}, "'c': rule: "),
    ({"alarms": [{"name": "a", "rule": "ALARM(b)"}, {"name": "b", "rule": "ALARM(a)"}]}, "a"),
    ({"actions": [ACTION | {"foo": 1}]}, "unknown field `foo`"),
    ({"actions": [ACTION | {"type": "magic"}]}, "'magic'"),
    ({"actions": [ACTION, ACTION]}, "another action has it"),
    ({"actions": [ACTION | {"at-most": "often"}]}, "at-most: "),
    ({"actions": [ACTION, {"name": "p", "type": "plugin", "plugin": "nowhere"}]}, "there is no plug-in 'nowhere'"),
    ({"actions": [ACTION, {"name": "w", "type": "webhook", "url": "ftp://x"}]}, "url: "),
    ({"exports": [{"name": "x", "type": "magic"}]}, "'magic'"),
    ({"exports": [{"name": "x", "type": "prometheus-file", "path": "a.txt"}]}, "end with .prom"),
    ({"store": "model"}, "cannot be made"),
    ({"store": "/proc/none/x.db"}, "cannot be made"),
    ({"store": "mysql://user:secret@host/x"}, "'mysql://host/x' is no place for a database"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_a_mistake_in_a_section_is_told(place: Path, capsys: Any, changes: dict[str, Any], said: str) -> None:
    document = MONITORS | changes
    (place / "monitors.yml").write_text(json.dumps(document))  # which is YAML, and has no anchors
    code, out, err = run(capsys)
    assert (code, out) == (2, "") and said in err and "secret" not in err, err
    assert not (place / "evidence").exists()


MONITOR: list[tuple[dict[str, Any], str]] = [
    ({"foo": 1}, "unknown field `foo` - at `$.monitors[0]`"),
    ({"baseline": None}, "`baseline`"),
    ({"name": "a b"}, "name: letters"),
    ({"schedule": "often"}, "the schedule 'often' cannot be read"),
    ({"schedule": "0 0 30 2 *"}, "cannot be read"),
    ({"window": "1x"}, "window: '1x' is not a duration"),
    ({"window": "0h"}, "window: "),
    ({"window": "-1h"}, "window: "),
    ({"window": "99999999d"}, "window: "),
    ({"delay": "-1h"}, "delay: "),
    ({"missed": "some"}, "'some'"),
    ({"least": 0}, "least: at least 1"),
    ({"topics": []}, "topics: is empty"),
    ({"topics": ["magic"]}, "'magic'"),
    ({"topics": ["poisoning"]}, "poisoning needs 'reference'"),
    ({"topics": ["model-quality"]}, "needs the section 'quality'"),
    ({"topics": ["bias"]}, "bias needs"),
    ({"topics": ["explainability"]}, "explainability needs"),
    ({"data": {"from": "x", "foo": 1}}, "unknown field `foo`"),
    ({"data": {"from": "live.parquet", "query": "SELECT 1"}}, "a database needs 'query'"),
    ({"data": {"from": "sqlite:///x.db"}}, "a database needs 'query'"),
]


@pytest.mark.parametrize(("changes", "said"), MONITOR)
def test_a_mistake_in_a_monitor_is_told(place: Path, capsys: Any, changes: dict[str, Any], said: str) -> None:
    write(place, **changes)
    code, out, err = run(capsys)
    assert (code, out) == (2, "") and said in err, err


FAILING: list[tuple[dict[str, Any], str]] = [
    ({"baseline": "nowhere.json"}, "nowhere.json cannot be read"),
    ({"data": {"from": "nowhere.parquet"}}, "nowhere.parquet is not there"),
    ({"data": {"from": "live.parquet", "time": "then"}}, "no column 'then'"),
    ({"data": {"from": "sqlite:///nowhere.db", "query": "SELECT 1"}}, "nowhere.db"),
    ({"data": {"from": "$HOME/x.parquet"}}, "$HOME/x.parquet is not there"),
    ({"drift": {"magic": 1}}, "drift has no setting 'magic'"),
    ({"target": "nowhere"}, "there is no file or folder"),
    ({"target": "magic:model"}, "unknown scheme 'magic'"),
    ({"labels": {"a": "b\nc"}}, "the label 'a'"),
]


@pytest.mark.parametrize(("changes", "said"), FAILING)
def test_a_run_that_cannot_be_made_has_failed_and_is_made_again(
    place: Path, capsys: Any, changes: dict[str, Any], said: str
) -> None:
    write(place, **changes)
    code, out, _ = run(capsys)
    assert code == 3 and "credit: Failed: " in out and said in out, out
    write(place)
    code, out, _ = run(capsys)
    assert code == 0 and "credit: Completed: data-quality holds; drift holds" in out
    assert run(capsys)[0] == 3  # made before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\0",
        "assay-monitors: 2\nmonitors: []\n",
        "assay-monitors: 1\nassay-monitors: 1\n",
        "a: &a [1]\nb: *a\n",
    ],
)
def test_files_that_are_no_monitors_file(place: Path, capsys: Any, text: str) -> None:
    (place / "monitors.yml").write_text(text)
    for words in (("run",), ("list",), ("alarms",), ("schedule", "--once"), ("report", "credit")):
        code, out, err = call(capsys, "monitor", *words)
        assert (code, out) == (2, "") and "monitors.yml" in err
    assert call(capsys, "monitor", "list", "-f", "nowhere.yml")[0] == 2


def test_a_key_that_is_missing_is_told_before_anything_is_kept(place: Path, capsys: Any) -> None:
    write(place)
    code, out, err = call(capsys, "monitor", "run", "credit", *AT, "--key", "no.pem")
    assert (code, out) == (2, "") and "no.pem" in err
    write(place, target=None)
    assert call(capsys, "monitor", "run", "credit", *AT)[0] == 0  # nothing is signed, so nobody needs to


def test_names_and_times_that_are_not_there(place: Path, capsys: Any) -> None:
    write(place)
    for words, said in [
        (("run", "other"), "there is no monitor 'other'"),
        (("run", "credit", "--at", "noon"), "'noon' is no time"),
        (("run", "--at", "2026-03-01"), "--at needs the NAME"),
        (("alarms", "other"), "there is no alarm 'other'"),
        (("alarms", "--set", "OK"), "--set needs the ALARM"),
        (("alarms", "--dry-run", "OK"), "--dry-run needs the ALARM"),
        (("retry", "abc"), "0 action(s) begin with 'abc'"),
        (("release", "other", "--by", "x", "--reason", "y"), "there is no monitor 'other'"),
    ]:
        code, out, err = call(capsys, "monitor", *words, "--key", "key.pem")
        assert (code, out) == (2, "") and said in err, (words, err)
    assert call(capsys, "monitor", "release", "credit", "--by", "x", "--reason", "y", "--key", "key.pem")[0] == 3
    assert call(capsys, "monitor", "report", "credit", "-O", "page.html")[0] == 3
    assert call(capsys, "monitor", "alarms", "--key", "key.pem")[0] == 3  # never asked is not OK


def test_a_window_without_bounds_is_about_now(place: Path, capsys: Any) -> None:
    """Stops: numbers of the year 9999, which no alarm would ever look at."""
    write(place, schedule=None)
    live([0.0, 2.0]).drop("when").write_parquet(place / "live.parquet")
    write(place, schedule=None, data={"from": "live.parquet"})
    code, _, _ = call(capsys, "monitor", "run", "credit", "--key", "key.pem")
    assert code == 1
    ((latest,), (due,)) = rows(place, "SELECT MAX(time) FROM metric UNION ALL SELECT MAX(due) FROM monitor_run")
    assert latest == due


def spoil(path: Path, how: str) -> sqlite3.Connection | None:
    if how == "locked":
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        return holder
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    if how == "damaged":
        path.write_bytes(b"SQLite format 3\0" + random.Random(1).randbytes(8000))
    elif how == "text":
        path.write_text("hello " * 1000)
    elif how == "another's":
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE mine (x)")
    elif how == "full":
        path.symlink_to("/dev/full")
    return None


@pytest.mark.parametrize("how", ["locked", "damaged", "text", "another's", "full"])
def test_a_database_that_cannot_be_used(place: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr("assay.watch.database.BUSY", 0.05)
    write(place)
    assert run(capsys)[0] == 0
    holder = spoil(place / "monitoring.db", how)
    key = ("--key", "key.pem")
    for words in (
        ("run", "credit", *AT, *key),
        ("list",),
        ("alarms",),
        ("schedule", "--once", *key),
        ("report", "credit"),
    ):
        code, out, err = call(capsys, "monitor", *words)
        assert ((code, out) == (2, "") and err.startswith("assay: the database ")) or "somebody else's" in err, (
            words,
            out,
            err,
        )
    if holder is not None:
        holder.close()
        assert call(capsys, "monitor", "list")[0] == 0
