"""Is the model still good enough? A sample against thresholds, whole and by segment, becomes a `Look`.

A metric is violated where its interval excludes the threshold, over segments only if Benjamini-Hochberg leaves it so.
Too few labels, or a metric that is not defined, is undecided; predictions that nobody can judge are a violation
themselves, since leaving out what is hard would make any model look good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from assay.watch.estimates import Estimate, benjamini_hochberg
from assay.watch.interface import Check, Look, Metric, Outcome, Topic, Window
from assay.watch.quality import binary, multiclass, regression
from assay.watch.quality.calibration import Calibration, calibration
from assay.watch.quality.interface import Problem, Quality, Sample
from assay.watch.quality.thresholds import Threshold

if TYPE_CHECKING:
    from assay.watch.quality.interface import Codes
    from assay.watch.quality.joining import Counts


@dataclass(frozen=True, slots=True)
class Settings:
    """How quality is judged."""

    confidence: float = 0.99
    """Of the two-sided interval that must exclude a threshold."""
    smallest: int = 100
    """Fewer labelled predictions, in all or in a segment, decide nothing."""
    segments: int = 1_000
    """At most so many segments of a column are looked at, the largest first; the others are undecided."""
    unusable: float = 0.01
    """Share of labelled predictions that may be unusable (missing, NaN, no probability)."""
    labelled: float = 0.0
    """Least share of predictions with ground truth for any metric to hold."""
    calibration: float | None = None
    """Largest debiased calibration error (0..1) that probabilities may have; None: it is told, and demanded of nobody.
    It is violated where it is larger and the tests of calibration reject at the confidence."""
    seed: int = 0
    """Of SageMaker's subsamples."""


def measure(sample: Sample, *, confidence: float = 0.95, details: bool = True, seed: int = 0) -> Quality:
    """All metrics of ``sample``; without ``details`` neither SageMaker's deviations nor curves."""
    if sample.problem is Problem.REGRESSION:
        return regression.measure(sample, confidence=confidence, deviations=details, seed=seed)
    if sample.problem is Problem.BINARY:
        return binary.measure(sample, confidence=confidence, deviations=details, curves=details, seed=seed)
    return multiclass.measure(sample, confidence=confidence, deviations=details, seed=seed)


def look(
    sample: Sample,
    thresholds: Iterable[Threshold],
    window: Window,
    settings: Settings | None = None,
    *,
    joined: Counts | None = None,
    dimensions: Mapping[str, str] | None = None,
) -> Look:
    """Measure ``sample`` and hold it against ``thresholds``.

    ``joined`` is how its labels were found, ``dimensions`` go onto every metric.
    """
    settings = settings or Settings()
    thresholds = tuple(thresholds)
    quality = measure(sample, confidence=settings.confidence, seed=settings.seed)
    reason = _too_little(sample, settings)
    checks = [judge(quality, item, settings, reason) for item in thresholds]
    calibrated = calibration(sample, confidence=settings.confidence)
    if calibrated and settings.calibration is not None:
        checks.append(_calibrated(calibrated, settings, reason))
    checks += _usable(sample, settings, any(_decided(check) for check in checks))
    checks += _matched(joined, settings) if joined else ()
    metrics = list(_metrics(quality, window, dimensions or {}))
    if sample.rows:
        metrics.append(Metric("labelled_share", window.end, _labelled(sample), dimensions=dimensions or {}))
    if calibrated:
        numbers = {"calibration_error": calibrated.debiased, "brier_score": calibrated.brier.value}
        metrics += _numbered(numbers, window, dimensions or {})
    found: dict[str, dict[str, object]] = {}
    for column in sample.segments:
        segment_checks, segment_metrics, values = _segment_checks(sample, column, thresholds, settings, window)
        checks += segment_checks
        metrics += [replace(item, dimensions={**(dimensions or {}), **item.dimensions}) for item in segment_metrics]
        found[column] = values
    details: dict[str, object] = {
        "problem": sample.problem.value,
        "rows": sample.rows,
        "unlabelled": sample.unlabelled,
        "unusable": dict(sample.unusable),
        "unknown_classes": list(sample.unknown),
        "confidence": settings.confidence,
        "quality": plain(quality),
        "calibration": _curve(calibrated) if calibrated else None,
        "joined": asdict(joined) if joined else None,
        "segments": found,
    }
    return Look(Topic.MODEL_QUALITY, window, sample.size, tuple(checks), tuple(metrics), details=details)


