"""Do probabilities mean what they say? Calibration error, Brier score with its parts, the curve, and two tests.

A plain calibration error of a perfect model is not 0 but noise that shrinks with the sample, so it stands beside what a
calibrated model would show; the tests, not the error, decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.watch.estimates import Estimate, share_with_variance, undefined
from assay.watch.quality.interface import Problem, Sample

if TYPE_CHECKING:
    from assay.watch.quality.interface import Codes, Floats, Marks

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of about the same probability."""

    count: int
    probability: float
    """Their mean."""
    frequency: float
    """Share of them that came true."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well probabilities agree with what happened."""

    samples: int
    bins: tuple[Bin, ...]
    """The reliability curve: equally many predictions in each bin, ascending, equal probabilities never parted."""
    error: float
    """Expected calibration error, the mean of abs(probability - frequency) over bins (Naeini et al. 2015)."""
    noise: float
    """What ``error`` would be by chance if the model were calibrated."""
    debiased: float
    """Root mean square calibration error without its noise (Kumar, Liang and Ma 2019, section 5), at least 0."""
    brier: Estimate
    """Mean squared error of the probabilities."""
    reliability: float
    """Part of the Brier score that miscalibration costs, by bins; Brier = reliability - resolution + uncertainty."""
    resolution: float
    """Part that telling cases apart gains; includes the variance within bins (Stephenson, Coelho and Jolliffe 2008)."""
    uncertainty: float
    """Variance of what happened."""
    p: float
    """Of the hypothesis that the model is calibrated: Spiegelhalter's (1986) and Hosmer and Lemeshow's (1980) test, the
    smaller p-value doubled."""


def calibration(sample: Sample, *, bins: int = BINS, confidence: float = 0.95) -> Calibration | None:
    """Calibration of a classifier's ``sample``; None without probabilities or without predictions.

    Binary: the probability of the positive class; multiclass: that the predicted class is right.
    """
    if sample.score is None or not sample.size or sample.problem is Problem.REGRESSION:
        return None
    binary = sample.problem is Problem.BINARY
    return of(sample.score, sample.actual == 1 if binary else sample.actual == sample.predicted, bins, confidence)


def of(score: Floats, happened: Marks, bins: int = BINS, confidence: float = 0.95) -> Calibration:
    """Calibration of probabilities ``score`` in 0..1 of what ``happened``; both of shape (samples,), not empty."""
    import numpy as np

    count = len(score)
    order = np.argsort(score, kind="stable")
    score, outcome = score[order], happened[order].astype(np.float64)
    starts = edges(score, bins)
    sizes = np.diff(np.append(starts, count)).astype(np.float64)
    probability, frequency = (np.add.reduceat(values, starts) / sizes for values in (score, outcome))
    variance = np.add.reduceat(score * (1 - score), starts) / sizes**2
    weights = sizes / count
    gap = probability - frequency
    inner = np.where(sizes > 1, frequency * (1 - frequency) / np.maximum(sizes - 1, 1), 0.0)
    squared = float(weights @ (gap**2 - inner))
    base = float(outcome.mean())
    losses = (score - outcome) ** 2
    brier, reliability, uncertainty = float(losses.mean()), float(weights @ gap**2), base * (1 - base)
    curve = zip(sizes.astype(int).tolist(), probability.tolist(), frequency.tolist(), strict=True)
    return Calibration(
        count,
        tuple(Bin(*point) for point in curve),
        float(weights @ np.abs(gap)),
        float(weights @ np.sqrt(2 / math.pi * variance)),
        math.sqrt(max(0.0, squared)),
        _brier(losses, confidence),
        reliability,
        reliability + uncertainty - brier,
        uncertainty,
        _p_value(score, outcome, gap, variance),
    )


def edges(ordered: Floats, bins: int) -> Codes:
    """Where each of at most ``bins`` groups of about equal size starts; equal numbers are never parted."""
    import numpy as np

    wanted = np.linspace(0, len(ordered), min(bins, len(ordered)) + 1)[:-1].astype(np.int64)
    return np.unique(np.searchsorted(ordered, ordered[wanted]))


def _brier(losses: Floats, confidence: float) -> Estimate:
    count = len(losses)
    if count < 2:
        return undefined("one prediction is no sample", count)
    variance = float(losses.var(ddof=1)) / count
    return share_with_variance(float(losses.mean()), variance, count, count, confidence)


def _p_value(score: Floats, outcome: Floats, gap: Floats, variance: Floats) -> float:
    import numpy as np
    from scipy.special import chdtrc, ndtr

    if bool(np.any((score == 0) & (outcome == 1)) or np.any((score == 1) & (outcome == 0))):
        return 0.0  # what was called impossible has happened
    spread = float(np.sum((1 - 2 * score) ** 2 * score * (1 - score)))
    z = float(np.sum((outcome - score) * (1 - 2 * score))) / math.sqrt(spread) if spread > 0 else 0.0
    tested = variance > 0
    chi_squared = float(np.sum(gap[tested] ** 2 / variance[tested]))
    degrees = int(tested.sum())
    both = (2 * float(ndtr(-abs(z))), float(chdtrc(degrees, chi_squared)) if degrees else 1.0)
    return min(1.0, 2 * min(both))
