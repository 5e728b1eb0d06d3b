"""A model and what its inputs look like, told or learned from rows: ranges, whole numbers, groups, fresh rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""Rows to probabilities, rows by classes."""
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class World:
    """A model and what its inputs look like. Columns are plain numbers; a group is a choice in one-hot form."""

    predict: Predict
    draw: Callable[[Rng, int], np.ndarray]
    """Fresh rows of the population that honest callers ask about."""
    low: np.ndarray
    """Least value of each column."""
    high: np.ndarray
    step: np.ndarray
    """Grid of each column; 0: any number."""
    spread: np.ndarray
    """What honest callers' noise is measured in: a standard deviation; 0 for columns that nobody measures."""
    groups: tuple[tuple[int, ...], ...] = ()
    members: np.ndarray | None = None
    """Training rows, for membership inference; None: fresh rows."""
    texts: tuple[tuple[int, ...], ...] = ()
    """Those of the groups that are one column of text: a caller cannot send what lies between two values."""

    @property
    def seen(self) -> np.ndarray:
        """Places of the columns that detectors look at: texts have no distance."""
        return np.setdiff1d(np.arange(len(self.low)), [place for text in self.texts for place in text])

    @property
    def range(self) -> np.ndarray:
        """High minus low, 1 where they are the same."""
        found: np.ndarray = np.where(self.high > self.low, self.high - self.low, 1.0)
        return found

    def valid(self, rows: np.ndarray) -> np.ndarray:
        """Which rows a schema made from training data lets through: ranges, grids, exactly one of each group."""
        steps = np.where(self.step > 0, self.step, 1.0)
        off = np.abs(rows / steps - np.round(rows / steps)) * steps
        good = np.asarray(((rows >= self.low - 1e-9) & (rows <= self.high + 1e-9)).all(axis=1))
        good &= ((self.step == 0) | (off < 1e-6)).all(axis=1)
        for group in self.groups:
            part = rows[:, list(group)]
            good &= ((np.abs(part) < 1e-9) | (np.abs(part - 1) < 1e-9)).all(axis=1) & (
                np.abs(part.sum(axis=1) - 1) < 1e-9
            )
        return good

    def jitter(self, rows: np.ndarray, level: float, rng: Rng) -> np.ndarray:
        """The same rows as another sensor or clerk would state them, always valid; ``level`` in spreads."""
        moved = rows + rng.normal(size=rows.shape) * level * self.spread
        moved = np.where(self.step > 0, np.round(moved / np.where(self.step > 0, self.step, 1.0)) * self.step, moved)
        moved = np.clip(moved, self.low, self.high)
        for group in self.groups:
            moved[:, list(group)] = rows[:, list(group)]
        return np.asarray(moved)


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
