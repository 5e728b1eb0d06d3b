"""Which columns drifted: small real drifts are found, clean windows are not reported, too little decides nothing."""

import math

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.spec import specify
from assay.errors import UsageError
from assay.watch.drift.settings import ColumnSettings, Settings
from assay.watch.drift.verdict import compare
from assay.watch.interface import Outcome
from watch.drift.drift_tables import pair, profile, table

DRIFTED = {"balance", "score_a", "channel"}


def violated(drifts):
    return {drift.column for drift in drifts if drift.outcome is Outcome.VIOLATED}


def one(drifts, column):
    return next(drift for drift in drifts if drift.column == column)


@pytest.fixture(scope="module")
def baseline():
    frame = table(400_000, 1)
    spec = specify(frame)
    return spec, profile(frame, spec)


@pytest.mark.parametrize(("rows", "windows"), [(1_000, 40), (10_000, 30), (100_000, 3)])
def test_clean_windows_are_not_reported(baseline, rows, windows):
    spec, before = baseline
    reported = [violated(compare(before, profile(table(rows, 100 + seed), spec))) for seed in range(windows)]
    assert [columns for columns in reported if columns] == []


def test_three_small_drifts_are_found_in_every_window_of_ten_thousand(baseline):
    spec, before = baseline
    for seed in range(20):
        assert violated(compare(before, profile(table(10_000, 500 + seed, drifted=True), spec))) == DRIFTED


def test_all_three_conditions_are_needed(baseline):
    spec, before = baseline
    window = profile(table(10_000, 500, drifted=True), spec)
    values = one(compare(before, window), "score_a").tests[0]
    assert values.distances[0].beyond
    assert values.q < 1e-6
    large_effect = Settings(columns={"score_a": ColumnSettings({"ks": 0.2, "wasserstein": 0.9, "psi": 0.9})})
    assert "score_a" not in violated(compare(before, window, large_effect))
    sure = Settings(false_discovery=1e-300)
    assert violated(compare(before, window, sure)) == set()
    quiet = Settings(noise=1e-200)
    assert "score_a" not in violated(compare(before, window, quiet))


def test_the_window_is_corrected_for_the_number_of_columns():
    """A p-value that would do for one column does not do for a hundred."""
    random = np.random.default_rng(8)
    before = {"moved": random.normal(0, 1, 50_000)}
    after = {"moved": random.normal(0.16, 1, 1_000)}
    for number in range(200):
        before[f"still {number}"] = random.integers(0, 6, 50_000)
        after[f"still {number}"] = random.integers(0, 6, 1_000)
    alone = compare(*pair(pl.DataFrame(before).select("moved"), pl.DataFrame(after).select("moved")))
    many = compare(*pair(pl.DataFrame(before), pl.DataFrame(after)))
    assert one(alone, "moved").tests[0].p == one(many, "moved").tests[0].p
    assert one(many, "moved").tests[0].q > 50 * one(alone, "moved").tests[0].q


@pytest.mark.parametrize(("centre", "spread"), [(1e6, 1.0), (1.7e9, 1.0), (-1e12, 0.5), (1e-9, 1e-12)])
def test_numbers_far_from_zero_keep_their_resolution(centre, spread):
    random = np.random.default_rng(3)
    frame = pl.DataFrame({"x": centre + spread * random.normal(0, 1, 200_000)})
    clean = pl.DataFrame({"x": centre + spread * random.normal(0, 1, 10_000)})
    moved = pl.DataFrame({"x": centre + spread * random.normal(0.1, 1, 10_000)})
    assert violated(compare(*pair(frame, clean))) == set()
    drift = one(compare(*pair(frame, moved)), "x")
    assert drift.outcome is Outcome.VIOLATED
    assert drift.distance.value == pytest.approx(0.04, abs=0.012)


def test_ten_new_outliers_in_ten_thousand_rows_are_seen():
    random = np.random.default_rng(3)
    after = random.normal(0, 1, 10_000)
    after[:10] = 1e6
    drift = one(compare(*pair(pl.DataFrame({"x": random.normal(0, 1, 200_000)}), pl.DataFrame({"x": after}))), "x")
    assert drift.outcome is Outcome.VIOLATED
    assert drift.tests[0].decisive.name == "wasserstein"


