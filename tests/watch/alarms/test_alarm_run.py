"""Alarms over a real store: what changes when, what is due, what a crash leaves to do, and who waits for whom."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from assay.errors import DocumentError, StoreError
from assay.watch import database
from assay.watch.alarms.composite import parse
from assay.watch.alarms.history import History, Standing
from assay.watch.alarms.model import Actions, Alarm, Comparison, CompositeAlarm, MetricAlarm, Missing, Query, Suppressor
from assay.watch.alarms.run import evaluate_all
from assay.watch.alarms.states import EvaluationState, State
from assay.watch.interface import Metric, Statistics
from assay.watch.metrics.interface import MetricStore, Series
from assay.watch.metrics.statistics import Statistic
from assay.watch.metrics.store import open_store
from watch.metrics.postgres_server import programs, server

T = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
A, O, I = State.ALARM, State.OK, State.INSUFFICIENT_DATA  # noqa: E741 - as in the tables


@pytest.fixture
def store(tmp_path: object) -> MetricStore:
    return open_store(f"{tmp_path}/metrics.db")


def query(name: str = "drift", statistic: str = "Average") -> Query:
    return Query(Series(name), Statistic.parse(statistic))


def on_metric(name: str = "drift", **changes: object) -> MetricAlarm:
    actions = Actions((f"{name}!",), (f"{name} fine",), (f"{name}?",))
    alarm = MetricAlarm(name, {"metric": query(name)}, 60, Comparison.ABOVE, 0.5, evaluation_range=3, actions=actions)
    return replace(alarm, **changes)  # type: ignore[arg-type]


def standing_of(store: MetricStore, name: str = "drift") -> Standing:
    (found,) = [standing for standing in History(store.database).standings() if standing.name == name]
    return found


def put(store: MetricStore, minute: float, value: float, name: str = "drift") -> None:
    store.put([Metric(name, T + minute * MINUTE, value)], f"run-{minute}")


def step(store: MetricStore, alarms: list[Alarm], minute: float) -> list[tuple[str, State, State, tuple[str, ...]]]:
    found = evaluate_all(store, alarms, T + minute * MINUTE)
    return [(change.alarm, change.old, change.new, change.actions) for change in found]


def test_actions_only_on_change(store: MetricStore) -> None:
    alarms: list[Alarm] = [on_metric()]
    assert step(store, alarms, 0) == []  # new alarms are in INSUFFICIENT_DATA, and that is no news
    put(store, 1, 0.1)
    assert step(store, alarms, 1) == [("drift", I, O, ("drift fine",))]
    put(store, 2, 0.9)
    assert step(store, alarms, 2) == [("drift", O, A, ("drift!",))]
    put(store, 3, 0.8)
    assert step(store, alarms, 3) == []
    assert step(store, alarms, 3) == []
    assert step(store, alarms, 5) == []  # 0.8 is still in the range
    assert step(store, alarms, 7) == [("drift", A, I, ("drift?",))]
    events = History(store.database).events("drift")
    assert [(event.old, event.new) for event in events] == [(I, O), (O, A), (A, I)]
    assert "0.9 at 2026-11-22T12:02:00Z" in events[1].reason
    assert events[1].details["datapoints"] == [{"time": "2026-11-22T12:02:00.000000Z", "value": 0.9, "samples": 1.0}]


def test_a_value_counts_the_moment_it_is_there(store: MetricStore) -> None:
    put(store, 0.7, 0.9)
    assert step(store, [on_metric()], 0.7) == [("drift", I, A, ("drift!",))]


def test_other_time_zones_are_the_same_moments(store: MetricStore) -> None:
    put(store, 0, 0.9)
    (found,) = evaluate_all(store, [on_metric()], T.astimezone(timezone(timedelta(hours=-5))))
    assert found.time == T
    assert "0.9 at 2026-11-22T12:00:00Z" in found.reason


def test_disabled_actions_change_state_all_the_same(store: MetricStore) -> None:
    put(store, 0, 0.9)
    assert step(store, [on_metric(actions=Actions(("page",), enabled=False))], 0) == [("drift", I, A, ())]
    assert History(store.database).pending() == ()


def test_a_crash_before_the_actions_leaves_them_to_do(tmp_path: object) -> None:
    first = open_store(f"{tmp_path}/metrics.db")
    put(first, 0, 0.9)
    evaluate_all(first, [on_metric()], T)  # nobody performed anything
    second = open_store(f"{tmp_path}/metrics.db")
    assert step(second, [on_metric()], 0.1) == []  # no change: it is not announced twice
    (left,) = History(second.database).pending()
    assert (left.alarm, left.new, left.actions, left.id) == ("drift", A, ("drift!",), "drift#1")
    History(second.database).done(left)
    assert History(second.database).pending() == ()


def test_two_schedulers_announce_once(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY", 300.0)  # the limit, not the code: a busy machine may be slow to write
    path = f"{tmp_path}/metrics.db"
    with_data = open_store(path)
    for name in ("a", "b", "c"):
        put(with_data, 0, 0.9, name)
    seen: list[str] = []

    def schedule() -> None:
        mine = open_store(path)
        seen.extend(change.id for change in evaluate_all(mine, [on_metric(name) for name in "abc"], T))

    threads = [threading.Thread(target=schedule) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(change.split("#")[0] for change in seen) == ["a", "b", "c"]


def test_a_late_scheduler_does_not_turn_back_time(store: MetricStore) -> None:
    put(store, 0, 0.1)
    put(store, 1, 0.9)
    assert step(store, [on_metric()], 1) == [("drift", I, A, ("drift!",))]
    assert step(store, [on_metric()], 0) == []
    assert standing_of(store).state is A


def test_set_state_holds_until_the_next_evaluation(store: MetricStore) -> None:
    put(store, 0, 0.1)
    step(store, [on_metric()], 0)
    history = History(store.database)
    forced = history.set_state(on_metric(), A, "a rehearsal", T + MINUTE / 2)
    assert (forced.old, forced.new, forced.actions) == (O, A, ("drift!",))
    assert standing_of(store).state is A
    assert step(store, [on_metric()], 1) == [("drift", A, O, ("drift fine",))]
    assert history.set_state(on_metric(), O, "again", T + 2 * MINUTE).actions == ()


def test_history_is_kept_as_long_as_it_is_needed(store: MetricStore) -> None:
    put(store, 0, 0.9)
    (change,) = evaluate_all(store, [on_metric()], T)
    history = History(store.database)
    assert history.forget(T + timedelta(days=14)) == 0  # its action is still due
    history.done(change)
    assert history.forget(T) == 0
    assert history.forget(T + timedelta(days=14)) == 1
    assert standing_of(store).state is A  # the state stays
    assert history.events() == ()


def test_ignore_keeps_the_state_it_had(store: MetricStore) -> None:
    alarms: list[Alarm] = [on_metric(missing=Missing.IGNORE)]
    put(store, 0, 0.9)
    assert len(step(store, alarms, 0)) == 1
    assert step(store, alarms, 60) == []
    assert standing_of(store).state is A


def test_percentile_over_summaries_is_an_error_beside_the_state(store: MetricStore) -> None:
    store.put([Metric("drift", T, statistics=Statistics(5, 5, 0, 2))], "run")
    alarm = on_metric(queries={"metric": query(statistic="p90")}, missing=Missing.NOT_BREACHING)
    step(store, [alarm], 0)
    standing = standing_of(store)
    assert (standing.state, standing.evaluation) == (I, EvaluationState.EVALUATION_ERROR)
    assert "p90 needs the values one by one" in standing.reason
    step(store, [on_metric()], 1)
    assert standing_of(store).evaluation is EvaluationState.FINE


def test_expression_over_two_metrics(store: MetricStore) -> None:
    alarm = on_metric(queries={"bad": query("errors", "Sum"), "all": query("calls", "Sum")}, expression="bad / all")
    put(store, 0, 3, "errors")
    step(store, [alarm], 0)
    standing = standing_of(store)
    assert (standing.state, standing.evaluation) == (I, EvaluationState.PARTIAL_DATA)
    put(store, 0, 5, "calls")
    assert step(store, [alarm], 0) == [("drift", I, A, ("drift!",))]
    put(store, 1, 0, "calls")
    put(store, 1, 1, "errors")
    assert step(store, [alarm], 1) == []  # 1/0 is no number: missing


def test_errors_that_are_only_reported_when_there_are_some(store: MetricStore) -> None:
    alarm = on_metric(queries={"bad": query("errors", "Sum")}, expression="FILL(bad, 0)")
    assert step(store, [alarm], 0) == [("drift", I, O, ("drift fine",))]
    put(store, 1, 3, "errors")
    assert step(store, [alarm], 1) == [("drift", O, A, ("drift!",))]
    assert step(store, [alarm], 2) == [("drift", A, O, ("drift fine",))]


def test_the_same_in_postgres() -> None:
    if programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed (package postgresql)")
    with server() as url:
        store = open_store(url)
        put(store, 0, 0.9)
        alarms: list[Alarm] = [on_metric(), composite("ALARM(drift)", suppressor=Suppressor("drift", 5, 5))]
        found = evaluate_all(store, alarms, T)
        assert [(change.alarm, change.new, change.suppressed_by) for change in found] == [
            ("drift", A, ""),
            ("all", A, "Alarm"),
        ]
        history = History(store.database)
        (left,) = history.pending()
        assert left == found[0]
        history.done(left)
        assert history.pending() == ()
        assert history.events() == found
        assert history.set_state(alarms[0], O, "rehearsal", T + MINUTE).actions == ("drift fine",)
        assert [standing.state for standing in history.standings()] == [A, O]
        assert history.forget(T + MINUTE) == 2


def composite(rule: str, **changes: object) -> CompositeAlarm:
    return replace(CompositeAlarm("all", parse(rule), actions=Actions(("page",), ("calm",))), **changes)  # type: ignore[arg-type]


def test_composite_follows_its_children_at_once(store: MetricStore) -> None:
    top = replace(composite("ALARM(all)"), name="top")
    alarms: list[Alarm] = [top, composite("ALARM(a) AND NOT OK(b)"), on_metric("a"), on_metric("b")]
    put(store, 0, 0.9, "a")
    changes = {name: (old, new) for name, old, new, _ in step(store, alarms, 0)}
    assert changes == {"a": (I, A), "all": (I, A), "top": (I, A)}
    put(store, 1, 0.1, "b")
    changes = {name: (old, new) for name, old, new, _ in step(store, alarms, 1)}
    assert changes == {"b": (I, O), "all": (A, O), "top": (A, O)}


def test_circles_change_nothing(store: MetricStore) -> None:
    put(store, 0, 0.9, "a")
    with pytest.raises(DocumentError, match="circle"):
        evaluate_all(store, [on_metric("a"), composite("ALARM(a) OR OK(all)")], T)
    with pytest.raises(DocumentError, match="no alarm here"):
        evaluate_all(store, [on_metric("a"), composite("ALARM(b)")], T)
    with pytest.raises(DocumentError, match="same name"):
        evaluate_all(store, [on_metric("a"), on_metric("a")], T)
    assert History(store.database).events() == ()


class Suppression:
    """A composite alarm over ``m`` that ``s`` suppresses; waits 2 minutes, extends by 3."""

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        always = {"evaluation_range": 1}
        rule = composite("ALARM(m)", suppressor=Suppressor("s", 120, 180))
        self._alarms: list[Alarm] = [on_metric("m", **always), on_metric("s", **always), rule]

    def at(self, minute: int, m: float, s: float) -> tuple[str, ...]:
        """The composite alarm's actions at a minute with these values."""
        put(self._store, minute, m, "m")
        put(self._store, minute, s, "s")
        due = [change for change in step(self._store, self._alarms, minute) if change[0] == "all"]
        return tuple(action for _, _, _, actions in due for action in actions)

    @property
    def by(self) -> str:
        return standing_of(self._store, "all").suppressed_by


