import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assay.errors import DocumentError
from assay.watch.bias import clarify
from assay.watch.bias.checking import Settings, look
from assay.watch.bias.interface import Bias, Choice, Question
from assay.watch.bias.metrics import measure
from assay.watch.bias.reading import people
from assay.watch.estimates import Estimate
from assay.watch.interface import Outcome, Topic, Window

WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
QUESTION = Question(Choice("sex", ("f",)), Choice("good", ("1",)), Choice("said", ("1",)), "job")


def bias(seed, size, *, gap=0.0):
    generator = np.random.default_rng(seed)
    woman = generator.random(size) < 0.4
    good = generator.random(size) < 0.5
    said = np.where(generator.random(size) < 0.8, good, generator.random(size) < 0.5)
    said = said & ~(woman & (generator.random(size) < gap))
    frame = pl.DataFrame(
        {
            "sex": np.where(woman, "f", "m"),
            "good": good.astype(int),
            "said": said.astype(int),
            "job": generator.integers(0, 3, size),
        }
    )
    return measure(people(frame, QUESTION), QUESTION)


BASELINE = [bias(0, 20_000)]


def test_no_alarm_on_a_hundred_windows_of_the_same_model():
    looks = [look([bias(seed, 1_000)], BASELINE, WINDOW) for seed in range(100, 200)]
    assert [found.outcome for found in looks] == [Outcome.HOLDS] * 100


def test_a_model_that_turned_against_a_group_is_found():
    looks = [look([bias(seed, 1_000, gap=0.35)], BASELINE, WINDOW) for seed in range(20)]
    assert all(found.outcome is Outcome.VIOLATED for found in looks)
    found = looks[0]
    assert found.topic is Topic.BIAS and found.samples == 1_000
    names = {check.check for check in found.violations}
    assert {"DPPL", "DI", "RD", "CDDPL"} <= names
    assert not names & {"DPL", "CI", "KL", "CDDL"}  # labels and groups are as before
    check = next(item for item in found.violations if item.check == "DPPL")
    assert check.feature == "sex=f" and check.sagemaker == "bias_drift_check"
    assert check.measures["low"] > check.measures["allowed_high"]
    metric = next(item for item in found.metrics if item.name == "bias_metric_DPPL")
    assert metric.value == check.observed
    assert metric.dimensions == {"Facet": "sex", "FacetValue": "f", "BiasStage": "post-training"}


