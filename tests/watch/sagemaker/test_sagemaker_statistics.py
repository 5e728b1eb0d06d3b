"""statistics.json, both ways: the documented schema, exact numbers, a sketch whose weights add up."""

from __future__ import annotations

import itertools
import json

import jsonschema
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.profile.interface import Kind
from assay.errors import DocumentError
from assay.watch.drift.settings import Settings
from assay.watch.drift.verdict import compare
from assay.watch.interface import Outcome
from assay.watch.sagemaker import statistics
from assay.watch.sagemaker.approximate import comparable
from watch.constraints.profiles import profile, table
from watch.sagemaker.schemas import STATISTICS


def _features(data: bytes) -> dict[str, dict]:
    return {item["name"]: item for item in json.loads(data)["features"]}


def test_the_file_is_as_the_guide_says_and_its_numbers_are_exact():
    frame = table(3000, 1)
    data = statistics.dumps(profile(frame))
    document = json.loads(data)
    jsonschema.validate(document, STATISTICS)
    assert document["dataset"] == {"item_count": 3000}
    found = _features(data)
    assert list(found) == frame.columns
    for name in ("age", "amount", "temperature", "pressure", "pareto", "count", "share"):
        numbers, values = found[name]["numerical_statistics"], frame[name].drop_nulls()
        assert numbers["common"] == {"num_present": len(values), "num_missing": 3000 - len(values)}
        assert numbers["min"] == values.min()
        assert numbers["max"] == values.max()
        assert numbers["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert numbers["sum"] == pytest.approx(values.sum(), rel=1e-12)
        assert numbers["std_dev"] == pytest.approx(values.std(ddof=0), rel=1e-9)
    country = found["country"]["string_statistics"]
    assert country["distinct_count"] == frame["country"].n_unique()
    top = frame["country"].value_counts(sort=True).row(0)
    assert country["distribution"]["categorical"]["buckets"][0] == {"value": top[0], "count": top[1]}
    assert found["age"]["inferred_type"] == "Integral"
    assert found["amount"]["inferred_type"] == "Fractional"
    assert found["flag"]["inferred_type"] == "String"


@pytest.mark.parametrize("name", ["age", "count", "amount", "temperature", "share"])
def test_ten_buckets_hold_what_lies_in_them(name):
    frame = table(3000, 1)
    buckets = _features(statistics.dumps(profile(frame)))[name]["numerical_statistics"]["distribution"]["kll"][
        "buckets"
    ]
    values = frame[name].drop_nulls().to_numpy()
    edges = [bucket["lower_bound"] for bucket in buckets] + [buckets[-1]["upper_bound"]]
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    assert all(one["upper_bound"] == other["lower_bound"] for one, other in itertools.pairwise(buckets))
    counts = np.array([bucket["count"] for bucket in buckets])
    assert counts.sum() == len(values)
    true, _ = np.histogram(values, edges)
    np.testing.assert_allclose(counts, true, atol=0 if name in ("age", "count") else 0.004 * len(values))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.integers(1, 3000))
def test_the_sketch_weighs_as_much_as_the_column_and_has_its_ranks(values, times):
    frame = pl.DataFrame({"a": values * times})
    state = profile(frame).columns["a"]
    levels = statistics.sketch(state)
    items = [(item, 2**level) for level, found in enumerate(levels) for item in found]
    assert sum(weight for _, weight in items) == len(values) * times
    assert all(len(level) <= 2048 for level in levels)
    assert min(values) <= min(item for item, _ in items) <= max(item for item, _ in items) <= max(values)


def test_the_sketch_has_the_ranks_of_the_rows():
    values = np.sort(np.random.default_rng(1).lognormal(0, 2, 100_000))
    levels = statistics.sketch(profile(pl.DataFrame({"a": values})).columns["a"])
    items, weights = zip(
        *sorted((item, 2.0**level) for level, found in enumerate(levels) for item in found), strict=True
    )
    ranks = (np.cumsum(weights) - np.array(weights) / 2) / len(values)
    true = np.searchsorted(values, items) / len(values)
    assert np.abs(ranks - true).max() < 0.003


def test_one_profile_gives_one_file():
    frame = table(5000, 1)
    assert statistics.dumps(profile(frame)) == statistics.dumps(profile(frame))


def test_what_is_written_is_read_with_the_same_numbers():
    frame = table(3000, 1)
    whole = profile(frame)
    found = statistics.loads(statistics.dumps(whole))
    assert found.rows == 3000
    for name, state in found.columns.items():
        other = whole.columns[name]
        if name in ("empty", "city", "session"):
            continue
        assert (state.count, state.missing) == (other.count, other.missing)
        if hasattr(state, "mean"):
            assert (state.mean, state.std, state.minimum, state.maximum) == (
                other.mean, other.std, other.minimum, other.maximum,
            )  # fmt: skip
            assert state.counts.sum() == state.count
    assert found.columns["country"].labels[0] == "de"
    assert {item.name: item.kind for item in found.spec.columns}["age"] is Kind.INTEGRAL


