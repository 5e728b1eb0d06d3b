"""Public data that ships with scikit-learn: no alarm on a hundred windows without change, shifts found within two."""

import numpy as np
import polars as pl
import pytest
from sklearn import datasets

from assay.collect.profile.spec import specify
from assay.watch.drift.verdict import compare
from assay.watch.interface import Outcome
from watch.drift.drift_tables import profile

LOADERS = {
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}


def load(name):
    data = LOADERS[name]()
    names = [f"feature {number}" for number in range(data.data.shape[1])]
    return pl.DataFrame(data.data, schema=names).with_columns(target=pl.Series(data.target))


def violated(drifts):
    return {drift.column for drift in drifts if drift.outcome is Outcome.VIOLATED}


@pytest.mark.parametrize("name", LOADERS)
def test_no_alarm_on_a_hundred_windows_of_the_same_data(name):
    """Half of the rows, shuffled anew each time, are the baseline; windows are contiguous parts of the other half, and
    bootstrap samples of the baseline."""
    frame = load(name)
    alarms = []
    for seed in range(25):
        shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
        half = len(frame) // 2
        spec = specify(shuffled.head(half))
        before, rest = profile(shuffled.head(half), spec), shuffled.tail(half)
        size = half // 2
        again = shuffled.head(half).sample(half, with_replacement=True, seed=seed)
        windows = [rest.head(size), rest.tail(size), rest, again]
        alarms += [violated(compare(before, profile(window, spec))) for window in windows]
    assert len(alarms) == 100
    assert [columns for columns in alarms if columns] == []


@pytest.mark.parametrize("name", LOADERS)
def test_a_shift_of_one_standard_deviation_is_found_within_two_windows(name):
    frame = load(name)
    found = []
    for seed in range(10):
        shuffled = frame.sample(fraction=1.0, shuffle=True, seed=100 + seed)
        half = len(frame) // 2
        column = f"feature {seed % min(10, frame.width - 1) + (1 if name == 'digits' else 0)}"
        if not shuffled.head(half)[column].std():
            continue
        moved = shuffled.tail(half).with_columns(pl.col(column) + shuffled[column].std())
        spec = specify(shuffled.head(half))
        before = profile(shuffled.head(half), spec)
        windows = [moved, moved.sample(half, with_replacement=True, seed=seed)]
        found.append(any(column in violated(compare(before, profile(window, spec))) for window in windows))
    assert len(found) >= 8
    assert all(found)


@pytest.mark.parametrize("name", ["digits", "breast cancer"])
def test_data_in_the_order_of_its_labels_drifts(name):
    """A contiguous part of sorted data is other data."""
    frame = load(name).sort("target")
    half = len(frame) // 2
    spec = specify(frame.head(half))
    drifts = compare(profile(frame.head(half), spec), profile(frame.tail(half), spec))
    assert "target" in violated(drifts)
    assert len(violated(drifts)) > 5
    assert np.isfinite([test.p for drift in drifts for test in drift.tests]).all()
