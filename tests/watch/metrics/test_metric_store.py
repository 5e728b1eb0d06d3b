"""The metric store in SQLite and in a real PostgreSQL: the same contract, and what happens when something breaks."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.errors import DocumentError, StoreError
from assay.watch import database
from assay.watch.interface import Metric, Statistics
from assay.watch.metrics.checking import check, fitting
from assay.watch.metrics.interface import MetricStore, Series
from assay.watch.metrics.statistics import Statistic
from assay.watch.metrics.store import open_store
from watch.metrics.postgres_server import programs, server

T = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AVERAGE = Statistic.parse("Average")

Opener = Callable[[], MetricStore]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    if programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed (package postgresql)")
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def opener(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[Opener]:
    """Opens the same store again and again."""
    if request.param == "sqlite":
        yield lambda: open_store(f"{tmp_path}/metrics/metrics.db")
        return
    import psycopg

    url = request.getfixturevalue("postgres")
    schema = "s" + os.urandom(6).hex()  # a schema of its own for each test
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    yield lambda: open_store(f"{url}&options=-csearch_path%3D{schema}")


@pytest.fixture
def store(opener: Opener) -> MetricStore:
    return opener()


def metric(value: float = 1.0, at: datetime = T, name: str = "accuracy", **dimensions: str) -> Metric:
    return Metric(name, at, value, dimensions=dimensions)


def test_the_same_of_the_same_run_is_kept_once(store: MetricStore) -> None:
    metrics = [metric(0.5), metric(0.6, T + HOUR), metric(0.7, name="recall"), metric(0.8, model="a")]
    assert store.put(metrics, "run-1") == 4
    assert store.put([*metrics, metric(0.9)], "run-1") == 0  # first stays
    assert store.put([metric(0.1)], "run-2") == 1
    points = store.read(Series("accuracy"), T - HOUR, T + HOUR, 3600, AVERAGE)
    assert [(point.time, point.value, point.samples) for point in points] == [
        (T, pytest.approx(0.3), 2),
        (T + HOUR, 0.6, 1),
    ]


def test_all_or_nothing(store: MetricStore) -> None:
    with pytest.raises(DocumentError, match="not a finite number"):
        store.put([metric(0.5), metric(math.nan)], "run")
    assert store.latest() == ()


def test_series_are_told_apart(store: MetricStore) -> None:
    store.put([metric(1, a="x", b="y"), metric(2, b="y", a="x", at=T + HOUR), metric(3, a="x"), metric(4)], "run")
    assert store.series() == (
        Series("accuracy", {}),
        Series("accuracy", {"a": "x"}),
        Series("accuracy", {"a": "x", "b": "y"}),
    )
    assert store.series("other") == ()
    assert store.series("accuracy") == store.series()
    points = store.read(Series("accuracy", {"b": "y", "a": "x"}), T - HOUR, T + HOUR, 3600, AVERAGE)
    assert [point.value for point in points] == [1, 2]
    assert [(found.value, dict(found.dimensions)) for found in store.latest()] == [
        (4, {}),
        (3, {"a": "x"}),
        (2, {"a": "x", "b": "y"}),
    ]


def test_what_was_put_is_read_back(store: MetricStore) -> None:
    known = Statistics(10, 25.0, 1.0, 5.0)
    kept = [
        Metric("latency", T + timedelta(microseconds=1), statistics=known, unit="Milliseconds", dimensions={"é": "ü"}),
        Metric("n" * 255, T, -1e-300, unit="Count/Second"),
    ]
    store.put(kept, "run")
    stored = store.since(0, 10)
    assert [entry.metric for entry in stored] == kept
    assert {entry.run for entry in stored} == {"run"}


def test_an_instant_belongs_to_the_period_that_ends_with_it(store: MetricStore) -> None:
    tick = timedelta(microseconds=1)
    for number, at in enumerate((T, T + tick, T + HOUR - tick, T + HOUR, T + HOUR + tick)):
        store.put([metric(10.0**number, at)], "run")
    total = Statistic.parse("Sum")
    points = store.read(Series("accuracy"), T, T + HOUR, 3600, total)
    assert [(point.time, point.value) for point in points] == [(T + HOUR, 1110.0)]
    points = store.read(Series("accuracy"), T - HOUR, T + 2 * HOUR, 3600, total)
    assert [point.value for point in points] == [1.0, 1110.0, 10_000.0]


def test_time_zones_are_instants(store: MetricStore) -> None:
    store.put([metric(1, T.astimezone(timezone(timedelta(hours=5, minutes=30))))], "run")
    assert store.latest()[0].time == T
    assert store.latest()[0].time.tzinfo is UTC
    with pytest.raises(DocumentError, match="has no zone"):
        store.put([metric(1, T.replace(tzinfo=None))], "run")


def test_units_are_asked_for(store: MetricStore) -> None:
    store.put([Metric("m", T, 1.0, unit="Seconds"), Metric("m", T - HOUR / 2, 5.0, unit="Count")], "run")
    read = [store.read(Series("m"), T - HOUR, T, 3600, AVERAGE, unit) for unit in (None, "Seconds", "Bytes")]
    assert [[point.value for point in points] for points in read] == [[3.0], [1.0], []]


def test_percentiles_need_values(store: MetricStore) -> None:
    store.put([metric(float(number), T + timedelta(seconds=number)) for number in range(101)], "run")
    ninety = store.read(Series("accuracy"), T - HOUR, T + HOUR, 7200, Statistic.parse("p90"))
    assert [(point.value, point.samples) for point in ninety] == [(90.0, 101)]
    store.put([Metric("accuracy", T, statistics=Statistics(3, 6, 1, 3))], "other")
    with pytest.raises(DocumentError, match="p90 needs the values one by one"):
        store.read(Series("accuracy"), T - HOUR, T + HOUR, 7200, Statistic.parse("p90"))


@pytest.mark.parametrize(
    "bad",
    [
        replace(metric(), name=""),
        replace(metric(), name="x" * 256),
        replace(metric(), name="a\nb"),
        replace(metric(), name=":a"),
        replace(metric(), unit="Parsecs"),
        replace(metric(), value=math.inf),
        replace(metric(), value=None),
        replace(metric(), statistics=Statistics(1, 1, 1, 1)),
        replace(metric(), dimensions={f"d{number}": "v" for number in range(31)}),
        replace(metric(), dimensions={"d": ""}),
        replace(metric(), dimensions={"d": "\x00"}),
        Metric("m", T, statistics=Statistics(0, 0, 0, 0)),
        Metric("m", T, statistics=Statistics(1, 1, 2, 1)),
        Metric("m", T, statistics=Statistics(1, math.nan, 1, 1)),
    ],
)
def test_what_cloudwatch_would_refuse_is_refused(store: MetricStore, bad: Metric) -> None:
    with pytest.raises(DocumentError):
        store.put([bad], "run")
    assert store.series() == ()


@given(st.lists(st.text(max_size=400), min_size=2, max_size=2, unique=True))
@example(["a\nb", "a\rb"])
@example(["x" * 300, "x" * 301])
@example(["\ud800", ""])
def test_names_that_strangers_chose_are_made_to_fit_and_stay_apart(names: list[str]) -> None:
    fitted = [fitting(metric(1, name=name, column=name)) for name in names]
    for one in fitted:
        check(one)
    assert len({one.name for one in fitted}) == 2
    assert len({one.dimensions["column"] for one in fitted}) == 2
    assert fitting(metric(1, name="accuracy", model="é")) == metric(1, name="accuracy", model="é")


def test_injection_is_text(store: MetricStore) -> None:
    odd = "'; DROP TABLE metric; -- ? %s"
    store.put([metric(1, name=odd, d=odd)], odd)
    assert store.series() == (Series(odd, {"d": odd}),)
    assert len(store.read(Series(odd, {"d": odd}), T - HOUR, T, 60, AVERAGE)) == 1


def test_sinks_go_on_where_they_stopped(opener: Opener, store: MetricStore) -> None:
    store.put([metric(float(number), T + number * HOUR) for number in range(5)], "run")
    first = store.since(store.position("cloudwatch"), 3)
    assert [entry.metric.value for entry in first] == [0, 1, 2]
    store.advance("cloudwatch", first[-1].position)
    store.advance("cloudwatch", first[0].position)  # never back
    again = opener()
    assert [entry.metric.value for entry in again.since(again.position("cloudwatch"), 9)] == [3, 4]
    assert again.position("otel") == 0


def test_old_metrics_go_unless_a_sink_still_needs_them(store: MetricStore) -> None:
    store.put([metric(float(number), T + number * HOUR) for number in range(4)], "run")
    entries = store.since(0, 9)
    store.advance("slow", entries[0].position)
    store.advance("fast", entries[3].position)
    assert store.forget(T + 3 * HOUR) == 1
    store.detach("slow")
    assert store.forget(T + 3 * HOUR) == 2
    assert [entry.metric.value for entry in store.since(0, 9)] == [3]


def test_many_writers_and_a_reader_that_misses_nothing(
    opener: Opener, store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that follows the store while others write sees every metric: none appears behind its position."""
    monkeypatch.setattr(database, "BUSY", 300.0)  # the limit, not the code: a busy machine may be slow to write
    writers, each = 4, 30
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            mine = opener()
            for index in range(each):
                mine.put([metric(1.0, T + index * HOUR, writer=str(number))] * 2, f"run-{index}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen, position = 0, 0
    while any(thread.is_alive() for thread in threads) or store.since(position, 1):
        entries = store.since(position, 7)
        seen += len(entries)
        position = entries[-1].position if entries else position
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert failed == []
    assert seen == writers * each


WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from assay.watch.interface import Metric
from assay.watch.metrics.store import open_store

store = open_store(sys.argv[1])
start = datetime(2026, 11, 22, tzinfo=UTC)
for run in range(100_000):
    store.put([Metric(f"m{i}", start + timedelta(seconds=run), float(run)) for i in range(20)], f"run-{run}")
    sys.stdout.write(f"{run}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_kill_in_the_middle_loses_nothing_that_was_accepted(
    kind: str, tmp_path: object, request: pytest.FixtureRequest
) -> None:
    for attempt in range(3):
        place = f"{tmp_path}/{attempt}.db" if kind == "sqlite" else request.getfixturevalue("postgres")
        command = [sys.executable, "-c", WRITER, place]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(20 + 7 * attempt):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().splitlines()
        acknowledged = 20 + 7 * attempt + sum(line.isdigit() for line in rest)
        with_all = open_store(place)
        entries = with_all.since(0, 10_000_000)
        runs = [entry.run for entry in entries]
        assert len(entries) % 20 == 0  # no run is there in part
        assert {f"run-{number}" for number in range(acknowledged)} <= set(runs)
        # and the run that was cut off can simply be done again
        last = [entry for entry in entries if entry.run == runs[-1]]
        assert with_all.put([entry.metric for entry in last], runs[-1]) == 0


def test_the_file_is_the_owners(tmp_path: object) -> None:
    path = f"{tmp_path}/deep/metrics.db"
    opened = open_store(path)
    opened.put([metric()], "run")
    for name in os.listdir(f"{tmp_path}/deep"):
        assert stat.S_IMODE(os.stat(f"{tmp_path}/deep/{name}").st_mode) == 0o600


def test_files_of_others_are_left_alone(tmp_path: object) -> None:
    path = f"{tmp_path}/other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with open(path, "rb") as file:
        before = file.read()
    with pytest.raises(StoreError, match="somebody else's database"):
        open_store(path)
    for content in (b"hello, I am a text" * 100, b"SQLite format 3\x00" + b"\xff" * 5000):
        with open(f"{tmp_path}/bad.db", "wb") as file:
            file.write(content)
        with pytest.raises(StoreError, match=r"bad\.db"):
            open_store(f"{tmp_path}/bad.db")
    with open(path, "rb") as file:
        assert file.read(18) == before[:18]
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(f"{tmp_path}/bad.db/metrics.db")


def test_a_damaged_file_is_a_sentence(tmp_path: object) -> None:
    path = f"{tmp_path}/metrics.db"
    store = open_store(path)
    store.put([metric(float(n), T + n * HOUR) for n in range(2000)], "run")
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(StoreError, match=r"metrics\.db cannot be used: .*malformed"):
        store.since(0, 5000)


def test_no_server_is_undecided_and_no_password_is_told() -> None:
    with pytest.raises(StoreError) as caught:
        open_store("postgresql://me:s3cret@127.0.0.1:1/metrics?connect_timeout=1")
    assert caught.value.exit_code == 3
    assert "s3cret" not in str(caught.value)
    assert "postgresql://127.0.0.1/metrics" in str(caught.value)
    for url in (
        "postgresql://me:s3cret@host:nonsense/metrics",
        "postgresql://me:s3cret@host/?no_such=1",
        "postgresql://me:s3cret@/metrics?host=/nowhere",
    ):
        with pytest.raises(StoreError) as wrong:
            open_store(url)
        assert "s3cret" not in str(wrong.value)


def test_a_server_that_goes_away_in_the_middle(postgres: str) -> None:
    import psycopg

    store = open_store(postgres)
    with pytest.raises(StoreError) as caught:
        with store.database.transaction() as go:
            go.change("INSERT INTO sink (name, position) VALUES ('half', 1)")
            with psycopg.connect(postgres, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND backend_type = 'client backend'"
                )
            go.change("INSERT INTO sink (name, position) VALUES ('other half', 1)")
    assert caught.value.exit_code == 3
    assert store.position("half") == 0
    store.advance("half", 7)
    assert store.position("half") == 7