def _too_little(sample: Sample, settings: Settings) -> str:
    """Why nothing may hold, or nothing."""
    if sample.size < settings.smallest:
        return f"{sample.size:,} labelled predictions are fewer than the {settings.smallest:,} that a verdict needs"
    if _labelled(sample) < settings.labelled:
        return f"{_labelled(sample):.1%} of the predictions have ground truth, and {settings.labelled:.1%} are needed"
    return ""


def _labelled(sample: Sample) -> float:
    return (sample.rows - sample.unlabelled) / sample.rows if sample.rows else 0.0


def _usable(sample: Sample, settings: Settings, decided: bool) -> Iterator[Check]:
    """Whether the labelled predictions can be judged; that alone, with no metric ``decided``, holds nothing."""
    labelled = sample.rows - sample.unlabelled
    bad = sum(sample.unusable.values())
    if labelled:
        outcome = Outcome.HOLDS if decided else Outcome.UNDECIDED
        if bad / labelled > settings.unusable and labelled >= settings.smallest:
            outcome = Outcome.VIOLATED
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sample.unusable.items())
        message = f"{bad:,} of {labelled:,} labelled predictions cannot be judged" + (f": {reasons}" if reasons else "")
        yield Check("usable_predictions", outcome, None, settings.unusable, bad / labelled, message=message)
    if sample.unknown:
        message = f"classes that the baseline does not have: {', '.join(sample.unknown)}"
        yield Check("known_classes", Outcome.VIOLATED, None, None, sample.unknown, "warning", message)


def _calibrated(found: Calibration, settings: Settings, reason: str) -> Check:
    assert settings.calibration is not None
    words = (
        f"calibration error is {found.debiased:.4g} (p {found.p:.2g}), at most {settings.calibration:.4g} is demanded"
    )
    outcome = Outcome.HOLDS
    if reason:
        outcome, words = Outcome.UNDECIDED, f"{words}; {reason}"
    elif found.debiased > settings.calibration and found.p < 1 - settings.confidence:
        outcome = Outcome.VIOLATED
    measures = {"error": found.error, "noise": found.noise, "p": found.p}
    return Check("calibration", outcome, None, settings.calibration, found.debiased, message=words, measures=measures)


def _matched(joined: Counts, settings: Settings) -> Iterator[Check]:
    """Ids that stand for several predictions, or several labels: left out, and told where they are many."""
    for name, count, total in (
        ("conflicting_predictions", joined.conflicting_predictions, joined.predictions),
        ("conflicting_labels", joined.conflicting_labels, joined.labels),
    ):
        if count > settings.unusable * total:
            message = f"{count:,} {name.replace('_', ' ')} among {total:,}: one id stands for different ones"
            yield Check(name, Outcome.VIOLATED, None, settings.unusable, count / total, message=message)


def judge(quality: Quality, item: Threshold, settings: Settings, reason: str, feature: str | None = None) -> Check:
    """One metric of ``quality`` against its threshold; ``reason`` says why nothing may be decided, if so."""
    estimate = quality.metrics.get(item.metric)
    blank = Check(item.metric, Outcome.UNDECIDED, feature, item.threshold, sagemaker=item.operator)
    if estimate is None:
        return replace(blank, message=f"{item.metric} is no metric of these predictions (is the probability missing?)")
    p = estimate.p_value(item.threshold, below=item.below)
    blank = replace(blank, observed=estimate.value, measures=_measures(estimate, p))
    if estimate.value is None:
        return replace(blank, message=f"{item.metric} is not defined: {estimate.reason}")
    words = f"{item.metric} is {estimate.value:.4g}"
    if estimate.low is not None and estimate.high is not None:
        words += f" ({settings.confidence:.0%} interval {estimate.low:.4g} to {estimate.high:.4g})"
    words += f", at {'least' if item.below else 'most'} {item.threshold:.4g} is demanded"
    if reason:
        return replace(blank, message=f"{words}; {reason}")
    beyond = estimate.value < item.threshold if item.below else estimate.value > item.threshold
    if not beyond:
        return replace(blank, outcome=Outcome.HOLDS, message=words)
    if p is None:
        return replace(blank, message=f"{words}; {estimate.reason or 'there is no interval'}")
    if p < (1 - settings.confidence) / 2:
        return replace(blank, outcome=Outcome.VIOLATED, message=words)
    return replace(blank, outcome=Outcome.HOLDS, message=f"{words}; the difference may be chance")


