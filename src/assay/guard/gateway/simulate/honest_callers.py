"""Honest callers of five kinds, as generators: for calibrating on training rows alone, for `simulate`, and for the
detectors' tests and benchmark. Everything is drawn from the generator that is passed in; a stream is a matrix of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from assay.guard.gateway.simulate.world import Rng, World


def independent(world: World, rng: Rng, count: int) -> np.ndarray:
    """One new entity after the other."""
    return world.jitter(world.draw(rng, count), _level(rng), rng)


def skewed(world: World, rng: Rng, count: int) -> np.ndarray:
    """Only a part of the population: a region, a product."""
    rows = world.draw(rng, 4 * count)
    along = (rows / world.range) @ rng.normal(size=rows.shape[1])
    chosen = np.argsort(along)[-count:]
    return world.jitter(rows[rng.permutation(chosen)], _level(rng), rng)


def polling(world: World, rng: Rng, count: int) -> np.ndarray:
    """A few entities again and again, as they change a little or not at all."""
    entities = world.draw(rng, int(rng.integers(3, 20)))
    return world.jitter(entities[rng.integers(len(entities), size=count)], _level(rng) * rng.integers(2), rng)


def autocorrelated(world: World, rng: Rng, count: int) -> np.ndarray:
    """Each entity resembles the one before it: a slow walk through the population."""
    rows = world.draw(rng, 2 * count)
    ordered = np.argsort((rows / world.range) @ rng.normal(size=rows.shape[1]))
    walk = np.cumsum(rng.normal(size=count) * 0.05 * len(rows))
    places = np.abs((walk + rng.integers(len(rows))) % (2 * len(rows)) - len(rows)).astype(int)
    return world.jitter(rows[ordered[np.clip(places, 0, len(rows) - 1)]], _level(rng), rng)


def retrying(world: World, rng: Rng, count: int) -> np.ndarray:
    """Independent, and one of the last five queries again after a time-out."""
    rows = independent(world, rng, count)
    share = rng.uniform(0.1, 0.3)
    for i in range(1, count):
        if rng.random() < share:
            rows[i] = rows[i - int(rng.integers(1, min(i, 5) + 1))]
    return rows


HONEST: Mapping[str, tuple[Callable[[World, Rng, int], np.ndarray], float]] = {
    "independent": (independent, 0.40),
    "skewed": (skewed, 0.25),
    "polling": (polling, 0.10),
    "autocorrelated": (autocorrelated, 0.15),
    "retrying": (retrying, 0.10),
}
"""Kinds of honest callers and their shares."""


def honest(world: World, rng: Rng, callers: int, queries: int) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and rows of so many callers, in the shares of `HONEST`, mixed."""
    names = list(HONEST)
    kinds = np.repeat(np.arange(len(names)), np.round([HONEST[name][1] * callers for name in names]).astype(int))
    kinds = np.concatenate([kinds, np.zeros(max(0, callers - len(kinds)), int)])[:callers]
    for kind in rng.permutation(kinds):
        name = names[int(kind)]
        yield name, HONEST[name][0](world, rng, queries)


def _level(rng: Rng) -> float:
    """Each caller's own noise: up to a tenth of a column's spread."""
    return float(rng.uniform(0, 0.1))
