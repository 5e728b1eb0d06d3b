import numpy as np
import pytest
from sklearn import metrics as oracle

from assay.watch.quality import regression
from assay.watch.quality.interface import METRICS, Problem, Sample


def sample(actual, predicted):
    return Sample(Problem.REGRESSION, np.asarray(actual, float), np.asarray(predicted, float))


@pytest.mark.parametrize("size", [5, 10_000])
def test_values_are_those_of_scikit_learn(size):
    generator = np.random.default_rng(size)
    actual = generator.normal(1e6, 3, size)
    predicted = actual + generator.standard_t(5, size)
    found = regression.measure(sample(actual, predicted)).metrics
    expected = {
        "mae": oracle.mean_absolute_error(actual, predicted),
        "mse": oracle.mean_squared_error(actual, predicted),
        "rmse": oracle.root_mean_squared_error(actual, predicted),
        "r2": oracle.r2_score(actual, predicted),
    }
    assert {name: item.value for name, item in found.items()} == pytest.approx(expected, rel=1e-9)
    assert set(expected) == METRICS[Problem.REGRESSION]


def test_deviations_from_two_hundred_on():
    generator = np.random.default_rng(3)
    actual = generator.normal(size=200)
    whole = sample(actual, actual + generator.normal(size=200))
    found = regression.measure(whole).metrics
    assert all(item.deviation > 0 for item in found.values())
    assert found["rmse"].deviation == pytest.approx(found["mse"].deviation / (2 * found["rmse"].value), rel=0.1)
    fewer = regression.measure(sample(whole.actual[1:], whole.predicted[1:])).metrics
    assert all(item.deviation is None for item in fewer.values())


def test_degenerate_samples_have_an_answer():
    empty = regression.measure(sample([], [])).metrics
    assert all(item.value is None and item.reason for item in empty.values())
    one = regression.measure(sample([1.0], [2.0])).metrics
    assert one["mae"].value == 1.0 and one["mae"].low is None
    assert one["r2"].value is None
    constant = regression.measure(sample([3.0] * 10, np.arange(10.0))).metrics
    assert constant["r2"].value is None and "equal" in constant["r2"].reason
    perfect = regression.measure(sample(np.arange(10.0), np.arange(10.0))).metrics
    assert perfect["mse"].value == 0.0 and perfect["r2"].value == 1.0 and perfect["r2"].low is None


def test_errors_beyond_a_float_are_no_number():
    found = regression.measure(sample([1e200, 0.0], [-1e200, 0.0])).metrics
    assert found["mse"].value is None and found["mae"].value == 1e200
    assert found["rmse"].value is None and found["r2"].value is None
