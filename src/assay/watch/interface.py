"""What one look at a model says: checks that were made, those that do not hold, and numbers for the metric store.

Every part of this floor (data quality, drift, model quality, bias, suspicion) returns these values, so that evidence,
alarms, pictures and SageMaker's files are made in one place each. A look that saw too little must never say OK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

Value: TypeAlias = float | int | str | bool | tuple[str, ...] | None
"""What a check expects or sees; floats are finite."""


class Topic(StrEnum):
    """What was looked at; the predicate's ``kind``."""

    DATA_QUALITY = "data-quality"
    DRIFT = "drift"
    MODEL_QUALITY = "model-quality"
    BIAS = "bias"
    EXPLAINABILITY = "explainability"
    POISONING = "poisoning"
    """Whether new data look as if somebody were feeding the model."""
    ENDPOINT = "endpoint"
    """How the prediction API was used: what a gateway saw."""


class Outcome(StrEnum):
    """How a check ended."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNDECIDED = "undecided"
    """Too little data, or something that the check needs is not there."""


Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    check: str
    """What: ``completeness``, ``drift:ks``, ``accuracy``. Checks that SageMaker has carry its name in `sagemaker`."""
    outcome: Outcome
    feature: str | None = None
    """Which column or segment of which; None for the whole."""
    expected: Value = None
    observed: Value = None
    severity: Severity = "error"
    """How much it weighs if violated."""
    message: str = ""
    """In words, printable; for drift with noise floor, effect size and significance."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind it, finite: ``distance``, ``floor``, ``effect``, ``p``, ``q``."""
    sagemaker: str | None = None
    """SageMaker's ``constraint_check_type``: ``data_type_check``, ``completeness_check`` and so on."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number (or summary of numbers) for the metric store, as CloudWatch's ``MetricDatum``."""

    name: str
    """As ``feature_baseline_drift_age`` or ``accuracy``; 1 to 255 characters."""
    time: datetime
    """UTC: the end of the period that it is about."""
    value: float | None = None
    """Finite; None where `statistics` says it."""
    statistics: Statistics | None = None
    unit: str = "None"
    """One of CloudWatch's units."""
    dimensions: Mapping[str, str] = field(default_factory=dict)
    """At most 30; name to value. Together with `name` they identify a series."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """A summary of numbers that are not kept one by one."""

    samples: float
    total: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a look is about."""

    start: datetime
    """UTC, inclusive."""
    end: datetime
    """UTC, exclusive."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one monitoring run found on one topic."""

    topic: Topic
    window: Window
    samples: int
    """Rows or predictions."""
    checks: tuple[Check, ...]
    metrics: tuple[Metric, ...] = ()
    baseline: str | None = None
    """Digest (hex SHA-256) of the baseline's state."""
    current: str | None = None
    """Digest of the window's state."""
    documents: Mapping[str, str] = field(default_factory=dict)
    """Files that say what counts as right (``baseline``, ``constraints``) to their hex SHA-256."""
    details: Mapping[str, object] = field(default_factory=dict)
    """More, JSON-like: what pictures and SageMaker's files need beyond the checks."""

    @property
    def violations(self) -> tuple[Check, ...]:
        """Checks that do not hold."""
        return tuple(check for check in self.checks if check.outcome is Outcome.VIOLATED)

    @property
    def outcome(self) -> Outcome:
        """`VIOLATED` if any check is, `HOLDS` if at least one was decided and none is violated, else `UNDECIDED`."""
        if self.violations:
            return Outcome.VIOLATED
        decided = any(check.outcome is Outcome.HOLDS for check in self.checks)
        return Outcome.HOLDS if self.samples and decided else Outcome.UNDECIDED
