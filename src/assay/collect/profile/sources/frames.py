"""Tables that are in memory already: polars (lazy ones too), pandas, pyarrow, and whatever streams Arrow.

They are taken as they are; only pandas' object columns of mixed values are rewritten, as text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources import values
from assay.collect.profile.sources.interface import ROWS, Notes, Origin
from assay.collect.profile.sources.shape import even, repeated
from assay.collect.profile.sources.steady import told
from assay.errors import UsageError

PLACE = "\0place"
"""A column for the number of a row, under a name that no column has."""


def is_table(what: object) -> bool:
    """True for what `Table` reads."""
    if isinstance(what, list | tuple):
        return bool(what) and all(is_table(part) for part in what)
    return (
        isinstance(what, pl.DataFrame | pl.LazyFrame)
        or hasattr(what, "__arrow_c_stream__")
        or _is_pandas(what)
        or (hasattr(what, "__arrow_c_array__") and hasattr(what, "schema"))
    )


def _is_pandas(what: object) -> bool:
    return type(what).__module__.partition(".")[0] == "pandas" and type(what).__name__ == "DataFrame"


class Table:
    """A table in memory, or several with the same columns."""

    keys: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()

    def __init__(self, what: Any, name: str = "the table") -> None:
        self.name = name
        self.origin = Origin("frame")
        self.notes = Notes()
        self._parts: Sequence[Any] = what if isinstance(what, list | tuple) else (what,)
        if not is_table(what):
            raise UsageError(
                f"a {type(what).__name__} is not a table",
                hint="give a polars, pandas or pyarrow table, or anything with __arrow_c_stream__",
            )

    @property
    def rows(self) -> int | None:
        """Where the tables know it."""
        counts = [getattr(part, "height", getattr(part, "num_rows", None)) for part in self._parts]
        if any(_is_pandas(part) for part in self._parts):
            counts = [len(part) if _is_pandas(part) else count for part, count in zip(self._parts, counts, strict=True)]
        known = [count for count in counts if isinstance(count, int)]
        return sum(known) if len(known) == len(counts) else None

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Tables know their types."""

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first part. A stream that can be read only once is used up by it."""
        return next(iter(self.frames())).schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Slices of the table."""
        self.notes = Notes()
        yield from even(self._read(), self.name, self.notes)

    def _read(self) -> Iterator[pl.DataFrame]:
        for part in self._parts:
            with told(self.name, "a table"):
                if isinstance(part, pl.DataFrame):
                    yield part
                elif isinstance(part, pl.LazyFrame):
                    yield pl.DataFrame(schema=part.collect_schema())
                    yield from part.collect_batches(chunk_size=ROWS, maintain_order=True)
                elif _is_pandas(part):
                    yield from self._pandas(part)
                else:
                    yield from self._arrow(part)

    def _pandas(self, table: Any) -> Iterator[pl.DataFrame]:
        names = [str(name) for name in table.columns]
        repeated(names, self.name)
        for start in range(0, max(len(table), 1), ROWS):
            part = table.iloc[start : start + ROWS]
            made = {name: _series(name, part.iloc[:, i]) for i, name in enumerate(names)}
            mixed = {name: cells for name, cells in made.items() if not isinstance(cells, pl.Series)}
            if not mixed:
                yield pl.DataFrame(list(made.values()))
                continue
            rest = {name: cells for name, cells in made.items() if isinstance(cells, pl.Series)}
            for frame in values.frames(mixed | {PLACE: range(len(part))}):
                rows = frame[PLACE].cast(pl.UInt32)  # of no rows it has no type
                yield pl.DataFrame([rest[name].gather(rows) if name in rest else frame[name] for name in names])

    def _arrow(self, what: Any) -> Iterator[pl.DataFrame]:
        """Anything with Arrow's C interface: by batches, where pyarrow is there to stream them."""
        schema = getattr(what, "schema", None)
        if schema is not None and hasattr(schema, "names"):
            repeated(schema.names, self.name)
        if not hasattr(what, "__arrow_c_stream__"):
            yield pl.DataFrame(what)
            return
        try:
            import pyarrow as pa
        except ImportError:
            yield pl.DataFrame(what)
            return
        reader = pa.RecordBatchReader.from_stream(what)
        yield pl.DataFrame(reader.schema.empty_table())
        for batch in reader:
            yield pl.DataFrame(batch)


def _series(name: str, series: Any) -> pl.Series | list[Any]:
    """A pandas column; of objects as a list, to be looked at one by one. NaN is pandas' way to say missing."""
    kind = str(series.dtype)
    if kind == "object":
        gone = series.isna()
        return [None if no else value for value, no in zip(series, gone, strict=True)]
    if kind == "category":
        return _series(name, series.astype(series.cat.categories.dtype))
    if kind.startswith(("period", "interval", "Sparse")):
        return values.column(name, [None if no else str(v) for v, no in zip(series, series.isna(), strict=True)])
    if kind.startswith("float") and kind.isalnum():  # numpy's, where NaN is pandas' missing value
        return pl.Series(name, series.to_numpy(), nan_to_null=True)
    if kind.startswith(("int", "uint", "bool")) and kind.isalnum():
        return pl.Series(name, series.to_numpy())
    made: pl.Series = pl.from_pandas(series.reset_index(drop=True))  # type: ignore[assignment]
    return made.alias(name)
