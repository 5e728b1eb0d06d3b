"""Was this row in the training? Four attacks, each as the area under its ROC curve: 0.5 is guessing, 1 is knowing.

``learned`` is the adversarial-robustness-toolbox's black-box attack, trained on half of the rows and asked about the
other half; the others are thresholds. ``copies`` needs labels alone (Choquette-Choo 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from assay.errors import MissingExtraError
from assay.guard.gateway.simulate.interface import Labelled
from assay.guard.gateway.simulate.world import Rng

COPIES = 25
"""Noisy copies of a row."""
LEVEL = 0.05
"""Their noise, in shares of a column's range."""

Ask = Callable[[np.ndarray], np.ndarray]


def attack(members: Labelled, others: Labelled, ask: Ask, span: np.ndarray, seed: int) -> dict[str, float]:
    """Areas by attack. ``span``: each column's range."""
    count = min(len(members), len(others))
    rows = np.concatenate([members.rows[:count], others.rows[:count]])
    labels = np.concatenate([members.labels[:count], others.labels[:count]])
    inside = np.arange(2 * count) < count
    answers = ask(rows)
    told = answers[np.arange(len(rows)), labels]
    return {
        "confidence": area(told, inside),
        "learned": _learned(answers, labels, inside, ask, rows, seed),
        "copies": area(_copies(rows, labels, ask, span, np.random.default_rng(seed)), inside),
    }


def area(scores: np.ndarray, inside: np.ndarray) -> float:
    """Chance that a member scores higher than another row; ties count half (Mann and Whitney)."""
    values, places = np.unique(scores, return_inverse=True)
    members = np.bincount(places[inside], minlength=len(values))
    others = np.bincount(places[~inside], minlength=len(values))
    below = np.cumsum(others) - others
    return float((members * (below + others / 2)).sum() / (members.sum() * others.sum()))


def _copies(rows: np.ndarray, labels: np.ndarray, ask: Ask, span: np.ndarray, rng: Rng) -> np.ndarray:
    """How many noisy copies of a row get its label: rows that were learned lie further from the boundary."""
    score = 2.0 * (ask(rows).argmax(axis=1) == labels)
    for _ in range(COPIES):
        moved = rows + rng.normal(size=rows.shape) * LEVEL * span
        score += (ask(moved).argmax(axis=1) == labels) / COPIES
    found: np.ndarray = score
    return found


def _learned(
    answers: np.ndarray, labels: np.ndarray, inside: np.ndarray, ask: Ask, rows: np.ndarray, seed: int
) -> float:
    try:
        from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
        from art.estimators.classification import BlackBoxClassifier
    except ImportError:
        raise MissingExtraError("membership inference by the adversarial-robustness-toolbox", "simulate") from None
    order = np.random.default_rng(seed).permutation(len(rows))
    known, asked = order[: len(order) // 2], order[len(order) // 2 :]
    model: Any = BlackBoxClassifier(ask, (rows.shape[1],), answers.shape[1])
    found = MembershipInferenceBlackBox(model, attack_model_type="rf")
    forest: Any = found.attack_model
    forest.set_params(min_samples_leaf=10, random_state=seed, n_jobs=1)
    members, others = known[inside[known]], known[~inside[known]]
    found.fit(
        rows[members], labels[members], rows[others], labels[others], pred=answers[members], test_pred=answers[others]
    )
    scores = found.infer(rows[asked], labels[asked], pred=answers[asked], probabilities=True)
    return area(np.asarray(scores).reshape(len(asked), -1)[:, -1], inside[asked])
