"""Tests of one column, before they are corrected over all columns: distances, floors and a p-value for each question.

Looks at states of profiles only. What has too few values gets a test without distances, which decides nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from assay.errors import UsageError
from assay.watch.columns import missing
from assay.watch.drift import distances, noise, significance
from assay.watch.drift.cells import align, group, partition
from assay.watch.drift.model import Distance, Test
from assay.watch.drift.settings import CATEGORIES, NUMBERS, VECTORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assay.collect.profile.interface import Categories, Column, Integers, Numeric, Vectors
    from assay.watch.drift.floors import Floors
    from assay.watch.drift.settings import Settings

Measured: TypeAlias = tuple[str, float, float]
"""Name, distance, noise floor by the asymptotic law."""


class Measure:
    """Makes the tests of one column; holds what they have in common."""

    __slots__ = ("column", "floors", "settings")

    def __init__(self, column: str, settings: Settings, floors: Floors | None) -> None:
        self.column = column
        self.settings = settings
        self.floors = floors

    def tests(self, baseline: Column, current: Column, rows: tuple[int, int]) -> tuple[Test, ...]:
        """All tests of a column; ``rows`` of baseline and window. The values' test is the first if there is one."""
        from assay.collect.profile.interface import Categories, Numeric, Vectors

        found: list[Test] = []
        if isinstance(baseline, Numeric) and isinstance(current, Numeric):
            found.append(self.numbers("values", baseline, current))
        elif isinstance(baseline, Categories) and isinstance(current, Categories):
            found.append(self.categories(baseline, current))
            if baseline.lengths is not None and current.lengths is not None:
                found.append(self.numbers("lengths", baseline.lengths, current.lengths))
        elif isinstance(baseline, Vectors) and isinstance(current, Vectors):
            found.append(self.vectors(baseline, current))
        else:
            raise UsageError(f"column {self.column} has another kind of state in the baseline than in the window")
        if not baseline.count:  # nothing to compare values with: that there are some now is told by their share
            found.clear()
        found.append(self.share("missing", missing(baseline), missing(current), rows))
        odd = _odd(baseline), _odd(current)
        if any(odd):
            found.append(self.share("odd", *odd, rows))
        return tuple(found)

    def numbers(self, name: str, baseline: Numeric, current: Numeric) -> Test:
        """Whether numbers have the same distribution, by Anderson and Darling's test."""
        n, m = current.count, baseline.count
        few = self.too_few(name, m, n)
        if few is not None:
            return few
        factor, scale = self.scale(name, m, n)
        alpha = self.settings.noise
        cells = align(baseline, current)
        before, after = cells.baseline, cells.current
        distance = float(distances.ks(before, after))
        effective = n * m / (n + m) / factor
        p = _ordered_p(before, after, factor)
        extra = {"ks_p": significance.kolmogorov_p(distance, effective)}
        if name == "lengths":
            return self.test(name, m, n, p, [("lengths", distance, noise.ks(scale, alpha))], ("lengths",), extra)
        coarse, finer = group(cells, self.settings.groups)
        measured = [
            ("ks", distance, noise.ks(scale, alpha)),
            ("psi", float(distances.psi(coarse, finer)), noise.psi(len(coarse), scale, alpha)),
            (
                "jensen_shannon",
                float(distances.jensen_shannon(coarse, finer)),
                noise.jensen_shannon(len(coarse), scale, alpha),
            ),
        ]
        moved = float(distances.wasserstein(before, after, cells.values))
        extra["wasserstein_units"] = moved
        floor = noise.wasserstein(before, cells.values, scale, alpha)
        if baseline.std > 0 and math.isfinite(moved / baseline.std) and math.isfinite(floor / baseline.std):
            measured.append(("wasserstein", moved / baseline.std, floor / baseline.std))
        return self.test(name, m, n, p, measured, self.deciding(self.settings.numbers, NUMBERS), extra)

    def categories(self, baseline: Categories, current: Categories) -> Test:
        """Whether categories have the same shares, by chi-square where there are enough of each."""
        n, m = current.count, baseline.count
        few = self.too_few("values", m, n)
        if few is not None:
            return few
        factor, scale = self.scale("values", m, n)
        alpha = self.settings.noise
        cells = partition(baseline, current)
        before, after = cells.baseline, cells.current
        seldom = any(cells.rare)
        used = slice(None, cells.rest) if seldom else slice(None)
        statistic, freedom = distances.chi_square(before[used], after[used])
        chances = [significance.chi_square_p(statistic / factor, freedom)] if freedom else []
        if seldom:
            rare = significance.share_p(cells.rare[0] / factor, m / factor, cells.rare[1] / factor, n / factor)
            chances.append(rare)
        pooled = distances.shares(before + after)
        size = len(before)
        measured = [
            ("l_infinity", float(distances.l_infinity(before, after)), noise.l_infinity(pooled, scale, alpha)),
            ("psi", float(distances.psi(before, after)), noise.psi(size, scale, alpha)),
            (
                "jensen_shannon",
                float(distances.jensen_shannon(before, after)),
                noise.jensen_shannon(size, scale, alpha),
            ),
        ]
        extra = {
            "chi_square": statistic,
            "freedom": float(freedom),
            "cramers_v": distances.cramers_v(statistic, freedom, float(n + m)),
        }
        if baseline.exact and current.exact:
            known = np.isin(current.hashes, baseline.hashes, assume_unique=True)
            extra["unseen"] = float(current.counts[~known].sum()) / n
        deciding = self.deciding(self.settings.categories, CATEGORIES)
        return self.test("values", m, n, significance.combined(chances), measured, deciding, extra)

    def vectors(self, baseline: Vectors, current: Vectors) -> Test:
        """Whether vectors have the same distribution: their means, their lengths and all of it by MMD."""
        n, m = current.count, baseline.count
        few = self.too_few("values", m, n)
        if few is not None:
            return few
        factor, scale = self.scale("values", m, n)
        alpha = self.settings.noise
        mean = (baseline.features * m + current.features * n) / (m + n)
        spread = max(0.0, 1.0 - float(mean @ mean))
        discrepancy = distances.mmd(baseline.features, current.features)
        shift, surprise = _centroids(baseline, current, factor)
        tall = align(baseline.norms, current.norms)
        norms = float(distances.ks(tall.baseline, tall.current))
        chances = [
            min(1.0, len(baseline.centroid) * math.erfc(surprise / math.sqrt(2.0))),
            _ordered_p(tall.baseline, tall.current, factor),
            math.exp(-(max(0.0, discrepancy - math.sqrt(spread * scale)) ** 2) / (2.0 * spread * scale))
            if spread > 0
            else 1.0,
        ]
        measured = [
            ("mmd", discrepancy, noise.mmd(spread, scale, alpha)),
            ("centroid", shift, noise.normal(scale, alpha, 1.0, len(baseline.centroid))),
            ("norms", norms, noise.ks(scale, alpha)),
        ]
        deciding = self.deciding(self.settings.vectors, VECTORS)
        return self.test("values", m, n, significance.combined(chances), measured, deciding, {})

    def share(self, name: str, before: int, after: int, rows: tuple[int, int]) -> Test:
        """Whether the same share of rows has something."""
        m, n = rows
        few = self.too_few(name, m, n)
        if few is not None:
            return few
        factor, scale = self.scale(name, m, n)
        pooled = (before + after) / (m + n)
        floor = noise.normal(scale, self.settings.noise, math.sqrt(pooled * (1.0 - pooled)))
        p = significance.share_p(before / factor, m / factor, after / factor, n / factor)
        extra = {"before": before / m, "after": after / n}
        return self.test(
            name, m, n, p, [(name, abs(before / m - after / n), floor)], (name,), extra, varies=0 < pooled < 1
        )

    def too_few(self, name: str, before: int, after: int) -> Test | None:
        """A test that decides nothing, if there are too few values for one that does."""
        least = self.settings.least
        if before >= least and after >= least:
            return None
        where, count = ("baseline", before) if before < least else ("window", after)
        what = {"values": "values", "lengths": "texts"}.get(name, "rows")
        return Test(name, before, after, reason=f"the {where} has {count:,} {what}, fewer than {least}")

    def scale(self, test: str, before: int, after: int) -> tuple[float, float]:
        """The design effect, and ``1/n + 1/m`` times it."""
        factor = self.floors.factor(self.column, test, after) if self.floors is not None else 1.0
        return factor, factor * (1.0 / before + 1.0 / after)

    def deciding(self, general: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
        """The chosen distances that a column of this kind has; raises `UsageError` if it has none of them."""
        chosen = self.settings.deciding(self.column, general)
        found = tuple(name for name in chosen if name in known)
        if not found:
            raise UsageError(
                f"{chosen[0]} is no distance of column {self.column}", hint=f"one or more of {', '.join(known)}"
            )
        return found

    def test(
        self,
        name: str,
        before: int,
        after: int,
        p: float,
        measured: Iterable[Measured],
        deciding: tuple[str, ...],
        extra: dict[str, float],
        *,
        varies: bool = True,
    ) -> Test:
        """Puts distances beside their thresholds, those that decide first and in the order in which they are named."""
        found = []
        for distance, value, floor in measured:
            if self.floors is not None:
                floor = max(floor, self.floors.floor(self.column, distance, before, after, test=name))
            effect = self.settings.effect(self.column, distance)
            found.append(Distance(distance, value, floor, effect, distance in deciding))
        place = {distance: number for number, distance in enumerate(deciding)}
        found.sort(key=lambda distance: place.get(distance.name, len(place)))
        finite = {key: value for key, value in extra.items() if math.isfinite(value)}
        return Test(name, before, after, tuple(found), p, varies=varies, measures=finite)


def _ordered_p(baseline: Integers, current: Integers, factor: float) -> float:
    """P-value that two samples on ordered cells have one distribution: Anderson-Darling, and exact for the tails."""
    m, n = int(baseline.sum()), int(current.sum())
    statistic = float(distances.anderson_darling(baseline, current)) * n * m / (n + m) / factor
    values, weights = [significance.anderson_darling_p(statistic)], [0.8]
    for before, after in distances.tails(baseline, current):
        values.append(significance.share_p(before / factor, m / factor, after / factor, n / factor))
        weights.append(0.05)
    return significance.combined(values, weights)


def _odd(column: Column) -> int:
    """Rows with something that is no value of the column's kind, or infinite."""
    return column.odd + getattr(column, "positive_infinity", 0) + getattr(column, "negative_infinity", 0)


def _centroids(baseline: Vectors, current: Vectors, factor: float) -> tuple[float, float]:
    """The largest shift of a dimension's mean, in the baseline's standard deviations and in standard errors."""
    moved = np.abs(baseline.centroid - current.centroid)
    deviation = np.sqrt(baseline.variances)
    error = np.sqrt(factor * (baseline.variances / baseline.count + current.variances / current.count))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(moved > 0, moved / deviation, 0.0).max(initial=0.0)
        surprise = np.where(moved > 0, moved / error, 0.0).max(initial=0.0)
    return min(float(shift), 1e9), min(float(surprise), 1e9)
