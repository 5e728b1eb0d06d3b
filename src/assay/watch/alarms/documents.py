"""The keys of an alarm as they are written, in our spelling or in PutMetricAlarm's, before anything is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from assay.errors import DocumentError
from assay.watch.alarms.model import Missing

SPELLINGS = {
    "AlarmName": "name",
    "AlarmDescription": "description",
    "MetricName": "metric",
    "Dimensions": "dimensions",
    "Statistic": "statistic",
    "ExtendedStatistic": "statistic",
    "Unit": "unit",
    "Period": "period",
    "EvaluationPeriods": "evaluation-periods",
    "DatapointsToAlarm": "datapoints-to-alarm",
    "ComparisonOperator": "comparison",
    "Threshold": "threshold",
    "TreatMissingData": "missing-data",
    "EvaluateLowSampleCountPercentile": "low-samples",
    "ActionsEnabled": "actions-enabled",
    "AlarmActions": "on-alarm",
    "OKActions": "on-ok",
    "InsufficientDataActions": "on-insufficient-data",
    "AlarmRule": "rule",
    "ActionsSuppressor": "suppressor",
    "ActionsSuppressorWaitPeriod": "suppressor-wait",
    "ActionsSuppressorExtensionPeriod": "suppressor-extension",
}
"""CloudWatch's name for each key of ours. ``Namespace`` is read over: a metric store is one namespace."""


class MetricKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """One metric of an expression."""

    metric: str
    dimensions: dict[str, str] = {}
    statistic: str = "Average"
    unit: str | None = None


class ExcludedKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A time that a band does not learn from."""

    start: datetime
    end: datetime


class BandKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A band that is learned."""

    width: float = 3.0
    training: str | int = 14 * 86_400
    exclude: list[ExcludedKeys] = []


class AlarmKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Every key of an alarm."""

    name: str
    description: str = ""
    metric: str | None = None
    dimensions: dict[str, str] = {}
    statistic: str = "Average"
    unit: str | None = None
    metrics: dict[str, MetricKeys] = {}
    expression: str | None = None
    period: str | int | None = None
    evaluation_periods: int = 1
    datapoints_to_alarm: int | None = None
    evaluation_range: int | None = None
    comparison: str | None = None
    threshold: float | None = None
    band: BandKeys | None = None
    missing_data: Missing = Missing.MISSING
    low_samples: str = "evaluate"
    rule: str | None = None
    suppressor: str | None = None
    suppressor_wait: str | int | None = None
    suppressor_extension: str | int | None = None
    actions_enabled: bool = True
    on_alarm: list[str] = []
    on_ok: list[str] = []
    on_insufficient_data: list[str] = []


class AtKeyError(DocumentError):
    """Something wrong at a key of an alarm."""

    def __init__(self, path: tuple[str | int, ...], message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


def respelled(entry: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """With our keys, and for each of them the one that was written."""
    if not isinstance(entry, dict):
        raise AtKeyError((), "an alarm is a mapping of keys to values")
    ours: dict[str, Any] = {}
    written: dict[str, str] = {}
    for key, value in entry.items():
        if key == "Namespace":
            continue
        known = str(SPELLINGS.get(key, key))
        if known in ours:
            raise AtKeyError((key,), f"{written[known]} and {key} are the same")
        if key == "Dimensions" and isinstance(value, list):
            value = _pairs(value)
        ours[known], written[known] = value, key
    return ours, written


def _pairs(value: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in value:
        if not isinstance(pair, dict) or set(pair) != {"Name", "Value"} or pair["Name"] in found:
            raise AtKeyError(("Dimensions",), "Dimensions is a list of different {Name: …, Value: …}")
        found[pair["Name"]] = pair["Value"]
    return found
