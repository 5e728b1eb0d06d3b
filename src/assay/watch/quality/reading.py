"""A table of predictions and labels becomes a `Sample` of arrays.

What cannot be judged is counted, never dropped unseen. Classes are compared as text in one spelling (1, 1.0 and "1" are
one class, as are true and 1 in a binary problem), since labels come from other systems than predictions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.errors import UsageError
from assay.watch.quality.interface import Problem, Sample

if TYPE_CHECKING:
    from assay.watch.quality.interface import Codes, Columns, Floats, Marks

MOST_CLASSES = 2_000
"""A confusion matrix of more would not fit; such a model predicts something else than classes."""
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def sample(frame: pl.DataFrame, problem: Problem, columns: Columns) -> Sample:
    """The usable rows of ``frame``.

    Raises `UsageError` if a column is missing, if it is not clear which class is the positive one, or for too many
    classes. Rows without label are counted as unlabelled; rows whose prediction is missing, no number (NaN, infinite,
    text) or a probability outside 0..1 are counted as unusable.
    """
    wanted = [columns.label, columns.prediction, columns.probability, *columns.segments]
    for name in wanted:
        if name is not None and name not in frame.columns:
            have = ", ".join(frame.columns[:10])
            raise UsageError(f"there is no column {name} in the predictions", hint=f"the columns are: {have}")
    if columns.prediction is None and (problem is not Problem.BINARY or columns.probability is None):
        raise UsageError(
            "no column of predictions is named",
            hint="name the prediction; a binary problem may name a probability and its threshold instead",
        )
    labelled = frame.filter(frame.get_column(columns.label).is_not_null())
    if problem is Problem.REGRESSION:
        return _regression(labelled, columns, frame.height)
    return _classification(labelled, problem, columns, frame.height)


def _regression(frame: pl.DataFrame, columns: Columns, rows: int) -> Sample:
    assert columns.prediction is not None
    actual, predicted = _numbers(frame.get_column(columns.label)), _numbers(frame.get_column(columns.prediction))
    faults = {"label is no number": ~np.isfinite(actual), "prediction is no number": ~np.isfinite(predicted)}
    usable, unusable = _faults(faults, frame.height)
    return Sample(
        Problem.REGRESSION,
        actual[usable],
        predicted[usable],
        segments=_segments(frame, columns, usable),
        rows=rows,
        unlabelled=rows - frame.height,
        unusable=unusable,
    )


def _classification(frame: pl.DataFrame, problem: Problem, columns: Columns, rows: int) -> Sample:
    faults: dict[str, Marks] = {}
    score, classes, strange = None, tuple[str, ...](), tuple[str, ...]()
    if columns.probability is not None:
        score = _numbers(frame.get_column(columns.probability))
        faults["probability is no number"] = ~np.isfinite(score)
        faults["probability is outside 0..1"] = (score < 0) | (score > 1)
    binary = problem is Problem.BINARY
    spell = _binary if binary else _spelled
    labels = spell(frame.get_column(columns.label))
    if columns.prediction is None:
        assert score is not None
        predicted_positive, predictions = score >= columns.threshold, None
    else:
        predicted_positive, predictions = None, spell(frame.get_column(columns.prediction))
        faults["prediction is missing"] = predictions.is_null().to_numpy()
    if binary:
        classes = _two_classes(labels, predictions, columns)
        unknown = [_unknown(labels, classes)] + ([] if predictions is None else [_unknown(predictions, classes)])
        faults["label is neither of the two classes"] = unknown[0]
        if len(unknown) == 2:
            faults["prediction is neither of the two classes"] = unknown[1]
        actual = labels.eq_missing(classes[1]).to_numpy().astype(np.int64)
        predicted = predicted_positive if predictions is None else predictions.eq_missing(classes[1]).to_numpy()
        assert predicted is not None
        codes = predicted.astype(np.int64)
    else:
        assert predictions is not None
        classes, strange = _classes(labels, predictions, columns)
        domain = pl.Enum(list(classes))
        actual = labels.cast(domain).to_physical().cast(pl.Int64).to_numpy()
        codes = predictions.cast(domain).to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    usable, unusable = _faults(faults, frame.height)
    return Sample(
        problem,
        actual[usable],
        codes[usable],
        None if score is None else score[usable],
        classes,
        _segments(frame, columns, usable),
        rows,
        rows - frame.height,
        unusable,
        strange,
    )


def _faults(faults: dict[str, Marks], height: int) -> tuple[Marks | slice, dict[str, int]]:
    """Which rows have no fault, and how many have which as their first."""
    usable = np.ones(height, np.bool_)
    counts = {}
    for reason, marks in faults.items():
        count = int(np.count_nonzero(marks & usable))
        if count:
            counts[reason] = count
            usable &= ~marks
    return usable if counts else slice(None), counts


def _numbers(column: pl.Series) -> Floats:
    """As float64; what is missing or no number becomes NaN."""
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise UsageError(f"the column {column.name} holds {column.dtype}, where numbers are needed")
    text = column.dtype == pl.String
    numbers = (column.str.strip_chars() if text else column).cast(pl.Float64, strict=False)
    return numbers.fill_null(float("nan")).to_numpy()


def _spelled(column: pl.Series) -> pl.Series:
    """Classes as text: whole numbers without a fraction, true and false in small letters, NaN as missing."""
    if column.dtype.is_float():
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < 2**53)
        texts = column.cast(pl.String)
        frame = pl.DataFrame({"whole": whole, "number": column, "text": texts})
        missing = pl.when(pl.col("number").is_nan()).then(None)
        integers = pl.col("number").cast(pl.Int64, strict=False).cast(pl.String)
        spelled = missing.when(pl.col("whole")).then(integers).otherwise(pl.col("text"))
        return frame.select(spelled.alias(column.name)).to_series()
    if column.dtype.is_integer() or column.dtype == pl.Boolean:
        return column.cast(pl.String)
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise UsageError(f"the column {column.name} holds {column.dtype}, where classes are needed")
    text = column.cast(pl.String).str.strip_chars()
    distinct = text.unique()
    tidy = distinct.str.replace(r"^(-?\d+)\.0*$", "$1")
    truth = pl.when(tidy.str.contains("(?i)^(true|false)$")).then(tidy.str.to_lowercase())
    tidied = pl.select(truth.otherwise(tidy)).to_series()
    if tidied.equals(distinct, null_equal=True):
        return text
    return text.replace_strict(distinct, tidied, return_dtype=pl.String)


def _binary(column: pl.Series) -> pl.Series:
    """As `_spelled`, and true is 1 and false is 0."""
    return _spelled(column).replace({"true": "1", "false": "0"})


def _two_classes(labels: pl.Series, predictions: pl.Series | None, columns: Columns) -> tuple[str, str]:
    """The negative and the positive class. Labels name them before predictions: what a model says may be wrong."""
    seen = set(labels.drop_nulls().unique().to_list())
    everything = seen if predictions is None else seen | set(predictions.drop_nulls().unique().to_list())
    known = set(_binary(pl.Series(columns.classes, dtype=pl.String)).to_list())
    if columns.positive is None:
        if (known or everything) <= {"0", "1"}:
            return "0", "1"
        names = ", ".join(sorted(known or everything)[:5])
        raise UsageError(f"it is not clear which class is the positive one among {names}", hint="name it: positive")
    (positive,) = _binary(pl.Series([columns.positive])).to_list()
    for candidates in (known, everything, seen):
        others = sorted(candidates - {positive})
        if len(others) == 1:
            return others[0], positive
    if others:
        raise UsageError(f"a binary problem has two classes, and beside {positive} there are: {', '.join(others[:5])}")
    return f"not {positive}", positive


def _unknown(column: pl.Series, classes: tuple[str, ...]) -> Marks:
    return (~column.is_in(list(classes)) & column.is_not_null()).fill_null(False).to_numpy()


def _classes(labels: pl.Series, predictions: pl.Series, columns: Columns) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All classes (known ones first, then by name), and up to ten that were not known."""
    seen = set(labels.unique().to_list()) | set(predictions.unique().to_list())
    seen.discard(None)
    new = sorted(seen - set(columns.classes), key=_by_number)
    classes = (*columns.classes, *new)
    if len(classes) > MOST_CLASSES:
        raise UsageError(
            f"{len(classes):,} classes are more than the {MOST_CLASSES:,} that a confusion matrix is made of",
            hint="is this a regression problem?",
        )
    return classes, tuple(new[:10]) if columns.classes else ()


def _by_number(name: str) -> tuple[float, str]:
    return (float(name), "") if name.lstrip("-").isdigit() and len(name) < 16 else (float("inf"), name)


def _segments(frame: pl.DataFrame, columns: Columns, usable: Marks | slice) -> dict[str, tuple[Codes, tuple[str, ...]]]:
    found = {}
    for name in columns.segments:
        spelled = _spelled(frame.get_column(name)).fill_null("(missing)")
        names = spelled.unique().sort()
        codes = spelled.replace_strict(names, pl.Series(range(len(names)), dtype=pl.Int64), return_dtype=pl.Int64)
        found[name] = (codes.to_numpy().astype(np.int64)[usable], tuple(names.to_list()))
    return found
