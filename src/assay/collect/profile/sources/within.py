"""The rows of another source that happened in a window of time, by a column that says when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources.interface import Notes, Origin, Source
from assay.errors import UsageError


class Within:
    """See the module. Rows without a time are left out and counted."""

    def __init__(self, source: Source, column: str, start: datetime, end: datetime) -> None:
        """``start`` is inclusive, ``end`` exclusive, both UTC. The column holds times, or texts or seconds of them."""
        self._source, self._column, self._start, self._end = source, column, start, end
        self.name = source.name
        self.origin: Origin = source.origin
        self.notes: Notes = source.notes

    @property
    def keys(self) -> frozenset[str]:
        """See `Source.keys`; the column too."""
        return self._source.keys | {self._column}

    @property
    def answers(self) -> frozenset[str]:
        """See `Source.answers`."""
        return self._source.answers

    @property
    def rows(self) -> int | None:
        """Not known before they are read."""
        return None

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """See `Source.expect`."""
        self._source.expect(kinds)

    def schema(self) -> Mapping[str, pl.DataType]:
        """See `Source.schema`."""
        return self._source.schema()

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """See `Source.frames`. Raises `UsageError` where the column is not there or holds no times."""
        given = left_out = 0
        wanted = None if only is None else frozenset({*only, self._column})
        for frame in self._source.frames(wanted):
            if self._column not in frame.columns:
                there = ", ".join(frame.columns[:10])
                raise UsageError(f"{self.name} has no column {self._column!r} with times", hint=f"it has {there}")
            times = _times(frame.get_column(self._column), self.name)
            left_out += times.null_count()
            inside = frame.filter((times >= self._start) & (times < self._end))
            given += inside.height
            yield inside
        self.notes = self._source.notes
        self.notes.rows = given
        if left_out:
            self.notes.remarks.append(f"{left_out:,} row(s) have no time in {self._column!r} and were left out")


def _times(column: pl.Series, name: str) -> pl.Series:
    """As instants in UTC; a local time without zone counts as UTC, a number as seconds since 1970."""
    utc = pl.Datetime("us", "UTC")
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.convert_time_zone("UTC").cast(utc) if column.dtype.time_zone else column.cast(utc)
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us")).cast(utc)
    if column.dtype.is_numeric():
        return (column.cast(pl.Float64) * 1_000_000).cast(pl.Int64, strict=False).cast(utc)
    if column.dtype == pl.String:
        return pl.Series([_read(text) for text in column.to_list()], dtype=utc)
    raise UsageError(f"the column {column.name!r} of {name} holds no times: it is {column.dtype}")


def _read(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:  # before the year 1 or after 9999, once in UTC
        return None
