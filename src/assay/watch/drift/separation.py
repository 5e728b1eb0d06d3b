"""Whether a classifier can tell two samples apart: the ground of joint drift and of drift of embeddings.

Cross-fitted: every row is scored by a model that never saw it, so that the area under the curve is that of rank tests
and a half means no difference. Needs rows, the caller decides whether it keeps any.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import ndtri

from assay.errors import MissingExtraError

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats, Integers


class Classifier(Protocol):
    """What is needed of scikit-learn's classifiers."""

    def fit(self, x: Floats, y: Integers) -> object:
        """Learn."""
        ...

    def predict_proba(self, x: Floats) -> Floats:
        """Probabilities; shape (rows, 2)."""
        ...


@dataclass(frozen=True, slots=True)
class Separation:
    """How well two samples are told apart."""

    auc: float
    """Chance that a row of the window has a higher score than one of the reference: a half if they are alike."""
    lower: float
    """Of the 95 % interval (DeLong)."""
    upper: float
    """Of the 95 % interval."""
    floor: float
    """What alike samples of this size do not exceed: the larger of the rank test's 99 % and of all permutations."""
    p: float
    """One-sided, of the rank test."""
    drops: tuple[float, ...] = ()
    """For each column by how much the area shrinks if the column is shuffled among the held-out rows."""


def one_thread() -> AbstractContextManager[object]:
    """Within it, OpenMP and BLAS use one thread: for so few rows theirs wait for one another more than they work.

    Raises `MissingExtraError` without scikit-learn, whose library for this it is.
    """
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError("telling two samples apart", "watch") from None
    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def separate(
    x: Floats,
    window: Integers,
    make: Callable[[], Classifier],
    *,
    folds: int,
    permutations: int,
    seed: int,
    drops: bool,
) -> Separation:
    """Tell rows of the window (1) from those of the reference (0). Every fold must hold some of both."""
    with one_thread():
        return _separate(x, window, make, folds, permutations, seed, drops)


def _separate(
    x: Floats, window: Integers, make: Callable[[], Classifier], folds: int, permutations: int, seed: int, drops: bool
) -> Separation:
    random = np.random.default_rng(seed)
    fold = _folds(window, folds, random)
    area, variance, chance, shrunk = _fitted(x, window, fold, make, random if drops else None)
    deviation = math.sqrt(chance)
    floor = 0.5 - float(ndtri(0.01)) * deviation
    for _ in range(permutations):
        shuffled = random.permutation(window)
        floor = max(floor, _fitted(x, shuffled, _folds(shuffled, folds, random), make, None)[0])
    spread = 1.959964 * math.sqrt(variance)
    p = 0.5 * math.erfc((area - 0.5) / deviation / math.sqrt(2.0))
    return Separation(area, max(0.0, area - spread), min(1.0, area + spread), floor, p, shrunk)


def _fitted(
    x: Floats, window: Integers, fold: Integers, make: Callable[[], Classifier], random: np.random.Generator | None
) -> tuple[float, float, float, tuple[float, ...]]:
    """Mean area over the folds, its variance, its variance for alike samples, and what shuffling each column costs."""
    folds = int(fold.max()) + 1
    area = variance = chance = 0.0
    drops = np.zeros(x.shape[1] if random is not None else 0)
    for number in range(folds):
        held = fold == number
        model = make()
        model.fit(x[~held], window[~held])
        rows, labels = x[held], window[held]
        part, spread = area_under_curve(model.predict_proba(rows)[:, 1], labels)
        n, m = int(labels.sum()), int(len(labels) - labels.sum())
        area += part / folds
        variance += spread / folds**2
        chance += (n + m + 1) / (12.0 * n * m) / folds**2
        if random is not None:
            for column in range(x.shape[1]):
                other = rows.copy()
                other[:, column] = random.permutation(other[:, column])
                drops[column] += (part - area_under_curve(model.predict_proba(other)[:, 1], labels)[0]) / folds
    return area, variance, chance, tuple(float(drop) for drop in drops)


def area_under_curve(scores: Floats, labels: Integers) -> tuple[float, float]:
    """Area under the ROC curve and its variance (DeLong, DeLong & Clarke-Pearson 1988), by midranks."""
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    above = _midshare(positive, negative)
    below = 1.0 - _midshare(negative, positive)
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    return float(above.mean()), float(variance)


def _midshare(values: Floats, others: Floats) -> Floats:
    """Share of the ascending ``others`` below each value, those that are equal counting half."""
    low = np.searchsorted(others, values, side="left")
    high = np.searchsorted(others, values, side="right")
    return np.asarray((low + high) * (0.5 / len(others)))


def _folds(window: Integers, folds: int, random: np.random.Generator) -> Integers:
    """A fold for each row, both samples spread evenly."""
    fold = np.empty(len(window), dtype=np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(window == label)
        fold[random.permutation(rows)] = np.arange(len(rows)) % folds
    return fold
