from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assay.watch.interface import Outcome, Topic, Window
from assay.watch.quality import thresholds
from assay.watch.quality.checking import Settings, look, measure
from assay.watch.quality.interface import Columns, Problem, Sample
from assay.watch.quality.joining import Counts
from assay.watch.quality.reading import sample
from assay.watch.quality.thresholds import Threshold

WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def predictions(seed, size=5_000, *, noise=0.0):
    """Calibrated probabilities; ``noise`` is the share of labels that the model cannot know."""
    generator = np.random.default_rng(seed)
    score = generator.beta(1, 1, size)
    known = generator.random(size) >= noise
    actual = np.where(known, generator.random(size) < score, generator.random(size) < 0.5)
    return pl.DataFrame({"label": actual.astype(int), "score": score, "country": generator.choice(list("abcd"), size)})


def read(table, *segments):
    return sample(table, Problem.BINARY, Columns("label", None, "score", segments=segments))


BASELINE = thresholds.suggest(measure(read(predictions(1, 20_000)), confidence=0.99))


def test_no_alarm_on_a_hundred_windows_of_the_same_model():
    looks = [look(read(predictions(seed, 2_000)), BASELINE, WINDOW) for seed in range(100, 200)]
    assert [found.outcome for found in looks] == [Outcome.HOLDS] * 100


def test_a_model_that_got_worse_is_found_in_every_window():
    looks = [look(read(predictions(seed, 2_000, noise=0.2)), BASELINE, WINDOW) for seed in range(20)]
    assert all(found.outcome is Outcome.VIOLATED for found in looks)
    found = looks[0]
    assert found.topic is Topic.MODEL_QUALITY and found.samples == 2_000
    auc = next(check for check in found.checks if check.check == "auc")
    assert auc.sagemaker == "LessThanThreshold" and auc.observed < auc.expected
    assert auc.measures["high"] < auc.expected and auc.measures["p"] < 0.005
    assert "99% interval" in auc.message
    values = {metric.name: metric.value for metric in found.metrics}
    assert values["auc"] == auc.observed and values["labelled_share"] == 1.0
    assert all(metric.time == WINDOW.end for metric in found.metrics)


def test_violations_in_the_service_s_form():
    found = look(read(predictions(3, noise=0.5)), BASELINE, WINDOW)
    document = thresholds.violations(found)
    entry = next(item for item in document["violations"] if item["metric_name"] == "f1")
    assert set(entry) == {"constraint_check_type", "description", "metric_name"}
    assert entry["constraint_check_type"] == "LessThanThreshold"
    assert entry["description"].startswith("Metric f1 with 0.") and " was LessThanThreshold 0." in entry["description"]


def test_a_difference_that_may_be_chance_is_no_violation():
    strict = (Threshold("accuracy", 0.76, thresholds.BELOW),)  # the model's true accuracy is 0.75
    (check, _) = look(read(predictions(5, 500)), strict, WINDOW).checks
    assert check.outcome is Outcome.HOLDS
    (check, _) = look(read(predictions(5, 500_000)), strict, WINDOW).checks
    assert check.outcome is Outcome.VIOLATED


@pytest.mark.parametrize("size", [0, 1, 99])
def test_too_few_labels_decide_nothing(size):
    found = look(read(predictions(0, 5_000).head(size), "country"), BASELINE, WINDOW)
    assert found.outcome is Outcome.UNDECIDED and not found.violations


def test_too_small_a_share_of_labels_decides_nothing():
    table = predictions(0).with_columns(label=pl.when(pl.int_range(pl.len()) < 500).then("label"))
    assert look(read(table), BASELINE, WINDOW).outcome is Outcome.HOLDS
    found = look(read(table), BASELINE, WINDOW, Settings(labelled=0.2))
    assert found.outcome is Outcome.UNDECIDED
    assert "10.0% of the predictions have ground truth" in found.checks[0].message


def test_no_thresholds_demand_nothing_so_nothing_holds():
    assert look(read(predictions(0)), (), WINDOW).outcome is Outcome.UNDECIDED


def test_a_metric_that_needs_probabilities_is_undecided_without_them():
    table = predictions(0).with_columns(prediction=(pl.col("score") > 0.5).cast(int))
    data = sample(table, Problem.BINARY, Columns("label", "prediction"))
    found = look(data, (Threshold("auc", 0.5, thresholds.BELOW),), WINDOW)
    assert found.outcome is Outcome.UNDECIDED and "probability missing" in found.checks[0].message


def test_hiding_what_is_hard_does_not_make_a_model_good():
    """Attack: whoever controls the model answers NaN where it would be wrong."""
    table = predictions(0, noise=0.5)
    wrong = (pl.col("score") > 0.5) != (pl.col("label") == 1)
    hidden = table.with_columns(score=pl.when(wrong).then(float("nan")).otherwise("score"))
    found = look(read(hidden), BASELINE, WINDOW)
    assert {check.check for check in found.violations} == {"usable_predictions"}
    nothing = look(read(table.with_columns(score=pl.lit(float("nan")))), BASELINE, WINDOW)
    assert nothing.violations[0].observed == 1.0 and "5,000 probability is no number" in nothing.violations[0].message


