"""What the model's inputs look like, learned from rows: ranges, whole numbers, one-hot groups, fresh rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from assay.guard.gateway.simulate.traffic import Predict, Rng, World


def world_of(
    predict: Predict,
    population: np.ndarray,
    names: Sequence[str],
    members: np.ndarray | None,
    texts: tuple[tuple[int, ...], ...] = (),
) -> World:
    """A world whose callers ask about rows like those of ``population``; ``texts`` are groups that are one text each.

    There are only so many rows: a fresh one is one of them, each number moved by a hundredth of its column's deviation.
    """
    low, high = population.min(axis=0), population.max(axis=0)
    whole = (population == np.round(population)).all(axis=0)
    level = np.where(whole, 0.0, population.std(axis=0) * 0.01)

    def fresh(rng: Rng, count: int) -> np.ndarray:
        chosen = population[rng.integers(len(population), size=count)]
        drawn: np.ndarray = np.clip(chosen + rng.normal(size=chosen.shape) * level, low, high)
        return drawn

    binary = ((population == 0) | (population == 1)).all(axis=0)
    return World(
        predict,
        fresh,
        low=low,
        high=high,
        step=whole.astype(float),
        spread=np.where(binary, 0.0, population.std(axis=0)),
        groups=(*groups(population, names, texts), *texts),
        members=members,
        texts=texts,
    )


def groups(
    population: np.ndarray, names: Sequence[str], texts: tuple[tuple[int, ...], ...] = ()
) -> tuple[tuple[int, ...], ...]:
    """Columns beside each other, none of ``texts``, that are one choice: of one beginning (``job_``, ``job=``), 0 or 1,
    one of them 1.
    """
    binary = ((population == 0) | (population == 1)).all(axis=0)
    binary[[place for text in texts for place in text]] = False
    found = []
    for stem, together in groupby(range(len(names)), key=lambda i: _stem(names[i]) if binary[i] else ""):
        columns = tuple(together)
        if stem and len(columns) > 1 and (population[:, list(columns)].sum(axis=1) == 1).all():
            found.append(columns)
    return tuple(found)


def _stem(name: str) -> str:
    """What stands before the last ``_`` or ``=``."""
    return name[: max(name.rfind("_"), name.rfind("="))] if "_" in name or "=" in name else ""
