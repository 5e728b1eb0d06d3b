"""Models as the simulation asks them. A model's own faults become sentences that name it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.errors import UsageError
from assay.guard.gateway.simulate.texts import Encoding


class Fitted:
    """A classifier with scikit-learn's ``predict_proba`` and ``classes_``, alone or at the end of a pipeline."""

    def __init__(self, model: Any, columns: Sequence[str], name: str) -> None:
        """``columns``: of the rows that will be asked about. Raises `UsageError` for another kind of model, or one that
        was trained on other columns.
        """
        classes = getattr(model, "classes_", None)
        if not callable(getattr(model, "predict_proba", None)) or classes is None or isinstance(classes, list):
            raise UsageError(
                f"{name} is no classifier with probabilities: it has no predict_proba and classes_",
                hint="scikit-learn's classifiers, and pipelines that end with one, have them",
            )
        wanted = getattr(model, "feature_names_in_", None)
        self._named = wanted is not None
        self.names = tuple(str(one) for one in wanted) if wanted is not None else tuple(columns)
        if missing := [one for one in self.names if one not in columns]:
            raise UsageError(f"the data have no column {missing[0][:100]!r}, on which {name} was trained")
        count = getattr(model, "n_features_in_", len(self.names))
        if count != len(self.names):
            raise UsageError(
                f"{name} was trained on {count} columns, and the data have {len(self.names)}",
                hint=f"take the others out (--leave-out COLUMN) of {', '.join(columns)[:300]}",
            )
        self.classes = tuple(word(one) for one in np.asarray(classes).tolist())
        self._model = _alone(model)
        self._name = name
        self._encoding: Encoding | None = None
        self.texts: tuple[tuple[int, ...], ...] = ()

    def encode(self, encoding: Encoding) -> None:
        """From now on rows are those of ``encoding``, and the model is asked with its columns of text.

        Raises `UsageError` for one that was trained on a matrix: it knows no columns.
        """
        if not self._named:
            text = next(name for name, values in encoding.columns if values)
            raise UsageError(
                f"the column {text[:100]!r} is no number, and {self._name} was trained on numbers without names",
                hint="train a pipeline that encodes it (OneHotEncoder) on a table with names (DataFrame)",
            )
        self._encoding, self.names, self.texts = encoding, encoding.names, encoding.groups

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities. Raises `UsageError` where the model fails."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one about names of columns, at each call
                answers = self._model.predict_proba(self._given(rows))
        except Exception as error:
            said = str(error).partition("\n")[0][:300]  # the rest is advice to programmers
            raise UsageError(f"{self._name} fails on these rows: {type(error).__name__}: {said}") from None
        return np.asarray(answers, dtype=np.float64)

    def _given(self, rows: np.ndarray) -> Any:
        """With names where the model may look for columns by them: only pipelines do, and only with pandas."""
        if self._encoding is not None:
            return self._encoding.frame(rows)
        if not (self._named and hasattr(self._model, "steps")):
            return rows
        try:
            import pandas
        except ImportError:
            return rows
        return pandas.DataFrame(rows, columns=list(self.names))


def word(value: object) -> str:
    """A class or label as text: 1, 1.0 and "1" are the same one."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _alone(model: Any) -> Any:
    """The model without threads of its own: for one row they cost more than the answer, and nothing runs beside us."""
    for part in (model, *(step for _, step in getattr(model, "steps", ()))):
        if getattr(part, "n_jobs", None) not in (None, 1):
            part.n_jobs = 1
    return model
