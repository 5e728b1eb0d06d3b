"""Entries of the ``alarms:`` list of a monitors file as definitions; what CloudWatch would refuse is refused here.

Keys may have our spelling or PutMetricAlarm's (`documents.SPELLINGS`). What is not understood is an error: an alarm
that ignores half of its definition would be quiet for the wrong reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any, NoReturn

import msgspec

from assay.errors import AssayError, DocumentError
from assay.policy import durations
from assay.watch.alarms import composite, expressions
from assay.watch.alarms.documents import AlarmKeys, AtKeyError, respelled
from assay.watch.alarms.model import (
    Actions,
    Alarm,
    Band,
    Comparison,
    CompositeAlarm,
    MetricAlarm,
    Query,
    Suppressor,
    needed,
)
from assay.watch.interface import Window
from assay.watch.metrics.checking import UNITS
from assay.watch.metrics.interface import Series
from assay.watch.metrics.statistics import Statistic

_SIGNS = {
    ">=": Comparison.AT_LEAST,
    ">": Comparison.ABOVE,
    "<": Comparison.BELOW,
    "<=": Comparison.AT_MOST,
    "outside": Comparison.OUTSIDE,
    "below band": Comparison.UNDER,
    "above band": Comparison.OVER,
}
_DAY, _WEEK, _HOUR = 86_400, 604_800, 3_600
_EXTRA_PERIODS = 2
_ID = re.compile(r"[a-z][A-Za-z0-9_]{0,254}", re.ASCII)


_OF_METRICS = (
    "metric",
    "dimensions",
    "statistic",
    "unit",
    "metrics",
    "expression",
    "period",
    "evaluation-periods",
    "datapoints-to-alarm",
    "evaluation-range",
    "comparison",
    "threshold",
    "band",
    "missing-data",
    "low-samples",
)
_OF_RULES = ("rule", "suppressor", "suppressor-wait", "suppressor-extension")


def check_together(alarms: tuple[Alarm, ...]) -> None:
    """Raise `DocumentError` if names stand twice, are unknown, or rules go round in a circle."""
    names = [alarm.name for alarm in alarms]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DocumentError(f"two alarms have the name {twice!r}")
    composite.order({alarm.name: needed(alarm) for alarm in alarms})


def alarm(entry: Any) -> Alarm:
    """The alarm that one entry defines. Raises `DocumentError` that begins with the key that is wrong."""
    try:
        ours, written = respelled(entry)
        try:
            read = msgspec.convert(ours, AlarmKeys)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            keys = tuple(written.get(key, key) for key in re.findall(r"[A-Za-z_][\w-]*", path.rstrip("`")))
            raise AtKeyError(keys, what) from None
        return _Checked(read, ours, written).alarm()
    except AtKeyError as error:
        raise DocumentError(": ".join((*map(str, error.path), error.message)), hint=error.hint) from None


class _Checked:
    """One alarm's keys on their way to a definition."""

    def __init__(self, read: AlarmKeys, ours: Mapping[str, Any], written: Mapping[str, str]) -> None:
        self._read, self._ours, self._written = read, ours, written

    def alarm(self) -> Alarm:
        if not 1 <= len(self._read.name) <= 255 or not self._read.name.isprintable() or '"' in self._read.name:
            self._wrong("name", "an alarm's name is 1 to 255 printable characters, none of them a quotation mark")
        return self._metric() if self._read.rule is None else self._composite()

    def _metric(self) -> MetricAlarm:
        read = self._read
        self._none_of(_OF_RULES, "belongs to an alarm with a rule")
        queries = self._queries()
        period = self._period()
        periods, needed = read.evaluation_periods, read.datapoints_to_alarm
        if periods < 1:
            self._wrong("evaluation-periods", "evaluation-periods is at least 1")
        longest = _WEEK if period >= _HOUR else _DAY
        if period * periods > longest:
            limit = "7 days" if longest == _WEEK else "a day, for periods under an hour"
            self._wrong("evaluation-periods", f"{periods} periods of {period} seconds are longer than {limit}")
        if needed is not None and not 1 <= needed <= periods:
            self._wrong("datapoints-to-alarm", f"datapoints-to-alarm is 1 to {periods}, the evaluation-periods")
        fetched = periods + _EXTRA_PERIODS if read.evaluation_range is None else read.evaluation_range
        if not periods <= fetched <= periods + 100:
            self._wrong("evaluation-range", f"evaluation-range is {periods} to {periods + 100} periods here")
        comparison = self._comparison()
        return MetricAlarm(
            name=read.name,
            queries=queries,
            expression=read.expression,
            period=period,
            comparison=comparison,
            threshold=read.threshold,
            band=self._band(period),
            evaluation_periods=periods,
            datapoints_to_alarm=periods if needed is None else needed,
            missing=read.missing_data,
            ignore_low_samples=self._ignores_low_samples(queries),
            evaluation_range=fetched,
            description=read.description,
            actions=self._actions(),
        )

    def _queries(self) -> dict[str, Query]:
        read = self._read
        if (read.metric is None) == (not read.metrics):
            self._wrong("metric", "an alarm has a metric, or metrics with an expression, or a rule")
        if read.metric is not None:
            if read.expression is not None:
                self._wrong("expression", "an expression needs metrics, each with a name for it")
            return {"metric": self._query(read.metric, read.dimensions, read.statistic, read.unit, ())}
        self._none_of(("dimensions", "statistic", "unit"), "stands inside of metrics, for each of them")
        if read.expression is None:
            self._wrong("metrics", "metrics need an expression that makes one number of them")
        found = {}
        for key, one in read.metrics.items():
            if not _ID.fullmatch(key):
                self._wrong(
                    "metrics", f"{key[:40]!r} is no name for an expression: a small letter, then letters, digits, _"
                )
            found[key] = self._query(one.metric, one.dimensions, one.statistic, one.unit, ("metrics", key))
        named = self._parsed("expression", expressions.parse, read.expression).names
        if set(named) != set(found):
            odd = sorted(set(named) ^ set(found))[0]
            where = "metrics" if odd in named else "the expression"
            self._wrong("expression", f"{odd!r} is not in {where}")
        return found

    def _query(
        self, metric: str, dimensions: Mapping[str, str], statistic: str, unit: str | None, path: tuple[str, ...]
    ) -> Query:
        key = path or ("statistic",)
        if unit is not None and unit not in UNITS:
            self._wrong("unit", f"{unit[:40]!r} is not one of CloudWatch's units")
        try:
            return Query(Series(metric, dict(dimensions)), Statistic.parse(statistic), unit)
        except DocumentError as error:
            raise AtKeyError(self._spelled(key), error.message, error.hint) from None

    def _period(self) -> int:
        if self._read.period is None:
            self._wrong("period", "an alarm on a metric needs a period")
        period = self._seconds("period", self._read.period)
        if period not in (10, 20, 30) and (period < 60 or period % 60):
            self._wrong("period", f"{period} seconds is no period: 10, 20, 30, or a multiple of 60")
        return period

    def _comparison(self) -> Comparison:
        read = self._read
        if read.comparison is None:
            self._wrong("comparison", "an alarm on a metric needs a comparison")
        how = _SIGNS.get(read.comparison)
        if how is None:
            if read.comparison not in list(Comparison):
                self._wrong("comparison", f"{read.comparison[:60]!r} is no comparison", f"one of {', '.join(_SIGNS)}")
            how = Comparison(read.comparison)
        if how.of_band != (read.band is not None):
            self._wrong("comparison", "outside, below band and above band go with a band, the others with a threshold")
        if (read.threshold is None) != how.of_band:
            self._wrong("threshold", "a threshold is needed, and not with a band")
        if read.threshold is not None and not math.isfinite(read.threshold):
            self._wrong("threshold", "a threshold is a finite number")
        return how

    def _band(self, period: int) -> Band | None:
        band = self._read.band
        if band is None:
            return None
        training = self._seconds("band", band.training)
        if not 0 < band.width <= 100:
            self._wrong("band", "a band's width is more than 0 and at most 100")
        if not period <= training <= 14 * _DAY:
            self._wrong("band", "a band learns from at least one period and at most 14 days")
        excluded = []
        for window in band.exclude:
            if window.start.tzinfo is None or window.end.tzinfo is None or window.start >= window.end:
                self._wrong("band", "an excluded time has a start before its end, both with their zone")
            excluded.append(Window(window.start.astimezone(UTC), window.end.astimezone(UTC)))
        return Band(band.width, training, tuple(excluded))

    def _ignores_low_samples(self, queries: Mapping[str, Query]) -> bool:
        if self._read.low_samples not in ("evaluate", "ignore"):
            self._wrong("low-samples", "low-samples is evaluate or ignore")
        if self._read.low_samples == "evaluate":
            return False
        needed = max(query.statistic.significant for query in queries.values())
        if not 0 < needed < float("inf"):
            self._wrong("low-samples", "low-samples is for percentiles between 0 and 100")
        return True

    def _composite(self) -> CompositeAlarm:
        read = self._read
        self._none_of(_OF_METRICS, "belongs to an alarm on a metric, not to one with a rule")
        rule = self._parsed("rule", composite.parse, read.rule)
        suppressor = None
        if read.suppressor is None:
            self._none_of(("suppressor-wait", "suppressor-extension"), "needs a suppressor")
        else:
            waits = []
            for key in ("suppressor-wait", "suppressor-extension"):
                if self._ours.get(key) is None:
                    self._wrong(key, f"a suppressor needs {key}")
                waits.append(self._seconds(key, self._ours[key]))
            suppressor = Suppressor(read.suppressor, *waits)
        return CompositeAlarm(read.name, rule, suppressor, read.description, self._actions())

    def _actions(self) -> Actions:
        read = self._read
        for key in ("on-alarm", "on-ok", "on-insufficient-data"):
            if len(set(self._ours.get(key) or ())) != len(self._ours.get(key) or ()):
                self._wrong(key, f"{key} names an action twice")
        return Actions(tuple(read.on_alarm), tuple(read.on_ok), tuple(read.on_insufficient_data), read.actions_enabled)

    def _seconds(self, key: str, value: str | int) -> int:
        if isinstance(value, str):
            return int(self._parsed(key, durations.parse, value).total_seconds())
        if not 0 <= value <= _DAY * 366:
            self._wrong(key, f"{key} is {value} seconds")
        return value

    def _parsed(self, key: str, parser: Any, text: Any) -> Any:
        try:
            return parser(text)
        except AssayError as error:
            self._wrong(key, error.message, error.hint)

    def _none_of(self, keys: tuple[str, ...], why: str) -> None:
        for key in keys:
            if key in self._ours:
                self._wrong(key, f"{self._written[key]} {why}")

    def _spelled(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._written.get(key, key) for key in path)

    def _wrong(self, key: str, message: str, hint: str | None = None) -> NoReturn:
        raise AtKeyError(self._spelled((key,)), message, hint)
