"""What a class typically looks like, by climbing its probability along gradients that are estimated from answers (NES).

The toolbox's MIFace wants true gradients, which nobody has who asks over a network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.guard.gateway.simulate.interface import Labelled
from assay.guard.gateway.simulate.world import Rng

CLASSES = 4
"""Classes that are tried."""


def attack(
    members: Labelled,
    low: np.ndarray,
    high: np.ndarray,
    ask: Callable[[np.ndarray], np.ndarray],
    queries: int,
    rng: Rng,
) -> float:
    """Mean cosine between what was reconstructed and the class's true mean, both from the mean of all rows and in
    shares of each column's deviation. ``queries`` for each class.
    """
    middle, scale = members.rows.mean(axis=0), members.rows.std(axis=0)
    useful = scale > 1e-9
    found = []
    for target in range(min(CLASSES, ask(middle[None]).shape[1])):
        own = members.rows[members.labels == target]
        if len(own) < 2:
            continue
        row = _climb(middle, low, high, target, ask, queries, rng)
        there = ((row - middle) / np.where(useful, scale, 1.0))[useful]
        true = ((own.mean(axis=0) - middle) / np.where(useful, scale, 1.0))[useful]
        length = float(np.linalg.norm(there) * np.linalg.norm(true))
        found.append(float(there @ true) / length if length > 1e-12 else 0.0)
    return float(np.mean(found)) if found else 0.0


def _climb(
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    target: int,
    ask: Callable[[np.ndarray], np.ndarray],
    queries: int,
    rng: Rng,
) -> np.ndarray:
    span, row, pairs = high - low, start, 20
    for _ in range(max(1, queries // (2 * pairs))):
        noise = rng.normal(size=(pairs, len(row)))
        noise = np.concatenate([noise, -noise])
        scores = np.log(np.maximum(ask(np.clip(row + 0.1 * span * noise, low, high))[:, target], 1e-9))
        step = ((scores - scores.mean())[:, None] * noise).mean(axis=0)
        if (most := np.abs(step).max()) < 1e-12:
            continue  # a plain: other directions are tried from the same place
        row = np.clip(row + 0.05 * span * step / most, low, high)
    found: np.ndarray = row
    return found
