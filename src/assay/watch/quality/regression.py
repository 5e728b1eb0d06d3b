"""Metrics of a model that predicts numbers: mae, mse, rmse and r2, as SageMaker names them.

Intervals: the delta method in the logarithm with Student's t (for r2 of 1 - r2, the ratio of two means), so that they
never reach below 0; errors with very heavy tails need many samples before any interval of their mean is right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from assay.watch.estimates import Estimate, complement, positive, undefined
from assay.watch.quality.deviations import with_deviations
from assay.watch.quality.interface import Problem, Quality

if TYPE_CHECKING:
    from assay.watch.quality.interface import Floats, Marks, Sample


def measure(sample: Sample, *, confidence: float = 0.95, deviations: bool = True, seed: int = 0) -> Quality:
    """The metrics of a regression ``sample``, with intervals of ``confidence``."""
    import numpy as np

    if sample.size == 0:
        empty = undefined("there is no labelled prediction")
        return Quality(Problem.REGRESSION, 0, dict.fromkeys(("mae", "mse", "rmse", "r2"), empty))
    with np.errstate(over="ignore", invalid="ignore"):  # errors beyond a float are told, not warned of
        return _measure(sample, confidence, deviations, seed)


def _measure(sample: Sample, confidence: float, deviations: bool, seed: int) -> Quality:
    import numpy as np

    count, actual = sample.size, np.asarray(sample.actual, np.float64)
    error = actual - sample.predicted
    absolute, squared = np.abs(error), error * error
    metrics = {"mae": _mean(absolute, confidence), "mse": (mse := _mean(squared, confidence))}
    metrics["rmse"] = root(mse)
    metrics["r2"] = _determination(actual, squared, confidence)

    def again(kept: Marks) -> dict[str, float | None]:
        mean = float(squared[kept].mean())
        about = actual[kept]
        variance = float(about.var())
        r2 = 1 - mean / variance if variance > 0 else None
        return {"mae": float(absolute[kept].mean()), "mse": mean, "rmse": math.sqrt(mean), "r2": r2}

    if deviations:
        metrics = with_deviations(metrics, count, seed, again)
    return Quality(Problem.REGRESSION, count, metrics)


def _mean(values: Floats, confidence: float) -> Estimate:
    count, mean = len(values), float(values.mean())
    if not math.isfinite(mean):
        return undefined("the errors are too large for a number", count)
    relative = float(values.std(ddof=1)) / math.sqrt(count) / mean if count > 1 and mean > 0 else 0.0
    return positive(mean, relative, count, confidence)


def root(mse: Estimate) -> Estimate:
    """The rmse of an mse."""
    if mse.value is None:
        return mse
    low, high = (None if end is None else math.sqrt(end) for end in (mse.low, mse.high))
    return Estimate(
        math.sqrt(mse.value), low, high, mse.samples, None, mse.scale, mse.spread / 2, mse.freedom, mse.reason
    )


def _determination(actual: Floats, squared: Floats, confidence: float) -> Estimate:
    count = len(actual)
    about = (actual - actual.mean()) ** 2
    variance, mse = float(about.mean()), float(squared.mean())
    if not variance > 0 or not math.isfinite(variance / max(mse, 1e-300)):
        return undefined("all labels are equal, so there is no variance to explain", count)
    if not math.isfinite(mse):
        return undefined("the errors are too large for a number", count)
    influence = squared / mse - about / variance if mse > 0 else about * 0.0
    relative = float(influence.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    unexplained = positive(mse / variance, relative, count, confidence)
    return complement(unexplained)