BAD, GOOD = 0.9, 0.1


def test_actions_after_the_wait_without_suppressor(store: MetricStore) -> None:
    case = Suppression(store)
    case.at(0, GOOD, GOOD)
    case.at(2, GOOD, GOOD)
    assert (case.at(3, BAD, GOOD), case.by) == ((), "WaitPeriod")
    assert (case.at(4, BAD, GOOD), case.by) == ((), "WaitPeriod")
    assert (case.at(5, BAD, GOOD), case.by) == (("page",), "")
    assert case.at(6, BAD, GOOD) == ()
    last = History(store.database).events("all")[-1]
    assert (last.old, last.new) == (O, A)


def test_suppressor_that_comes_within_the_wait(store: MetricStore) -> None:
    case = Suppression(store)
    case.at(0, GOOD, GOOD)
    case.at(2, GOOD, GOOD)
    assert case.at(3, BAD, GOOD) == ()
    for minute in (4, 5, 9):
        assert (case.at(minute, BAD, BAD), case.by) == ((), "Alarm")
    assert (case.at(10, BAD, GOOD), case.by) == ((), "ExtensionPeriod")
    assert (case.at(12, BAD, GOOD), case.by) == ((), "ExtensionPeriod")
    assert (case.at(13, BAD, GOOD), case.by) == (("page",), "")


def test_what_comes_and_goes_while_suppressed_is_never_told(store: MetricStore) -> None:
    case = Suppression(store)
    case.at(0, GOOD, GOOD)
    case.at(2, GOOD, GOOD)
    case.at(3, GOOD, BAD)
    assert case.at(4, BAD, BAD) == ()
    assert case.at(5, GOOD, BAD) == ()
    for minute in (6, 7, 8, 9, 10):
        assert case.at(minute, GOOD, GOOD) == ()
    assert [(event.new, event.suppressed_by) for event in History(store.database).events("all")][-2:] == [
        (A, "Alarm"),
        (O, "Alarm"),
    ]


def test_a_broken_store_is_a_sentence_and_no_state(store: MetricStore, tmp_path: object) -> None:
    with sqlite3.connect(f"{tmp_path}/metrics.db") as other:
        other.execute("DROP TABLE metric")
    other.close()
    with pytest.raises(StoreError, match="no such table"):
        evaluate_all(store, [on_metric()], T)
    assert History(store.database).standings() == ()