def _segment_checks(
    sample: Sample, column: str, thresholds: tuple[Threshold, ...], settings: Settings, window: Window
) -> tuple[list[Check], list[Metric], dict[str, object]]:
    """Checks, metrics and values of each segment of ``column``, with Benjamini-Hochberg over all of its tests."""
    checks: list[Check] = []
    metrics: list[Metric] = []
    values: dict[str, object] = {}
    for name, part in _parts(sample, column, settings.segments):
        quality = measure(part, confidence=settings.confidence, details=False)
        reason = _too_little(replace(part, rows=part.size), replace(settings, labelled=0.0))
        checks += (judge(quality, item, settings, reason, f"{column}={name}") for item in thresholds)
        metrics += _metrics(quality, window, {column: name}, {item.metric for item in thresholds})
        values[name] = {"samples": quality.samples, "metrics": _numbers(quality)}
    tested = [index for index, check in enumerate(checks) if "p" in check.measures and _decided(check)]
    adjusted = benjamini_hochberg([checks[index].measures["p"] for index in tested])
    for index, q in zip(tested, adjusted, strict=True):
        check = replace(checks[index], measures={**checks[index].measures, "q": q})
        if check.outcome is Outcome.VIOLATED and q >= (1 - settings.confidence) / 2:
            message = f"{check.message}; over {len(tested):,} tests such a difference may be chance"
            check = replace(check, outcome=Outcome.HOLDS, message=message)
        checks[index] = check
    left = len(sample.segments[column][1]) - len(values)
    if left:
        message = f"{left:,} smaller segments of {column} were not looked at"
        checks.append(Check("segments", Outcome.UNDECIDED, column, settings.segments, left, "note", message))
    return checks, metrics, values


def _decided(check: Check) -> bool:
    return check.outcome is not Outcome.UNDECIDED


def _parts(sample: Sample, column: str, most: int) -> Iterator[tuple[str, Sample]]:
    """The segments of ``column``, largest first, each as a sample of its own."""
    import numpy as np

    codes, names = sample.segments[column]
    counts = np.bincount(codes, minlength=len(names))
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)))
    for code in np.argsort(-counts, kind="stable")[:most].tolist():
        yield names[code], _some(sample, order[starts[code] : starts[code + 1]])


def _some(sample: Sample, kept: Codes) -> Sample:
    score = None if sample.score is None else sample.score[kept]
    return Sample(sample.problem, sample.actual[kept], sample.predicted[kept], score, sample.classes)


def _metrics(
    quality: Quality, window: Window, dimensions: Mapping[str, str], only: set[str] | None = None
) -> Iterator[Metric]:
    values = {name: item.value for name, item in quality.metrics.items() if only is None or name in only}
    return _numbered(values, window, dimensions)


def _numbered(values: Mapping[str, float | None], window: Window, dimensions: Mapping[str, str]) -> Iterator[Metric]:
    for name, value in values.items():
        if value is not None:
            yield Metric(name, window.end, value, dimensions=dimensions)


def _measures(estimate: Estimate, p: float | None) -> dict[str, float]:
    numbers = {"low": estimate.low, "high": estimate.high, "samples": float(estimate.samples), "p": p}
    return {name: number for name, number in numbers.items() if number is not None}


def _curve(found: Calibration) -> dict[str, object]:
    numbers = {name: value for name, value in asdict(found).items() if name not in ("bins", "brier")}
    brier = {"value": found.brier.value, "low": found.brier.low, "high": found.brier.high}
    return {**numbers, "brier": brier, "bins": [asdict(item) for item in found.bins]}


def plain(quality: Quality) -> dict[str, object]:
    """A quality as JSON-like values, for pictures."""
    return {
        "samples": quality.samples,
        "classes": list(quality.classes),
        "confusion": [list(row) for row in quality.confusion],
        "metrics": _numbers(quality),
        "curves": {name: {axis: list(points) for axis, points in c.items()} for name, c in quality.curves.items()},
    }


def _numbers(quality: Quality) -> dict[str, object]:
    return {
        name: {"value": item.value, "low": item.low, "high": item.high, "deviation": item.deviation}
        for name, item in quality.metrics.items()
    }
