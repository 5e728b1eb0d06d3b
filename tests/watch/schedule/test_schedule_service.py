import multiprocessing
import os
import signal
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest

from assay.errors import DocumentError, StoreError, UndecidedError, UsageError
from assay.watch import database
from assay.watch.database import Database
from assay.watch.schedule.expressions import parse
from assay.watch.schedule.ledger import LEASE, TRIES, Ledger, State
from assay.watch.schedule.service import MOST, Ended, Job, due, serve, take, tick

AT = datetime(2026, 11, 22, 10, 13, tzinfo=UTC)
HOURLY = parse("0 * * * *")


def hour(number):
    return datetime(2026, 11, 22, number, tzinfo=UTC)


def completes(_name, _moment, _holds):
    return Ended(State.COMPLETED)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path / "runs.db"))


def test_the_first_turn_runs_the_newest_moment_only(ledger):
    assert due(Job("m", HOURLY), ledger, AT) == ([hour(10)], [])


def test_a_run_waits_until_its_data_is_complete(ledger):
    job = Job("m", HOURLY, delay=timedelta(minutes=20))
    assert due(job, ledger, AT) == ([hour(9)], [])
    assert due(job, ledger, AT + timedelta(minutes=7)) == ([hour(10)], [])


@pytest.mark.parametrize(
    ("missed", "run", "recorded"),
    [
        ("all", [7, 8, 9, 10], []),
        ("last", [10], [7, 8, 9]),
    ],
)
def test_what_nobody_ran_is_caught_up_or_recorded(ledger, missed, run, recorded):
    job = Job("m", HOURLY, since=hour(6), missed=missed)
    assert due(job, ledger, AT) == ([hour(n) for n in run], [hour(n) for n in recorded])
    tick([job], ledger, completes, "a", lambda: AT)
    states = {entry.due: entry.state for entry in ledger.runs("m")}
    assert states == {
        **{hour(n): State.COMPLETED for n in run},
        **{hour(n): State.MISSED for n in recorded},
    }
    assert due(job, ledger, AT) == ([], [])


def test_of_more_missed_runs_than_one_turn_takes_only_the_newest_is_caught_up(ledger):
    job = Job("m", parse("rate(1 minute)"), since=AT - timedelta(minutes=MOST + 200), missed="last")
    run, recorded = due(job, ledger, AT)
    assert (run, len(recorded)) == ([], MOST)
    tick([job], ledger, completes, "a", lambda: AT)
    run, recorded = due(job, ledger, AT)
    assert (run, len(recorded)) == ([AT], 199)


def test_a_run_keeps_its_moment_to_the_microsecond_and_a_time_without_zone_is_refused(ledger):
    """Stops: two machines in two zones that take the same run for two."""
    exact = AT + timedelta(microseconds=1)
    assert ledger.claim("m", exact, "a", AT)
    assert ledger.last("m") == exact
    with pytest.raises(DocumentError, match="has no zone"):
        ledger.claim("m", AT.replace(tzinfo=None), "a", AT)


def test_asking_does_not_wait_for_whoever_writes(ledger, tmp_path):
    assert ledger.claim("m", hour(1), "a", AT)
    with Database(str(tmp_path / "runs.db"), ()).transaction():
        assert [run.due for run in ledger.runs("m")] == [hour(1)]
        assert ledger.last("m") == hour(1)
        assert ledger.abandoned("m", AT) == []


def test_a_run_that_fails_is_recorded_and_harms_no_other(ledger):
    def run(name, _moment, _holds):
        if name == "bad":
            raise UndecidedError("the data is not there")
        return Ended(State.COMPLETED_WITH_VIOLATIONS, "two columns", "ab" * 32)

    tick([Job("bad", HOURLY), Job("good", HOURLY)], ledger, run, "a", lambda: AT)
    bad, good = ledger.runs("bad")[0], ledger.runs("good")[0]
    assert (bad.state, bad.said) == (State.FAILED, "the data is not there")
    assert (good.state, good.entry) == (State.COMPLETED_WITH_VIOLATIONS, "ab" * 32)


