"""How good a model probably is before the ground truth arrives.

Confidence-based estimation for classifiers, direct loss estimation for regressions. Both rest on one assumption that no
data without labels can prove (`ASSUMPTION`); an estimate may therefore warn, and must never stand in for ground truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.errors import UndecidedError
from assay.watch.estimates import Estimate, positive, share_with_variance, undefined
from assay.watch.quality.calibration import edges
from assay.watch.quality.interface import Problem, Quality, Sample
from assay.watch.quality.regression import root

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

    from assay.watch.quality.interface import Codes, Floats

ASSUMPTION = (
    "Estimated without ground truth: right only if the relation between inputs and labels is that of the reference"
    " (no concept drift), and if the inputs do not leave what the reference covers."
)
KNOTS = 50
"""At most so many points of the calibration curve."""
PER_KNOT = 50
"""At least so many reference predictions behind each."""
SMALLEST = 200
FOLDS = 5
LEARNER = {"max_iter": 40, "learning_rate": 0.15, "max_leaf_nodes": 15, "min_samples_leaf": 30}
"""Small trees: a loss is noise about a smooth mean, and ten models are learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibrator:
    """What probabilities meant on labelled reference predictions: a line through knots."""

    scores: Floats
    """Mean probability at each knot, ascending; shape (knots,)."""
    frequencies: Floats
    """Share that came true."""
    variances: Floats
    """Of the frequencies."""

    def weights(self, score: Floats) -> tuple[Codes, Floats]:
        """Each score's lower knot, and how much of the next one it has (0..1)."""
        import numpy as np

        if len(self.scores) == 1:
            return np.zeros(len(score), np.int64), np.zeros(len(score))
        lower = np.clip(np.searchsorted(self.scores, score, side="right") - 1, 0, len(self.scores) - 2)
        gap = self.scores[lower + 1] - self.scores[lower]
        return lower, np.clip((score - self.scores[lower]) / gap, 0.0, 1.0)


