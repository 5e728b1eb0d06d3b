"""Distances and p-values of profiles agree with SciPy on the rows."""

import numpy as np
import polars as pl
import pytest
import scipy.stats
from scipy.spatial.distance import jensenshannon

from assay.watch.drift import distances, significance
from assay.watch.drift.cells import Cells, align, group, partition
from watch.drift.drift_tables import pair

RANDOM = np.random.default_rng(11)
SAMPLES = {
    "normal": (RANDOM.normal(0, 1, 40_000), RANDOM.normal(0.07, 1.05, 20_000)),
    "far from zero": (RANDOM.normal(1e6, 1, 40_000), RANDOM.normal(1e6 + 0.1, 1, 20_000)),
    "unix times": (1.7e9 + RANDOM.uniform(0, 3_600, 40_000), 1.7e9 + RANDOM.beta(1.1, 1, 20_000) * 3_600),
    "lognormal": (RANDOM.lognormal(3, 1.2, 40_000), RANDOM.lognormal(3.1, 1.2, 20_000)),
    "whole numbers": (RANDOM.poisson(4, 40_000).astype(float), RANDOM.poisson(4.2, 20_000).astype(float)),
    "negative": (-RANDOM.gamma(2, 3, 40_000), -RANDOM.gamma(2.1, 3, 20_000)),
}


def cells_of(name: str) -> Cells:
    before, after = SAMPLES[name]
    baseline, current = pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}))
    return align(baseline.columns["x"], current.columns["x"])


@pytest.mark.parametrize("name", SAMPLES)
def test_numbers_as_scipy(name):
    before, after = SAMPLES[name]
    cells = cells_of(name)
    expected = scipy.stats.ks_2samp(before, after, method="asymp")
    found = float(distances.ks(cells.baseline, cells.current))
    assert found == pytest.approx(expected.statistic, rel=0.01)
    moved = float(distances.wasserstein(cells.baseline, cells.current, cells.values))
    assert moved == pytest.approx(scipy.stats.wasserstein_distance(before, after), rel=0.01)


@pytest.mark.parametrize("name", SAMPLES)
def test_psi_and_jensen_shannon_as_on_the_rows(name):
    before, after = SAMPLES[name]
    cells = cells_of(name)
    coarse, other = group(cells, 10)
    edges = cells.values[np.searchsorted(np.cumsum(cells.baseline), np.cumsum(coarse)[:-1])]
    # Cut the rows between the same two bins: the values' middles are in the bin that ends a group.
    upper = cells.values[np.searchsorted(cells.values, edges) + 1]
    cuts = (edges + upper) / 2
    rows = [np.bincount(np.searchsorted(cuts, x), minlength=len(coarse)) / len(x) for x in (before, after)]
    assert float(distances.jensen_shannon(coarse, other)) == pytest.approx(jensenshannon(*rows, base=2), rel=0.01)
    index = float(((rows[1] - rows[0]) * np.log(rows[1] / rows[0])).sum())
    assert float(distances.psi(coarse, other)) == pytest.approx(index, rel=0.01)


def test_anderson_darling_as_scipy():
    """SciPy normalises the two-sample A²: (A² - 1) / sigma. With ties it weighs edges in another way; here are none."""
    random = np.random.default_rng(4)
    before, after = random.normal(0, 1, 3_000), random.normal(0.05, 1, 2_000)
    baseline, current = pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}))
    cells = align(baseline.columns["x"], current.columns["x"])
    statistic = float(distances.anderson_darling(cells.baseline, cells.current)) * 1_200
    expected = scipy.stats.anderson_ksamp([before, after], variant="midrank")
    assert 0.001 < expected.pvalue < 0.25
    assert significance.anderson_darling_p(statistic) == pytest.approx(expected.pvalue, rel=0.1)  # theirs interpolates


def test_categories_as_scipy():
    labels = np.array(list("abcdefgh"))
    before = labels[RANDOM.choice(8, 30_000, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05])]
    after = labels[RANDOM.choice(8, 9_000, p=[0.29, 0.21, 0.14, 0.11, 0.1, 0.05, 0.05, 0.05])]
    baseline, current = pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}))
    cells = partition(baseline.columns["x"], current.columns["x"])
    counts = np.array([[np.count_nonzero(rows == label) for label in labels] for rows in (before, after)])
    expected = scipy.stats.chi2_contingency(counts, correction=False)
    statistic, freedom = distances.chi_square(cells.baseline, cells.current)
    assert (statistic, freedom) == (pytest.approx(expected.statistic), expected.dof)
    assert significance.chi_square_p(statistic, freedom) == pytest.approx(expected.pvalue)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert float(distances.l_infinity(cells.baseline, cells.current)) == pytest.approx(abs(shares[0] - shares[1]).max())
    assert float(distances.jensen_shannon(cells.baseline, cells.current)) == pytest.approx(
        jensenshannon(*shares, base=2)
    )


def test_cramers_v_is_zero_for_chance_and_one_for_identity():
    statistic, freedom = distances.chi_square(np.array([500, 500]), np.array([505, 495]))
    assert distances.cramers_v(statistic, freedom, 2_000) == 0.0
    statistic, freedom = distances.chi_square(np.array([1_000, 0]), np.array([0, 1_000]))
    assert distances.cramers_v(statistic, freedom, 2_000) == pytest.approx(1.0, abs=0.01)
    assert distances.cramers_v(0.0, 0, 2_000) == 0.0


@pytest.mark.parametrize("bucketed", ["baseline", "current"])
def test_exact_and_bucketed_categories_are_brought_onto_the_same_cells(bucketed):
    """A baseline with too many categories counts them in buckets, a window of it one by one: no drift by that alone."""
    many = [f"user {number}" for number in RANDOM.integers(0, 90_000, 300_000)]
    few = [f"user {number}" for number in RANDOM.integers(0, 90_000, 20_000)]
    before, after = (many, few) if bucketed == "baseline" else (few, many)
    baseline, current = pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}))
    assert baseline.columns["x"].exact != current.columns["x"].exact
    cells = partition(baseline.columns["x"], current.columns["x"])
    assert (cells.baseline.sum(), cells.current.sum()) == (len(before), len(after))
    statistic, freedom = distances.chi_square(cells.baseline, cells.current)
    assert freedom > 200
    assert significance.chi_square_p(statistic, freedom) > 1e-4
    assert float(distances.l_infinity(cells.baseline, cells.current)) < 0.01
