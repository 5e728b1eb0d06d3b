"""An open Parquet file of captured rows: columns gather in memory, bounded, and are written when the file is closed.

All rows of a file have one schema. A crash loses the rows of the open file; a file that has its name is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.collect.profile.sources.interface import ANSWERS, KEYS
from assay.guard.gateway.capture.masking import MASK, Do, Mask
from assay.guard.gateway.capture.places import Place
from assay.guard.gateway.interface import Answers, Sample, Table

if TYPE_CHECKING:
    import numpy
    import polars

LARGEST = 32 << 20
"""Bytes in memory, about, after which a file is closed."""
WIDE = 1000
"""Columns without names beyond which a row's numbers are one column, ``features``, of vectors."""
ABOUT = ("eventId", "inferenceId", "inferenceTime", "caller", "model", "modelVersion")
"""Columns that say which row it is, and nothing about it."""


class Unfit(Exception):
    """Rows and answers that do not belong together; with the reason."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of a file have in common."""

    names: tuple[str, ...]
    """Of the columns; empty where a row is one vector."""
    text: frozenset[str]
    labels: bool
    probabilities: bool


def shape(table: Table, answers: Answers | None) -> Shape:
    """Of one request. Raises `Unfit`."""
    if table.features.ndim != 2:
        raise Unfit("its rows are no table")
    rows, width = table.features.shape
    names = table.names
    if names and (len(names) != width or len(set(names)) != width):
        raise Unfit("its columns have not one name each")
    if not names and width <= WIDE:
        names = tuple(f"_c{i}" for i in range(width))
    if any(len(column) != rows for column in table.text.values()):
        raise Unfit("its columns have not the same number of rows")
    labels = answers.labels if answers is not None else None
    probabilities = answers.probabilities if answers is not None else None
    if any(one is not None and len(one) != rows for one in (labels, probabilities)):
        raise Unfit(f"it has {rows} rows and another number of answers")
    return Shape(names, frozenset(table.text), labels is not None, probabilities is not None)


