"""Drift as checks and metrics: what is printed, and what other tools read."""

import math
from datetime import UTC, datetime

import polars as pl
import pytest

from assay.watch.drift.look import look
from assay.watch.drift.settings import Settings
from assay.watch.interface import Outcome, Topic, Window
from watch.drift.drift_tables import pair, table

WINDOW = Window(datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC))


@pytest.fixture(scope="module")
def profiles():
    return pair(table(100_000, 1), table(10_000, 77, drifted=True))


def test_a_violation_says_all_three_reasons(profiles):
    found = look(*profiles, WINDOW)
    assert (found.topic, found.samples, found.outcome) == (Topic.DRIFT, 10_000, Outcome.VIOLATED)
    assert (found.baseline, found.current) == (profiles[0].digest, profiles[1].digest)
    check = next(check for check in found.violations if check.feature == "score_a")
    assert check.check.startswith("drift:")
    assert check.sagemaker == "baseline_drift_check"
    assert check.observed > check.expected == max(check.measures["floor"], check.measures["effect"])
    assert check.measures["q"] <= 0.001
    for words in ("noise floor", "practical effect", "adjusted p-value", "10,000"):
        assert words in check.message
    assert "not above the" not in check.message
    assert all(math.isfinite(number) for check in found.checks for number in check.measures.values())


def test_what_holds_says_why(profiles):
    found = look(*profiles, WINDOW)
    check = next(check for check in found.checks if check.feature == "lon")
    assert check.outcome is Outcome.HOLDS
    assert "not above the" in check.message
    assert check.check == "drift:ks"


def test_every_column_has_sagemakers_metric_and_the_multiple_of_its_floor(profiles):
    metrics = {metric.name: metric for metric in look(*profiles, WINDOW).metrics}
    for name in profiles[0].columns:
        assert 0.0 <= metrics[f"feature_baseline_drift_{name}"].value <= 1.0
        assert metrics[f"feature_baseline_drift_{name}"].time == WINDOW.end
    assert metrics["feature_drift_over_floor_score_a"].value > 2
    assert metrics["feature_drift_over_floor_lon"].value < 1.5


def test_predictions_have_names_of_their_own(profiles):
    found = look(*profiles, WINDOW, Settings(predictions=frozenset({"score_a"})))
    names = {metric.name for metric in found.metrics}
    assert "prediction_baseline_drift_score_a" in names
    assert "feature_baseline_drift_score_a" not in names
    check = next(check for check in found.violations if check.feature == "score_a")
    assert check.message.startswith("prediction score_a")


def test_an_empty_window_is_undecided_and_has_no_metric(profiles):
    frame = table(1_000, 1)
    found = look(*pair(frame, frame.head(0)), WINDOW)
    assert found.outcome is Outcome.UNDECIDED
    assert found.samples == 0
    assert found.metrics == ()
    assert {check.outcome for check in found.checks} == {Outcome.UNDECIDED}
    assert all("fewer than 30" in check.message for check in found.checks)


def test_long_names_stay_within_what_a_metric_store_takes():
    frame = pl.DataFrame({"x" * 400: range(100)})
    assert {len(metric.name) for metric in look(*pair(frame, frame), WINDOW).metrics} == {255}