def test_the_services_own_form_is_read():
    document = {
        "version": 0.0,
        "dataset": {"item_count": 190},
        "features": [
            {
                "name": "b",
                "inferred_type": "Fractional",
                "numerical_statistics": {
                    "common": {"num_present": 100, "num_missing": 90},
                    "mean": 5.0, "sum": 500.0, "std_dev": 2.5, "min": 0.0, "max": 10.0,
                    "distribution": {"kll": {
                        "buckets": [
                            {"lower_bound": 0.0, "upper_bound": 5.0, "count": 40.0},
                            {"lower_bound": 5.0, "upper_bound": 10.0, "count": 60.0},
                        ],
                        "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": [[0.0, 1.0]]},
                    }},
                },
            },
            {
                "name": "s",
                "inferred_type": "String",
                "string_statistics": {
                    "common": {"num_present": 190, "num_missing": 0},
                    "distinct_count": 3.0,
                    "distribution": {
                        "categorical": {"buckets": [{"value": "x", "count": 100}, {"value": "7", "count": 80}]}
                    },
                },
            },
            {"name": "u", "inferred_type": "Unknown"},
        ],
    }  # fmt: skip
    found = statistics.loads(json.dumps(document).encode())
    numbers = found.columns["b"]
    assert numbers.counts.tolist() == [40, 60]  # the dummy sketch does not weigh what the column does
    assert (numbers.count, numbers.missing) == (100, 90)
    strings = found.columns["s"]
    assert strings.counts.tolist() == [100, 80, 10]
    assert (strings.exact, strings.distinct, strings.integral) == (False, 3, 80)
    assert list(found.columns) == ["b", "s"]


def _one(**statistics_of):
    numbers = {"common": {"num_present": 10, "num_missing": 0}, "min": 0, "max": 1, "mean": 0.5, "std_dev": 0.1}
    feature = {"name": "a", "inferred_type": "Fractional", "numerical_statistics": {**numbers, **statistics_of}}
    return {"dataset": {"item_count": 10}, "features": [feature]}


def _bucket(low, high, count):
    return {"lower_bound": low, "upper_bound": high, "count": count}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"features": []}, "dataset"),
        ({"dataset": {"item_count": -1}, "features": []}, "count"),
        ({"dataset": {"item_count": 1.5}, "features": []}, "count"),
        ({"dataset": {"item_count": 1e300}, "features": []}, "count"),
        (_one(common={"num_present": 11, "num_missing": 0}), "more than 10 rows"),
        (_one(common={"num_present": "x", "num_missing": 0}), "num_present"),
        (_one(distribution={"kll": {"buckets": [_bucket(0, 7, 10)]}}), "between min and max"),
        (_one(distribution={"kll": {"buckets": [_bucket(0.5, 1, 5), _bucket(0, 0.5, 5)]}}), "order"),
        ({**_one(), "features": _one()["features"] * 2}, "twice"),
    ],
)
def test_what_makes_no_sense_is_refused(document, words):
    with pytest.raises(DocumentError, match=words):
        statistics.loads(json.dumps(document).encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["buckets", "sketch", "data", "lower_bound", "upper_bound", "count"]), x)
        ),
    )
)
def test_any_distribution_is_read_or_refused_with_a_sentence(value):
    try:
        statistics.loads(json.dumps(_one(distribution={"kll": value})).encode())
    except DocumentError as error:
        assert error.message


def _drifted(frame):
    """Columns that drifted, against a baseline that is known by its statistics.json only."""
    known = statistics.loads(statistics.dumps(profile(table(20_000, 1), labels=10)))
    before, after = comparable(known, profile(frame))
    found = compare(
        before, after, Settings(ignore=frozenset({"when", "id", "session", "city"}) & before.columns.keys())
    )
    return {item.column for item in found if item.outcome is Outcome.VIOLATED}


def test_drift_is_found_with_what_the_file_tells():
    frame = table(10_000, 2)
    moved = frame.with_columns(
        frame["temperature"] + 2,
        frame["age"] + 4,
        count=pl.when(pl.int_range(pl.len()) % 5 == 0).then(3).otherwise("count"),
        country=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("it")).otherwise("country"),
    )
    assert _drifted(moved) == {"temperature", "age", "count", "country"}


def test_clean_windows_do_not_drift_from_what_the_file_tells():
    for seed in range(2, 12):
        assert _drifted(table(10_000, seed)) == set()


def test_the_sketch_of_a_tiny_number_is_that_number():
    state = profile(pl.DataFrame({"a": [2.225073858507e-311]})).columns["a"]
    assert statistics.sketch(state) == [[2.225073858507e-311]]
