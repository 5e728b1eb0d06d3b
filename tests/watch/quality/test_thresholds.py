import json

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError
from assay.watch.quality import thresholds
from assay.watch.quality.checking import measure
from assay.watch.quality.interface import Problem, Sample
from assay.watch.quality.thresholds import Threshold

NUMBER = {"anyOf": [{"type": "number"}, {"const": "NaN"}]}
STATISTICS = {
    "type": "object",
    "required": ["version", "dataset", "binary_classification_metrics"],
    "properties": {
        "version": {"const": 0.0},
        "dataset": {"type": "object", "required": ["item_count"]},
        "binary_classification_metrics": {
            "type": "object",
            "required": ["confusion_matrix", "auc", "f1", "receiver_operating_characteristic_curve"],
            "properties": {
                "confusion_matrix": {
                    "type": "object",
                    "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}},
                },
                "receiver_operating_characteristic_curve": {
                    "required": ["false_positive_rates", "true_positive_rates"],
                    "additionalProperties": {"type": "array", "items": {"type": "number"}},
                },
                "precision_recall_curve": {
                    "required": ["precisions", "recalls"],
                    "additionalProperties": {"type": "array", "items": {"type": "number"}},
                },
            },
            "additionalProperties": {
                "type": "object",
                "required": ["value", "standard_deviation"],
                "properties": {"value": NUMBER, "standard_deviation": NUMBER},
            },
        },
    },
}


def quality(size=500, seed=0):
    generator = np.random.default_rng(seed)
    score = generator.beta(2, 2, size)
    actual = (generator.random(size) < score).astype(int)
    return measure(Sample(Problem.BINARY, actual, (score > 0.5).astype(int), score, ("0", "1")))


@pytest.mark.parametrize("size", [500, 50])
def test_statistics_have_the_documented_form_and_come_back(size):
    before = quality(size)
    document = thresholds.statistics(before)
    jsonschema.validate(document, STATISTICS)
    after = thresholds.read_statistics(json.dumps(document, allow_nan=False).encode(), "statistics.json")
    assert (after.problem, after.samples, after.confusion) == (before.problem, before.samples, before.confusion)
    assert after.curves == before.curves and after.classes == ("0", "1")
    for name, item in before.metrics.items():
        mine = after.metrics[name]
        assert (mine.value, mine.low, mine.high, mine.deviation) == (item.value, item.low, item.high, item.deviation)


def test_the_service_s_own_statistics_are_read():
    text = b"""{"version": 0.0, "dataset": {"item_count": 4.0, "evaluation_time": "2022-01-01T00:00:00Z"},
        "binary_classification_metrics": {
        "confusion_matrix": {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}},
        "f1": {"value": 0.5, "standard_deviation": "NaN"}, "auc": {"value": "NaN", "standard_deviation": "NaN"}}}"""
    found = thresholds.read_statistics(text, "statistics.json")
    assert found.metrics["f1"].value == 0.5 and found.metrics["auc"].value is None
    assert found.confusion == ((1, 2), (0, 1)) and found.samples == 4


def test_constraints_there_and_back():
    suggested = thresholds.suggest(quality())
    document = thresholds.constraints(Problem.BINARY, suggested)
    assert document["version"] == 0.0
    entry = document["binary_classification_constraints"]["false_positive_rate"]
    assert entry["comparison_operator"] == "GreaterThanThreshold"
    problem, found = thresholds.read_constraints(json.dumps(document).encode(), "constraints.json")
    assert problem is Problem.BINARY and found == suggested
    assert {item.metric for item in found if not item.below} == {"false_positive_rate", "false_negative_rate"}


def test_suggestions_leave_room_for_the_baseline_s_own_chance():
    baseline = quality()
    for item in thresholds.suggest(baseline):
        value = baseline.metrics[item.metric].value
        assert item.threshold < value if item.below else item.threshold > value
    exact = thresholds.suggest(baseline, headroom=False)
    assert all(item.threshold == baseline.metrics[item.metric].value for item in exact)


def test_the_service_s_own_constraints_are_read():
    text = b"""{"version" : 0.0, "regression_constraints" : {
        "mae" : {"threshold" : 3.1, "comparison_operator" : "GreaterThanThreshold", "additional_properties": null},
        "r2" : {"threshold" : "7.1E-1", "comparison_operator" : "LessThanThreshold"}}}"""
    problem, found = thresholds.read_constraints(text, "constraints.json")
    assert problem is Problem.REGRESSION
    assert found == (Threshold("mae", 3.1, thresholds.ABOVE), Threshold("r2", 0.71, thresholds.BELOW))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"f_1": {"threshold": 0.5, "comparison_operator": "LessThanThreshold"}}, "no metric of Binary"),
        ({"f1": {"threshold": 0.5, "comparison_operator": "LessThan"}}, "unknown comparison_operator"),
        ({"f1": {"threshold": "NaN", "comparison_operator": "LessThanThreshold"}}, "no number"),
        ({"f1": {"threshold": True, "comparison_operator": "LessThanThreshold"}}, "no number"),
        ({"f1": {"threshhold": 0.5, "comparison_operator": "LessThanThreshold"}}, "needs a threshold"),
        ({"f1": {"threshold": 0.5, "comparison_operator": "LessThanThreshold", "segment": "x"}}, "unknown key segment"),
        ({"f1": {"threshold": 10**400, "comparison_operator": "LessThanThreshold"}}, "no number"),
        ({"f1": 0.5}, "needs a threshold"),
        ([], "holds no constraints"),
    ],
)
def test_a_constraint_that_would_never_be_checked_is_an_error(section, sentence):
    document = json.dumps({"version": 0.0, "binary_classification_constraints": section}).encode()
    with pytest.raises(DocumentError, match=sentence):
        thresholds.read_constraints(document, "constraints.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "version",
                        "dataset",
                        "item_count",
                        "binary_classification_metrics",
                        "regression_constraints",
                        "regression_metrics",
                        "confusion_matrix",
                        "f1",
                        "mae",
                        "value",
                        "interval",
                        "threshold",
                        "comparison_operator",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_readers_answer_or_say_what_is_wrong(value):
    data = json.dumps(value).encode()
    for read in (thresholds.read_statistics, thresholds.read_constraints):
        try:
            read(data, "file")
        except AssayError as error:
            assert "file" in str(error)