def calibrate(reference: Sample) -> Calibrator:
    """The calibration curve of a labelled ``reference``. Raises `UndecidedError` for fewer than 200 probabilities."""
    import numpy as np

    if reference.score is None or reference.size < SMALLEST:
        raise UndecidedError(
            f"quality without ground truth needs {SMALLEST} labelled reference predictions with probabilities",
            hint="name the column of probabilities, and a longer reference",
        )
    binary = reference.problem is Problem.BINARY
    truth = reference.actual == 1 if binary else reference.actual == reference.predicted
    order = np.argsort(reference.score, kind="stable")
    score, outcome = reference.score[order], truth[order].astype(np.float64)
    starts = edges(score, max(2, min(KNOTS, len(score) // PER_KNOT)))
    sizes = np.diff(np.append(starts, len(score)))
    means, shares = (np.add.reduceat(values, starts) / sizes for values in (score, outcome))
    smoothed = (shares * sizes + 0.5) / (sizes + 1)  # a bin without exceptions is not known exactly
    return Calibrator(means, shares, smoothed * (1 - smoothed) / sizes)


def classification(
    predicted: Codes, score: Floats, problem: Problem, calibrator: Calibrator, *, confidence: float = 0.95
) -> Quality:
    """Estimated metrics of unlabelled predictions: accuracy, and for a binary problem recall, precision, F1 and AUC.

    The interval holds the metric that ground truth will show: it has the chance of the labels themselves and the
    calibration's own error, by the delta method.
    """
    import numpy as np

    count = len(score)
    if count == 0:
        return Quality(problem, 0, {"accuracy": undefined("there are no predictions")})
    lower, part = calibrator.weights(score)
    last = len(calibrator.scores)
    upper = np.minimum(lower + 1, last - 1)
    chance = calibrator.frequencies[lower] * (1 - part) + calibrator.frequencies[upper] * part
    spread = chance * (1 - chance)

    def estimate(value: float, gradient: Floats, samples: float) -> Estimate:
        """``gradient`` of the metric by each prediction's truth, at its expectation."""
        knots = np.bincount(lower, weights=gradient * (1 - part), minlength=last)
        knots += np.bincount(upper, weights=gradient * part, minlength=last)
        variance = float(gradient**2 @ spread) + float(knots**2 @ calibrator.variances)
        return share_with_variance(min(max(value, 0.0), 1.0), variance, samples, count, confidence)

    if problem is Problem.MULTICLASS:
        return Quality(problem, count, {"accuracy": estimate(float(chance.mean()), np.full(count, 1 / count), count)})
    flagged = predicted == 1
    sign = np.where(flagged, 1.0, -1.0)
    right = float(np.where(flagged, chance, 1 - chance).sum()) / count
    metrics = {"accuracy": estimate(right, sign / count, count)}
    hits, positives, alarms = float(chance[flagged].sum()), float(chance.sum()), float(flagged.sum())
    empty = undefined("no positive is expected", count)
    recall = hits / positives if positives else 0.0
    metrics["recall"] = estimate(recall, (flagged - recall) / positives, positives) if positives else empty
    none = undefined("nothing was predicted positive", count)
    metrics["precision"] = estimate(hits / alarms, flagged / alarms, alarms) if alarms else none
    total = positives + alarms
    f1 = 2 * hits / total if total else 0.0
    metrics["f1"] = estimate(f1, (2 * flagged - f1) / total, total / 2) if total else empty
    metrics["auc"] = _area(score, chance, estimate) if 0 < positives < count else empty
    return Quality(problem, count, metrics)


def _area(score: Floats, chance: Floats, estimate: Callable[[float, Floats, float], Estimate]) -> Estimate:
    """Expected AUC; its gradient is how much each prediction, if true, outranks less how much it is outranked."""
    import numpy as np

    from assay.watch.quality.ranking import rank

    order, group = rank(score)
    hits = np.bincount(group, weights=chance[order])
    alarms = np.bincount(group, weights=1 - chance[order])
    positives, negatives = float(hits.sum()), float(alarms.sum())
    below, above = alarms.cumsum() - alarms / 2, positives - (hits.cumsum() - hits / 2)
    value = float(hits @ below) / (positives * negatives)
    gain = (below / negatives - value) / positives - (above / positives - value) / negatives
    gradient = np.empty(len(score))
    gradient[order] = gain[group]
    return estimate(value, gradient, min(positives, negatives))


@dataclass(frozen=True, slots=True, eq=False)
class LossModels:
    """Models of a regression's loss, learned on a labelled reference; one per fold and loss."""

    models: Mapping[str, tuple[HistGradientBoostingRegressor, ...]]
    """By the metric that is the loss's mean: ``mae`` and ``mse``."""
    scale: Mapping[str, float]
    """Loss over prediction, in sum, on rows that the model had not seen."""
    dispersion: Mapping[str, float]
    """Variance of a loss over the square of its prediction, there: losses that are larger vary more."""
    rows: int
    """Of the reference."""


def learn_losses(features: Floats, reference: Sample, *, seed: int = 0) -> LossModels:
    """Models of the losses of a regression ``reference`` from its inputs.

    Features have the shape (rows, features), may hold NaN, and include the prediction as one column. Raises
    `UndecidedError` for fewer than 200 rows.
    """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingRegressor

    if reference.size < SMALLEST:
        raise UndecidedError(f"quality without ground truth needs {SMALLEST} labelled reference predictions")
    fold = np.random.default_rng(seed).permutation(reference.size) % FOLDS
    absolute = np.abs(reference.actual - reference.predicted)
    models: dict[str, tuple[HistGradientBoostingRegressor, ...]] = {}
    scale, dispersion = {}, {}
    for name, loss in (("mae", absolute), ("mse", absolute**2)):
        expected = np.empty(reference.size)
        learned = []
        for part in range(FOLDS):
            model = HistGradientBoostingRegressor(**LEARNER, random_state=seed)
            learned.append(model.fit(features[fold != part], loss[fold != part]))
            expected[fold == part] = np.maximum(model.predict(features[fold == part]), 0)
        total = float(expected.sum())
        scale[name] = float(loss.sum()) / total if total > 0 else 1.0
        expected *= scale[name]
        squares = float((expected**2).sum())
        dispersion[name] = float(((loss - expected) ** 2).sum()) / squares if squares > 0 else 0.0
        models[name] = tuple(learned)
    return LossModels(models, scale, dispersion, reference.size)


def regression(features: Floats, losses: LossModels, *, confidence: float = 0.95) -> Quality:
    """Estimated mae, mse and rmse of unlabelled ``features`` (columns as the models learned).

    The interval has the spread of the losses about their models, in the window and in the reference's rows, and how far
    the models of the folds differ here (the jackknife, Efron 1982), which is more where the reference is thin.
    """
    import numpy as np

    count = len(features)
    if count == 0:
        empty = undefined("there are no predictions")
        return Quality(Problem.REGRESSION, 0, {"mae": empty, "mse": empty, "rmse": empty})
    metrics = {}
    for name, models in losses.models.items():
        each = np.array([np.maximum(model.predict(features), 0) for model in models]) * losses.scale[name]
        means, expected = each.mean(axis=1), each.mean(axis=0)
        value = max(float(means.mean()), float(np.finfo(float).tiny))
        loss = losses.dispersion[name] * float((expected**2).mean()) / value**2
        models_differ = (FOLDS - 1) / FOLDS * float(((means / value - 1) ** 2).sum())
        error = math.sqrt(loss * (1 / count + 1 / losses.rows) + models_differ)
        metrics[name] = positive(value, error, count, confidence)
    metrics["rmse"] = root(metrics["mse"])
    return Quality(Problem.REGRESSION, count, metrics)
