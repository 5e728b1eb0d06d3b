"""Drift of feature attributions: does the model still decide by the same features?

The measure is Clarify's: nDCG of the window's ranking of features with the baseline's attributions as gains, violated
below 0.9 (developer guide, "Feature attribution drift for models in production"; equal attributions share their places,
as in ``sklearn.metrics.ndcg_score``, which the service uses). The interval and each feature's change are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from assay.errors import UsageError
from assay.watch.estimates import Estimate, benjamini_hochberg, quantile
from assay.watch.interface import Check, Look, Metric, Outcome, Topic, Window

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class Attributions:
    """Global attributions of one label: the mean of abs(SHAP value) per feature."""

    values: Mapping[str, float]
    """Finite, at least 0."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """Standard error of each mean; empty where only the means were handed in."""
    rows: int | None = None
    """Predictions behind them; None where that is not known."""
    unusable: int = 0
    """Rows with an attribution that is no number; left out."""
    expected_value: float | None = None
    """The model's mean output, to which attributions add up."""

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if not (np.isfinite(value) and value >= 0):
                raise UsageError(f"the attribution of {name} is {value}, where a mean of absolute values is needed")


@dataclass(frozen=True, slots=True)
class Settings:
    """How attributions are judged."""

    threshold: float = 0.9
    """Least nDCG."""
    confidence: float = 0.95
    smallest: int = 30
    """Fewer rows (where they are known) decide nothing."""
    unusable: float = 0.01
    """Share of rows that may be unusable."""
    seed: int = 0


def attributions(frame: pl.DataFrame, *, expected_value: float | None = None) -> Attributions:
    """Means of absolute values of a ``frame`` with a row per prediction and a column per feature.

    Raises `UsageError` without columns, and for a column that holds no numbers.
    """
    import polars as pl

    if not frame.width:
        raise UsageError("the table of attributions has no columns")
    for name, kind in frame.schema.items():
        if not (kind.is_numeric() or kind == pl.Null):
            raise UsageError(f"the attributions of {name} are {kind}, not numbers")
    finite = frame.select(pl.all().cast(pl.Float64))
    finite = finite.filter(pl.all_horizontal(pl.all().is_finite() & pl.all().is_not_null()))
    rows = finite.height
    if not rows:
        return Attributions(dict.fromkeys(frame.columns, 0.0), {}, 0, frame.height, expected_value)
    table = np.abs(finite.to_numpy())
    means, errors = table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(rows) if rows > 1 else None
    return Attributions(
        dict(zip(frame.columns, means.tolist(), strict=True)),
        {} if errors is None else dict(zip(frame.columns, errors.tolist(), strict=True)),
        rows,
        frame.height - rows,
        expected_value,
    )


