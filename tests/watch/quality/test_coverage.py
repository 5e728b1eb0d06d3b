"""Intervals of 95 % hold the true value in about 95 % of samples: the claim of every interval, tested by drawing."""

import numpy as np
import pytest
from scipy.special import ndtr

from assay.watch.quality import binary, multiclass, regression
from assay.watch.quality.interface import Problem, Sample

ROUNDS = 400
LEAST = 0.915
"""Three standard errors of 400 draws below 0.95; what falls lower is not chance."""


def covered(truth, measured):
    hits = dict.fromkeys(truth, 0)
    for _ in range(ROUNDS):
        found = measured().metrics
        for name, value in truth.items():
            hits[name] += found[name].low <= value <= found[name].high
    return {name: count / ROUNDS for name, count in hits.items()}


@pytest.mark.parametrize(
    ("size", "share", "shift", "cut"),
    [(60, 0.5, 3.0, 1.5), (100, 0.2, 2.0, 1.0), (400, 0.1, 1.0, 0.8), (2_000, 0.05, 2.0, 1.2)],
)
def test_binary(size, share, shift, cut):
    """Two normal distributions, ``shift`` apart: everything is known in closed form."""
    generator = np.random.default_rng(size)
    recall, false = 1 - ndtr(cut - shift), 1 - ndtr(cut)
    tp, fn, fp = share * recall, share * (1 - recall), (1 - share) * false
    truth = {
        "recall": recall,
        "precision": tp / (tp + fp),
        "accuracy": tp + (1 - share) * (1 - false),
        "auc": ndtr(shift / 2**0.5),
        "f0_5": 1.25 * tp / (1.25 * tp + 0.25 * fn + fp),
        "f1": 2 * tp / (2 * tp + fn + fp),
        "f2": 5 * tp / (5 * tp + 4 * fn + fp),
    }

    def draw():
        actual = (generator.random(size) < share).astype(int)
        score = generator.normal(size=size) + shift * actual
        data = Sample(Problem.BINARY, actual, (score > cut).astype(int), score, ("0", "1"))
        return binary.measure(data, deviations=False, curves=False)

    found = covered(truth, draw)
    assert min(found.values()) >= LEAST, found


@pytest.mark.parametrize("size", [100, 1_000])
def test_multiclass(size):
    generator = np.random.default_rng(size)
    cells = np.array([[0.30, 0.05, 0.05], [0.10, 0.20, 0.02], [0.03, 0.05, 0.20]])
    labels, predictions, hits = cells.sum(axis=1), cells.sum(axis=0), cells.diagonal()
    truth = {
        "accuracy": hits.sum(),
        "weighted_precision": labels @ (hits / predictions),
        "weighted_f1": labels @ (2 * hits / (labels + predictions)),
        "weighted_f2": labels @ (5 * hits / (4 * labels + predictions)),
    }

    def draw():
        drawn = generator.choice(9, size, p=cells.ravel())
        return multiclass.measure(
            Sample(Problem.MULTICLASS, drawn // 3, drawn % 3, None, ("a", "b", "c")), deviations=False
        )

    found = covered(truth, draw)
    assert min(found.values()) >= LEAST, found


@pytest.mark.parametrize("size", [100, 1_000])
def test_regression(size):
    generator = np.random.default_rng(size)
    truth = {"mae": (2 / np.pi) ** 0.5, "mse": 1.0, "rmse": 1.0, "r2": 0.8}

    def draw():
        signal = 2 * generator.normal(size=size)
        return regression.measure(
            Sample(Problem.REGRESSION, signal + generator.normal(size=size), signal), deviations=False
        )

    found = covered(truth, draw)
    assert min(found.values()) >= LEAST, found
