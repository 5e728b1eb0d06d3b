"""Alarm files: both spellings, the limits that PutMetricAlarm has, and the line of what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay import strict_yaml
from assay.errors import DocumentError
from assay.watch.alarms.documents import SPELLINGS
from assay.watch.alarms.model import Actions, Alarm, Band, Comparison, CompositeAlarm, MetricAlarm, Missing, Suppressor
from assay.watch.alarms.reading import alarm, check_together
from assay.watch.interface import Window
from assay.watch.metrics.interface import Series

FULL = """
alarms:
  - name: age drifts
    description: the age of applicants is not what it was
    metric: feature_baseline_drift_age
    dimensions: {Endpoint: churn, MonitoringSchedule: hourly}
    statistic: p99
    unit: None
    period: 1h
    evaluation-periods: 3
    datapoints-to-alarm: 2
    evaluation-range: 6
    comparison: ">"
    threshold: 0.1
    missing-data: breaching
    low-samples: ignore
    actions-enabled: false
    on-alarm: [page, retrain]
    on-ok: [page]
    on-insufficient-data: [mail]
  - name: calls
    metric: calls
    statistic: Sum
    period: 300
    comparison: outside
    band:
      width: 3
      training: 7d
      exclude:
        - {start: "2026-11-01T00:00:00Z", end: "2026-11-02T00:00:00+01:00"}
  - name: error rate
    metrics:
      bad: {metric: errors, statistic: Sum}
      all: {metric: calls, statistic: Sum}
    expression: 100 * bad / all
    period: 60
    comparison: GreaterThanOrEqualToThreshold
    threshold: 5
  - name: page somebody
    rule: (ALARM("age drifts") OR ALARM(calls)) AND NOT ALARM("error rate")
    suppressor: calls
    suppressor-wait: 2m
    suppressor-extension: 180
    on-alarm: [page]
