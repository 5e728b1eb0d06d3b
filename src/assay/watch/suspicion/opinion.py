"""What the reference teaches about the new rows: a model and the nearest neighbours, each learnt from it alone.

Both are asked about reference rows that they have not seen as well, so that what is usual is measured and not assumed.
Rows that the reference says nothing about (far from all its rows) are not judged.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from assay.collect.scan.poisoning.columns import Matrix, Numbers
from assay.collect.scan.poisoning.libraries import library

Flags: TypeAlias = npt.NDArray[np.bool_]

NEIGHBOURS = 15
FOLDS = 3
_BINS = 20


@dataclass(frozen=True, slots=True)
class Opinion:
    """Of one judge, about the new rows."""

    against: Matrix
    """1.0 where a row's label is not the judge's; shape (rows,)."""
    expected: Matrix
    """How often the judge is wrong where it is as sure as here, measured on the reference; shape (rows,)."""
    probabilities: Matrix
    """What the judge gives each class; shape (rows, classes)."""
    judged: Flags
    """True for rows that the reference says something about; shape (rows,)."""

    @property
    def residual(self) -> Matrix:
        """Contradictions beyond the usual; 0 for rows that are not judged."""
        made: Matrix = np.where(self.judged, self.against - self.expected, 0.0)
        return made

    def excess(self, rows: Numbers | None = None) -> tuple[float, float, float]:
        """Rate of contradictions, the usual rate, and the distance in standard deviations, over judged rows."""
        chosen = np.flatnonzero(self.judged) if rows is None else rows[self.judged[rows]]
        if not len(chosen):
            return 0.0, 0.0, 0.0
        usual = self.expected[chosen]
        spread = float(np.sqrt((usual * (1 - usual)).sum())) or 1.0
        return (
            float(self.against[chosen].mean()),
            float(usual.mean()),
            float((self.against[chosen] - usual).sum()) / spread,
        )


def opinions(
    reference: Matrix, y: Numbers, new: Matrix, labels: Numbers, classes: int, seed: int
) -> tuple[Opinion, Opinion]:
    """The model's and the neighbours' opinion of ``labels`` for ``new``; -1 in ``labels`` is a row without one.

    A class that the reference does not have contradicts both judges everywhere.
    """
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    own, asked = np.zeros((len(y), classes)), np.zeros((len(new), classes))
    for k in range(FOLDS):
        train, rest = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        # Each fold's model is asked, so that new rows are judged by models as good as those that gave the usual rate.
        answers = _model(reference[train], y[train], np.vstack([reference[rest], new]), classes, seed)
        own[rest] = answers[: len(rest)]
        asked += answers[len(rest) :] / FOLDS
    near_own, near_asked, far = _neighbours(reference, y, new, classes)
    judged = (labels >= 0) & ~far
    return _opinion(own, y, asked, labels, judged), _opinion(near_own, y, near_asked, labels, judged)


def _model(train: Matrix, y: Numbers, rows: Matrix, classes: int, seed: int) -> Matrix:
    made = np.zeros((len(rows), classes))
    present = np.unique(y)
    if len(present) < 2:
        made[:, present] = 1.0
        return made
    kind = library("sklearn.ensemble").HistGradientBoostingClassifier
    model = kind(max_iter=60, learning_rate=0.15, max_leaf_nodes=15, random_state=seed, early_stopping=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(train, y)
    made[:, model.classes_] = model.predict_proba(rows)
    return made


def _neighbours(reference: Matrix, y: Numbers, new: Matrix, classes: int) -> tuple[Matrix, Matrix, Flags]:
    count = min(NEIGHBOURS, len(reference) - 1)
    finder = library("sklearn.neighbors").NearestNeighbors(n_neighbors=count + 1).fit(reference)
    distance, index = finder.kneighbors(reference)
    votes = np.eye(classes)[y]
    own = votes[index[:, 1:]].mean(axis=1)
    away, places = finder.kneighbors(new, n_neighbors=count)
    # Farther from the reference than nearly all of its own rows are from each other: it says nothing there.
    limit = np.quantile(distance[:, count // 2], 0.99)
    return own, votes[places].mean(axis=1), away[:, count // 2] > max(limit, 1e-12)


def _opinion(own: Matrix, y: Numbers, asked: Matrix, labels: Numbers, judged: Flags) -> Opinion:
    wrong = (own.argmax(axis=1) != y).astype(np.float64)
    against = (asked.argmax(axis=1) != labels).astype(np.float64)
    return Opinion(against, _calibrated(own.max(axis=1), wrong, asked.max(axis=1)), asked, judged)


def _calibrated(sure: Matrix, wrong: Matrix, asked: Matrix) -> Matrix:
    """Rate of errors by how sure a judge was, as a falling step function (isotonic regression), at ``asked``."""
    model = library("sklearn.isotonic").IsotonicRegression(y_min=0.0, y_max=1.0, increasing=False, out_of_bounds="clip")
    edges = np.unique(np.quantile(sure, np.linspace(0, 1, _BINS + 1)))
    place = np.clip(np.searchsorted(edges, sure, side="right") - 1, 0, max(len(edges) - 2, 0))
    size = np.bincount(place)
    used = size > 0
    # Half a right and half a wrong answer more in each bin: no certainty from few rows (Jeffreys' prior).
    rate = (np.bincount(place, wrong)[used] + 0.5) / (size[used] + 1.0)
    model.fit(np.bincount(place, sure)[used] / size[used], rate, sample_weight=size[used])
    made: Matrix = np.clip(model.predict(asked), 1e-3, 1.0)
    return made
