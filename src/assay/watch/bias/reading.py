"""A table becomes the people of a question. Rows that lack an answer are counted, and count for nobody."""

from __future__ import annotations

import numpy as np
import polars as pl

from assay.errors import UsageError
from assay.watch.bias.interface import Choice, People, Question


def people(frame: pl.DataFrame, question: Question) -> People:
    """The usable rows of ``frame``. Raises `UsageError` for a missing column, or one that cannot be compared."""
    choices = [choice for choice in (question.facet, question.label, question.prediction) if choice]
    needed = [*(choice.column for choice in choices), *question.features]
    needed += [question.group] if question.group else []
    for name in needed:
        if name not in frame.columns:
            have = ", ".join(frame.columns[:10])
            raise UsageError(f"there is no column {name} in the table", hint=f"the columns are: {have}")
    marks = {choice: _marks(frame.get_column(choice.column), choice) for choice in choices}
    usable = np.ones(frame.height, np.bool_)
    for column in marks.values():
        usable &= column.is_not_null().to_numpy()
    features = None
    if question.features:
        features = frame.select(pl.col(question.features).cast(pl.Float64, strict=False)).to_numpy().astype(np.float64)
        usable &= np.isfinite(features).all(axis=1)
    if question.group:
        usable &= frame.get_column(question.group).is_not_null().to_numpy()

    def chosen(choice: Choice | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        return None if choice is None else marks[choice].fill_null(False).to_numpy()[usable]

    facet = chosen(question.facet)
    assert facet is not None
    return People(
        facet,
        chosen(question.label),
        chosen(question.prediction),
        _codes(frame, question.label.column, usable) if question.label and question.label.values else None,
        _codes(frame, question.group, usable) if question.group else None,
        None if features is None else features[usable],
        int(frame.height - usable.sum()),
    )


def _marks(column: pl.Series, choice: Choice) -> pl.Series:
    """Whether each value is meant; null where that cannot be said."""
    if choice.values:
        if column.dtype.is_nested() or column.dtype == pl.Binary:
            raise UsageError(f"the column {column.name} holds {column.dtype}, where values to compare are needed")
        return _text(column).is_in([_spelling(value, column) for value in choice.values])
    if choice.threshold is None:
        raise UsageError(f"of the column {choice.column}, values or a threshold must be named")
    numbers = column.cast(pl.Float64, strict=False)
    return pl.select(pl.when(numbers.is_nan()).then(None).otherwise(numbers > choice.threshold)).to_series()


def _text(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        column = pl.select(pl.when(column.is_nan()).then(None).otherwise(column)).to_series()
    return column.cast(pl.String)


def _spelling(value: str, column: pl.Series) -> str:
    """A value that the user wrote, as polars writes values of the column: 1 is 1.0 among fractions."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        typed = pl.Series([value.lower()])
        typed = typed == "true" if column.dtype == pl.Boolean else typed.cast(pl.Float64, strict=False)
        spelled = typed.cast(column.dtype, strict=False).cast(pl.String).to_list()[0]
        return str(spelled if spelled is not None else value)
    return value


def _codes(
    frame: pl.DataFrame, name: str, usable: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    ranks: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        _text(frame.get_column(name)).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()[usable]
    )
    return np.unique(ranks, return_inverse=True)[1].astype(np.int64)
