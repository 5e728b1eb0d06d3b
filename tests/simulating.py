"""A small model and its data, for tests of the simulation: a forest that knows its training rows by heart."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from assay.guard.gateway.simulate.interface import Data, Labelled
from assay.guard.gateway.simulate.predictors import Fitted

COLUMNS = tuple(f"c{i}" for i in range(8))


@lru_cache
def rows() -> tuple[np.ndarray, np.ndarray]:
    """600 rows of three classes that cannot well be told apart, so that knowing by heart shows."""
    made = make_classification(600, 8, n_informative=5, n_classes=3, flip_y=0.15, class_sep=0.8, random_state=1)
    return np.round(made[0], 3), made[1]


@lru_cache
def forest() -> Any:
    """Trained on the first 300 rows."""
    features, labels = rows()
    return RandomForestClassifier(20, random_state=0).fit(features[:300], labels[:300])


def data() -> Data:
    """Its members and others."""
    features, labels = rows()
    return Data(Labelled(features[:300], labels[:300]), Labelled(features[300:], labels[300:]), True)


def predictor(model: Any = None) -> Fitted:
    """The forest, or another one."""
    return Fitted(model if model is not None else forest(), COLUMNS, "the model")


def table(start: int, end: int) -> str:
    """Rows as CSV."""
    features, labels = rows()
    lines = [",".join((*COLUMNS, "kind"))]
    for row, label in zip(features[start:end].tolist(), labels[start:end].tolist(), strict=True):
        lines.append(",".join(map(repr, row)) + f",{label}")
    return "\n".join(lines) + "\n"