def single(name, value, low=None, high=None, samples=10_000):
    return Bias("sex", "f", samples, samples // 2, {name: Estimate(value, low, high, samples)})


@pytest.mark.parametrize(
    ("name", "before", "now", "outcome"),
    [
        ("DPPL", 0.1, (0.2, 0.15, 0.25), Outcome.VIOLATED),
        ("DPPL", 0.1, (-0.2, -0.25, -0.15), Outcome.VIOLATED),  # the other group, but farther from 0
        ("DPPL", 0.1, (0.2, 0.09, 0.3), Outcome.HOLDS),
        ("DPPL", -0.1, (0.1, 0.09, 0.11), Outcome.HOLDS),
        ("DPPL", 0.1, (0.0, -0.01, 0.01), Outcome.HOLDS),
        ("DPPL", 0.1, (0.2, None, None), Outcome.UNDECIDED),
        ("DI", 0.8, (0.7, 0.6, 0.75), Outcome.VIOLATED),  # farther from 1
        ("DI", 0.8, (0.9, 0.88, 0.92), Outcome.HOLDS),
        ("DI", 0.8, (1.3, 1.28, 1.35), Outcome.VIOLATED),  # 1 / 0.8 is 1.25
        ("DI", 0.8, (1.2, 1.15, 1.24), Outcome.HOLDS),
        ("DI", 0.8, (0.0, 0.0, 0.01), Outcome.VIOLATED),
    ],
)
def test_farther_from_no_bias_than_the_baseline(name, before, now, outcome):
    (check,) = look([single(name, *now)], [single(name, before)], WINDOW).checks
    assert check.outcome is outcome, check.message


def test_a_range_may_be_given_instead():
    settings = Settings(allowed={"DPPL": (-0.05, 0.05)})
    now, before = single("DPPL", 0.1, 0.09, 0.11), single("DPPL", 0.3)
    assert look([now], [before], WINDOW).outcome is Outcome.HOLDS
    assert look([now], [before], WINDOW, settings).outcome is Outcome.VIOLATED
    assert look([now], [], WINDOW, settings).outcome is Outcome.VIOLATED  # no baseline is needed then


def test_what_cannot_be_compared_is_undecided():
    cases = [
        ([single("DPPL", 0.9, 0.8, 1.0)], []),  # nothing to compare with
        ([single("AD", 0.9, 0.8, 1.0)], [single("DPPL", 0.1)]),  # the metric is not in the window
        ([single("DPPL", None)], [single("DPPL", 0.1)]),
        ([single("DPPL", 0.9, 0.8, 1.0)], [single("DPPL", None)]),
        ([single("DPPL", 0.9, 0.8, 1.0, samples=80)], [single("DPPL", 0.1)]),  # 40 people in each facet
        ([], BASELINE),
    ]
    for current, baseline in cases:
        assert look(current, baseline, WINDOW).outcome is Outcome.UNDECIDED


def test_clarify_s_analysis_there_and_back():
    (before,) = BASELINE
    document = clarify.analysis(BASELINE, QUESTION)
    pre = document["pre_training_bias_metrics"]
    assert pre["label"] == "good" and pre["label_value_or_threshold"] == "1"
    names = [item["name"] for item in pre["facets"]["sex"][0]["metrics"]]
    assert names == ["CDDL", "CI", "DPL", "JS", "KL", "KS", "LP", "TVD"]
    (after,) = clarify.read_analysis(json.dumps(document).encode(), "analysis.json")
    assert (after.facet, after.facet_value) == ("sex", "f")
    for name, item in before.metrics.items():
        mine = after.metrics[name]
        assert (mine.value, mine.low, mine.high) == (item.value, item.low, item.high)
    again = look([bias(7, 1_000, gap=0.3)], [after], WINDOW)
    assert again.checks == look([bias(7, 1_000, gap=0.3)], BASELINE, WINDOW).checks


def test_the_service_s_own_analysis_is_read():
    text = b"""{"version": "1.0", "post_training_bias_metrics": {"label": "Target", "label_value_or_threshold": "1",
        "facets": {"Age": [{"value_or_threshold": "40", "metrics": [
        {"name": "DPPL", "description": "Difference in Positive Proportions in Predicted Labels", "value": 0.05},
        {"name": "TE", "description": "Treatment Equality", "value": null, "error": "no"}]}]}}}"""
    (found,) = clarify.read_analysis(text, "analysis.json")
    assert found.facet == "Age" and found.metrics["DPPL"].value == 0.05 and found.metrics["TE"].reason == "no"


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[]",
        b"nothing",
        b'{"post_training_bias_metrics": {"facets": {"a": [{"metrics": [{"name": "CI", "value": %d}]}]}}}' % 10**400,
        b'{"post_training_bias_metrics": {"facets": {"a": [{"metrics": [{"name": 1, "value": 1}]}]}}}',
        b'{"post_training_bias_metrics": {}}',
        b'{"post_training_bias_metrics": {"facets": {"a": {}}}}',
        b'{"post_training_bias_metrics": {"facets": {"a": [{"metrics": [{"name": "CI", "value": "1"}]}]}}}',
        b'{"post_training_bias_metrics": {"facets": {"": [{"metrics": [{"name": "", "value": 1, "interval": 3}]}]}}}',
    ],
)
def test_other_documents_are_refused(text):
    with pytest.raises(DocumentError, match=r"analysis\.json"):
        clarify.read_analysis(text, "analysis.json")
