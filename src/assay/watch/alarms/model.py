"""What an alarm is: a metric held against a threshold or a band, or a rule over other alarms. Values only.

Names and meanings are those of CloudWatch's PutMetricAlarm and PutCompositeAlarm. `reading` makes these values and
checks them; whoever makes them otherwise answers for their limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from assay.watch.alarms.composite import Rule, children
from assay.watch.alarms.states import State
from assay.watch.interface import Window
from assay.watch.metrics.interface import Series
from assay.watch.metrics.statistics import Statistic


class Comparison(StrEnum):
    """When a datapoint breaches. The last three compare with a band."""

    AT_LEAST = "GreaterThanOrEqualToThreshold"
    ABOVE = "GreaterThanThreshold"
    BELOW = "LessThanThreshold"
    AT_MOST = "LessThanOrEqualToThreshold"
    OUTSIDE = "LessThanLowerOrGreaterThanUpperThreshold"
    UNDER = "LessThanLowerThreshold"
    OVER = "GreaterThanUpperThreshold"

    @property
    def of_band(self) -> bool:
        """True where it compares with a band."""
        return self in (Comparison.OUTSIDE, Comparison.UNDER, Comparison.OVER)


class Missing(StrEnum):
    """What a period without values counts as, where there are too few real ones."""

    MISSING = "missing"
    """Nothing: with no values at all the alarm goes to INSUFFICIENT_DATA."""
    IGNORE = "ignore"
    """The state stays as it is."""
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True, slots=True)
class Query:
    """One metric of an alarm."""

    series: Series
    statistic: Statistic
    unit: str | None = None
    """Only values of this unit; None for all."""


@dataclass(frozen=True, slots=True)
class Band:
    """ANOMALY_DETECTION_BAND: what is usual at this hour of the week, learned from the metric itself."""

    width: float = 3.0
    """How many (robust) standard deviations from the middle the band ends; CloudWatch's default is 2."""
    training: int = 14 * 86_400
    """Seconds of the past that are learned from."""
    excluded: tuple[Window, ...] = ()
    """Times not to learn from: an incident, a migration."""


@dataclass(frozen=True, slots=True)
class Actions:
    """What a change of state sets off; names that the caller gives a meaning to."""

    alarm: tuple[str, ...] = ()
    ok: tuple[str, ...] = ()
    insufficient_data: tuple[str, ...] = ()
    enabled: bool = True

    def on(self, state: State) -> tuple[str, ...]:
        """What going to ``state`` sets off."""
        due = {State.ALARM: self.alarm, State.OK: self.ok, State.INSUFFICIENT_DATA: self.insufficient_data}
        return due[state] if self.enabled else ()


@dataclass(frozen=True, slots=True)
class MetricAlarm:
    """An alarm on one metric, or on an expression over several."""

    name: str
    queries: Mapping[str, Query]
    """By the name that the expression uses; exactly one without expression."""
    period: int
    """Seconds that make one datapoint: 10, 20, 30 or a multiple of 60."""
    comparison: Comparison
    threshold: float | None = None
    """None where `band` is what is compared with."""
    band: Band | None = None
    evaluation_periods: int = 1
    """N: how many datapoints are looked at."""
    datapoints_to_alarm: int = 1
    """M: how many of them must breach."""
    missing: Missing = Missing.MISSING
    ignore_low_samples: bool = False
    """A percentile of too few samples leaves the state as it is."""
    expression: str | None = None
    """Metric math over the queries."""
    evaluation_range: int = 3
    """Periods that are fetched, at least N: real values from the older ones stand in for missing newer ones."""
    description: str = ""
    actions: Actions = field(default_factory=Actions)


@dataclass(frozen=True, slots=True)
class Suppressor:
    """While alarm ``alarm`` is in ALARM, a composite alarm's actions wait."""

    alarm: str
    wait: int
    """Seconds after a change of state in which the suppressor may still come."""
    extension: int
    """Seconds after the suppressor has left ALARM in which actions still wait."""


@dataclass(frozen=True, slots=True)
class CompositeAlarm:
    """An alarm over the states of others."""

    name: str
    rule: Rule
    suppressor: Suppressor | None = None
    description: str = ""
    actions: Actions = field(default_factory=Actions)


Alarm: TypeAlias = MetricAlarm | CompositeAlarm


def needed(alarm: Alarm) -> tuple[str, ...]:
    """Names of the alarms that one asks about, each once."""
    if isinstance(alarm, MetricAlarm):
        return ()
    suppressor = (alarm.suppressor.alarm,) if alarm.suppressor else ()
    return tuple(dict.fromkeys((*children(alarm.rule), *suppressor)))


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One period as an alarm sees it."""

    time: datetime
    """UTC: the period's end."""
    value: float | None
    """None where there are no values."""
    samples: float = 0.0
    lower: float | None = None
    """Of the band; None where there is none, or too little to learn from."""
    upper: float | None = None