def test_a_claim_that_runs_out_is_taken_up_and_the_first_owner_loses_it(ledger):
    assert ledger.claim("m", hour(10), "first", AT)
    assert not ledger.claim("m", hour(10), "second", AT + LEASE)
    late = AT + LEASE + timedelta(seconds=1)
    assert ledger.abandoned("m", late) == [hour(10)]
    assert ledger.claim("m", hour(10), "second", late)
    assert not ledger.renew("m", hour(10), "first", late)
    assert not ledger.finish("m", hour(10), "first", State.COMPLETED, late)
    assert ledger.finish("m", hour(10), "second", State.COMPLETED, late)
    assert ledger.runs("m")[0].owner == "second"


def test_a_run_that_kills_its_scheduler_is_given_up(ledger):
    now = AT
    for _ in range(TRIES):
        assert ledger.claim("m", hour(10), "a", now)
        now += LEASE + timedelta(seconds=1)
    assert not ledger.claim("m", hour(10), "a", now)
    assert ledger.runs("m")[0].state is State.FAILED
    assert "died" in ledger.runs("m")[0].said


def _race(path, start, won):
    ledger = Ledger(path)
    start.wait()
    for n in range(24):
        moment = hour(0) + timedelta(hours=n)
        if take("m", moment, ledger, completes, str(os.getpid()), lambda: AT) is not None:
            won.put(n)


def test_two_schedulers_do_not_run_the_same_job_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY", 300.0)  # the limit, not the code: a busy machine may be slow to write
    context = multiprocessing.get_context("fork")
    start, won = context.Event(), context.Queue()
    path = str(tmp_path / "runs.db")
    Ledger(path)
    racers = [context.Process(target=_race, args=(path, start, won)) for _ in range(4)]
    for racer in racers:
        racer.start()
    start.set()
    taken = sorted(won.get(timeout=300) for _ in range(24))
    for racer in racers:
        racer.join(300)
    assert taken == list(range(24))
    assert won.empty()


def _dies(path):
    def run(_name, _moment, _holds):
        os.kill(os.getpid(), signal.SIGKILL)

    take("m", hour(10), Ledger(path), run, "dead", lambda: AT)


def test_a_scheduler_that_is_killed_leaves_its_run_to_another(tmp_path):
    path = str(tmp_path / "runs.db")
    process = multiprocessing.get_context("fork").Process(target=_dies, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    ledger = Ledger(path)
    assert ledger.runs("m")[0].state is State.IN_PROGRESS
    later = AT + LEASE + timedelta(seconds=1)
    ended = tick([Job("m", HOURLY)], ledger, completes, "alive", lambda: later)
    assert [(name, one.state) for name, one in ended] == [("m", State.COMPLETED)]
    assert (ledger.runs("m")[0].owner, ledger.runs("m")[0].tries) == ("alive", 2)


def test_the_loop_runs_what_is_due_and_stops(ledger):
    stop, seen = threading.Event(), []

    def run(name, moment, holds):
        seen.append((name, moment, holds()))
        stop.set()
        return Ended(State.COMPLETED)

    serve([Job("m", HOURLY)], ledger, run, "a", clock=lambda: AT, stop=stop)
    assert seen == [("m", hour(10), True)]


def test_a_database_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "runs.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"runs\.db"):
        Ledger(str(path))


def test_a_password_is_never_told():
    with pytest.raises(StoreError) as raised:
        Ledger("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)


def test_other_databases_are_refused():
    with pytest.raises(UsageError, match="mysql"):
        Database("mysql://there/x", ())


def test_a_change_that_fails_leaves_nothing(tmp_path):
    database = Database(str(tmp_path / "x.db"), ("CREATE TABLE IF NOT EXISTS t (a BIGINT NOT NULL)",))
    with pytest.raises(StoreError), database.transaction() as go:
        go.change("INSERT INTO t VALUES (1)")
        go.change("INSERT INTO t VALUES (NULL)")
    with database.transaction() as go:
        assert go.rows("SELECT * FROM t") == []
    assert os.stat(tmp_path / "x.db").st_mode & 0o077 == 0
    assert sqlite3.connect(tmp_path / "x.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)
