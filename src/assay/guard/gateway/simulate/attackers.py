"""Attackers who ask a model through an `Oracle`, as a detector sees them: for `simulate` (its attacks on a user's model
may start here), and for the detectors' tests and benchmark.

Everything is drawn from the generator that is passed in, stays in memory and asks only the predictor that it was given.
`record` runs an attack and gives what was asked and answered. An attack never ends by itself: the oracle's limit does
that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from assay.errors import MissingExtraError
from assay.guard.gateway.simulate.texts import snapped
from assay.guard.gateway.simulate.world import Rng, World


class Enough(Exception):
    """The oracle's limit is reached."""


class Oracle:
    """The model as an attacker reaches it: it counts, remembers and ends. ``share`` of the queries are the attacker's
    own, the others are honest ones between them, to look harmless.
    """

    def __init__(self, world: World, limit: int, rng: Rng, share: float = 1.0) -> None:
        self.world = world
        self.limit = limit
        self.asked: list[np.ndarray] = []
        self.answered: list[np.ndarray] = []
        self.count = 0
        self._rng = rng
        self._share = share

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of each row. Raises `Enough`, when what fits was asked."""
        rows = np.atleast_2d(np.asarray(rows, dtype=np.float64))
        if self._share < 1.0:
            between = self._rng.geometric(self._share, size=len(rows)) - 1
            others = self.world.draw(self._rng, max(int(between.sum()), 1))
            mixed, own, used = [], [], 0
            for row, extra in zip(rows, between.tolist(), strict=True):
                mixed += [*others[used : used + extra], row]
                own.append(len(mixed) - 1)
                used += extra
            return self._ask(np.array(mixed))[own]
        return self._ask(rows)

    def _ask(self, rows: np.ndarray) -> np.ndarray:
        rows = rows[: self.limit - self.count]
        if not len(rows):
            raise Enough
        rows = snapped(rows, self.world.texts)
        answers = self.world.predict(rows)
        self.asked.append(rows.copy())
        self.answered.append(answers)
        self.count += len(rows)
        if self.count >= self.limit:
            raise Enough
        return answers


Attack = Callable[[Oracle, Rng], None]


def record(world: World, attack: str, rng: Rng, queries: int, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows and answers of ``queries`` queries of an attack by its name in `ATTACKS`."""
    oracle = Oracle(world, queries, rng, share)
    try:
        while True:
            ATTACKS[attack](oracle, rng)
    except Enough:
        pass
    return np.concatenate(oracle.asked), np.concatenate(oracle.answered)


def random_rows(world: World, rng: Rng, count: int) -> np.ndarray:
    """Uniform over all that is valid."""
    rows = rng.uniform(world.low, world.high, size=(count, len(world.low)))
    rows = world.jitter(rows, 0.0, rng)
    for group in world.groups:
        rows[:, list(group)] = np.eye(len(group))[rng.integers(len(group), size=count)]
    return rows


def random(oracle: Oracle, rng: Rng) -> None:
    """Uniform queries, as somebody without data asks."""
    oracle(random_rows(oracle.world, rng, 50))


def knock_off(oracle: Oracle, rng: Rng) -> None:
    """Another domain's data (Orekondy 2019), here: each column as it is, independent of the others."""
    world = oracle.world
    rows = world.draw(rng, 50)
    tied = {column: group for group in world.groups for column in group}
    for column in range(rows.shape[1]):
        if column not in tied:
            rows[:, column] = rng.permutation(rows[:, column])
    for group in world.groups:
        rows[:, list(group)] = rows[rng.permutation(len(rows))][:, list(group)]
    oracle(rows)


def jacobian(oracle: Oracle, rng: Rng) -> None:
    """Augmentation by a substitute's Jacobian (Papernot 2017) from 60 seeds."""
    world = oracle.world
    rows = world.draw(rng, 60)
    answers = oracle(rows)
    while True:
        substitute = _Substitute(rows / world.range, answers, rng)
        signs = np.sign(substitute.gradient(rows / world.range, answers.argmax(axis=1)))
        new = np.clip(rows + 0.1 * world.range * signs, world.low, world.high)
        rows, answers = np.concatenate([rows, new]), np.concatenate([answers, oracle(new)])


def line_search(oracle: Oracle, rng: Rng) -> None:
    """Bisection between two rows of different classes, to the boundary (Tramèr 2016)."""
    world = oracle.world
    rows = world.draw(rng, 20)
    labels = oracle(rows[:2]).argmax(axis=1)
    for other in rows[2:]:
        if labels[0] != labels[1]:
            break
        rows[1], labels[1] = other, oracle(other).argmax()
    left, right = rows[0], rows[1]
    for _ in range(12):
        middle = (left + right) / 2
        if oracle(middle).argmax() == labels[0]:
            left = middle
        else:
            right = middle


def label_only(oracle: Oracle, rng: Rng) -> None:
    """Membership by how many noisy copies keep the label (Choquette-Choo 2021)."""
    world = oracle.world
    row = _member(world, rng)
    oracle(np.concatenate([row, row + rng.normal(size=(25, row.shape[1])) * 0.05 * world.range]))


def confidence(oracle: Oracle, rng: Rng) -> None:
    """Membership by confidence: one query for each candidate. Nothing sets it apart from an honest caller."""
    oracle(_member(oracle.world, rng))


