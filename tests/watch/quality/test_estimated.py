import numpy as np
import pytest
import sklearn.ensemble  # noqa: F401 - threads can be limited only of libraries that are loaded
from threadpoolctl import threadpool_limits

from assay.errors import UndecidedError
from assay.watch.quality import estimated
from assay.watch.quality.checking import measure
from assay.watch.quality.interface import Problem, Sample


def drawn(generator, size, shift=0.0, turned=False):
    """A model whose probabilities are too bold; ``shift`` moves the inputs, ``turned`` changes what they mean."""
    x = generator.normal(shift, 1.5, size)
    chance = 1 / (1 + np.exp(-x))
    actual = (generator.random(size) < (1 - chance if turned else chance)).astype(int)
    score = 1 / (1 + np.exp(-2 * x))
    return Sample(Problem.BINARY, actual, (score > 0.5).astype(int), score, ("0", "1"))


def test_the_interval_holds_what_ground_truth_will_show_after_a_shift():
    generator = np.random.default_rng(0)
    hits = dict.fromkeys(("accuracy", "recall", "precision", "f1", "auc"), 0)
    for _ in range(200):
        calibrator = estimated.calibrate(drawn(generator, 4_000))
        window = drawn(generator, 1_000, shift=-0.7)
        found = estimated.classification(window.predicted, window.score, Problem.BINARY, calibrator).metrics
        real = measure(window, details=False).metrics
        for name in hits:
            hits[name] += found[name].low <= real[name].value <= found[name].high
    assert min(hits.values()) >= 180, hits  # 95 % less three standard errors


def test_a_worse_window_is_seen_without_labels():
    generator = np.random.default_rng(1)
    calibrator = estimated.calibrate(drawn(generator, 20_000))
    easy, hard = (generator.normal(0, spread, 5_000) for spread in (3.0, 0.3))
    found = []
    for x in (easy, hard):
        score = 1 / (1 + np.exp(-2 * x))
        found.append(
            estimated.classification((score > 0.5).astype(int), score, Problem.BINARY, calibrator).metrics["accuracy"]
        )
    assert found[0].low > found[1].high


def test_what_it_assumes_is_said_because_it_matters():
    """Concept drift: the estimate stays high while the model is wrong. No interval can tell, so the text must."""
    generator = np.random.default_rng(2)
    calibrator = estimated.calibrate(drawn(generator, 5_000))
    window = drawn(generator, 2_000, turned=True)
    found = estimated.classification(window.predicted, window.score, Problem.BINARY, calibrator).metrics["accuracy"]
    assert found.low > 0.7 > 0.4 > measure(window, details=False).metrics["accuracy"].value
    assert "no concept drift" in estimated.ASSUMPTION


def test_multiclass_accuracy():
    generator = np.random.default_rng(3)

    def sample(size):
        score = generator.uniform(0.3, 1, size)
        actual = generator.integers(0, 3, size)
        predicted = np.where(generator.random(size) < score**2, actual, (actual + 1) % 3)
        return Sample(Problem.MULTICLASS, actual, predicted, score, ("a", "b", "c"))

    calibrator, window = estimated.calibrate(sample(5_000)), sample(5_000)
    found = estimated.classification(window.predicted, window.score, Problem.MULTICLASS, calibrator).metrics
    assert list(found) == ["accuracy"]
    assert found["accuracy"].low <= measure(window, details=False).metrics["accuracy"].value <= found["accuracy"].high


def test_degenerate_input():
    generator = np.random.default_rng(4)
    reference = drawn(generator, 199)
    with pytest.raises(UndecidedError, match="200 labelled"):
        estimated.calibrate(reference)
    calibrator = estimated.calibrate(drawn(generator, 500))
    empty = estimated.classification(np.zeros(0, int), np.zeros(0), Problem.BINARY, calibrator)
    assert empty.metrics["accuracy"].value is None
    one = estimated.classification(np.array([0]), np.array([0.1]), Problem.BINARY, calibrator).metrics
    assert one["precision"].value is None and one["accuracy"].high - one["accuracy"].low > 0.3
    constant = Sample(Problem.BINARY, np.tile([0, 1], 200), np.ones(400, int), np.full(400, 0.5), ("0", "1"))
    flat = estimated.classification(
        np.ones(100, int), np.full(100, 0.5), Problem.BINARY, estimated.calibrate(constant)
    ).metrics
    assert flat["accuracy"].value == pytest.approx(0.5, abs=0.01) and flat["auc"].value == pytest.approx(0.5)


def test_regression_after_a_shift():
    """The error grows with x: a window with larger x is worse, and its loss is estimated without labels."""
    generator = np.random.default_rng(5)

    def sample(size, low, high):
        x = generator.uniform(low, high, size)
        actual = x + x * generator.normal(size=size)
        return x[:, None], Sample(Problem.REGRESSION, actual, x)

    hits = 0
    for _ in range(3):
        features, reference = sample(1_500, 0, 10)
        with threadpool_limits(1):  # threads that wait for each other on a busy machine cost minutes
            losses = estimated.learn_losses(features, reference)
            inputs, window = sample(800, 6, 10)
            found = estimated.regression(inputs, losses).metrics
        real = measure(window, details=False).metrics
        hits += sum(found[name].low <= real[name].value <= found[name].high for name in ("mae", "rmse"))
        assert found["mae"].value > 1.2 * np.abs(reference.actual - reference.predicted).mean()
    assert hits >= 4  # 95 % of 6, less three standard errors
    assert estimated.regression(inputs[:0], losses).metrics["mae"].value is None
    with pytest.raises(UndecidedError, match="200 labelled"):
        estimated.learn_losses(features[:10], Sample(Problem.REGRESSION, np.zeros(10), np.zeros(10)))
