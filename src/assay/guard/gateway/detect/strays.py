"""Queries far from all training data, over all callers: many who ask so, however few queries each of them has.

One such query is no evidence against anybody: honest callers have some too, and calibration says how many. Only callers
who have asked little are looked at, the others have a memory of their own that tells. Where several times as many of
them as among honest callers ask little else, those are named, and whoever else comes with such a query while it lasts;
who asks mostly other things never is. What counts as honest comes from calibration alone, and memory is bounded.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

import numpy as np

from assay.guard.gateway.detect.cusum import RARE, TAIL

CUTS = (RARE, TAIL)
"""Logarithms of p-values below which a query is far out. What is beyond the second is counted by itself, so that an
attack there is no reason to suspect those who are only beyond the first.
"""
SIZES = (8, 16, 32, 64, 128, 256)
"""How many of the latest suspects are looked at together: few come close together in a strong attack, many show a thin
one. The last is how many are remembered.
"""
SAFE = 3.0
"""How many times more there must be than among honest callers: then two of three who ask so are not honest."""
FALSE = 1e-7
"""Probability that so many of that many times more honest callers come together by chance. With all sizes and cuts
about one in a million.
"""
NAMED = 4096
"""Callers, the latest, who are known to have been named."""
CALLERS = 34
"""Honest callers, below which nothing is known of them: two thirds of fifty, the others made the p-values."""
ERRORS = 2.0
"""Standard errors by which honest callers may do it more often than those of the calibration did."""

Suspect = tuple[int, str]
"""Turn and caller."""


class Strays:
    """Fresh callers whose own queries are mostly far out. Not for several threads at once."""

    def __init__(self, shares: Sequence[float]) -> None:
        """``shares``: of honest queries, as `calibrate` gives them."""
        self._shares = shares
        self._reaches = [reaches(share) for share in shares]
        self._suspects: list[OrderedDict[int, Suspect]] = [OrderedDict() for _ in shares]
        """By group, for each of `CUTS`; the latest last."""
        self._named: OrderedDict[str, None] = OrderedDict()
        self.turn = 0
        """Queries of fresh callers so far, those that were news; whoever sees one counts it here."""

    def see(self, caller: str, group: int, depth: int) -> tuple[list[str], str]:
        """A query beyond so many of `CUTS`, by a fresh caller who asks mostly so: the callers who are to be named now,
        and why. Callers of one ``group`` are one suspect, the latest of them.
        """
        suspects = self._suspects[depth - 1]
        suspects[group] = self.turn, caller
        suspects.move_to_end(group)
        if len(suspects) > SIZES[-1]:
            suspects.popitem(last=False)
        many = self._many(suspects, self._reaches[depth - 1])
        if not many:
            return [], ""
        latest = list(islice(reversed(suspects.values()), many))
        names = [name for _, name in latest if name not in self._named]
        for name in names:
            self._named[name] = None
            if len(self._named) > NAMED:
                self._named.popitem(last=False)
        queries, usual = self.turn - latest[-1][0] + 1, 1.0 / self._shares[depth - 1]
        return names, f"{many} new callers in {queries} queries ask as far out as one of {usual:.0f} honest queries is"

    def clear(self, caller: str, group: int) -> None:
        """Somebody has gone on to ask other things."""
        for suspects in self._suspects:
            if group in suspects and suspects[group][1] == caller:
                del suspects[group]

    def _many(self, suspects: OrderedDict[int, Suspect], turns: Sequence[float]) -> int:
        """How many of the latest are too many for the queries since; 0 where none are."""
        for size, reach in zip(reversed(SIZES), reversed(turns), strict=True):
            if len(suspects) >= size:
                first, _ = next(islice(reversed(suspects.values()), size - 1, None))
                if self.turn - first <= reach:
                    return size
        return 0


def reaches(share: float) -> list[float]:
    """For each of `SIZES`, the queries after the first of so many suspects within which the others are too many.

    Each group is one suspect, and groups are independent, so that their number is at most as spread as the Poisson law
    with the same mean says, however often each of them asks (Hoeffding, 1956).
    """
    return [_mean(size - 1) / (SAFE * share) for size in SIZES]


def _mean(count: int) -> float:
    """Mean of the Poisson law that has ``count`` or more with the probability `FALSE`."""
    low, high = 0.0, float(count)
    for _ in range(60):
        middle = 0.5 * (low + high)
        first = math.exp(count * math.log(middle) - middle - math.lgamma(count + 1))
        total = term = first
        for more in range(count + 1, count + 200):
            term *= middle / more
            total += term
        low, high = (low, middle) if total > FALSE else (middle, high)
    return low


def calibrate(logs: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """Shares of honest queries between the two of `CUTS` and beyond both, with a margin: they come in streaks, so that
    callers are the sample, not queries. ``logs``: of each caller, logarithms of the p-values of its queries, the least
    of each. None where there are too few of them.
    """
    if len(logs) < CALLERS:
        return None
    least = 3.0 / sum(map(len, logs))  # none of so many: at most this, with 95 % confidence

    def share(low: float, high: float) -> float:
        each = np.array([((low <= one) & (one < high)).mean() for one in logs])
        return float(np.clip(each.mean() + ERRORS * each.std() / math.sqrt(len(each)), least, 1.0))

    return share(CUTS[1], CUTS[0]), share(-math.inf, CUTS[1])
