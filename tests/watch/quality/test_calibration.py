import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from assay.watch.quality import calibration
from assay.watch.quality.interface import Problem, Sample


def drawn(seed, size, bend=1.0):
    """Probabilities that are right where ``bend`` is 1."""
    generator = np.random.default_rng(seed)
    score = generator.beta(2, 2, size)
    return score, generator.random(size) < score**bend


def test_brier_curve_and_parts():
    score, happened = drawn(0, 15_000, 1.3)
    found = calibration.of(score, happened)
    assert found.brier.value == pytest.approx(oracle.brier_score_loss(happened, score))
    assert found.reliability - found.resolution + found.uncertainty == pytest.approx(found.brier.value)
    frequency, probability = calibration_curve(happened, score, n_bins=15, strategy="quantile")
    assert [item.probability for item in found.bins] == pytest.approx(probability, abs=1e-3)
    assert [item.frequency for item in found.bins] == pytest.approx(frequency, abs=1e-2)
    assert sum(item.count for item in found.bins) == 15_000
    by_hand = sum(item.count * abs(item.probability - item.frequency) for item in found.bins) / 15_000
    assert found.error == pytest.approx(by_hand)


def test_the_test_keeps_its_promise():
    """Calibrated models fall below p = 0.05 in at most about 5 % of samples; others nearly always."""
    right = [calibration.of(*drawn(seed, 1_000)).p for seed in range(400)]
    assert np.mean(np.array(right) < 0.05) < 0.085
    wrong = [calibration.of(*drawn(seed, 1_000, 1.4)).p for seed in range(50)]
    assert np.mean(np.array(wrong) < 0.05) > 0.95


@pytest.mark.parametrize("size", [300, 3_000])
def test_noise_is_what_a_calibrated_model_shows(size):
    found = [calibration.of(*drawn(seed, size)) for seed in range(200)]
    assert np.mean([item.error for item in found]) == pytest.approx(np.mean([item.noise for item in found]), rel=0.05)


def test_debiased_error_does_not_shrink_with_the_sample():
    truth = calibration.of(*drawn(0, 2_000_000, 1.4)).debiased
    small = [calibration.of(*drawn(seed, 400, 1.4)) for seed in range(200)]
    squares = np.mean([item.debiased**2 for item in small])
    assert squares**0.5 == pytest.approx(truth, rel=0.12)
    plain = np.mean([sum(b.count * (b.probability - b.frequency) ** 2 for b in i.bins) / 400 for i in small])
    assert plain**0.5 > truth * 1.15  # what would be reported without the correction


def test_impossible_things_that_happen_refute_the_model():
    score = np.append(np.full(999, 0.5), 0.0)
    happened = np.append(np.arange(999) % 2 == 0, True)
    assert calibration.of(score, happened).p == 0.0


def test_degenerate_samples():
    one = calibration.of(np.array([0.3]), np.array([True]))
    assert one.samples == 1 and len(one.bins) == 1 and one.brier.value is None
    same = calibration.of(np.full(100, 0.25), np.arange(100) % 4 == 0)
    assert len(same.bins) == 1 and same.error == pytest.approx(0) and same.p > 0.5
    certain = calibration.of(np.ones(10), np.ones(10, bool))
    assert certain.p == 1.0 and certain.brier.value == 0.0
    numbers = np.zeros(3)
    assert calibration.calibration(Sample(Problem.REGRESSION, numbers, numbers)) is None
    assert calibration.calibration(Sample(Problem.BINARY, numbers.astype(int), numbers.astype(int))) is None


def test_multiclass_is_about_the_predicted_class():
    generator = np.random.default_rng(0)
    score = generator.uniform(0.4, 1, 5_000)
    actual = generator.integers(0, 3, 5_000)
    predicted = np.where(generator.random(5_000) < score, actual, (actual + 1) % 3)
    found = calibration.calibration(Sample(Problem.MULTICLASS, actual, predicted, score, ("a", "b", "c")))
    assert found.error < 0.03 and found.p > 0.001
