"""One monitoring run: how data, predictions or an endpoint behaved in a period, held against a baseline.

The subject is what is monitored (a model, an endpoint's model). A run that looked at nothing must never say ``ok``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text, Time

PREDICATE_TYPE = "https://assay.dev/monitoring/v0.1"

Severity = Literal["error", "warning", "note"]
"""How much a violation weighs."""


class Monitor(Predicate, frozen=True, kw_only=True):
    """Who monitored."""

    uri: Text
    """Identifies the monitor."""
    version: str | None = None
    """Its version."""


class Period(Predicate, frozen=True, kw_only=True):
    """The window that was looked at."""

    start: Time
    """From here, inclusive."""
    end: Time
    """To here, exclusive."""

    def check(self) -> None:
        """Time goes forward."""
        if self.end < self.start:
            raise ValueError("end is before start")


class Constraint(Predicate, frozen=True, kw_only=True):
    """One thing that was checked."""

    checked: Text = field(name="check")
    """What was checked, ``check`` in JSON: ``completeness``, ``drift:psi``, ``accuracy``."""
    feature: str | None = None
    """Which column or metric of which; absent for the whole."""
    expected: Any = None
    """A JSON value: what the constraint demands."""

    def check(self) -> None:
        """Numbers can be compared."""
        _finite(self.expected, "expected")


class Violation(Predicate, frozen=True, kw_only=True):
    """One constraint that does not hold."""

    checked: Text = field(name="check")
    """The constraint's, ``check`` in JSON."""
    severity: Severity
    """How much it weighs."""
    feature: str | None = None
    """The constraint's."""
    expected: Any = None
    """The constraint's."""
    observed: Any = None
    """A JSON value: what was seen instead."""
    message: str | None = None
    """In words, with noise floor, effect size and significance where there are such."""

    def check(self) -> None:
        """Numbers can be compared."""
        _finite(self.expected, "expected")
        _finite(self.observed, "observed")


class Metric(Predicate, frozen=True, kw_only=True):
    """One number that was measured."""

    name: Text
    """As ``accuracy`` or ``feature_baseline_drift_age``."""
    value: float
    """Finite."""
    dimensions: dict[str, str] | None = None
    """What it is about, where that is a part: ``{"segment": "country=de"}``."""

    def check(self) -> None:
        """Numbers can be compared."""
        _finite(self.value, "value")


class Monitoring(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    kind: Literal["data-quality", "drift", "model-quality", "bias", "explainability", "endpoint", "poisoning"]
    """What was monitored."""
    status: Literal["ok", "violations", "alarm", "undecided"]
    """The outcome; ``alarm`` when an alarm went off or stands, ``undecided`` when too little was seen."""
    period: Period
    """When."""
    monitor: Monitor
    """Who."""
    samples: Annotated[int, Meta(ge=0)]
    """Rows, predictions or requests in the period."""
    constraints: list[Constraint]
    """All that was checked."""
    violations: list[Violation] = field(default_factory=list)
    """Those that do not hold."""
    baseline: ResourceDescriptor | None = None
    """What the period was held against; its digest is that of the baseline's profile."""
    profile: ResourceDescriptor | None = None
    """The period's own profile, by digest."""
    documents: list[ResourceDescriptor] = field(default_factory=list)
    """Files that say what counts as right, by digest: the baseline with its noise floors, constraints of one's own."""
    metrics: list[Metric] = field(default_factory=list)
    """Numbers that were measured."""
    undecided: list[Constraint] = field(default_factory=list)
    """Of `constraints`: those that could not be decided."""

    def check(self) -> None:
        """The status is no better than the violations, and something was looked at."""
        if self.status == "ok":
            if any(violation.severity == "error" for violation in self.violations):
                raise ValueError("status is ok where a violation of severity error is listed")
            if not self.samples or not self.constraints:
                raise ValueError("status is ok where nothing was checked")
        if self.status == "violations" and not self.violations:
            raise ValueError("status is violations where none is listed")


def _finite(value: object, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is not finite")
