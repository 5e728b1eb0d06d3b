import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from assay.errors import DocumentError, UsageError
from assay.watch.attribution import clarify
from assay.watch.attribution.drift import Attributions, Settings, attributions, compare, look, ndcg
from assay.watch.interface import Outcome, Topic, Window
from assay.watch.sagemaker.violations import attribution_dumps

WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
SCALES = np.array([3.0, 2.0, 1.0, 0.5, 0.2, 0.1])


def frame(seed, size, scales=SCALES):
    values = np.random.default_rng(seed).normal(size=(size, len(scales))) * scales
    return pl.DataFrame(values, schema=[f"x{index}" for index in range(len(scales))])


def test_the_documented_example():
    """Developer guide: college admission, where the ranking is reversed; nDCG is 0.69."""
    before = Attributions({"SAT score": 0.70, "GPA": 0.50, "Class rank": 0.05})
    now = Attributions({"SAT score": 0.10, "GPA": 0.20, "Class rank": 0.70})
    assert round(compare(before, now).value, 2) == 0.69
    (check,) = look({"label0": before}, {"label0": now}, WINDOW).checks
    assert check.outcome is Outcome.VIOLATED and check.sagemaker == "feature_attribution_drift_check"
    assert check.message.startswith("Feature attribution drift 0.68") and check.message.endswith("threshold 0.9")


@given(st.integers(2, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)))
def test_ndcg_is_that_of_scikit_learn_with_ties(rankings):
    before, now = (np.array(values, float) for values in rankings)
    mine = float(ndcg(before, now))
    if before.any():
        assert mine == pytest.approx(ndcg_score([before], [now]))
    else:
        assert np.isnan(mine)


def test_no_alarm_without_change_and_one_where_reasons_changed():
    before = {"y": attributions(frame(0, 5_000))}
    for seed in range(1, 101):
        assert look(before, {"y": attributions(frame(seed, 300))}, WINDOW).outcome is Outcome.HOLDS
    for seed in range(10):
        found = look(before, {"y": attributions(frame(seed, 300, SCALES[::-1]))}, WINDOW)
        assert found.outcome is Outcome.VIOLATED and found.topic is Topic.EXPLAINABILITY and found.samples == 300
    features = found.details["y"]["features"]
    assert features["x0"]["high"] < 0 < features["x5"]["low"] and features["x0"]["q"] < 1e-6
    metrics = {metric.name: metric for metric in found.metrics}
    assert metrics["feature_x5"].dimensions == {"Label": "y", "ValueType": "GlobalShapValues"}
    assert metrics["feature_attribution_ndcg"].value < 0.9


def test_intervals_of_changes_cover():
    """The share of x0 is 3 / 6.8 in both: its change is 0, and 95 % intervals hold it in about 95 % of pairs."""
    hits = 0
    for seed in range(300):
        pair = [attributions(frame(1_000 + 2 * seed + index, 200)) for index in (0, 1)]
        entry = look({"y": pair[0]}, {"y": pair[1]}, WINDOW).details["y"]["features"]["x0"]
        hits += entry["low"] <= 0 <= entry["high"]
    assert hits >= 273


def test_a_window_too_small_to_tell_is_undecided():
    before = attributions(frame(0, 5_000))
    for size in (0, 1, 10):
        few = look({"y": before}, {"y": attributions(frame(1, size))}, WINDOW)
        assert few.outcome is Outcome.UNDECIDED and f"{size} rows" in few.checks[0].message
    generator = np.random.default_rng(0)
    heavy = pl.DataFrame(generator.standard_t(1.2, size=(40, 6)), schema=[f"x{index}" for index in range(6)])
    estimate = compare(before, attributions(heavy))
    assert estimate.value < 0.9 <= estimate.high
    found = look({"y": before}, {"y": attributions(heavy)}, WINDOW)
    assert found.outcome is Outcome.UNDECIDED and "interval reaches" in found.checks[0].message