def test_one_rare_value_more_is_no_drift():
    """A column of zeros with one other value: an asymptotic law would call a second one impossible."""
    before, after = np.zeros(1_200), np.zeros(60)
    before[0] = after[0] = 1.0
    assert violated(compare(*pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after})))) == set()


# Categories


def test_new_categories_that_are_each_rare_are_seen_together():
    """An attacker's strings, each once: no category moves by itself."""
    random = np.random.default_rng(3)
    names = np.array([f"state {number}" for number in range(50)])
    before = names[random.integers(0, 50, 100_000)]
    after = names[random.integers(0, 50, 5_000)].astype(object)
    after[:100] = [f"new {number}" for number in range(100)]
    drift = one(compare(*pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}))), "x")
    assert drift.outcome is Outcome.VIOLATED
    assert drift.tests[0].measures["unseen"] == pytest.approx(0.02)


def test_a_category_that_is_gone_is_seen():
    random = np.random.default_rng(3)
    before = np.array(list("abcde"))[random.integers(0, 5, 50_000)]
    after = np.array(list("abcd"))[random.integers(0, 4, 2_000)]
    assert violated(compare(*pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after})))) == {"x"}


@pytest.mark.parametrize("distinct", [3_000, 200_000])
def test_many_categories_do_not_drift_by_being_many(distinct):
    random = np.random.default_rng(3)
    before = pl.DataFrame({"x": pl.Series(random.zipf(1.3, 200_000) % distinct).cast(pl.String)})
    after = pl.DataFrame({"x": pl.Series(random.zipf(1.3, 10_000) % distinct).cast(pl.String)})
    assert violated(compare(*pair(before, after))) == set()
    half = pl.DataFrame({"x": pl.Series(random.zipf(1.5, 10_000) % distinct).cast(pl.String)})
    assert violated(compare(*pair(before, half))) == {"x"}


def test_booleans_and_missing_values():
    random = np.random.default_rng(3)
    before = pl.DataFrame({"flag": random.random(20_000) < 0.3, "x": random.normal(0, 1, 20_000)})
    after = pl.DataFrame({"flag": random.random(5_000) < 0.36, "x": random.normal(0, 1, 5_000)})
    after = after.with_columns(pl.when(pl.int_range(5_000) % 20 > 0).then(pl.col("x")).alias("x"))
    drifts = compare(*pair(before, after))
    assert violated(drifts) == {"flag", "x"}
    tests = {test.name: test.outcome for test in one(drifts, "x").tests}
    assert tests == {"values": Outcome.HOLDS, "missing": Outcome.VIOLATED}


def test_vectors():
    random = np.random.default_rng(3)

    def vectors(rows, shift):
        return pl.DataFrame({"v": pl.Series((random.normal(0, 1, (rows, 16)) + shift).astype(np.float32))})

    before = vectors(4_000, np.zeros(16))
    assert violated(compare(*pair(before, vectors(1_000, np.zeros(16))))) == set()
    one_dimension = np.zeros(16)
    one_dimension[4] = 0.4
    assert violated(compare(*pair(before, vectors(1_000, one_dimension)))) == {"v"}


# Too little, nothing, and always the same


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_too_few_rows_decide_nothing(baseline, rows):
    spec, before = baseline
    drifts = compare(before, profile(table(50, 3).head(rows), spec))
    assert len(drifts) == 17
    assert {drift.outcome for drift in drifts} == {Outcome.UNDECIDED}
    assert all("fewer than 30" in test.reason for drift in drifts for test in drift.tests)


def test_a_baseline_with_too_few_rows_decides_nothing():
    drifts = compare(*pair(table(20, 3), table(1_000, 4)))
    assert {drift.outcome for drift in drifts} == {Outcome.UNDECIDED}


def test_constant_columns():
    same = pl.DataFrame({"number": [7.5] * 500, "text": ["a"] * 500})
    drifts = compare(*pair(same, same.head(100)))
    assert {drift.outcome for drift in drifts} == {Outcome.HOLDS}
    other = pl.DataFrame({"number": [7.6] * 100, "text": ["b"] * 100})
    assert violated(compare(*pair(same, other))) == {"number", "text"}


