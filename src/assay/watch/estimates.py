"""A number that was estimated from samples, with the interval that it is in and how surely it is beyond a threshold.

Model quality, bias and attribution share it. An estimate without interval must never decide a check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Scale(StrEnum):
    """On which scale an estimate's error is normal; this is how its interval was made."""

    SHARE = "share"
    """In 0..1: Wilson's score interval on an effective number of samples."""
    POSITIVE = "positive"
    """In 0..infinity: symmetric in the logarithm, Student's t."""
    COMPLEMENT = "complement"
    """1 minus a positive number, such as R²."""
    PLAIN = "plain"
    """Anywhere: symmetric, normal."""
    NONE = "none"
    """Not estimated: exact, or without a value."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric."""

    value: float | None
    """Finite; None where the metric is not defined on these samples."""
    low: float | None = None
    """Lower end of the two-sided interval."""
    high: float | None = None
    samples: int = 0
    """What it was computed from: predictions, or those of them in the metric's denominator."""
    deviation: float | None = None
    """SageMaker's standard deviation, over five random subsamples of 80 %; None below 200 samples."""
    scale: Scale = Scale.NONE
    spread: float = math.nan
    """`Scale.SHARE`: the effective number of samples; else the standard error on the scale."""
    freedom: float = math.inf
    """Student's degrees of freedom."""
    reason: str = ""
    """Why there is no value."""

    def p_value(self, threshold: float, *, below: bool) -> float | None:
        """How likely such a value is by chance if the true one is not ``below`` (else: above) the threshold.

        One-sided and of one mind with the interval: the interval of confidence c excludes the threshold exactly where
        this is under (1 - c) / 2. None where there is no value or no interval.
        """
        if self.value is None or self.scale is Scale.NONE or not self.spread > 0:
            return None
        from scipy.special import ndtr, stdtr

        if self.scale is Scale.SHARE:
            variance = threshold * (1 - threshold)
            if variance <= 0:  # a true share of 0 or 1 (or a threshold that no share reaches) allows no exception
                beyond = self.value < threshold if below else self.value > threshold
                return 0.0 if beyond else 1.0
            score = (self.value - threshold) / math.sqrt(variance / self.spread)
        elif self.scale is Scale.PLAIN:
            score = (self.value - threshold) / self.spread
        else:
            turned = self.scale is Scale.COMPLEMENT
            number, bound = (1 - self.value, 1 - threshold) if turned else (self.value, threshold)
            if bound <= 0 or number <= 0:
                beyond = self.value < threshold if below else self.value > threshold
                return 0.0 if beyond else 1.0
            score = math.log(number / bound) / self.spread * (-1 if turned else 1)
        score = score if below else -score
        return float(ndtr(score) if math.isinf(self.freedom) else stdtr(self.freedom, score))


def undefined(reason: str, samples: int = 0) -> Estimate:
    """A metric that these samples do not define, and why."""
    return Estimate(None, samples=samples, reason=reason)


def exact(value: float, samples: int) -> Estimate:
    """A number that is what it is, whatever the samples."""
    return Estimate(value, value, value, samples)


def quantile(confidence: float, freedom: float = math.inf) -> float:
    """The two-sided normal (Student's t with ``freedom``) quantile: 1.96 for 0.95."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + confidence) / 2
    return float(ndtri(tail) if math.isinf(freedom) else stdtrit(freedom, tail))


def share(value: float, effective: float, samples: int, confidence: float) -> Estimate:
    """A number in 0..1: Wilson's interval (1927) on ``effective`` samples.

    For a proportion that is its denominator. For a metric that is a function of proportions (F, AUC) it is v (1 - v)
    over the variance of the delta method (or of DeLong): the score interval then stays in 0..1 and is not empty at 0
    or 1 (Kottas, Kuss and Zapf 2014 for the AUC; design effects in surveys do the same).
    """
    if not effective > 0:
        return undefined("there is nothing to count", samples)
    z = quantile(confidence)
    shrink = 1 + z * z / effective
    middle = (value + z * z / (2 * effective)) / shrink
    half = z / shrink * math.sqrt(value * (1 - value) / effective + z * z / (4 * effective * effective))
    low = 0.0 if value <= 0 else max(0.0, middle - half)
    high = 1.0 if value >= 1 else min(1.0, middle + half)
    return Estimate(value, min(low, value), max(high, value), samples, scale=Scale.SHARE, spread=effective)


def share_of(count: float, total: float, confidence: float, empty: str) -> Estimate:
    """``count`` of ``total``; undefined with the reason ``empty`` where the total is 0."""
    if total <= 0:
        return undefined(empty)
    return share(count / total, total, int(total), confidence)


def share_with_variance(value: float, variance: float, spare: float, samples: int, confidence: float) -> Estimate:
    """A number in 0..1 with an estimated ``variance``; where that is 0, ``spare`` are its effective samples."""
    spread = value * (1 - value)
    effective = spread / variance if variance > 0 and spread > 0 else spare
    return share(value, effective, samples, confidence)


def positive(value: float, relative: float, samples: int, confidence: float) -> Estimate:
    """A number above 0 whose logarithm has the standard error ``relative``; Student's t with samples - 1."""
    if value <= 0 or not relative > 0 or samples < 2:
        return Estimate(value, samples=samples, reason="too few different samples for an interval")
    factor = math.exp(min(quantile(confidence, samples - 1) * relative, 700.0))
    return Estimate(
        value, value / factor, value * factor, samples, scale=Scale.POSITIVE, spread=relative, freedom=samples - 1
    )


def complement(of: Estimate) -> Estimate:
    """1 minus a positive estimate."""
    if of.value is None or of.low is None or of.high is None:
        return replace(of, value=None if of.value is None else 1 - of.value)
    return replace(of, value=1 - of.value, low=1 - of.high, high=1 - of.low, scale=Scale.COMPLEMENT)


def plain(value: float, error: float, samples: int, confidence: float) -> Estimate:
    """A number with a normal standard ``error``."""
    if not error > 0:
        return Estimate(value, samples=samples, reason="too few different samples for an interval")
    half = quantile(confidence) * error
    return Estimate(value, value - half, value + half, samples, scale=Scale.PLAIN, spread=error)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """q-values: rejecting all below x keeps the share of false ones among them below x (Benjamini, Hochberg 1995)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted = [1.0] * len(p_values)
    least = 1.0
    for rank, index in zip(range(len(order), 0, -1), order, strict=True):
        least = min(least, p_values[index] * len(order) / rank)
        adjusted[index] = least
    return adjusted


def number(value: object) -> float | None:
    """A finite number of a JSON document; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