def test_ids_that_stand_for_several_predictions_are_told():
    found = look(read(predictions(0)), BASELINE, WINDOW, joined=Counts(predictions=1_000, conflicting_predictions=200))
    assert {check.check for check in found.violations} == {"conflicting_predictions"}
    assert found.details["joined"]["conflicting_predictions"] == 200


def test_unknown_classes_are_a_violation():
    data = Sample(
        Problem.MULTICLASS, np.zeros(200, int), np.zeros(200, int), None, ("a", "b"), rows=200, unknown=("b",)
    )
    found = look(data, (Threshold("accuracy", 0.5, thresholds.BELOW),), WINDOW)
    assert [check.check for check in found.violations] == ["known_classes"]


def test_one_bad_segment_is_named_and_small_ones_are_undecided():
    good, bad = predictions(1, 8_000), predictions(2, 8_000, noise=0.6)
    table = pl.concat(
        [
            good.with_columns(country=pl.lit("de")),
            bad.with_columns(country=pl.lit("fr")).head(800),
            bad.with_columns(country=pl.lit("li")).head(40),
        ]
    )
    found = look(read(table, "country"), (Threshold("accuracy", 0.72, thresholds.BELOW),), WINDOW)
    outcomes = {check.feature: check.outcome for check in found.checks if check.check == "accuracy"}
    assert outcomes == {
        None: Outcome.HOLDS,
        "country=de": Outcome.HOLDS,
        "country=fr": Outcome.VIOLATED,
        "country=li": Outcome.UNDECIDED,
    }
    bad = next(check for check in found.checks if check.feature == "country=fr")
    assert bad.measures["p"] <= bad.measures["q"]
    assert {metric.dimensions.get("country") for metric in found.metrics} == {None, "de", "fr", "li"}


def test_many_segments_cry_no_wolf():
    """400 segments of a model that is exactly as good as demanded: each alone, one in 200 would violate by chance."""
    generator = np.random.default_rng(0)
    size = 400 * 200
    actual = generator.integers(0, 2, size)
    predicted = np.where(generator.random(size) < 0.8, actual, 1 - actual)
    table = pl.DataFrame({"label": actual, "prediction": predicted, "shop": np.arange(size) % 400})
    data = sample(table, Problem.BINARY, Columns("label", "prediction", segments=("shop",)))
    found = look(data, (Threshold("accuracy", 0.8, thresholds.BELOW),), WINDOW)
    assert not found.violations
    unlucky = [c for c in found.checks if c.feature and c.measures["p"] < 0.005]
    assert unlucky and all("over 400 tests" in check.message for check in unlucky)


def test_only_the_largest_segments_are_looked_at():
    found = look(read(predictions(0), "country"), BASELINE, WINDOW, Settings(segments=2))
    left = [check for check in found.checks if check.check == "segments"]
    assert left[0].observed == 2 and left[0].outcome is Outcome.UNDECIDED


def test_dimensions_go_onto_every_metric():
    found = look(read(predictions(0), "country"), BASELINE, WINDOW, dimensions={"Endpoint": "e"})
    assert all(metric.dimensions["Endpoint"] == "e" for metric in found.metrics)


def test_calibration_is_told_and_checked_where_it_is_demanded():
    bold = predictions(0).with_columns(score=pl.col("score") ** 0.5)
    told = look(read(bold), (Threshold("accuracy", 0.5, thresholds.BELOW),), WINDOW)
    assert told.outcome is Outcome.HOLDS and told.details["calibration"]["p"] < 1e-6
    values = {metric.name: metric.value for metric in told.metrics}
    assert values["calibration_error"] > 0.1
    assert values["brier_score"] == pytest.approx(bold.select(((pl.col("score") - pl.col("label")) ** 2).mean()).item())
    for table, outcome in (
        (bold, Outcome.VIOLATED),
        (predictions(0), Outcome.HOLDS),
        (bold.head(50), Outcome.UNDECIDED),
    ):
        found = look(read(table), (), WINDOW, Settings(calibration=0.05))
        assert found.outcome is outcome
        assert "0.05 is demanded" in found.checks[0].message


def test_details_and_checks_are_json_like():
    import json
    from dataclasses import asdict

    found = look(read(predictions(0), "country"), BASELINE, WINDOW, joined=Counts(predictions=5_000))
    json.dumps([found.details, *(asdict(check) for check in found.checks)], allow_nan=False)


def test_estimates_warn_and_say_what_they_assume():
    from assay.watch.quality import estimated, estimating

    calibrator = estimated.calibrate(read(predictions(0)))
    good, hard = predictions(1, 2_000), predictions(2, 2_000)
    hard = hard.with_columns(score=0.5 + (pl.col("score") - 0.5) / 10)
    for table, outcome in ((good, Outcome.HOLDS), (hard, Outcome.VIOLATED), (good.head(50), Outcome.UNDECIDED)):
        window = read(table)
        quality = estimated.classification(window.predicted, window.score, Problem.BINARY, calibrator, confidence=0.99)
        found = estimating.look(quality, BASELINE, WINDOW)
        assert found.outcome is outcome
        names = {check.check for check in found.checks}
        assert {"estimated_accuracy", "estimated_auc", "estimated_f1"} <= names
        assert all(check.severity == "warning" and "no concept drift" in check.message for check in found.checks)
        assert all(check.sagemaker is None for check in found.checks)
    assert {metric.name for metric in found.metrics} >= {"estimated_accuracy"}
