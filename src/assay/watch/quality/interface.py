"""What the files of model quality speak in: a sample of predictions with labels, and the metrics that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from assay.watch.estimates import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Codes: TypeAlias = NDArray[np.int64]
    Marks: TypeAlias = NDArray[np.bool_]

SMALLEST_FOR_DEVIATION = 200
"""From so many samples on SageMaker gives a standard deviation."""


class Problem(StrEnum):
    """What a model does; SageMaker's ``ProblemType``."""

    REGRESSION = "Regression"
    BINARY = "BinaryClassification"
    MULTICLASS = "MulticlassClassification"

    @property
    def stem(self) -> str:
        """As SageMaker's keys begin: ``binary_classification`` of ``binary_classification_metrics``."""
        return {"Regression": "regression", "BinaryClassification": "binary_classification"}.get(
            self.value, "multiclass_classification"
        )


_FS = ("f0_5", "f1", "f2")
_SHARES = ("recall", "precision", "accuracy")
_RATES = ("true_positive_rate", "true_negative_rate", "false_positive_rate", "false_negative_rate")
_WEIGHTED = ("accuracy", *(f"weighted_{name}" for name in ("recall", "precision", *_FS)))
CONSTANT = "_best_constant_classifier"
"""How the names of a trivial model's metrics end."""
METRICS: Mapping[Problem, frozenset[str]] = {
    Problem.REGRESSION: frozenset({"mae", "mse", "rmse", "r2"}),
    Problem.BINARY: frozenset((*_SHARES, *_RATES, "auc", *_FS, *(f"{name}{CONSTANT}" for name in (*_SHARES, *_FS)))),
    Problem.MULTICLASS: frozenset((*_WEIGHTED, *(f"{name}{CONSTANT}" for name in _WEIGHTED))),
}
"""The names of all metrics."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what."""

    label: str
    """The ground truth; SageMaker's ``ground_truth_attribute``."""
    prediction: str | None = None
    """The predicted number or class; ``inference_attribute``. None: made of the probability and its threshold."""
    probability: str | None = None
    """Of the positive class (binary) or of the predicted class (multiclass); ``probability_attribute``."""
    positive: str | None = None
    """The positive class of a binary problem; None where the classes are 0 and 1, or false and true."""
    threshold: float = 0.5
    """From here on a probability predicts the positive class; ``probability_threshold_attribute``."""
    segments: tuple[str, ...] = ()
    """Columns by whose values the metrics are looked at apart as well."""
    classes: tuple[str, ...] = ()
    """The classes that there are, if they are known; others are then unknown ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Predictions whose ground truth is known, as arrays of one length."""

    problem: Problem
    actual: Floats | Codes
    """Numbers, or codes into ``classes``; for a binary problem 1 is the positive class."""
    predicted: Floats | Codes
    score: Floats | None = None
    """Probabilities as in `Columns.probability`, in 0..1."""
    classes: tuple[str, ...] = ()
    segments: Mapping[str, tuple[Codes, tuple[str, ...]]] = field(default_factory=dict)
    """Of each segment column the code per row, and the codes' names."""
    rows: int = 0
    """Rows that came in, usable or not."""
    unlabelled: int = 0
    """Of them: without ground truth."""
    unusable: Mapping[str, int] = field(default_factory=dict)
    """Of the labelled ones: those that cannot be judged, by reason. They are in no array."""
    unknown: tuple[str, ...] = ()
    """Classes that are not among the known ones, at most ten; they count as classes of their own."""

    @property
    def size(self) -> int:
        """Predictions that can be judged."""
        return len(self.actual)


@dataclass(frozen=True, slots=True)
class Quality:
    """The metrics of one sample."""

    problem: Problem
    samples: int
    metrics: Mapping[str, Estimate]
    """By SageMaker's names, in its order."""
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows are labels, columns are predictions, in the order of ``classes``."""
    curves: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    """``receiver_operating_characteristic_curve`` and ``precision_recall_curve``, by SageMaker's names."""