class Rows:
    """See the module."""

    def __init__(self, folder: str, at: float, now: float, form: Shape, mask: Mask, fractional: set[str]) -> None:
        """``fractional`` remembers columns that held a fraction once: they never are integers again."""
        self._folder, self._at, self.opened = folder, at, now
        self._form, self._mask, self._fractional = form, mask, fractional
        self._about: list[tuple[Sample, str, str, int]] = []
        self._features: list[numpy.ndarray] = []
        self._text: dict[str, list[Any]] = {name: [] for name in form.text}
        self._labels: list[numpy.ndarray] = []
        self._probabilities: list[Any] = []
        self.rows = 0
        self.bytes = 0
        """In memory, about."""

    @property
    def full(self) -> bool:
        """Whether it is to be closed for its size."""
        return self.bytes >= LARGEST

    def add(self, sample: Sample, event: str, caller: str, table: Table, answers: Answers | None) -> None:
        """The rows of one request. Raises `UnicodeError`."""
        import msgspec

        for values in table.text.values():
            "".join(map(str, values)).encode()  # what no file can hold must not take others' rows along
        rows = len(table.features)
        bare = msgspec.structs.replace(sample, request=None, response=None)
        self._about.append((bare, event, caller, rows))
        self._features.append(table.features.copy())  # never a view of a larger buffer
        self.rows += rows
        self.bytes += 600 + table.features.nbytes
        for name, values in table.text.items():
            self._text[name].extend(values)
            self.bytes += sum(map(len, map(str, values))) + 60 * rows
        if self._form.labels and answers is not None and answers.labels is not None:
            self._labels.append(answers.labels.copy())
            self.bytes += answers.labels.nbytes
        if self._form.probabilities and answers is not None and answers.probabilities is not None:
            self._probabilities.extend(answers.probabilities.tolist())
            self.bytes += 4 * answers.probabilities.nbytes

    def flush(self) -> None:
        """Nothing is written before the end."""

    def finish(self) -> None:
        """Write the file. Raises `OSError`."""
        frame, answered = self._frame()
        metadata = {KEYS: json.dumps([n for n in frame.columns if n in ABOUT]), ANSWERS: json.dumps(answered)}
        place = Place(self._folder, self._at, "parquet")
        try:
            with os.fdopen(os.dup(place.descriptor), "wb") as file:
                frame.write_parquet(file, compression="zstd", metadata=metadata)
        except BaseException as error:
            place.discard()
            if isinstance(error, OSError) or type(error).__name__ == "ComputeError":
                raise OSError(getattr(error, "errno", None) or 0, str(error)) from None
            raise
        place.finish()

    @property
    def waiting(self) -> int:
        """Requests that are not in a file yet: all of them."""
        return len(self._about)

    def _frame(self) -> tuple[polars.DataFrame, list[str]]:
        """The rows, and which columns the model answered."""
        import numpy
        import polars as pl

        counts = [rows for *_, rows in self._about]

        def each(values: Sequence[str]) -> list[str]:
            return [value for value, rows in zip(values, counts, strict=True) for _ in range(rows)]

        samples = [sample for sample, *_ in self._about]
        moments = numpy.repeat([int(sample.at * 1_000_000) for sample in samples], counts)
        columns = [
            pl.Series("eventId", each([event for _, event, _, _ in self._about]), pl.String),
            pl.Series("inferenceId", each([sample.request_id or sample.id for sample in samples]), pl.String),
            pl.Series("inferenceTime", moments, pl.Int64).cast(pl.Datetime("us", "UTC")),
            pl.Series("caller", each([caller for *_, caller, _ in self._about]), pl.String),
            pl.Series("model", each([sample.model for sample in samples]), pl.String),
            pl.Series("modelVersion", each([sample.model_version for sample in samples]), pl.String),
        ]
        features = numpy.concatenate(self._features)
        if not self._form.names:
            self._keep(columns, "features", pl.Series("features", features.tolist(), pl.List(pl.Float64)))
        for i, name in enumerate(self._form.names):
            if name in self._text:
                values = [None if one is None else str(one) for one in self._text[name]]
                self._keep(columns, name, pl.Series(name, values, pl.String), f"_c{i}")
            else:
                self._keep(columns, name, self._numbers(name, features[:, i]), f"_c{i}")
        asked = len(columns)
        if self._labels:
            self._keep(columns, "prediction", pl.Series(numpy.concatenate(self._labels).astype(numpy.int64)))
        if self._probabilities:
            self._keep(columns, "probabilities", pl.Series(self._probabilities, dtype=pl.List(pl.Float64)))
        return pl.DataFrame(columns), [column.name for column in columns[asked:]]

    def _numbers(self, name: str, values: numpy.ndarray) -> polars.Series:
        """As integers where all of them are; what is no number is missing."""
        import numpy
        import polars as pl

        known = values[~numpy.isnan(values)]
        if name not in self._fractional and not (
            (numpy.abs(known) < 2.0**53).all() and (known == numpy.floor(known)).all()
        ):
            self._fractional.add(name)
        series = pl.Series(name, values, pl.Float64).fill_nan(None)
        return series if name in self._fractional else series.cast(pl.Int64)

    def _keep(self, columns: list[polars.Series], name: str, series: polars.Series, *more: str) -> None:
        """Add a column under a name that is still free, unless masking takes it."""
        import polars as pl

        do: Do | None = self._mask.column(self._about[0][0].model, (name, *more))
        if do == "drop":
            return
        if do == "hash":
            values = [None if one is None else self._mask.digest(one) for one in series.to_list()]
            series = pl.Series(name, values, pl.String)
        elif do == "mask":
            series = pl.Series(name, [MASK if series.dtype == pl.String else None] * len(series), pl.String)
        taken = {column.name for column in columns}
        while name in taken:
            name = f"output.{name}" if name in ("prediction", "probabilities") else f"input.{name}"
        columns.append(series.alias(name))
