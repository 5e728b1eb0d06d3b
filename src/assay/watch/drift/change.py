"""Changes that show over many windows: drift too slow for one of them, and when a series of numbers changed.

Accumulating names a column and since when; it decides nothing. The profiles of the windows since then, merged, are
compared with the baseline like one large window (`verdict.compare`), so that the three thresholds hold here as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
from scipy.special import ndtri

from assay.errors import DocumentError
from assay.watch.drift.model import ColumnDrift

_MOST = 4.0
"""Normal score that one window adds at most: a single outlier, however far, does not suffice."""


class Sum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What has added up for one column."""

    score: float
    """Cumulated normal scores above the allowance; 0 or more."""
    windows: int
    """How many windows in a row, the last one included, it has been above 0."""


class Accumulated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One-sided cumulative sums (Page 1954) over windows against one baseline; kept between runs as JSON."""

    baseline: str
    """Digest of the baseline's state: sums against another baseline mean nothing."""
    columns: dict[str, Sum] = {}

    def encode(self) -> bytes:
        """As JSON, the same bytes for the same sums."""
        return msgspec.json.encode(self, order="sorted")


@dataclass(frozen=True, slots=True)
class Slow:
    """A column whose small differences have added up."""

    column: str
    windows: int
    """The last so many windows: those to merge and compare as one."""
    score: float


def decode(data: bytes) -> Accumulated:
    """Read `Accumulated.encode`'s bytes. Raises `DocumentError` for anything else."""
    try:
        found = msgspec.json.decode(data, type=Accumulated)
    except msgspec.MsgspecError as error:
        raise DocumentError(f"the sums over past windows cannot be read: {error}") from None
    if any(not 0.0 <= column.score < 1e9 or column.windows < 0 for column in found.columns.values()):
        raise DocumentError("the sums over past windows hold an impossible number")
    return found


def accumulate(
    before: Accumulated, drifts: Iterable[ColumnDrift], *, allowance: float = 1.0, limit: float = 6.0
) -> tuple[Accumulated, tuple[Slow, ...]]:
    """Add one window, and name the columns whose sum is above ``limit``; theirs begin anew.

    With scores of independent clean windows, which are standard normal, a sum with ``allowance`` 1 passes 6 once in
    about 800,000 windows (Siegmund 1985, 2.56). The baseline's own error is the same in all windows and would add up:
    the allowance grows by three of its standard deviations. Undecided columns keep their sums.
    """
    columns = dict(before.columns)
    slow = []
    for drift in drifts:
        test = next((test for test in drift.tests if test.name == "values" and test.distances), None)
        if test is None:
            continue
        shared = math.sqrt(test.after / (test.after + test.before))
        score = min(_MOST, float(-ndtri(min(max(test.p, 1e-12), 1.0 - 1e-6))))
        past = columns.get(drift.column, Sum(0.0, 0))
        total = past.score + score - allowance - 3.0 * shared
        columns[drift.column] = Sum(total, past.windows + 1) if total > 0.0 else Sum(0.0, 0)
        if total > limit:
            slow.append(Slow(drift.column, past.windows + 1, total))
            columns[drift.column] = Sum(0.0, 0)
    return Accumulated(before.baseline, columns), tuple(slow)


@dataclass(frozen=True, slots=True)
class Change:
    """Where the mean of a series changed."""

    at: int
    """Index of the first value after the change."""
    before: float
    """Mean of the stretch that ends there."""
    after: float
    """Mean of the stretch that begins there."""
    p: float
    """Of chance alone, corrected for the places where it could be."""


def change_points(series: Sequence[float], *, significance: float = 0.001, least: int = 3) -> tuple[Change, ...]:
    """Where the mean of a series with independent noise changes, by binary segmentation (Scott & Knott 1974).

    The noise is estimated from neighbouring differences, by their median, so that changes do not raise it; a series of
    fewer than ten finite values has no change points. ``least`` values are on each side of a change.
    """
    values = np.array([value for value in series if math.isfinite(value)], dtype=np.float64)
    places = [place for place, value in enumerate(series) if math.isfinite(value)]
    if len(values) < 10:
        return ()
    steps = np.abs(np.diff(values))
    noise = float(np.median(steps)) / 0.9538725524  # median of |N(0, 2)|
    noise = max(noise, 1e-12 * float(np.abs(values).max(initial=0.0)), 1e-300)
    cuts: dict[int, float] = {}
    _cut(values, 0, len(values), noise, significance, max(1, least), cuts)
    edges = [0, *sorted(cuts), len(values)]
    means = [float(values[a:b].mean()) for a, b in pairwise(edges)]
    return tuple(
        Change(places[at], means[number], means[number + 1], cuts[at]) for number, at in enumerate(sorted(cuts))
    )


def _cut(
    values: np.ndarray, start: int, end: int, noise: float, significance: float, least: int, cuts: dict[int, float]
) -> None:
    """Adds the strongest change between ``start`` and ``end``, and those on either side of it."""
    size = end - start
    at = np.arange(least, size - least + 1)
    if not len(at):
        return
    sums = np.cumsum(values[start:end])
    gap = sums[at - 1] / at - (sums[-1] - sums[at - 1]) / (size - at)
    scores = np.abs(gap) * np.sqrt(at * (size - at) / size) / noise
    best = int(scores.argmax())
    p = min(1.0, math.erfc(float(scores[best]) / math.sqrt(2.0)) * len(values))
    if p > significance:
        return
    middle = start + int(at[best])
    cuts[middle] = p
    _cut(values, start, middle, noise, significance, least, cuts)
    _cut(values, middle, end, noise, significance, least, cuts)
