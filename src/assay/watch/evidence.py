"""A look as the document that is signed: what was checked, what does not hold, what was measured, over which rows.

It adds nothing to what the look found, and never makes it look better: what could not be decided is listed as such.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import assay
from assay.evidence.predicates import monitoring
from assay.evidence.predicates.common import ResourceDescriptor
from assay.watch.interface import Check, Look, Metric, Outcome, Value

URI = "https://assay.dev/monitor"
"""Who monitored, in statements."""


def predicate(look: Look, *, alarm: bool = False) -> tuple[str, dict[str, Any]]:
    """The predicate's type and its document; ``alarm`` as in `document`."""
    import msgspec

    return monitoring.PREDICATE_TYPE, msgspec.to_builtins(document(look, alarm=alarm))


def document(look: Look, *, alarm: bool = False) -> monitoring.Monitoring:
    """``alarm`` says that an alarm on its numbers stands."""
    status: Literal["ok", "violations", "undecided"] = "undecided"
    if look.outcome is not Outcome.UNDECIDED:
        status = "ok" if look.outcome is Outcome.HOLDS else "violations"
    constraints = [_constraint(check) for check in look.checks]
    violations = [_violation(check) for check in look.violations]
    undecided = [_constraint(check) for check in look.checks if check.outcome is Outcome.UNDECIDED]
    return monitoring.Monitoring(
        kind=look.topic.value,
        status="alarm" if alarm else status,
        period=monitoring.Period(start=look.window.start, end=look.window.end),
        monitor=monitoring.Monitor(uri=URI, version=assay.__version__),
        samples=look.samples,
        constraints=constraints,
        violations=violations,
        undecided=undecided,
        baseline=_profile(look.baseline),
        profile=_profile(look.current),
        documents=[
            ResourceDescriptor(name=name, digest={"sha256": digest}) for name, digest in sorted(look.documents.items())
        ],
        metrics=[made for metric in look.metrics if (made := _metric(metric)) is not None],
    )


def _constraint(check: Check) -> monitoring.Constraint:
    return monitoring.Constraint(checked=check.check, feature=check.feature, expected=_plain(check.expected))


def _violation(check: Check) -> monitoring.Violation:
    return monitoring.Violation(
        checked=check.check,
        severity=check.severity,
        feature=check.feature,
        expected=_plain(check.expected),
        observed=_plain(check.observed),
        message=check.message or None,
    )


def _metric(metric: Metric) -> monitoring.Metric | None:
    value = metric.value
    if value is None and metric.statistics is not None and metric.statistics.samples:
        value = metric.statistics.total / metric.statistics.samples
    if value is None or not math.isfinite(value):
        return None
    return monitoring.Metric(name=metric.name, value=float(value), dimensions=dict(metric.dimensions) or None)


def _profile(digest: str | None) -> ResourceDescriptor | None:
    return ResourceDescriptor(name="profile", digest={"sha256": digest}) if digest else None


def _plain(value: Value) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
