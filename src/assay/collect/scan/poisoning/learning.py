"""What a model that never saw a row says of it: the yardstick of every analysis that judges labels.

Rows that are nearly the same never stand on both sides of a split, since a planted block would vouch for itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from assay.collect.scan.poisoning.columns import Matrix, Numbers
from assay.collect.scan.poisoning.libraries import library

MAX_TRAINING = 5_000
"""Rows that one model learns from."""

MAX_LINEAR = 50
"""Classes up to which a logistic regression is learnt; with more, distances to class centres decide."""

FOLDS = 5


@dataclass(slots=True)
class Judge:
    """Says which class a row has, from other rows."""

    matrix: Matrix
    y: Numbers
    classes: int
    seed: int

    def held_out(self, train: Numbers, rows: Numbers) -> Matrix:
        """Probability of each class for ``rows``, learnt from ``train`` alone."""
        train = train[self.y[train] >= 0]
        if len(train) > MAX_TRAINING:
            train = np.sort(np.random.default_rng(self.seed).choice(train, MAX_TRAINING, replace=False))
        present = np.unique(self.y[train])
        made = np.zeros((len(rows), self.classes))
        if len(present) < 2:
            made[:, present] = 1.0
            return made
        made[:, present] = (
            self._linear(train, rows) if len(present) <= MAX_LINEAR else self._centres(train, rows, present)
        )
        return made

    def _linear(self, train: Numbers, rows: Numbers) -> Matrix:
        model = library("sklearn.linear_model").LogisticRegression(C=0.5, max_iter=100, tol=1e-2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model that is not quite fitted is good enough to ask
            model.fit(self.matrix[train], self.y[train])
        made: Matrix = model.predict_proba(self.matrix[rows])
        return made

    def _centres(self, train: Numbers, rows: Numbers, present: Numbers) -> Matrix:
        centres = np.stack([self.matrix[train[self.y[train] == c]].mean(axis=0) for c in present])
        square = ((self.matrix[rows] ** 2).sum(axis=1)[:, None] - 2 * self.matrix[rows] @ centres.T) + (centres**2).sum(
            axis=1
        )
        nearest = square.min(axis=1, keepdims=True)
        scale = np.maximum(np.median(square, axis=1, keepdims=True) - nearest, 1e-9) / 5
        odds = np.exp(-(square - nearest) / scale)
        made: Matrix = odds / odds.sum(axis=1, keepdims=True)
        return made

    def crossed(self, clusters: Numbers) -> Matrix:
        """Probability of each class for each row, from models that saw neither it nor its near-duplicates."""
        made = np.zeros((len(self.y), self.classes))
        fold = self._folds(clusters)
        for k in range(FOLDS):
            rows = np.flatnonzero(fold == k)
            if len(rows):
                made[rows] = self.held_out(np.flatnonzero((fold != k) & (self.y >= 0)), rows)
        return made

    def _folds(self, clusters: Numbers) -> Numbers:
        """A fold for each row: the same for a cluster, classes spread evenly."""
        order = np.random.default_rng(self.seed).permutation(len(self.y))
        fold = np.full(len(self.y), -1, dtype=np.int64)
        of_cluster: dict[int, int] = {}
        dealt = np.zeros(self.classes + 1, dtype=np.int64)
        for i in order:
            cluster, kind = int(clusters[i]), int(self.y[i])
            if cluster not in of_cluster:
                of_cluster[cluster] = int(dealt[kind] % FOLDS)
                dealt[kind] += 1
            fold[i] = of_cluster[cluster]
        return fold


def surprise(wrong: int, rows: int, rate: float) -> float:
    """Probability of at least ``wrong`` among ``rows`` where each is wrong with probability ``rate``."""
    return float(library("scipy.stats").binom.sf(wrong - 1, rows, min(max(rate, 1e-6), 1.0)))


def confident_errors(probabilities: Matrix, y: Numbers) -> tuple[Numbers, Numbers]:
    """Positions of likely label errors and the classes that they more likely have, by confident learning.

    A class's threshold is the mean probability that it gets in its own rows; a row counts for the most probable class
    whose threshold it reaches, and is an error where that is not its label. Source: Northcutt, Jiang and Chuang,
    "Confident Learning", JAIR 70 (2021), section 3.1 (the confident joint).
    """
    rows = np.flatnonzero(y >= 0)
    thresholds = np.full(probabilities.shape[1], np.inf)
    for c in np.unique(y[rows]):
        thresholds[c] = probabilities[rows[y[rows] == c], c].mean()
    reached = np.where(probabilities[rows] >= thresholds, probabilities[rows], -1.0)
    suggested = reached.argmax(axis=1)
    wrong = (reached.max(axis=1) >= 0) & (suggested != y[rows])
    return rows[wrong], suggested[wrong].astype(np.int64)
