"""Two models to attack, made in code: handwritten digits with a small network, and a table of people with trees."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from assay.guard.gateway.simulate.world import World


def digits(seed: int = 0) -> tuple[World, np.ndarray]:
    """scikit-learn's digits (8 by 8, 16 greys) and an MLP, with its training rows. Honest callers ask about digits that
    nobody has seen; all are shifted, turned and scaled a little, those of the training too.
    """
    from scipy import ndimage
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data = load_digits()
    made = np.random.default_rng(seed)
    order = made.permutation(len(data.data))
    train, pool = order[:900], order[900:]
    down, across = np.meshgrid(np.arange(8) - 3.5, np.arange(8) - 3.5, indexing="ij")

    def vary(which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images, count = data.images[which], len(which)
        angle, scale = rng.normal(size=count) * 0.08, 1 + rng.normal(size=count) * 0.04
        shift = rng.normal(size=(2, count)) * 0.25
        cos, sin = (np.cos(angle) * scale)[:, None, None], (np.sin(angle) * scale)[:, None, None]
        y = cos * down - sin * across + shift[0][:, None, None] + 3.5
        x = sin * down + cos * across + shift[1][:, None, None] + 3.5
        each = np.broadcast_to(np.arange(count)[:, None, None], y.shape)
        return ndimage.map_coordinates(images, [each, y, x], order=1, mode="constant").reshape(count, 64)

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        return vary(pool[rng.integers(len(pool), size=count)], rng)

    chosen = np.repeat(train, 3)
    rows, labels = vary(chosen, made), data.target[chosen]
    model = MLPClassifier((64,), max_iter=200, random_state=seed, alpha=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows / 16.0, labels)
    low, high = np.zeros(64), np.full(64, 16.0)
    world = World(
        lambda x: predicted(model.predict_proba, x / 16.0), draw, low, high, np.zeros(64), np.full(64, 4.5), (), rows
    )
    return world, rows


def people(seed: int = 0) -> tuple[World, np.ndarray]:
    """A table like the census' Adult: 6 numbers and 8 choices in 48 columns, an income class, and boosted trees."""
    from sklearn.ensemble import GradientBoostingClassifier

    sizes = (6, 5, 7, 6, 4, 2, 5, 7)
    groups = []
    at = 6
    for size in sizes:
        groups.append(tuple(range(at, at + size)))
        at += size
    made = np.random.default_rng(1000 + seed)
    # Three hidden traits of a person move every column, so that columns hang together.
    pulls = [made.normal(size=(3, size)) * 1.2 for size in sizes]
    base = [np.log(made.dirichlet(np.full(size, 1.5)) + 0.01) for size in sizes]

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        traits = rng.normal(size=(count, 3))
        rows = np.zeros((count, at))
        rows[:, 0] = np.clip(np.round(40 + 9 * traits[:, 0] + 8 * rng.normal(size=count)), 17, 90)
        rows[:, 1] = np.clip(np.round(10 + 2.2 * traits[:, 1] + rng.normal(size=count)), 1, 16)
        rows[:, 2] = np.clip(np.round(40 + 5 * traits[:, 2] + 6 * rng.normal(size=count)), 1, 99)
        gain = (traits[:, 1] + rng.normal(size=count) > 2.0) * rng.lognormal(8, 1, size=count)
        loss = (traits[:, 0] + rng.normal(size=count) > 2.4) * rng.lognormal(7, 0.4, size=count)
        rows[:, 3] = np.clip(np.round(gain), 0, 99999)
        rows[:, 4] = np.clip(np.round(loss), 0, 4356)
        rows[:, 5] = np.clip(np.round(rng.lognormal(12, 0.5, size=count)), 12000, 1_500_000)
        for group, pull, start in zip(groups, pulls, base, strict=True):
            scores = start + traits @ pull + rng.gumbel(size=(count, len(group)))
            rows[np.arange(count), group[0] + scores.argmax(axis=1)] = 1.0
        return rows

    rows = draw(made, 2000)
    score = 0.04 * (rows[:, 0] - 40) + 0.35 * (rows[:, 1] - 10) + 0.05 * (rows[:, 2] - 40) + 2e-4 * rows[:, 3]
    score += rows[:, 6:] @ (made.normal(size=at - 6) * 0.7)
    labels = (score + made.logistic(size=len(rows)) > np.quantile(score, 0.7)).astype(int)
    model = GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=seed).fit(rows, labels)
    low, high = np.zeros(at), np.ones(at)
    low[:6], high[:6] = [17, 1, 1, 0, 0, 12000], [90, 16, 99, 99999, 4356, 1_500_000]
    step = np.ones(at)
    spread = np.zeros(at)
    spread[:6] = [12, 2.4, 8, 0, 0, 100_000]
    world = World(lambda x: predicted(model.predict_proba, x), draw, low, high, step, spread, tuple(groups), rows)
    return world, rows


def predicted(predict: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Probabilities, for rows of any number."""
    return predict(np.ascontiguousarray(rows))


WORLDS = {"digits": digits, "people": people}