def inversion(oracle: Oracle, rng: Rng) -> None:
    """A class's typical input by climbing its probability along estimated gradients (NES; Fredrikson 2015)."""
    world = oracle.world
    row = (world.low + world.high) / 2 + rng.normal(size=len(world.low)) * 0.05 * world.range
    target = int(rng.integers(oracle(row).shape[1]))
    for _ in range(15):
        noise = rng.normal(size=(10, len(row)))
        noise = np.concatenate([noise, -noise])
        scores = np.log(oracle(np.clip(row + 0.05 * world.range * noise, world.low, world.high))[:, target] + 1e-9)
        step = ((scores - scores.mean())[:, None] * noise).mean(axis=0)
        row = np.clip(row + 0.1 * world.range * step / (np.abs(step).max() + 1e-12), world.low, world.high)


def mixup(oracle: Oracle, rng: Rng) -> None:
    """Between the rows that somebody has: convex combinations of 100 seeds."""
    seeds = oracle.world.draw(rng, 100)
    pairs = rng.integers(len(seeds), size=(1000, 2))
    weights = rng.uniform(0.2, 0.8, size=(1000, 1))
    oracle(weights * seeds[pairs[:, 0]] + (1 - weights) * seeds[pairs[:, 1]])


def in_distribution(oracle: Oracle, rng: Rng) -> None:
    """Rows like everybody's, only more of them."""
    oracle(oracle.world.draw(rng, 50))


def hop_skip_jump(oracle: Oracle, rng: Rng) -> None:
    """HopSkipJump (Chen 2020) by the adversarial-robustness-toolbox. The oracle's limit ends it: ART's search for a
    step size never ends where the boundary has flat sides, as trees have.
    """
    try:
        from art.attacks.evasion import HopSkipJump
        from art.estimators.classification import BlackBoxClassifier
    except ImportError:
        raise MissingExtraError("HopSkipJump", "simulate") from None
    world = oracle.world
    low, span = world.low, world.range
    # In the unit cube, since the attack has one step size for all columns.
    start = world.draw(rng, 1)
    known = world.predict(start)
    classes = known.shape[1]

    def ask(rows: np.ndarray) -> np.ndarray:
        answers = oracle(np.clip(rows, 0, 1) * span + low)
        return np.asarray(np.eye(classes, dtype=np.float32)[answers.argmax(axis=1)])

    # ART would draw the first row of another class itself, from a generator that nobody can seed.
    for _ in range(20):
        other = rng.uniform(size=start.shape).astype(np.float32)
        if ask(other).argmax() != known.argmax():
            break
    else:
        return
    wrapped: Any = BlackBoxClassifier(ask, (len(low),), classes, clip_values=(0.0, 1.0))
    state = np.random.get_state()
    np.random.seed(int(rng.integers(2**31)))  # ART draws from numpy's global generator
    try:
        attack = HopSkipJump(wrapped, max_iter=20, max_eval=200, init_eval=20, init_size=20, verbose=False)
        attack.generate(((start - low) / span).astype(np.float32), x_adv_init=other)
    finally:
        np.random.set_state(state)


ATTACKS: Mapping[str, Attack] = {
    "random": random,
    "knock-off": knock_off,
    "line-search": line_search,
    "hop-skip-jump": hop_skip_jump,
    "inversion": inversion,
    "label-only": label_only,
    "mixup": mixup,
    "jacobian": jacobian,
    "in-distribution": in_distribution,
    "confidence": confidence,
}
"""By name. The last two are those that no detector sees."""


def _member(world: World, rng: Rng) -> np.ndarray:
    if world.members is None or rng.random() < 0.5:
        return world.draw(rng, 1)
    return np.asarray(world.members[rng.integers(len(world.members), size=1)])


class _Substitute:
    """One hidden layer, trained by Adam on what was answered."""

    def __init__(self, rows: np.ndarray, answers: np.ndarray, rng: Rng) -> None:
        hidden = 32
        self.centre = rows.mean(axis=0)
        scale = 1.0 / np.sqrt(rows.shape[1])
        weights = [rng.normal(size=(rows.shape[1], hidden)) * scale, np.zeros(hidden)]
        weights += [rng.normal(size=(hidden, answers.shape[1])) / np.sqrt(hidden), np.zeros(answers.shape[1])]
        first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
        for turn in range(1, 151):
            chosen = rng.integers(len(rows), size=64)
            inputs = rows[chosen] - self.centre
            inner = np.tanh(inputs @ weights[0] + weights[1])
            wrong = (_softmax(inner @ weights[2] + weights[3]) - answers[chosen]) / 64
            back = (wrong @ weights[2].T) * (1 - inner**2)
            slopes = [inputs.T @ back, back.sum(axis=0), inner.T @ wrong, wrong.sum(axis=0)]
            for i, slope in enumerate(slopes):
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope**2
                rate = 0.01 * np.sqrt(1 - 0.999**turn) / (1 - 0.9**turn)
                weights[i] -= rate * first[i] / (np.sqrt(second[i]) + 1e-8)
        self.weights = weights

    def gradient(self, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Of each row's class score by its columns."""
        inner = np.tanh((rows - self.centre) @ self.weights[0] + self.weights[1])
        return np.asarray(((1 - inner**2) * self.weights[2].T[labels]) @ self.weights[0].T)


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
