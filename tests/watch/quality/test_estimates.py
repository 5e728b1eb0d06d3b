import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.watch import estimates
from assay.watch.estimates import Estimate


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("count", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (371, 1000)])
def test_wilson_agrees_with_scipy(count, total, confidence):
    mine = estimates.share_of(count, total, confidence, "")
    theirs = stats.binomtest(count, total).proportion_ci(confidence, method="wilson")
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def kinds():
    return st.one_of(
        st.builds(
            lambda value, size: estimates.share(value, size, 50, 0.95),
            st.floats(0.01, 0.99),
            st.floats(5, 1e6),
        ),
        st.builds(
            lambda value, error: estimates.positive(value, error, 50, 0.95), st.floats(0.01, 1e3), st.floats(0.01, 1)
        ),
        st.builds(
            lambda value, error: estimates.complement(estimates.positive(value, error, 50, 0.95)),
            st.floats(0.01, 1e3),
            st.floats(0.01, 1),
        ),
        st.builds(lambda value, error: estimates.plain(value, error, 50, 0.95), st.floats(-9, 9), st.floats(0.01, 9)),
    )


@given(kinds(), st.floats(-4, 4))
def test_p_value_and_interval_are_of_one_mind(estimate: Estimate, steps):
    threshold = estimate.value + steps * (estimate.high - estimate.low) / 4
    if min(abs(threshold - estimate.low), abs(threshold - estimate.high)) < 1e-9:
        return
    below, above = (estimate.p_value(threshold, below=side) for side in (True, False))
    assert (below < 0.025) == (estimate.high < threshold)
    assert (above < 0.025) == (estimate.low > threshold)


def test_a_share_of_one_allows_no_exception():
    assert estimates.share(0.99, 100, 100, 0.95).p_value(1.0, below=True) == 0.0
    assert estimates.share(1.0, 100, 100, 0.95).p_value(1.0, below=True) == 1.0
    assert estimates.share(0.01, 100, 100, 0.95).p_value(0.0, below=False) == 0.0


def test_what_is_not_estimated_has_no_p_value():
    for estimate in (estimates.undefined("why"), estimates.exact(1.0, 3), Estimate(0.5)):
        assert estimate.p_value(0.4, below=True) is None
    assert estimates.share_of(0, 0, 0.95, "nobody").reason == "nobody"
    assert estimates.positive(0.0, 0.1, 10, 0.95).low is None
    assert math.isclose(estimates.quantile(0.95), 1.959964, rel_tol=1e-6)


@given(st.lists(st.floats(0, 1), max_size=30))
def test_benjamini_hochberg_agrees_with_scipy(p_values):
    mine = estimates.benjamini_hochberg(p_values)
    theirs = stats.false_discovery_control(p_values) if p_values else []
    assert mine == pytest.approx(list(theirs))
