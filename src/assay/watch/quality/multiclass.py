"""Metrics of a model that tells several classes apart: accuracy and means weighted by the labels' shares.

Intervals: Wilson's on an effective number of samples; the variances are the delta method's over the cells of the
confusion matrix. The "best constant classifier" says the most frequent label; the one in SageMaker's documented example
says a rarer one, so that its numbers are smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.watch.estimates import Estimate, share_of, share_with_variance, undefined
from assay.watch.quality.binary import BETAS
from assay.watch.quality.deviations import with_deviations
from assay.watch.quality.interface import CONSTANT, Problem, Quality

if TYPE_CHECKING:
    from assay.watch.quality.interface import Codes, Floats, Marks, Sample

_WEIGHTS = {"recall": 1.0, "precision": 0.0, **{name: b * b / (1 + b * b) for name, b in BETAS.items()}}
"""How much a missed label weighs against a false one; F is hits / (w labels + (1 - w) predictions) of each class."""
_ORDER = ("recall", "precision", "f0_5", "f1", "f2")


def measure(sample: Sample, *, confidence: float = 0.95, deviations: bool = True, seed: int = 0) -> Quality:
    """The metrics of a multiclass ``sample``. A class that was never predicted has the precision 0, as in sklearn."""
    import numpy as np

    size = len(sample.classes)
    cells = sample.actual.astype(np.int64) * size + sample.predicted.astype(np.int64)

    def table(kept: Codes) -> Floats:
        return np.bincount(kept, minlength=size * size).astype(np.float64).reshape(size, size)

    whole = table(cells)
    metrics = _metrics(whole, confidence)

    def again(kept: Marks) -> dict[str, float | None]:
        return {name: estimate.value for name, estimate in _metrics(table(cells[kept]), confidence).items()}

    if deviations:
        metrics = with_deviations(metrics, sample.size, seed, again)
    confusion = tuple(tuple(int(count) for count in row) for row in whole)
    return Quality(Problem.MULTICLASS, sample.size, metrics, sample.classes, confusion)


def _metrics(table: Floats, confidence: float) -> dict[str, Estimate]:
    count = float(table.sum())
    names = ("accuracy", *(f"weighted_{name}" for name in _ORDER))
    if count == 0:
        empty = undefined("there is no labelled prediction")
        return dict.fromkeys((*names, *(f"{name}{CONSTANT}" for name in names)), empty)
    metrics = {"accuracy": share_of(float(table.trace()), count, confidence, "")}
    for name in _ORDER:
        metrics[f"weighted_{name}"] = weighted(table, _WEIGHTS[name], confidence)
    often = table.sum(axis=1).argmax()
    constant = table * 0
    constant[:, often] = table.sum(axis=1)
    metrics[f"accuracy{CONSTANT}"] = share_of(float(constant.trace()), count, confidence, "")
    for name in _ORDER:
        metrics[f"weighted_{name}{CONSTANT}"] = weighted(constant, _WEIGHTS[name], confidence)
    return metrics


def weighted(table: Floats, miss_weight: float, confidence: float) -> Estimate:
    """The mean over classes, weighted by the labels' shares, of hits / (w labels + (1 - w) predictions).

    ``table`` counts labels (rows) by predictions (columns). The influence of one more sample in cell (i, j) on the mean
    is F_i + [i = j] r_i / D_i - r_i F_i w / D_i - r_j F_j (1 - w) / D_j.
    """
    import numpy as np

    count = float(table.sum())
    cells = table / count
    labels, predictions, hits = cells.sum(axis=1), cells.sum(axis=0), cells.diagonal()
    weight = miss_weight * labels + (1 - miss_weight) * predictions
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(weight > 0, hits / weight, 0.0)
        part = np.where(weight > 0, labels / weight, 0.0)
    value = float(labels @ score)
    influence = (score - part * score * miss_weight)[:, None] - (part * score * (1 - miss_weight))[None, :]
    influence = influence + np.diag(part)
    mean = float((cells * influence).sum())
    variance = float((cells * (influence - mean) ** 2).sum()) / count
    return share_with_variance(min(max(value, 0.0), 1.0), variance, count, int(count), confidence)