def test_columns_without_values():
    nothing = pl.DataFrame({"x": pl.Series([None] * 500, dtype=pl.Float64), "y": np.arange(500.0)})
    drifts = compare(*pair(nothing, nothing.head(200).with_columns(y=np.arange(200.0) * 2.5)))
    assert {drift.column: drift.outcome for drift in drifts} == {"x": Outcome.HOLDS, "y": Outcome.HOLDS}
    filled = nothing.head(200).with_columns(x=pl.lit(1.0))
    assert "x" in violated(compare(*pair(nothing, filled)))
    emptied = nothing.head(200).with_columns(y=pl.lit(None, dtype=pl.Float64))
    drift = one(compare(*pair(nothing, emptied)), "y")
    assert drift.outcome is Outcome.VIOLATED
    assert drift.tests[0].outcome is Outcome.UNDECIDED


def test_a_column_that_is_gone_is_missing_everywhere():
    frame = table(1_000, 3)
    spec = specify(frame)
    drift = one(compare(profile(frame, spec), profile(frame.drop("age"), spec)), "age")
    assert drift.outcome is Outcome.VIOLATED


def test_infinities_and_nan():
    random = np.random.default_rng(3)
    before, after = random.normal(0, 1, 5_000), random.normal(0, 1, 1_000)
    after[:100] = math.inf
    after[100:200] = math.nan
    drift = one(compare(*pair(pl.DataFrame({"x": before}), pl.DataFrame({"x": after}))), "x")
    outcomes = {test.name: test.outcome for test in drift.tests}
    assert outcomes == {"values": Outcome.HOLDS, "missing": Outcome.VIOLATED, "odd": Outcome.VIOLATED}


def test_numbers_at_the_end_of_the_range():
    frame = pl.DataFrame({"x": [1e308, -1e308, 0.0, 5e-324] * 100})
    drifts = compare(*pair(frame, frame))
    assert violated(drifts) == set()
    for drift in drifts:
        for test in drift.tests:
            assert all(math.isfinite(found.value) and math.isfinite(found.floor) for found in test.distances)


# Settings


def test_profiles_of_unequal_specs_are_refused():
    one_frame, other = table(500, 3), table(500, 4)
    with pytest.raises(UsageError, match="spec"):
        compare(profile(one_frame), profile(other.with_columns(age=pl.col("age") * 1_000)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_discovery": 0.0},
        {"noise": 1.5},
        {"least": 1},
        {"numbers": ()},
        {"numbers": ("l_infinity",)},
        {"effects": {"kolmogorov": 0.1}},
        {"effects": {"ks": -0.1}},
        {"effects": {"ks": math.nan}},
        {"columns": {"x": ColumnSettings(decide=("nothing",))}},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        Settings(**wrong)


def test_settings_that_name_what_is_not_there_are_refused():
    frame = table(500, 3)
    same = pair(frame, frame)
    with pytest.raises(UsageError, match="no column agee"):
        compare(*same, Settings(ignore=frozenset({"agee"})))
    with pytest.raises(UsageError, match="l_infinity is no distance of column age"):
        compare(*same, Settings(columns={"age": ColumnSettings(decide=("l_infinity",))}))


def test_what_decides_can_be_chosen_for_a_column(baseline):
    spec, before = baseline
    window = profile(table(10_000, 500, drifted=True), spec)
    own = Settings(columns={"balance": ColumnSettings({"jensen_shannon": 0.9}, ("jensen_shannon", "l_infinity"))})
    drift = one(compare(before, window, own), "balance")
    assert drift.distance.name == "jensen_shannon"
    assert [distance.name for distance in drift.tests[0].distances if distance.decides] == ["jensen_shannon"]
    assert drift.outcome is Outcome.HOLDS


def test_ignored_columns_and_predictions(baseline):
    spec, before = baseline
    window = profile(table(10_000, 500, drifted=True), spec)
    settings = Settings(ignore=frozenset({"balance"}), predictions=frozenset({"score_a"}))
    drifts = compare(before, window, settings)
    assert violated(drifts) == DRIFTED - {"balance"}
    assert [drift.column for drift in drifts if drift.prediction] == ["score_a"]