def ndcg(baseline: Floats, current: Floats) -> Floats:
    """DCG / iDCG with DCG = sum of a(f'_i) / log2(i + 1), over the last axis; NaN where the baseline is all 0.

    ``baseline`` holds the gains a, ``current`` ranks the features; both of shape (..., features).
    """
    count = baseline.shape[-1]
    discounts = 1 / np.log2(np.arange(count) + 2)
    order = np.argsort(-current, axis=-1, kind="stable")
    ranked = np.take_along_axis(current, order, axis=-1)
    gains = np.take_along_axis(baseline, order, axis=-1)
    if count > 1 and bool(np.any(ranked[..., 1:] == ranked[..., :-1])):
        gains = _shared(ranked, gains)
    ideal = -np.sort(-baseline, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        score: Floats = (gains @ discounts) / (ideal @ discounts)
    return score


def _shared(ranked: Floats, gains: Floats) -> Floats:
    """Gains with those of equally ranked features replaced by their mean: any of their orders is as good."""
    flat, values = ranked.reshape(-1, ranked.shape[-1]), gains.reshape(-1, gains.shape[-1]).copy()
    for row, places in zip(values, flat, strict=True):
        starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        sizes = np.diff(np.append(starts, len(places)))
        row[:] = np.repeat(np.add.reduceat(row, starts) / sizes, sizes)
    return values.reshape(gains.shape)


def compare(baseline: Attributions, current: Attributions, settings: Settings | None = None) -> Estimate:
    """The nDCG, with an interval from draws of both rankings about their means where standard errors are known.

    Features that the window lacks count as unused; those that the baseline lacks take places and gain nothing.
    """
    settings = settings or Settings()
    names = sorted({*baseline.values, *current.values})
    before, now = (np.array([item.values.get(name, 0.0) for name in names]) for item in (baseline, current))
    if not names or not before.any():
        return Estimate(None, samples=current.rows or 0, reason="the baseline attributes nothing to any feature")
    value = float(ndcg(before, now))
    if not current.errors:
        return Estimate(value, samples=current.rows or 0)
    generator = np.random.default_rng(settings.seed)

    def draws(item: Attributions, means: Floats) -> Floats:
        errors = np.array([item.errors.get(name, 0.0) for name in names])
        return np.abs(means + errors * generator.standard_normal((DRAWS, len(names))))

    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(ndcg(draws(baseline, before), draws(current, now)), [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value), current.rows or 0)


def changes(baseline: Attributions, current: Attributions, settings: Settings | None = None) -> dict[str, object]:
    """Each feature's share of all attribution before and now, the change with its interval, and q (JSON-like).

    Shares, since a model whose output doubles attributes twice as much to everything.
    """
    settings = settings or Settings()
    names = sorted({*baseline.values, *current.values})
    before, now = (_shares(item, names) for item in (baseline, current))
    change = now[0] - before[0]
    error = np.hypot(now[1], before[1])
    half = quantile(settings.confidence) * error
    known = [index for index in range(len(names)) if error[index] > 0]
    from scipy.special import ndtr

    adjusted = benjamini_hochberg([2 * float(ndtr(-abs(change[index]) / error[index])) for index in known])
    q = dict(zip(known, adjusted, strict=True))
    return {
        name: {
            "baseline": float(before[0][index]),
            "current": float(now[0][index]),
            "change": float(change[index]),
            "low": float(change[index] - half[index]) if index in q else None,
            "high": float(change[index] + half[index]) if index in q else None,
            "q": q.get(index),
        }
        for index, name in enumerate(names)
    }


def _shares(item: Attributions, names: list[str]) -> tuple[Floats, Floats]:
    """Shares of the total and their standard errors (features taken as independent)."""
    values = np.array([item.values.get(name, 0.0) for name in names])
    errors = np.array([item.errors.get(name, 0.0) for name in names])
    total = float(values.sum())
    if total <= 0:
        return values * 0, errors * 0
    share = values / total
    others = np.sqrt(np.maximum((errors**2).sum() - errors**2, 0))
    return share, np.hypot((1 - share) * errors, share * others) / total


def look(
    baseline: Mapping[str, Attributions],
    current: Mapping[str, Attributions],
    window: Window,
    settings: Settings | None = None,
    *,
    dimensions: Mapping[str, str] | None = None,
) -> Look:
    """Hold each label's attributions against the baseline's; ``dimensions`` go onto every metric."""
    settings = settings or Settings()
    checks: list[Check] = []
    metrics: list[Metric] = []
    details: dict[str, object] = {}
    for label in sorted({*baseline, *current}):
        before, now = baseline.get(label), current.get(label)
        blank = Check("feature_attribution", Outcome.UNDECIDED, label, settings.threshold)
        if before is None or now is None:
            words = f"the {'window' if now is None else 'baseline'} has no attributions of {label}"
            checks.append(_say(blank, Outcome.UNDECIDED, words))
            continue
        estimate = compare(before, now, settings)
        checks += _checks(blank, before, now, estimate, settings)
        metrics += _metrics(label, now, estimate, window, dimensions or {})
        details[label] = {
            "ndcg": {"value": estimate.value, "low": estimate.low, "high": estimate.high},
            "features": changes(before, now, settings),
        }
    samples = max((1 if item.rows is None else item.rows for item in current.values()), default=0)
    return Look(Topic.EXPLAINABILITY, window, samples, tuple(checks), tuple(metrics), details=details)


def _checks(
    blank: Check, before: Attributions, now: Attributions, estimate: Estimate, settings: Settings
) -> Iterator[Check]:
    for words, names in (
        ("are not in the window's attributions", before.values.keys() - now.values.keys()),
        ("are not in the baseline's attributions", now.values.keys() - before.values.keys()),
    ):
        if names:
            message = f"{len(names):,} features {words}: {', '.join(sorted(names)[:10])}"
            yield Check("attributed_features", Outcome.VIOLATED, blank.feature, message=message)
    rows = (now.rows or 0) + now.unusable
    if now.unusable > settings.unusable * rows:
        message = f"{blank.feature}: {now.unusable:,} of {rows:,} rows have attributions without number"
        yield Check("usable_attributions", Outcome.VIOLATED, blank.feature, message=message)
    value, high = estimate.value, estimate.high
    if value is None:
        yield _say(blank, Outcome.UNDECIDED, estimate.reason)
        return
    words = f"Feature attribution drift {value:.4g} exceeds threshold {settings.threshold:g}"
    if now.rows is not None and now.rows < settings.smallest:
        words = f"{now.rows:,} rows with attributions are fewer than the {settings.smallest:,} that a verdict needs"
        yield _say(blank, Outcome.UNDECIDED, words, estimate)
    elif value >= settings.threshold:
        yield _say(blank, Outcome.HOLDS, f"nDCG of the features' ranking is {value:.4g}", estimate)
    elif high is not None and high >= settings.threshold:
        yield _say(blank, Outcome.UNDECIDED, f"{words}, but its interval reaches {high:.4g}", estimate)
    else:
        yield _say(blank, Outcome.VIOLATED, words, estimate)


def _say(blank: Check, outcome: Outcome, message: str, estimate: Estimate | None = None) -> Check:
    numbers = {"low": estimate.low, "high": estimate.high} if estimate else {}
    return Check(
        blank.check,
        outcome,
        blank.feature,
        blank.expected,
        estimate.value if estimate else None,
        message=message,
        measures={name: number for name, number in numbers.items() if number is not None},
        sagemaker="feature_attribution_drift_check",
    )


def _metrics(
    label: str, now: Attributions, estimate: Estimate, window: Window, dimensions: Mapping[str, str]
) -> Iterator[Metric]:
    shared = {**dimensions, "Label": label}
    for name, value in now.values.items():
        yield Metric(f"feature_{name}"[:255], window.end, value, dimensions={**shared, "ValueType": "GlobalShapValues"})
    if now.expected_value is not None:
        expected = {**shared, "ValueType": "ExpectedValue"}
        yield Metric("ExpectedValue", window.end, now.expected_value, dimensions=expected)
    if estimate.value is not None:
        yield Metric("feature_attribution_ndcg", window.end, estimate.value, dimensions=shared)
