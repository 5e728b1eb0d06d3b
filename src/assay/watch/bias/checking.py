"""Did bias grow? The metrics of a window against those of the baseline become a `Look`.

Clarify's rule: an alarm where the interval of the window's metric and the allowed range are disjoint, and that range
reaches as far from no bias as the baseline did ("Monitor Bias Drift for Models in Production"). What was unfair in the
baseline stays allowed by it: the range can, and where it matters should, be given instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from assay.watch.bias.interface import PRE_TRAINING, RATIOS, Bias
from assay.watch.bias.metrics import distance
from assay.watch.estimates import Estimate
from assay.watch.interface import Check, Look, Metric, Outcome, Topic, Window


@dataclass(frozen=True, slots=True)
class Settings:
    """How bias is judged."""

    allowed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Range of a metric that is allowed, instead of the baseline's, such as ``{"DPPL": (-0.1, 0.1)}``."""
    margin: float = 0.01
    """How much farther than the baseline is too little to matter; for DI in its logarithm."""
    smallest: int = 50
    """Fewer people in either facet decide nothing."""


def look(
    current: Iterable[Bias],
    baseline: Iterable[Bias],
    window: Window,
    settings: Settings | None = None,
    *,
    dimensions: Mapping[str, str] | None = None,
) -> Look:
    """Hold each comparison against the baseline's of the same facet and value. ``dimensions`` go onto every metric."""
    settings = settings or Settings()
    known = {(item.facet, item.facet_value): item for item in baseline}
    checks: list[Check] = []
    metrics: list[Metric] = []
    found: list[dict[str, object]] = []
    samples = 0
    for item in current:
        samples = max(samples, item.samples)
        before = known.get((item.facet, item.facet_value))
        checks += _checks(item, before, settings)
        metrics += _metrics(item, window, dimensions or {})
        found.append(_plain(item, before))
    return Look(Topic.BIAS, window, samples, tuple(checks), tuple(metrics), details={"facets": found})


def _checks(item: Bias, before: Bias | None, settings: Settings) -> Iterator[Check]:
    feature = f"{item.facet}={item.facet_value}"
    few = min(item.disadvantaged, item.samples - item.disadvantaged)
    names = {*settings.allowed, *(before.metrics if before else ())}
    if not names:
        yield Check("bias", Outcome.UNDECIDED, feature, message="the baseline says nothing about this facet")
    for name in sorted(names):
        estimate = item.metrics.get(name)
        allowed = settings.allowed.get(name) or _allowed(name, before.metrics[name] if before else None, settings)
        blank = Check(name, Outcome.UNDECIDED, feature, sagemaker="bias_drift_check")
        if allowed is None:
            yield _with(blank, estimate, None, Outcome.UNDECIDED, f"{name} is not defined in the baseline")
        elif estimate is None or estimate.value is None:
            reason = estimate.reason if estimate else "the window lacks a column that it needs"
            yield _with(blank, estimate, allowed, Outcome.UNDECIDED, f"{name} is not defined: {reason}")
        elif few < settings.smallest:
            words = f"a facet has {few:,} people, and {settings.smallest:,} are needed"
            yield _with(blank, estimate, allowed, Outcome.UNDECIDED, words)
        else:
            yield _verdict(blank, name, estimate, estimate.value, allowed)


def _verdict(blank: Check, name: str, estimate: Estimate, value: float, allowed: tuple[float, float]) -> Check:
    low, high = allowed
    words = f"{name} is {value:.4g}, from {low:.4g} to {high:.4g} is allowed"
    if low <= value <= high:
        return _with(blank, estimate, allowed, Outcome.HOLDS, words)
    if estimate.low is None or estimate.high is None:
        return _with(blank, estimate, allowed, Outcome.UNDECIDED, f"{words}; there is no interval")
    words += f" (interval {estimate.low:.4g} to {estimate.high:.4g})"
    if estimate.low > high or estimate.high < low:
        return _with(blank, estimate, allowed, Outcome.VIOLATED, words)
    return _with(blank, estimate, allowed, Outcome.HOLDS, f"{words}; the difference may be chance")


def _with(
    blank: Check, estimate: Estimate | None, allowed: tuple[float, float] | None, outcome: Outcome, message: str
) -> Check:
    numbers = {"low": estimate.low, "high": estimate.high} if estimate else {}
    numbers |= {"allowed_low": allowed[0], "allowed_high": allowed[1]} if allowed else {}
    return Check(
        blank.check,
        outcome,
        blank.feature,
        None if allowed is None else f"{allowed[0]:.6g} to {allowed[1]:.6g}",
        estimate.value if estimate else None,
        message=message,
        measures={key: number for key, number in numbers.items() if number is not None and math.isfinite(number)},
        sagemaker=blank.sagemaker,
    )


def _allowed(name: str, before: Estimate | None, settings: Settings) -> tuple[float, float] | None:
    """As far from no bias as the baseline may be, on either side."""
    if before is None or before.value is None:
        return None
    ends = [end for end in (before.value, before.low, before.high) if end is not None]
    reach = max(abs(distance(name, end)) for end in ends)
    if not math.isfinite(reach):
        reach = abs(distance(name, before.value))
        if not math.isfinite(reach):
            return None
    reach += settings.margin
    return (math.exp(-reach), math.exp(reach)) if name in RATIOS else (-reach, reach)


def _metrics(item: Bias, window: Window, dimensions: Mapping[str, str]) -> Iterator[Metric]:
    for name, estimate in item.metrics.items():
        if estimate.value is not None:
            stage = "pre-training" if name in PRE_TRAINING else "post-training"
            names = {"Facet": item.facet, "FacetValue": item.facet_value, "BiasStage": stage}
            yield Metric(f"bias_metric_{name}", window.end, estimate.value, dimensions={**dimensions, **names})


def _plain(item: Bias, before: Bias | None) -> dict[str, object]:
    def numbers(bias: Bias) -> dict[str, object]:
        return {n: {"value": e.value, "low": e.low, "high": e.high} for n, e in bias.metrics.items()}

    return {
        "facet": item.facet,
        "facet_value": item.facet_value,
        "samples": item.samples,
        "disadvantaged": item.disadvantaged,
        "unusable": item.unusable,
        "metrics": numbers(item),
        "baseline": numbers(before) if before else {},
    }
