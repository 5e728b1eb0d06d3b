"""Series with known change points, and drift that is too slow for one window."""

import math

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.partial import decode as decode_profile
from assay.collect.profile.partial import merge, partial
from assay.collect.profile.spec import specify
from assay.errors import DocumentError
from assay.watch.drift.change import Accumulated, accumulate, change_points, decode
from assay.watch.drift.verdict import compare
from assay.watch.interface import Outcome
from watch.drift.drift_tables import profile


@pytest.mark.parametrize("seed", range(5))
def test_known_change_points_are_found(seed):
    random = np.random.default_rng(seed)
    series = np.concatenate((random.normal(0, 1, 60), random.normal(3, 1, 30), random.normal(-1, 1, 40)))
    changes = change_points(series.tolist())
    assert [change.at for change in changes] == [pytest.approx(60, abs=2), pytest.approx(90, abs=2)]
    assert changes[0].after == pytest.approx(3, abs=0.7)
    assert changes[1].after == pytest.approx(-1, abs=0.7)


def test_series_without_change_have_no_change_points():
    random = np.random.default_rng(9)
    found = [change_points(random.normal(0, 1, 100).tolist()) for _ in range(200)]
    assert sum(map(bool, found)) <= 2


def test_series_that_are_short_constant_or_not_finite():
    assert change_points([1.0] * 5) == ()
    assert change_points([0.0] * 100) == ()
    step = [1.0] * 20 + [2.0] * 20
    assert [change.at for change in change_points(step)] == [20]
    gaps = [math.nan if place % 5 == 0 else value for place, value in enumerate(step)]
    assert [change.at for change in change_points(gaps)] == [21]
    assert change_points([math.inf] * 30) == ()


@pytest.fixture(scope="module")
def baseline():
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(0, 1, 50_000)})
    spec = specify(frame)
    return spec, profile(frame, spec)


def window(seed, shift):
    random = np.random.default_rng(seed)
    return pl.DataFrame({"x": random.normal(shift, 1, 400)})


def test_windows_that_each_hold_add_up(baseline):
    spec, before = baseline
    sums, named, parts, violated = Accumulated(before.digest), [], [], []
    for seed in range(30):
        part = partial(window(seed, 0.11), spec)
        parts.append(part)
        drifts = compare(before, decode_profile(part))
        violated.append(drifts[0].outcome is Outcome.VIOLATED)
        sums, slow = accumulate(sums, drifts)
        if slow:
            named = slow
            break
    assert named
    assert sum(violated) <= 2
    together = decode_profile(merge(*parts[-named[0].windows :]))
    assert compare(before, together)[0].outcome is Outcome.VIOLATED


def test_a_hundred_clean_windows_add_up_to_nothing(baseline):
    spec, before = baseline
    sums = Accumulated(before.digest)
    for seed in range(100):
        drifts = compare(before, profile(window(1_000 + seed, 0.0), spec))
        assert drifts[0].outcome is Outcome.HOLDS
        sums, slow = accumulate(sums, drifts)
        assert slow == ()


@pytest.mark.parametrize("seed", range(6))
def test_windows_of_the_baselines_size_do_not_add_up_its_own_error(seed):
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({"x": random.normal(0, 1, 1_000)})
    spec = specify(frame)
    before, sums = profile(frame, spec), Accumulated("")
    for _ in range(30):
        drifts = compare(before, profile(pl.DataFrame({"x": random.normal(0, 1, 1_000)}), spec))
        sums, slow = accumulate(sums, drifts)
        assert slow == ()


def test_an_undecided_window_keeps_the_sums(baseline):
    spec, before = baseline
    sums, _ = accumulate(Accumulated(before.digest), compare(before, profile(window(3, 0.2), spec)))
    assert sums.columns["x"].score > 0
    kept, _ = accumulate(sums, compare(before, profile(window(3, 0.2).head(3), spec)))
    assert kept == sums
    assert decode(kept.encode()) == kept


@pytest.mark.parametrize("data", [b"", b"{}", b'{"baseline": "", "columns": {"x": {"score": -1, "windows": 1}}}'])
def test_other_sums_are_refused(data):
    with pytest.raises(DocumentError, match="past windows"):
        decode(data)
