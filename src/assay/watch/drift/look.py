"""Drift as checks and metrics: what evidence, alarms, pictures and SageMaker's files are made from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from assay.watch.columns import shown
from assay.watch.interface import Check, Look, Metric, Outcome, Topic
from assay.watch.metrics.checking import fitting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assay.collect.profile.interface import Profile
    from assay.watch.drift.floors import Floors
    from assay.watch.drift.model import ColumnDrift, Test
    from assay.watch.drift.settings import Settings
    from assay.watch.interface import Window

_NAMES = {
    "ks": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance (in standard deviations)",
    "psi": "population stability index",
    "jensen_shannon": "Jensen-Shannon distance",
    "l_infinity": "largest difference of a category's share",
    "mmd": "maximum mean discrepancy",
    "centroid": "largest shift of a dimension's mean (in standard deviations)",
    "norms": "Kolmogorov-Smirnov distance of the vectors' lengths",
    "missing": "difference of the share of missing values",
    "odd": "difference of the share of values of another type",
    "lengths": "Kolmogorov-Smirnov distance of the texts' lengths",
}


def checks(drifts: Iterable[ColumnDrift], settings: Settings) -> tuple[Check, ...]:
    """One check for each test of each column; undecided ones say what is too little."""
    return tuple(_check(drift, test, settings) for drift in drifts for test in drift.tests)


def metrics(drifts: Iterable[ColumnDrift], window: Window) -> tuple[Metric, ...]:
    """Numbers for the metric store, at the window's end; nothing for columns with too little to measure.

    ``feature_baseline_drift_NAME`` is SageMaker's name; ``feature_drift_over_floor_NAME`` is the same distance divided
    by its noise floor, so that one alarm threshold (such as 2) fits all columns and window sizes. The model's outputs
    have the same with ``prediction`` for ``feature``.
    """
    found = []
    for drift in drifts:
        distance = drift.distance
        if distance is None:
            continue
        what = "prediction" if drift.prediction else "feature"
        found.append(_metric(f"{what}_baseline_drift_{drift.column}", distance.value, window))
        if distance.floor > 0:
            found.append(_metric(f"{what}_drift_over_floor_{drift.column}", distance.value / distance.floor, window))
    return tuple(found)


def look(
    baseline: Profile,
    current: Profile,
    window: Window,
    settings: Settings | None = None,
    floors: Floors | None = None,
) -> Look:
    """Compare two profiles of one spec and say it as a `Look`. Raises as `verdict.compare`."""
    from assay.watch.drift.settings import Settings as Defaults
    from assay.watch.drift.verdict import compare

    chosen = settings or Defaults()
    drifts = compare(baseline, current, chosen, floors)
    return Look(
        Topic.DRIFT,
        window,
        current.rows,
        checks(drifts, chosen),
        metrics(drifts, window),
        baseline.digest or None,
        current.digest or None,
    )


def _metric(name: str, value: float, window: Window) -> Metric:
    return fitting(Metric(name, window.end, value if math.isfinite(value) else None))


def _check(drift: ColumnDrift, test: Test, settings: Settings) -> Check:
    distance = test.decisive
    values = test.name == "values"
    sagemaker = "baseline_drift_check" if values else None
    if distance is None:
        message = f"{shown(drift.column)}: {test.reason}"
        return Check(f"drift:{test.name}", Outcome.UNDECIDED, drift.column, message=message, sagemaker=sagemaker)
    measures = {"distance": distance.value, "floor": distance.floor, "effect": distance.effect}
    measures |= {"p": test.p, "q": test.q} | dict(test.measures)
    measures |= {other.name: other.value for other in test.distances}
    return Check(
        f"drift:{distance.name}",
        test.outcome,
        drift.column,
        expected=distance.threshold,
        observed=distance.value,
        message=_message(drift, test, settings),
        measures=measures,
        sagemaker=sagemaker,
    )


def _message(drift: ColumnDrift, test: Test, settings: Settings) -> str:
    """The distance beside noise floor, practical effect and significance."""
    distance = test.decisive
    assert distance is not None
    named = f"{'prediction ' if drift.prediction else ''}{shown(drift.column)}"
    what = f"{named}: {_NAMES[distance.name]} {_short(distance.value)}"
    floor = f"noise floor {_short(distance.floor)} for {test.after:,} against {test.before:,}"
    effect = f"practical effect {_short(distance.effect)}"
    above = [text for text, limit in ((floor, distance.floor), (effect, distance.effect)) if distance.value > limit]
    below = [text for text, limit in ((floor, distance.floor), (effect, distance.effect)) if distance.value <= limit]
    sides = ([f"above the {' and the '.join(above)}"] if above else []) + (
        [f"not above the {' and the '.join(below)}"] if below else []
    )
    sure = test.q <= settings.false_discovery
    significance = (
        f"adjusted p-value {_chance(test.q)} is {'not above' if sure else 'above'} {settings.false_discovery:g}"
        f" (p {_chance(test.p)} before correction)"
    )
    return f"{what} is {', '.join(sides)}; {significance}"


def _chance(p: float) -> str:
    """A p-value; nothing is impossible, and a double knows no smaller one."""
    return f"{p:.2g}" if p > 1e-300 else "below 1e-300"


def _short(value: float) -> str:
    return f"{value:.3g}"
