"""Evaluating all alarms at one moment: metrics in, states kept, transitions out. The caller performs their actions.

Several schedulers may do it at once: each alarm's state is read and changed in one transaction, and an evaluation that
is older than the last one kept changes nothing. It reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from assay.errors import DocumentError
from assay.watch.alarms import composite, expressions
from assay.watch.alarms.bands import learn
from assay.watch.alarms.evaluate import Evaluation, evaluate
from assay.watch.alarms.history import SCHEMA, Standing, Transition, keep, record, standing
from assay.watch.alarms.model import Alarm, CompositeAlarm, Datapoint, MetricAlarm, Query, needed
from assay.watch.alarms.states import EvaluationState, State
from assay.watch.database import Transaction
from assay.watch.metrics.interface import MetricStore, Point


def evaluate_all(store: MetricStore, alarms: Sequence[Alarm], now: datetime) -> tuple[Transition, ...]:
    """What changed at ``now``: metric alarms first, then composite ones, each after those it asks about.

    Transitions with actions stay in `History.pending` until `History.done` was called for them. Raises
    `DocumentError` for alarms that name each other in a circle or name one that is not here.
    """
    now = now.astimezone(UTC)
    store.database.prepare(SCHEMA)
    by_name = {alarm.name: alarm for alarm in alarms}
    if len(by_name) != len(alarms):
        raise DocumentError("two alarms have the same name")
    order = composite.order({alarm.name: needed(alarm) for alarm in alarms})
    with store.database.reading():
        seen = {alarm.name: _look(store, alarm, now) for alarm in alarms if isinstance(alarm, MetricAlarm)}
    states: dict[str, State] = {}
    transitions: list[Transition] = []
    with store.database.transaction() as go:
        for name in order:
            old = standing(go, name, now)
            states[name] = old.state
            if now < old.updated:
                continue  # another scheduler has been here, later
            alarm = by_name[name]
            if isinstance(alarm, CompositeAlarm):
                state = State.ALARM if composite.holds(alarm.rule, states) else State.OK
                evaluation = Evaluation(state, composite.reason(alarm.rule, states))
            else:
                evaluation = seen[name](old.state)
            states[name] = evaluation.state
            transitions.extend(_follow(go, alarm, old, evaluation, states, now))
    return tuple(transitions)


def datapoints(store: MetricStore, alarm: MetricAlarm, now: datetime) -> tuple[tuple[Datapoint, ...], EvaluationState]:
    """The evaluation range at ``now``, oldest first, and whether some metric had nothing in it."""
    start = now - timedelta(seconds=alarm.period * alarm.evaluation_range)
    read = {name: _points(store, alarm, query, start, now) for name, query in alarm.queries.items()}
    times = [start + timedelta(seconds=alarm.period * (index + 1)) for index in range(alarm.evaluation_range)]
    values = _combined(alarm, read, times)
    samples = [min((by_time[t].samples for by_time in read.values() if t in by_time), default=0.0) for t in times]
    found = [Datapoint(time, values.get(time), count) for time, count in zip(times, samples, strict=True)]
    if alarm.band is not None:
        found = _banded(store, alarm, found, start)
    partial = any(read.values()) and not all(read.values())
    return tuple(found), EvaluationState.PARTIAL_DATA if partial else EvaluationState.FINE


def _points(
    store: MetricStore, alarm: MetricAlarm, query: Query, start: datetime, end: datetime
) -> dict[datetime, Point]:
    points = store.read(query.series, start, end, alarm.period, query.statistic, query.unit)
    return {point.time: point for point in points}


def _combined(
    alarm: MetricAlarm, read: Mapping[str, Mapping[datetime, Point]], times: Sequence[datetime]
) -> dict[datetime, float]:
    """The alarm's own series at ``times``: its metric's, or what the expression makes of them."""
    if alarm.expression is None:
        (only,) = read.values()
        return {time: point.value for time, point in only.items()}
    known = {name: [p.value if (p := points.get(time)) else None for time in times] for name, points in read.items()}
    result = expressions.parse(alarm.expression).compute(known, alarm.period)
    return {time: value for time, value in zip(times, result, strict=True) if value is not None}


def _banded(store: MetricStore, alarm: MetricAlarm, found: Sequence[Datapoint], start: datetime) -> list[Datapoint]:
    """With the band that the time before the evaluation range makes usual: what is judged never teaches."""
    band = alarm.band
    if band is None:
        return list(found)
    width = timedelta(seconds=alarm.period)
    times = [start - width * step for step in reversed(range(band.training // alarm.period))]
    read = {name: _points(store, alarm, query, times[0] - width, start) for name, query in alarm.queries.items()}
    past = [Point(time, value, 1.0) for time, value in _combined(alarm, read, times).items()]
    learned = learn(band, past)
    if learned is None:
        return list(found)
    ends = [learned.at(point.time) for point in found]
    return [replace(point, lower=low, upper=high) for point, (low, high) in zip(found, ends, strict=True)]


def _look(store: MetricStore, alarm: MetricAlarm, now: datetime) -> Callable[[State], Evaluation]:
    """What an alarm comes to, given the state it is in; its metrics are read before that is known."""
    try:
        points, side = datapoints(store, alarm, now)
    except DocumentError as error:
        wrong = Evaluation(State.INSUFFICIENT_DATA, error.message, side=EvaluationState.EVALUATION_ERROR)
        return lambda _: wrong
    return lambda state: replace(evaluate(alarm, points, state), side=side)


def _follow(
    go: Transaction,
    alarm: Alarm,
    old: Standing,
    evaluation: Evaluation,
    states: Mapping[str, State],
    now: datetime,
) -> tuple[Transition, ...]:
    """Keep what follows from an evaluation, and return it if it is a change, or something is due at last."""
    changed = evaluation.state is not old.state
    new = replace(
        old,
        state=evaluation.state,
        reason=evaluation.reason,
        evaluation=evaluation.side,
        since=now if changed else old.since,
        updated=now,
    )
    new = _suppressed(alarm, new, states, now)
    due = new.state is not new.announced and not new.suppressed_by
    keep(go, replace(new, announced=new.state) if due else new)
    if not changed and not due:
        return ()
    before = old.state if changed else new.announced
    actions = alarm.actions.on(new.state) if due else ()
    details = _details(evaluation)
    made = Transition(0, alarm.name, now, before, new.state, new.reason, actions, new.suppressed_by, details)
    return (record(go, made),)


def _suppressed(alarm: Alarm, found: Standing, states: Mapping[str, State], now: datetime) -> Standing:
    """Whether actions have to wait, and for what: the suppressor, the time it may still come, the time after it."""
    suppressor = alarm.suppressor if isinstance(alarm, CompositeAlarm) else None
    if suppressor is None:
        return replace(found, suppressed_by="", released=None)
    if states[suppressor.alarm] is State.ALARM:
        return replace(found, suppressed_by="Alarm", released=None)
    released = now if found.suppressed_by == "Alarm" else found.released
    if released is not None and now < released + timedelta(seconds=suppressor.extension):
        return replace(found, suppressed_by="ExtensionPeriod", released=released)
    waiting = found.state is not found.announced and released is None
    if waiting and now < found.since + timedelta(seconds=suppressor.wait):
        return replace(found, suppressed_by="WaitPeriod", released=None)
    return replace(found, suppressed_by="", released=None)


def _details(evaluation: Evaluation) -> dict[str, object]:
    points = [
        {"time": point.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "value": point.value, "samples": point.samples}
        | ({} if point.lower is None else {"lower": point.lower, "upper": point.upper})
        for point in evaluation.used
    ]
    return {"datapoints": points, "filled": evaluation.filled, "evaluation": evaluation.side.value}
