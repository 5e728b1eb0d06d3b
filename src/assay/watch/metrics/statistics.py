"""CloudWatch's statistics over values and summaries: `Average`, `p99`, `tm90`, `TM(2%:98%)`, `PR(:300)`, `IQM`, ….

Meaning from the CloudWatch user guide, "CloudWatch statistics definitions". Where it leaves a choice open (percentiles
between two values, shares that are no whole number of values) the docstrings here say which was taken. It never
estimates: a statistic that needs the values one by one is refused for summaries.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TypeAlias

from assay.errors import DocumentError
from assay.watch.interface import Statistics

SIMPLE = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
"""What PutMetricAlarm calls ``Statistic``; all others are ``ExtendedStatistic``."""

_NUMBER = r"\d{1,3}(?:\.\d{1,10})?"
_VALUE = r"-?\d{1,15}(?:\.\d{1,10})?"
_SHORT = re.compile(rf"(p|tm|wm|tc|ts)({_NUMBER})", re.ASCII)
_RANGE = re.compile(rf"(TM|WM|TC|TS|PR)\((?:({_VALUE})(%)?)?:(?:({_VALUE})(%)?)?\)", re.ASCII)

Weighted: TypeAlias = list[tuple[float, float]]
"""Values, ascending, each with how often it occurs."""


def single(value: float) -> Statistics:
    """One value as a summary of itself."""
    return Statistics(1.0, value, value, value)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One way to make a number of many."""

    text: str
    """As it is written."""
    kind: str
    """One of `SIMPLE`, or ``p``, ``tm``, ``wm``, ``tc``, ``ts``, ``pr``."""
    low: Decimal | None = None
    """Lower bound, exclusive; None for none."""
    high: Decimal | None = None
    """Upper bound, inclusive."""
    percent: bool = False
    """The bounds are shares of the values in percent, not values."""

    @classmethod
    def parse(cls, text: str) -> Statistic:
        """The statistic of that name. Raises `DocumentError`."""
        if text in SIMPLE:
            return cls(text, text)
        if text == "IQM":  # "equivalent to TM(25%:75%)"
            return cls(text, "tm", Decimal(25), Decimal(75), percent=True)
        if match := _SHORT.fullmatch(text):
            share = Decimal(match[2])
            if share <= 100:
                return cls(text, match[1], None, share, percent=True)
        elif match := _RANGE.fullmatch(text):
            return cls._ranged(text, match)
        raise DocumentError(
            f"{text[:60]!r} is not a statistic",
            hint=f"one of {', '.join(SIMPLE)}, p99, tm90, tc90, ts90, wm90, IQM, TM(10%:90%), PR(:300)",
        )

    @classmethod
    def _ranged(cls, text: str, match: re.Match[str]) -> Statistic:
        low, high = (Decimal(bound) if bound is not None else None for bound in (match[2], match[4]))
        signs = {bool(sign) for bound, sign in ((low, match[3]), (high, match[5])) if bound is not None}
        kind = match[1].lower()
        if len(signs) != 1 or (kind == "pr" and signs == {True}):
            raise DocumentError(f"the bounds of {text[:60]!r} are both values or both percentages, PR's are values")
        percent = signs == {True}
        within = all(bound is None or 0 <= bound <= 100 for bound in (low, high)) or not percent
        if not within or (low is not None and high is not None and low >= high):
            raise DocumentError(f"{text[:60]!r} has bounds with nothing between them")
        return cls(text, kind, low, high, percent)

    @property
    def needs_values(self) -> bool:
        """True where summaries are not enough."""
        return self.kind not in SIMPLE

    @property
    def significant(self) -> float:
        """How many samples a percentile needs to mean something, 0 for other statistics.

        CloudWatch user guide, "Percentile-based alarms and low data samples": 10/(1-p), and 10/p below one half.
        """
        if self.kind != "p" or self.high is None:
            return 0.0
        rare = min(self.high, 100 - self.high) / 100
        return float(10 / rare) if rare else math.inf

    def of(self, parts: Sequence[Statistics]) -> float | None:
        """The statistic over all parts together, finite; None where nothing is left to say it of.

        Raises `DocumentError` where it needs values and only summaries are there, or is too large for a number.
        """
        try:
            found = self._of(parts) if parts else None
        except OverflowError:
            found = math.inf
        if found is not None and not math.isfinite(found):  # NaN breaches no threshold: it would look good
            raise DocumentError(f"{self.text}: the values are too large to be added")
        return found

    def _of(self, parts: Sequence[Statistics]) -> float | None:
        if not self.needs_values:
            return self._simple(parts)
        values = sorted((part.minimum, part.samples) for part in parts if part.minimum == part.maximum)
        if len(values) != len(parts):
            raise DocumentError(f"{self.text} needs the values one by one, and only summaries were kept")
        if self.kind == "p":
            return _percentile(values, float(self.high or 0) / 100)
        if self.kind == "pr":
            total = math.fsum(weight for _, weight in values)
            return 100 * math.fsum(weight for _, weight in self._between(values)) / total
        if self.kind == "wm":
            return _mean(self._clamped(values))
        kept = self._kept(values)
        if self.kind == "tc":
            return math.fsum(weight for _, weight in kept)
        if self.kind == "ts":
            return math.fsum(value * weight for value, weight in kept)
        return _mean(kept)

    def _simple(self, parts: Sequence[Statistics]) -> float | None:
        if self.kind == "Minimum":
            return min(part.minimum for part in parts)
        if self.kind == "Maximum":
            return max(part.maximum for part in parts)
        samples = math.fsum(part.samples for part in parts)
        if self.kind == "SampleCount":
            return samples
        total = math.fsum(part.total for part in parts)
        return total if self.kind == "Sum" else total / samples

    def _between(self, values: Weighted) -> Weighted:
        """Values in (low, high]: "exclusive on the lower bound and inclusive on the upper bound"."""
        low = -math.inf if self.low is None else float(self.low)
        high = math.inf if self.high is None else float(self.high)
        return [(value, weight) for value, weight in values if low < value <= high]

    def _kept(self, values: Weighted) -> Weighted:
        return self._trimmed(values) if self.percent else self._between(values)

    def _trimmed(self, values: Weighted) -> Weighted:
        """Without the lowest and highest shares, each rounded down to whole values, as `scipy.stats.trim_mean`."""
        total = Decimal(math.fsum(weight for _, weight in values))
        below = float(total * (self.low or 0) // 100)
        above = float(total * (100 - (100 if self.high is None else self.high)) // 100)
        end, kept, seen = float(total) - above, [], 0.0
        for value, weight in values:
            left = min(seen + weight, end) - max(seen, below)
            if left > 0:
                kept.append((value, left))
            seen += weight
        return kept

    def _clamped(self, values: Weighted) -> Weighted:
        """Values outside count as the outermost that is inside; outside of values as bounds, as the bound."""
        low = -math.inf if self.low is None else float(self.low)
        high = math.inf if self.high is None else float(self.high)
        if self.percent:
            kept = self._trimmed(values)
            if not kept:
                return []
            low, high = kept[0][0], kept[-1][0]
        return [(min(max(value, low), high), weight) for value, weight in values]


def _mean(values: Weighted) -> float | None:
    total = math.fsum(weight for _, weight in values)
    return math.fsum(value * weight for value, weight in values) / total if total else None


def _percentile(values: Weighted, share: float) -> float:
    """Between the two nearest values in proportion (NumPy's ``linear``); CloudWatch does not say how it does it."""
    ends = list(accumulate(weight for _, weight in values))
    at = (ends[-1] - 1) * share
    index, part = math.floor(at), at - math.floor(at)
    last = len(values) - 1
    lower = values[min(bisect_right(ends, index), last)][0]
    upper = values[min(bisect_right(ends, index + 1), last)][0]
    return lower + (upper - lower) * part if part else lower
