"""What an answer gave away: its label, how sure the model was, and how many bits that is. Pure; any answer is taken."""

from __future__ import annotations

import numpy as np

from assay.guard.gateway.interface import Answers

_NAN = float("nan")


def labels_of(answers: Answers | None, count: int) -> list[int]:
    """The class of each row; -1 where it is not known."""
    if answers is not None:
        if answers.labels is not None and len(answers.labels) == count:
            return [int(label) & 0x7FFFFFFF for label in answers.labels.tolist()]
        given = answers.probabilities
        if given is not None and given.ndim == 2 and given.shape[0] == count and given.shape[1]:
            found: list[int] = given.argmax(axis=1).tolist()
            return found
    return [-1] * count


def margins(answers: Answers | None, count: int) -> list[float]:
    """The best minus the second-best probability of each row; NaN where it is not known."""
    if answers is None or answers.probabilities is None:
        return [_NAN] * count
    given = answers.probabilities
    if given.ndim != 2 or given.shape[0] != count or given.shape[1] < 2:
        return [_NAN] * count
    if count == 1:
        best = sorted(given[0].tolist())
        return [best[-1] - best[-2]]
    top = np.partition(given, given.shape[1] - 2, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):  # an infinite probability is none, whatever a model server says
        found: list[float] = (top[:, 1] - top[:, 0]).tolist()
    return found


def information(answers: Answers | None, count: int) -> np.ndarray:
    """Bits of each answer: one for the label, and the entropy of its probabilities, which the label alone would have
    left open; at most 64.
    """
    if answers is None or answers.probabilities is None or answers.probabilities.shape[:1] != (count,):
        return np.ones(count)
    given = np.clip(np.nan_to_num(answers.probabilities, posinf=1.0, neginf=0.0), 1e-12, 1.0)
    return np.asarray(np.minimum(1.0 - (given * np.log2(given)).reshape(count, -1).sum(axis=1), 64.0))
