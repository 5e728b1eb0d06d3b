import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from assay.watch.quality import binary
from assay.watch.quality.interface import METRICS, Problem, Sample


def sample(actual, predicted, score=None):
    score = None if score is None else np.asarray(score, float)
    return Sample(Problem.BINARY, np.asarray(actual, np.int64), np.asarray(predicted, np.int64), score, ("0", "1"))


def drawn(seed, size, *, ties=False):
    generator = np.random.default_rng(seed)
    score = generator.beta(2, 3, size)
    actual = (generator.random(size) < score).astype(int)
    score = np.round(score, 1) if ties else score
    return sample(actual, score > 0.5, score)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", [30, 1_000, 20_000])
def test_values_are_those_of_scikit_learn(size, ties):
    data = drawn(size, size, ties=ties)
    found = {name: item.value for name, item in binary.measure(data).metrics.items()}
    actual, predicted = data.actual, data.predicted
    (tn, fp), (fn, tp) = oracle.confusion_matrix(actual, predicted)
    ones = np.ones_like(actual)
    expected = {
        "recall": oracle.recall_score(actual, predicted),
        "precision": oracle.precision_score(actual, predicted),
        "accuracy": oracle.accuracy_score(actual, predicted),
        "true_positive_rate": tp / (tp + fn),
        "true_negative_rate": tn / (tn + fp),
        "false_positive_rate": fp / (tn + fp),
        "false_negative_rate": fn / (tp + fn),
        "auc": oracle.roc_auc_score(actual, data.score),
        "recall_best_constant_classifier": 1.0,
        "precision_best_constant_classifier": oracle.precision_score(actual, ones),
        "accuracy_best_constant_classifier": oracle.accuracy_score(actual, ones),
    }
    for name, beta in (("f0_5", 0.5), ("f1", 1), ("f2", 2)):
        expected[name] = oracle.fbeta_score(actual, predicted, beta=beta)
        expected[f"{name}_best_constant_classifier"] = oracle.fbeta_score(actual, ones, beta=beta)
    assert found == pytest.approx(expected, rel=1e-12)
    assert set(found) == METRICS[Problem.BINARY]


def test_confusion_counts_labels_by_predictions():
    quality = binary.measure(sample([0, 0, 0, 1], [0, 1, 1, 1]))
    assert quality.confusion == ((1, 2), (0, 1))


def test_the_service_s_documented_example():
    """Developer guide, "Model quality metrics": three negatives, one positive, and all scores tell them apart."""
    quality = binary.measure(sample([0, 0, 0, 1], [0, 1, 1, 1], [0.1, 0.6, 0.7, 0.9]))
    documented = {
        "recall": 1.0,
        "precision": 1 / 3,
        "accuracy": 0.5,
        "recall_best_constant_classifier": 1.0,
        "precision_best_constant_classifier": 0.25,
        "accuracy_best_constant_classifier": 0.25,
        "true_positive_rate": 1.0,
        "true_negative_rate": 1 / 3,
        "false_positive_rate": 2 / 3,
        "false_negative_rate": 0.0,
        "auc": 1.0,
        "f0_5": 0.3846153846153846,
        "f1": 0.5,
        "f2": 0.7142857142857143,
        "f0_5_best_constant_classifier": 0.29411764705882354,
        "f1_best_constant_classifier": 0.4,
        "f2_best_constant_classifier": 0.625,
    }
    assert {name: item.value for name, item in quality.metrics.items()} == pytest.approx(documented)
    assert all(item.deviation is None for item in quality.metrics.values())


def test_curves_lie_on_those_of_scikit_learn():
    data = drawn(1, 5_000)
    curves = binary.measure(data).curves
    roc = curves["receiver_operating_characteristic_curve"]
    false, true, _ = oracle.roc_curve(data.actual, data.score, drop_intermediate=False)
    known = set(zip(np.round(false, 12), np.round(true, 12), strict=True))
    mine = list(zip(np.round(roc["false_positive_rates"], 12), np.round(roc["true_positive_rates"], 12), strict=True))
    assert set(mine) <= known
    assert mine[0] == (0, 0) and mine[-1] == (1, 1)
    assert 100 < len(mine) <= 201
    precision, recall, _ = oracle.precision_recall_curve(data.actual, data.score)
    known = set(zip(np.round(recall, 12), np.round(precision, 12), strict=True))
    curve = curves["precision_recall_curve"]
    mine = list(zip(np.round(curve["recalls"], 12), np.round(curve["precisions"], 12), strict=True))
    assert set(mine) <= known
    assert list(curve["recalls"]) == sorted(curve["recalls"])


def test_deviation_is_the_service_s_rule():
    few, many = binary.measure(drawn(0, 199)), binary.measure(drawn(0, 200))
    assert few.metrics["f1"].deviation is None and many.metrics["f1"].deviation is not None
    assert binary.measure(drawn(0, 200)) == many  # seeded
    # Subsamples of 80 % without replacement vary as the whole sample does, times sqrt(1 / 0.8 - 1) = 0.5.
    spreads = [binary.measure(drawn(seed, 2_000), seed=seed).metrics["accuracy"] for seed in range(60)]
    mean = np.mean([item.deviation for item in spreads])
    error = np.mean([math.sqrt(item.value * (1 - item.value) / 2_000) for item in spreads])
    assert mean / error == pytest.approx(0.47, abs=0.06)  # the standard deviation of five is 6 % too small on average


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(label):
    quality = binary.measure(sample([label] * 300, [1] * 150 + [0] * 150, np.linspace(0, 1, 300)))
    found = quality.metrics
    assert found["auc"].value is None and "one of the two classes" in found["auc"].reason
    assert found["accuracy"].value == 0.5
    assert found["true_positive_rate" if label else "true_negative_rate"].value == 0.5
    assert found["true_negative_rate" if label else "true_positive_rate"].value is None
    assert quality.curves == {}


def test_nothing_and_one():
    empty = binary.measure(sample([], [], []))
    assert all(item.value is None and item.reason for item in empty.metrics.values())
    one = binary.measure(sample([1], [1], [0.9])).metrics
    assert one["accuracy"].value == 1.0
    assert one["accuracy"].low < 0.25  # one success says little
    assert one["auc"].value is None


def test_complete_separation_is_not_certainty():
    found = binary.measure(sample([0] * 20 + [1] * 20, [0] * 20 + [1] * 20, np.arange(40) / 40)).metrics
    for name in ("auc", "f1", "accuracy", "recall"):
        assert found[name].value == 1.0 == found[name].high
        assert 0.75 < found[name].low < 0.97, name


def test_delong_variance_is_that_of_the_pairs():
    """Against the definition: structural components by comparing each positive with each negative."""
    from assay.watch.quality import ranking

    data = drawn(5, 300, ties=True)
    positives, negatives = data.score[data.actual == 1], data.score[data.actual == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    expected = wins.mean(axis=1).var(ddof=1) / len(positives) + wins.mean(axis=0).var(ddof=1) / len(negatives)
    order, group = ranking.rank(data.score)
    ranked = ranking.ranking(data.actual[order].astype(bool), group)
    value, variance = ranking._delong(ranked.positives, ranked.negatives)
    assert value == pytest.approx(wins.mean()) and variance == pytest.approx(expected)
