import numpy as np
import pytest
from sklearn import metrics as oracle

from assay.watch.quality import multiclass
from assay.watch.quality.interface import METRICS, Problem, Sample


def sample(actual, predicted, classes):
    return Sample(Problem.MULTICLASS, np.asarray(actual, np.int64), np.asarray(predicted, np.int64), None, classes)


@pytest.mark.parametrize("size", [40, 5_000])
def test_values_are_those_of_scikit_learn(size):
    generator = np.random.default_rng(size)
    actual = generator.choice(4, size, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(generator.random(size) < 0.7, actual, generator.integers(0, 3, size))
    quality = multiclass.measure(sample(actual, predicted, ("a", "b", "c", "d")))
    constant = np.full(size, np.bincount(actual).argmax())
    options = {"average": "weighted", "zero_division": 0}
    expected = {}
    for ending, guess in (("", predicted), ("_best_constant_classifier", constant)):
        expected |= {
            f"accuracy{ending}": oracle.accuracy_score(actual, guess),
            f"weighted_recall{ending}": oracle.recall_score(actual, guess, **options),
            f"weighted_precision{ending}": oracle.precision_score(actual, guess, **options),
            f"weighted_f0_5{ending}": oracle.fbeta_score(actual, guess, beta=0.5, **options),
            f"weighted_f1{ending}": oracle.f1_score(actual, guess, **options),
            f"weighted_f2{ending}": oracle.fbeta_score(actual, guess, beta=2, **options),
        }
    assert {name: item.value for name, item in quality.metrics.items()} == pytest.approx(expected, rel=1e-12)
    assert set(expected) == METRICS[Problem.MULTICLASS]
    assert np.array_equal(quality.confusion, oracle.confusion_matrix(actual, predicted, labels=range(4)))


def test_the_service_s_documented_example():
    """Developer guide, "Model quality metrics": the matrix and the weighted metrics of its multiclass example."""
    cells = [(0, 0, 1180), (0, 1, 510), (1, 0, 268), (1, 1, 138)]
    actual = np.concatenate([np.full(count, label) for label, _, count in cells])
    predicted = np.concatenate([np.full(count, guess) for _, guess, count in cells])
    quality = multiclass.measure(sample(actual, predicted, ("0", "1")))
    documented = {
        "accuracy": 0.6288167938931297,
        "weighted_recall": 0.6288167938931297,
        "weighted_precision": 0.6983172269629505,
        "weighted_f0_5": 0.6803947317178771,
        "weighted_f1": 0.6571162346664904,
        "weighted_f2": 0.6384024354394601,
    }
    assert {name: quality.metrics[name].value for name in documented} == pytest.approx(documented)
    assert quality.metrics["accuracy"].deviation == pytest.approx(0.004, abs=0.003)


def test_nothing_one_and_one_class():
    empty = multiclass.measure(sample([], [], ()))
    assert set(empty.metrics) == METRICS[Problem.MULTICLASS]
    assert all(item.value is None and item.reason for item in empty.metrics.values())
    one = multiclass.measure(sample([0], [1], ("a", "b"))).metrics
    assert one["accuracy"].value == 0.0 and one["accuracy"].high > 0.7
    assert one["weighted_precision"].value == 0.0
    single = multiclass.measure(sample([0] * 50, [0] * 50, ("a",))).metrics
    assert single["weighted_f1"].value == 1.0 and single["weighted_f1"].low < 0.95