def test_features_and_labels_that_come_and_go():
    before, now = attributions(frame(0, 500)), attributions(frame(1, 500).rename({"x0": "new"}))
    found = look({"y": before}, {"y": now}, WINDOW)
    messages = [check.message for check in found.violations if check.check == "attributed_features"]
    assert messages == [
        "1 features are not in the window's attributions: x0",
        "1 features are not in the baseline's attributions: new",
    ]
    assert compare(before, now).value < 0.9
    for pair in (({"y": before}, {}), ({}, {"y": before}), ({}, {})):
        assert look(*pair, WINDOW).outcome is Outcome.UNDECIDED


def test_bad_input_has_an_answer():
    holes = frame(0, 100).with_columns(x0=pl.when(pl.int_range(pl.len()) < 40).then(float("nan")).otherwise("x0"))
    data = attributions(holes)
    assert (data.rows, data.unusable) == (60, 40)
    found = look({"y": attributions(frame(0, 500))}, {"y": data}, WINDOW)
    assert {check.check for check in found.violations} == {"usable_attributions"}
    nothing = attributions(frame(0, 100).with_columns(x0=pl.lit(None, pl.Float64)))
    assert nothing.rows == 0
    found = look({"y": attributions(frame(0, 500))}, {"y": nothing}, WINDOW)
    assert {check.check for check in found.violations} == {"usable_attributions"}
    assert look({"y": Attributions({"a": 0.0})}, {"y": Attributions({"a": 1.0})}, WINDOW).outcome is Outcome.UNDECIDED
    assert attributions(frame(0, 1)).errors == {}
    with pytest.raises(UsageError, match="no columns"):
        attributions(pl.DataFrame())
    with pytest.raises(UsageError, match="not numbers"):
        attributions(pl.DataFrame({"x": ["a"]}))
    with pytest.raises(UsageError, match="mean of absolute values"):
        Attributions({"x": -1.0})


def test_a_larger_output_is_no_drift():
    before, now = attributions(frame(0, 2_000)), attributions(frame(0, 2_000) * 100)
    features = look({"y": before}, {"y": now}, WINDOW, Settings()).details["y"]["features"]
    assert all(abs(entry["change"]) < 1e-12 for entry in features.values())


def test_clarify_s_analysis_there_and_back():
    before = {"label0": attributions(frame(0, 500), expected_value=0.4)}
    document = clarify.analysis(before)
    assert document["explanations"]["kernel_shap"]["label0"]["expected_value"] == 0.4
    assert clarify.read_analysis(json.dumps(document).encode(), "analysis.json") == before


def test_the_service_s_own_analysis_is_read():
    text = b"""{"version": "1.0", "explanations": {"kernel_shap": {"label0": {
        "global_shap_values": {"Age": 0.02, "Income": 0.4}, "expected_value": 0.25}}}}"""
    before = clarify.read_analysis(text, "analysis.json")
    now = {"label0": Attributions({"Age": 0.4, "Income": 0.02})}
    (item,) = json.loads(attribution_dumps(look(before, now, WINDOW).checks))["violations"]
    assert (item["label"], item["metric_name"]) == ("label0", "shap")


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[]",
        b'{"explanations": {"kernel_shap": {}}}',
        b'{"explanations": {"kernel_shap": {"y": 3}}}',
        b'{"explanations": {"kernel_shap": {"y": {"global_shap_values": {"x": %d}}}}}' % 10**400,
        b'{"explanations": {"kernel_shap": {"y": {"global_shap_values": {"x": -1}}}}}',
        b'{"explanations": {"kernel_shap": {"y": {"global_shap_values": {"x": 1}, "rows": "3"}}}}',
        b'{"explanations": {"kernel_shap": {"y": {"global_shap_values": {"x": 1}, "expected_value": "3"}}}}',
    ],
)
def test_other_documents_are_refused(text):
    with pytest.raises(DocumentError, match=r"analysis\.json"):
        clarify.read_analysis(text, "analysis.json")
