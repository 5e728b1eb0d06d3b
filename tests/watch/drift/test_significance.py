"""The p-values against SciPy, against simulation, and where they have to be exact."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from assay.watch.drift import distances, significance


@pytest.mark.parametrize("effective", [50, 500, 5_000, 500_000])
@pytest.mark.parametrize("scaled", [0.6, 1.0, 1.4, 1.8, 2.2, 2.6])
def test_kolmogorov_as_scipy(effective, scaled):
    distance = scaled / effective**0.5
    expected = scipy.stats.kstwo.sf(distance, effective)  # what ks_2samp(method="asymp") uses
    assert significance.kolmogorov_p(distance, effective) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("effective", [100, 500, 1_000, 2_500, 4_999])
def test_kolmogorov_far_out_in_the_tail_as_scipy(effective):
    for scaled in np.arange(1.5, 7.0, 0.07):
        distance = float(scaled) / effective**0.5
        expected = scipy.stats.kstwo.sf(distance, effective)
        assert significance.kolmogorov_p(distance, effective) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("statistic", "p"), [(1.248, 0.25), (1.933, 0.10), (2.492, 0.05), (3.070, 0.025), (3.857, 0.01)]
)
def test_anderson_darling_as_published(statistic, p):
    """D'Agostino & Stephens 1986, table 4.2, case 0."""
    assert significance.anderson_darling_p(statistic) == pytest.approx(p, rel=0.03)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.97, 0.03], [0.2, 0.3, 0.1, 0.4], [0.02] * 50])
def test_anderson_darling_is_no_smaller_than_what_is_observed_however_coarse(shares):
    random = np.random.default_rng(5)
    before, after = random.multinomial(20_000, shares, 20_000), random.multinomial(2_000, shares, 20_000)
    statistics = distances.anderson_darling(before, after) * (20_000 * 2_000 / 22_000)
    for level in (0.1, 0.01, 0.001):
        seen = np.mean([significance.anderson_darling_p(float(x)) <= level for x in statistics])
        assert seen <= level * 1.15 + 3 * (level / 20_000) ** 0.5


@given(st.integers(0, 40), st.integers(40, 5_000), st.integers(0, 40), st.integers(40, 5_000))
def test_shares_as_fishers_exact_test_or_more_careful(before, rows_before, after, rows_after):
    p = significance.share_p(before, rows_before, after, rows_after)
    assert 0.0 <= p <= 1.0
    assert p == pytest.approx(significance.share_p(rows_before - before, rows_before, rows_after - after, rows_after))
    table = [[before, rows_before - before], [after, rows_after - after]]
    exact = scipy.stats.fisher_exact(table).pvalue
    if exact > 1e-3:
        assert p >= exact * 0.3  # the normal law is used from fifteen expected on
    else:
        assert p < 0.01


def test_shares_of_rare_things_are_exact():
    assert significance.share_p(0, 1_000_000, 3, 1_000) == pytest.approx(2 * (1_000 / 1_001_000) ** 3, rel=1e-6)
    assert significance.share_p(5, 100, 0, 0) == 1.0


def test_combined_takes_the_smallest_at_its_price():
    assert significance.combined([0.01, 0.5]) == pytest.approx(0.02)
    assert significance.combined([0.01, 0.001], [0.8, 0.2]) == pytest.approx(0.005)
    assert significance.combined([]) == 1.0
