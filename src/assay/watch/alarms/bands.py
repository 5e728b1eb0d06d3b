"""What is usual for a metric at this time of the week: a robust seasonal median, and how far values stray from it.

The open counterpart of CloudWatch's ANOMALY_DETECTION_BAND, whose model is not published. Medians are used throughout,
so that a few hours of incident, or of an attack that raises the numbers, do not move the band. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TypeAlias

from assay.watch.alarms.model import Band
from assay.watch.metrics.interface import Point

ENOUGH = 6
"""Values of a slot (an hour of the week, or of the day) below which a coarser one is asked."""
ENOUGH_TOTAL = 10
"""Values below which there is no band at all."""

Slot: TypeAlias = Callable[[datetime], int]

_DEVIATIONS = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution (1 / quantile 0.75)."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A band that was learned."""

    slots: tuple[tuple[Slot, dict[int, tuple[float, float]]], ...]
    """From fine to coarse: what slot a time is in, and the middle and spread of each slot."""
    width: float

    def at(self, time: datetime) -> tuple[float, float]:
        """Lower and upper end at a time."""
        for slot, known in self.slots:
            if (found := known.get(slot(time))) is not None:
                middle, spread = found
                return middle - self.width * spread, middle + self.width * spread
        raise AssertionError("the coarsest slot is every time")


def learn(band: Band, points: Sequence[Point]) -> Learned | None:
    """The band that the points make usual, or None where they are too few to say."""
    kept = [point for point in points if not _excluded(band, point.time)]
    if len(kept) < ENOUGH_TOTAL:
        return None
    found = [(slot, _middles(kept, slot)) for slot in (_hour_of_week, _hour_of_day, _always)]
    return Learned(tuple((slot, _spreads(kept, slot, middles)) for slot, middles in found), band.width)


def _middles(points: Iterable[Point], slot: Slot) -> dict[int, tuple[float, int]]:
    """Median and number of the values in each slot that has enough of them."""
    groups: dict[int, list[float]] = {}
    for point in points:
        groups.setdefault(slot(point.time), []).append(point.value)
    return {key: (median(values), len(values)) for key, values in groups.items() if len(values) >= ENOUGH}


def _spreads(
    points: Iterable[Point], slot: Slot, middles: dict[int, tuple[float, int]]
) -> dict[int, tuple[float, float]]:
    """Middle and robust standard deviation of each slot, for a value that is still to come."""
    residuals: dict[int, list[float]] = {}
    for point in points:
        if (key := slot(point.time)) in middles:
            residuals.setdefault(key, []).append(abs(point.value - middles[key][0]))
    everything = [residual for values in residuals.values() for residual in values]
    # One slot's own deviations are few, and flatter it: no slot is narrower than the slots are on the whole.
    overall = median(everything) if everything else 0.0
    return {
        key: (middle, _DEVIATIONS * max(median(residuals[key]), overall) * _wider(count, len(everything)))
        for key, (middle, count) in middles.items()
    }


def _wider(count: int, total: int) -> float:
    """How much wider a band must be because its middle comes from ``count`` values, its width from ``total``.

    Deviations from one's own median are small by (count - 0.8) / count (Croux and Rousseeuw, 1992), a median strays
    by sqrt(pi / 2 count) standard deviations, and 3 / total makes up for the width's own straying. So normal values
    are outside as often as the width says (0.3 % for 3); with a dozen values for all, up to three times as often.
    """
    return count / (count - 0.8) * math.sqrt(1 + math.pi / (2 * count)) * (1 + 3 / total)


def _excluded(band: Band, time: datetime) -> bool:
    return any(window.start <= time < window.end for window in band.excluded)


def _hour_of_week(time: datetime) -> int:
    return time.weekday() * 24 + time.hour


def _hour_of_day(time: datetime) -> int:
    return time.hour


def _always(_: datetime) -> int:
    return 0
