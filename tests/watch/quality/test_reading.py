import numpy as np
import polars as pl
import pytest

from assay.errors import UsageError
from assay.watch.quality.checking import measure
from assay.watch.quality.interface import Columns, Problem
from assay.watch.quality.reading import MOST_CLASSES, sample

NAN, INFINITY = float("nan"), float("inf")
BINARY = Columns("label", "prediction", "probability")


def frame(label, prediction, probability=None):
    columns = {"label": label, "prediction": prediction}
    return pl.DataFrame(columns if probability is None else {**columns, "probability": probability}, strict=False)


@pytest.mark.parametrize(
    ("label", "prediction"),
    [
        ([1, 0, 1], [1, 0, 0]),
        (["1", "0", "1"], [1, 0, 0]),
        ([" 1", "0.0", "1.0"], [1.0, 0.0, 0.0]),
        (["True", "FALSE", "true"], [True, False, False]),
        ([True, False, True], ["1", "0", "0"]),
        (["true", "0", "1"], [1, 0, 0]),
    ],
)
def test_one_class_has_one_spelling(label, prediction):
    data = sample(frame(label, prediction), Problem.BINARY, Columns("label", "prediction"))
    assert data.actual.tolist() == [1, 0, 1] and data.predicted.tolist() == [1, 0, 0]
    assert data.classes == ("0", "1") and not data.unusable


def test_what_cannot_be_judged_is_counted_and_left_out():
    """Leaving hard cases without a number must not go unseen."""
    data = sample(
        frame(
            [1, 0, 1, 1, 0, None, 1, 2],
            [1, 0, None, 1, 0, 1, 1, 1],
            [0.9, NAN, 0.8, 1.2, -0.1, 0.5, INFINITY, 0.7],
        ),
        Problem.BINARY,
        Columns("label", "prediction", "probability", classes=("0", "1")),
    )
    assert data.rows == 8 and data.unlabelled == 1 and data.size == 1
    assert data.unusable == {
        "probability is no number": 2,
        "probability is outside 0..1": 2,
        "prediction is missing": 1,
        "label is neither of the two classes": 1,
    }
    assert data.size + sum(data.unusable.values()) + data.unlabelled == data.rows


def test_probability_and_threshold_make_a_prediction():
    table = pl.DataFrame({"label": [1, 0, 1], "probability": [0.7, 0.7, 0.69]})
    data = sample(table, Problem.BINARY, Columns("label", None, "probability", threshold=0.7))
    assert data.predicted.tolist() == [1, 1, 0]


def test_the_positive_class_must_be_clear():
    table = frame(["good", "bad", "bad"], ["good", "good", "bad"])
    with pytest.raises(UsageError, match="positive one among bad, good"):
        sample(table, Problem.BINARY, Columns("label", "prediction"))
    data = sample(table, Problem.BINARY, Columns("label", "prediction", positive="bad"))
    assert data.classes == ("good", "bad") and data.actual.tolist() == [0, 1, 1]
    third = frame(["good", "bad", "ugly"], ["good", "good", "bad"])
    with pytest.raises(UsageError, match="beside bad there are: good, ugly"):
        sample(third, Problem.BINARY, Columns("label", "prediction", positive="bad"))


def test_a_class_that_the_model_makes_up_is_unusable():
    table = frame(["yes", "no", "yes"], ["yes", "maybe", "no"])
    data = sample(table, Problem.BINARY, Columns("label", "prediction", positive="yes"))
    assert data.classes == ("no", "yes") and data.unusable == {"prediction is neither of the two classes": 1}


def test_unknown_classes_count_as_wrong():
    known = Columns("label", "prediction", classes=("a", "b"))
    data = sample(frame(["a", "b", "c"], ["a", "b", "b"]), Problem.MULTICLASS, known)
    assert data.classes == ("a", "b", "c") and data.unknown == ("c",)
    assert measure(data).metrics["accuracy"].value == pytest.approx(2 / 3)


def test_numeric_classes_are_in_their_order():
    data = sample(frame([10, 9, 2], [2.0, 9.0, 10.0]), Problem.MULTICLASS, Columns("label", "prediction"))
    assert data.classes == ("2", "9", "10") and data.actual.tolist() == [2, 1, 0]


def test_regression_reads_text_and_refuses_what_is_no_number():
    data = sample(
        frame(["1.5", "x", "2", "NaN", None], [1.0, 1.0, INFINITY, 1.0, 1.0]),
        Problem.REGRESSION,
        Columns("label", "prediction"),
    )
    assert data.actual.tolist() == [1.5] and data.unlabelled == 1
    assert data.unusable == {"label is no number": 2, "prediction is no number": 1}


@pytest.mark.parametrize("problem", list(Problem))
def test_all_labels_missing_is_no_sample(problem):
    data = sample(frame([None, None], [1, 0], [0.1, 0.2]), problem, BINARY)
    assert data.size == 0 and data.unlabelled == 2
    assert all(item.value is None for item in measure(data).metrics.values())


@pytest.mark.parametrize("problem", list(Problem))
def test_an_empty_table_is_no_sample(problem):
    table = pl.DataFrame(schema={"label": pl.String, "prediction": pl.String, "probability": pl.Float64})
    assert sample(table, problem, BINARY).size == 0


def test_errors_are_sentences():
    table = frame([1], [1])
    with pytest.raises(UsageError, match="no column truth"):
        sample(table, Problem.BINARY, Columns("truth", "prediction"))
    with pytest.raises(UsageError, match="no column of predictions"):
        sample(table, Problem.REGRESSION, Columns("label"))
    with pytest.raises(UsageError, match="holds List"):
        sample(frame([[1]], [1]), Problem.MULTICLASS, Columns("label", "prediction"))
    with pytest.raises(UsageError, match="where numbers are needed"):
        sample(frame([[1]], [1]), Problem.REGRESSION, Columns("label", "prediction"))
    many = frame(range(MOST_CLASSES + 1), range(MOST_CLASSES + 1))
    with pytest.raises(UsageError, match="2,001 classes"):
        sample(many, Problem.MULTICLASS, Columns("label", "prediction"))


def test_segments_are_codes():
    table = frame([1, 0, 1], [1, 0, 0]).with_columns(pl.Series("country", ["de", None, "de"]))
    data = sample(table, Problem.BINARY, Columns("label", "prediction", segments=("country",)))
    codes, names = data.segments["country"]
    assert [names[code] for code in codes] == ["de", "(missing)", "de"]
    assert isinstance(codes, np.ndarray)