"""


def test_every_key() -> None:
    first, second, third, fourth = read(FULL.encode())
    assert isinstance(first, MetricAlarm)
    (query,) = first.queries.values()
    assert query.series == Series("feature_baseline_drift_age", {"Endpoint": "churn", "MonitoringSchedule": "hourly"})
    assert (query.statistic.text, query.unit) == ("p99", "None")
    assert (first.period, first.evaluation_periods, first.datapoints_to_alarm, first.evaluation_range) == (
        3600,
        3,
        2,
        6,
    )
    assert (first.comparison, first.threshold, first.missing) == (Comparison.ABOVE, 0.1, Missing.BREACHING)
    assert first.ignore_low_samples
    assert first.actions == Actions(("page", "retrain"), ("page",), ("mail",), enabled=False)
    assert isinstance(second, MetricAlarm)
    outage = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, 23, tzinfo=UTC))
    assert second.band == Band(3.0, 7 * 86_400, (outage,))
    assert (second.threshold, second.evaluation_range, second.datapoints_to_alarm) == (None, 3, 1)
    assert isinstance(third, MetricAlarm)
    assert third.expression == "100 * bad / all"
    assert isinstance(fourth, CompositeAlarm)
    assert fourth.suppressor == Suppressor("calls", 120, 180)


def test_cloudwatchs_own_spelling() -> None:
    theirs = {
        "AlarmName": "cpu",
        "AlarmDescription": "text",
        "ActionsEnabled": True,
        "OKActions": ["ok"],
        "AlarmActions": ["arn:aws:sns:eu-west-1:111122223333:topic"],
        "InsufficientDataActions": [],
        "MetricName": "latency",
        "Namespace": "Models",
        "ExtendedStatistic": "p90",
        "Dimensions": [{"Name": "Endpoint", "Value": "churn"}],
        "Period": 60,
        "Unit": "Milliseconds",
        "EvaluationPeriods": 5,
        "DatapointsToAlarm": 3,
        "Threshold": 250,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "EvaluateLowSampleCountPercentile": "ignore",
    }
    rule = {
        "AlarmName": "any",
        "AlarmRule": "ALARM(cpu)",
        "ActionsSuppressor": "cpu",
        "ActionsSuppressorWaitPeriod": 60,
        "ActionsSuppressorExtensionPeriod": 0,
    }
    first, second = read(json.dumps({"alarms": [theirs, rule]}).encode())
    assert isinstance(first, MetricAlarm)
    assert first.queries["metric"].series == Series("latency", {"Endpoint": "churn"})
    assert (first.missing, first.evaluation_range) == (Missing.NOT_BREACHING, 7)
    assert isinstance(second, CompositeAlarm)
    assert second.suppressor == Suppressor("cpu", 60, 0)


def read(data: bytes) -> tuple[Alarm, ...]:
    alarms = tuple(alarm(entry) for entry in strict_yaml.loads(data, "monitors.yaml")["alarms"])
    check_together(alarms)
    return alarms


GOOD = {"name": "a", "metric": "m", "period": 60, "comparison": ">", "threshold": 1}


@pytest.mark.parametrize("period", [10, 20, 30, 60, 3600, "5m", "1h", 604_800])
def test_periods(period: object) -> None:
    read(json.dumps({"alarms": [GOOD | {"period": period}]}).encode())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"period": 15}, "15 seconds is no period"),
        ({"period": 0}, "0 seconds is no period"),
        ({"period": -60}, "period is -60 seconds"),
        ({"period": 90}, "90 seconds is no period"),
        ({"period": "soon"}, "'soon' is not a duration"),
        ({"period": 60.0}, "period"),
        ({"period": None}, "needs a period"),
        ({"evaluation-periods": 0}, "at least 1"),
        ({"evaluation-periods": 1441}, "longer than a day"),
        ({"period": 3600, "evaluation-periods": 169}, "longer than 7 days"),
        ({"evaluation-periods": 3, "datapoints-to-alarm": 4}, "1 to 3"),
        ({"datapoints-to-alarm": 0}, "1 to 1"),
        ({"evaluation-periods": 3, "evaluation-range": 2}, "3 to 103"),
        ({"comparison": "=>"}, "'=>' is no comparison"),
        ({"comparison": None}, "needs a comparison"),
        ({"comparison": "outside"}, "go with a band"),
        ({"band": {}}, "go with a band"),
        ({"comparison": "outside", "band": {}}, "not with a band"),
        ({"comparison": "outside", "band": {"width": 0}, "threshold": None}, "width"),
        ({"comparison": "outside", "band": {"training": "15d"}, "threshold": None}, "at most 14 days"),
        (
            {"comparison": ">", "band": {"exclude": [{"start": "2026-01-02", "end": "2026-01-01"}]}},
            "band",
        ),
        ({"threshold": None}, "a threshold is needed"),
        ({"threshold": "high"}, "threshold"),
        ({"missing-data": "maybe"}, "missing-data"),
        ({"low-samples": "maybe"}, "evaluate or ignore"),
        ({"low-samples": "ignore"}, "for percentiles"),
        ({"low-samples": "ignore", "statistic": "p100"}, "for percentiles"),
        ({"statistic": "Median"}, "'Median' is not a statistic"),
        ({"Statistic": "Sum", "ExtendedStatistic": "p90"}, "Statistic and ExtendedStatistic are the same"),
        ({"unit": "Furlongs"}, "units"),
        ({"metric": None}, "metric"),
        ({"metrics": {"m1": {"metric": "m"}}}, "metric"),
        ({"expression": "m1 * 2"}, "an expression needs metrics"),
        ({"rule": "TRUE"}, "belongs to an alarm on a metric"),
        ({"suppressor": "b"}, "belongs to an alarm with a rule"),
        ({"name": ""}, "name"),
        ({"name": 'a"b'}, "name"),
        ({"on-alarm": ["x", "x"]}, "twice"),
        ({"on-alarm": "x"}, "on-alarm"),
        ({"EvaluationCriteria": {}}, "EvaluationCriteria"),
        ({"treshold": 3}, "treshold"),
        ({"Dimensions": [{"Name": "a", "Value": "b"}, {"Name": "a", "Value": "c"}]}, "Dimensions"),
    ],
)
def test_limits(changes: dict[str, object], said: str) -> None:
    entry = {key: value for key, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(DocumentError) as caught:
        read(json.dumps({"alarms": [entry]}).encode())
    assert said in caught.value.message


RULE = {"name": "r", "rule": "ALARM(a)"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rule": "ALARM(a) AND"}, "the rule lacks"),
        ({"rule": "ALARM(b)"}, "'b', which is no alarm here"),
        ({"rule": "ALARM(r)"}, "circle"),
        ({"suppressor": "a"}, "needs suppressor-wait"),
        ({"suppressor": "r", "suppressor-wait": 0, "suppressor-extension": 0}, "circle"),
        ({"suppressor-wait": 5}, "needs a suppressor"),
        ({"threshold": 5}, "not to one with a rule"),
        ({"name": "a"}, "two alarms"),
    ],
)
def test_rules(changes: dict[str, object], said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(json.dumps({"alarms": [GOOD, RULE | changes]}).encode())
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("metrics", "expression", "said"),
    [
        ({"m1": {"metric": "m"}}, "m1 + m2", "'m2' is not in metrics"),
        ({"m1": {"metric": "m"}, "m2": {"metric": "m"}}, "m1", "'m2' is not in the expression"),
        ({"M1": {"metric": "m"}}, "M1", "no name"),
        ({"m1": {"metric": "m", "statistic": "x"}}, "m1", "not a statistic"),
        ({"m1": {}}, "m1", "metric"),
        ({"m1": {"metric": "m"}}, None, "need an expression"),
        ({"m1": {"metric": "m"}}, "os.system(m1)", "means nothing"),
    ],
)
def test_expressions(metrics: object, expression: str | None, said: str) -> None:
    entry = {"name": "a", "metrics": metrics, "period": 60, "comparison": ">", "threshold": 1}
    if expression is not None:
        entry["expression"] = expression
    with pytest.raises(DocumentError) as caught:
        read(json.dumps({"alarms": [entry]}).encode())
    assert said in caught.value.message


def test_the_key_is_named_as_it_was_written() -> None:
    wrong = FULL.replace("statistic: Sum\n    period: 300", "statistic: p9x\n    period: 300")
    with pytest.raises(DocumentError, match=r"^statistic: 'p9x' is not a statistic"):
        read(wrong.encode())
    with pytest.raises(DocumentError, match=r"^EvaluationPeriods: "):
        alarm(GOOD | {"EvaluationPeriods": 0})
    with pytest.raises(DocumentError, match=r"^evaluation-periods: Expected `int`"):
        alarm(GOOD | {"evaluation-periods": "x"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([*SPELLINGS, *SPELLINGS.values(), "metrics", "expression", "band", "evaluation-range"])


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_anything_is_an_alarm_or_a_sentence(changes: dict[str, object]) -> None:
    try:
        made = alarm(GOOD | changes)
    except DocumentError as error:
        assert error.message
    else:
        assert made.name


@pytest.mark.parametrize("entry", [1, [], "a", None, {}, {"name": 5}, {1: 2}])
def test_what_is_no_alarm(entry: object) -> None:
    with pytest.raises(DocumentError):
        alarm(entry)
