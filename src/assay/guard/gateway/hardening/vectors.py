"""One vector of class probabilities made to say less. Pure: the same vector, hardening and seed give the same answer.

The most probable class stays the first most probable one, whatever is applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Protocol

TOLERANCE = 0.02
"""How far from one the sum of probabilities may be: half precision, and servers that round themselves."""


class How(Protocol):
    """What is applied, in this order: see `settings.model.Hardening`."""

    @property
    def label_only(self) -> bool:
        """1 for the label, 0 for the others."""

    @property
    def top(self) -> int | None:
        """Others than the so many most probable become 0."""

    @property
    def noise(self) -> float | None:
        """Standard deviation."""

    @property
    def buckets(self) -> int | None:
        """Equal parts of which the middle is told."""

    @property
    def digits(self) -> int | None:
        """Decimal digits."""


def is_distribution(values: Sequence[float]) -> bool:
    """Whether these are probabilities of two or more classes."""
    if len(values) < 2:
        return False
    total = 0.0
    for value in values:
        if not -1e-6 <= value <= 1.000001:  # NaN is in no range
            return False
        total += value
    return abs(total - 1.0) <= TOLERANCE


def harden(values: Sequence[float], how: How, seed: bytes | None) -> list[float]:
    """Probabilities with everything applied that ``how`` says. ``seed``, for noise alone, is one of `noise.seeds`."""
    label = max(range(len(values)), key=values.__getitem__)
    if how.label_only:
        return [1.0 if i == label else 0.0 for i in range(len(values))]
    result = [min(max(float(value), 0.0), 1.0) for value in values]
    ranking = sorted(range(len(result)), key=lambda i: (i != label, -result[i])) if how.top is not None else []
    if how.noise:
        if seed is None:
            raise ValueError("noise without a seed")
        result = _noisy(result, label, how.noise, seed)
    if how.buckets is not None:
        count = how.buckets
        result = [(min(int(value * count), count - 1) + 0.5) / count for value in result]
    for i in ranking[how.top :]:  # not before: noise keeps the sum, and would be told by the sum of what is left
        result[i] = 0.0
    if how.buckets is not None:
        _lead(result, label, 1 / how.buckets)
    if how.digits is not None:
        result = [round(value, how.digits) for value in result]
        _lead(result, label, 10.0**-how.digits)
        result = [round(value, how.digits) for value in result]
    return result


def chance(value: float, how: How, seed: bytes | None) -> float:
    """A probability that stands alone, of the second of two classes."""
    return harden((1.0 - value, value), how, seed)[1]


def _noisy(values: list[float], label: int, deviation: float, seed: bytes) -> list[float]:
    """Gaussian noise, with which the label and the sum stay. Box-Muller over a generator whose sequence Python
    keeps the same between versions, unlike that of its ``gauss``.
    """
    draw = Random(seed).random  # noqa: S311 - the seed is what is secret
    total = sum(values)
    noisy = [0.0] * len(values)
    for i, value in enumerate(values):
        normal = math.sqrt(-2.0 * math.log(1.0 - draw())) * math.cos(2.0 * math.pi * draw())
        noisy[i] = max(value + deviation * normal, 1e-6)
    first = max(range(len(noisy)), key=noisy.__getitem__)
    noisy[label], noisy[first] = noisy[first], noisy[label]
    if first < label and noisy[first] == noisy[label]:  # both as low as they can be
        noisy[label] *= 1.01
    scale = total / sum(noisy)
    return [min(value * scale, 1.0) for value in noisy]


def _lead(values: list[float], label: int, step: float) -> None:
    """Where rounding has made others as probable as the label, and a reader would take the first: one step less."""
    top = values[label]
    for i in range(label):
        if values[i] >= top:
            if top < step:
                values[label] = step
                return
            values[i] = max(0.0, top - step)
