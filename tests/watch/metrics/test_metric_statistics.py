"""Statistics against NumPy and SciPy on raw values, and against the user guide's examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.errors import DocumentError
from assay.watch.interface import Statistics
from assay.watch.metrics.statistics import Statistic, single

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def of(text: str, values: list[float]) -> float | None:
    return Statistic.parse(text).of([single(value) for value in values])


@given(VALUES)
def test_simple_ones(values: list[float]) -> None:
    assert of("SampleCount", values) == len(values)
    assert of("Sum", values) == math.fsum(values)
    assert of("Average", values) == math.fsum(values) / len(values)
    assert (of("Minimum", values), of("Maximum", values)) == (min(values), max(values))


@given(VALUES, st.decimals(0, 100, places=1))
def test_percentile_as_numpy(values: list[float], share: object) -> None:
    assert of(f"p{share}", values) == pytest.approx(np.percentile(values, float(str(share))), rel=1e-9, abs=1e-6)


@given(VALUES)
def test_trimmed_as_scipy(values: list[float]) -> None:
    assert of("TM(10%:90%)", values) == pytest.approx(stats.trim_mean(values, 0.1), rel=1e-9, abs=1e-6)
    assert of("IQM", values) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-9, abs=1e-6)
    clamped = stats.mstats.winsorize(np.array(values), (0.1, 0.1)).mean()
    assert of("WM(10%:90%)", values) == pytest.approx(float(clamped), rel=1e-9, abs=1e-6)


@given(VALUES)
def test_sum_is_mean_times_count(values: list[float]) -> None:
    """ "Trimmed sum is equivalent to (Trimmed mean) * (Trimmed count)"."""
    for bounds in ("(20%:80%)", "(-100:100)", "(:50%)", "(5:)"):
        count, total, mean = (of(kind + bounds, values) for kind in ("TC", "TS", "TM"))
        assert total == (0 if mean is None else pytest.approx(mean * (count or 0)))


def test_examples_of_the_user_guide() -> None:
    hundred = [float(value) for value in range(1, 101)]
    assert of("tm90", hundred) == np.mean(hundred[:90])  # "removing the 10 % with the highest values"
    assert of("TM(2%:98%)", hundred) == np.mean(hundred[2:98])
    assert of("tc90", hundred) == 90
    assert of("ts90", hundred) == sum(hundred[:90])
    assert of("TS(80%:)", hundred) == sum(hundred[80:])
    assert of("wm98", hundred) == np.mean([*hundred[:98], 98.0, 98.0])
    assert of("PR(:30)", hundred) == 30
    # "exclusive on the lower bound and inclusive on the upper bound"
    assert of("PR(10:20)", hundred) == 10
    assert of("TC(0.005:0.030)", [0.005, 0.006, 0.030, 0.031]) == 2
    assert of("TM(150:1000)", [150.0, 151.0, 1000.0, 1000.5]) == pytest.approx(575.5)


def test_a_summary_of_equal_values_counts_as_those() -> None:
    parts = [Statistics(1e15, 5e15, 5.0, 5.0), single(9.0)]
    assert Statistic.parse("p50").of(parts) == 5.0
    assert Statistic.parse("p100").of(parts) == 9.0
    assert Statistic.parse("tc50").of(parts) == pytest.approx(5e14, rel=1e-9)


def test_summaries_add_up_and_have_no_percentiles() -> None:
    parts = [Statistics(3, 6, 1, 3), Statistics(1, 10, 10, 10)]
    found = [Statistic.parse(name).of(parts) for name in ("SampleCount", "Sum", "Average", "Minimum", "Maximum")]
    assert found == [4, 16, 4, 1, 10]
    with pytest.raises(DocumentError, match="p99 needs the values one by one"):
        Statistic.parse("p99").of(parts)


def test_nothing_has_no_statistic() -> None:
    for name in ("SampleCount", "Average", "p50", "TM(1:2)"):
        assert Statistic.parse(name).of([]) is None
    assert of("TM(1:2)", [5.0]) is None


@pytest.mark.parametrize("text", ["Sum", "Average", "p50", "tm100", "ts100", "wm100"])
def test_numbers_too_large_to_add_are_said_and_no_nan(text: str) -> None:
    values = [-1.7e308, 1.7e308] if text == "p50" else [1.7e308, 1.7e308]
    with pytest.raises(DocumentError, match="too large"):
        of(text, values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "average",
        "p",
        "p101",
        "p-1",
        "p1e1",
        "tm",
        "TM()",
        "TM(:)",
        "TM(5%:5)",
        "TM(90%:10%)",
        "TM(5:5)",
        "PR(1%:2%)",
        "TM(0%:101%)",
        "p99 ",
        "Sum;DROP",
        "p９９",
        "TC(1:2:3)",
        "x" * 10_000,
        "p0.12345678901",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        Statistic.parse(text)


def test_significant_samples() -> None:
    wanted = {"p99": 1000, "p50": 20, "p5": 200, "p100": math.inf, "p0": math.inf, "Average": 0, "tm99": 0}
    assert {text: Statistic.parse(text).significant for text in wanted} == wanted
