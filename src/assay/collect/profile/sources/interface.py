"""What every source of rows is: an iterator of polars frames of bounded size, with what is to be told about them.

A source reads and names things; it neither profiles nor judges, and it never writes to what it reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.interface import Kind

ROWS = 262_144
"""Most rows of a frame."""

BYTES = 64 << 20
"""About the most bytes of a frame, unless one row has more."""

EXAMPLES = 5
"""So many of the rows that were left out are told with their place and reason."""


KEYS = "assay.keys"
"""In a Parquet file's metadata: a JSON list of columns that say which row it is, and nothing about it."""
ANSWERS = "assay.answers"
"""In a Parquet file's metadata: a JSON list of columns that a model has answered to the others."""


@dataclass(slots=True)
class Notes:
    """What is to be told beside the rows; complete when the frames have been read."""

    rows: int = 0
    """Rows that were given out."""
    files: int = 0
    """Files that were read."""
    dropped: int = 0
    """Lines or events that could not be read and are in no frame."""
    examples: list[str] = field(default_factory=list)
    """Place and reason of the first of them."""
    remarks: list[str] = field(default_factory=list)
    """Other things that a reader of the result should know, as sentences."""

    def drop(self, where: str, why: str, count: int = 1) -> None:
        """Say that ``count`` rows at ``where`` are left out."""
        self.dropped += count
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{where}: {why}")


@dataclass(frozen=True, slots=True)
class Origin:
    """What was read, so that whoever makes evidence of it can take its digest or name it."""

    kind: str
    """``parquet``, ``csv``, ``jsonl``, ``arrow``, ``captured``, ``frame``, ``sql`` or ``folder``."""
    files: tuple[str, ...] = ()
    """Paths of the files, as they were named; their digests are what the rows came from."""
    query: str | None = None
    """The SQL statement."""
    database: str | None = None
    """Its database, without user and password."""


class Source(Protocol):
    """Rows from one place. Frames come in the same order every time and can be asked for more than once."""

    name: str
    """For people: a path, or what it is."""
    origin: Origin
    notes: Notes
    """About the last time that the frames were read."""

    @property
    def keys(self) -> frozenset[str]:
        """Columns that say which row it is, and nothing about it: not profiled unless asked for."""

    @property
    def answers(self) -> frozenset[str]:
        """Columns that a model answered: no strangers where a baseline is about what it was asked."""

    @property
    def rows(self) -> int | None:
        """How many rows there are, if that is known before they are read; an estimate is not given."""

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Say what columns are: formats without types of their own (CSV) read them so, others ignore it."""

    def schema(self) -> Mapping[str, polars.DataType]:
        """Names and types of the columns of the first frame; empty where there is none."""

    def frames(self, only: Collection[str] | None = None) -> Iterator[polars.DataFrame]:
        """The rows. A table with columns and no rows gives one empty frame. Raises `AssayError`.

        ``only`` says which columns will be used: a source for which that saves work leaves the others out.
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read, where that is not told by themselves."""

    header: bool = True
    """CSV (and captured CSV data only if `columns` are not given): the first line has the columns' names."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV without header, or of the captured inputs."""
    outputs: tuple[str, ...] = ()
    """Names of the columns of captured outputs."""
    sides: tuple[str, ...] = ("endpointInput", "endpointOutput")
    """Sides of captured events that are looked at."""
    separator: str | None = None
    """Of CSV; None is a tab for ``.tsv``, else a comma."""
    missing: tuple[str, ...] = ("",)
    """What stands for a missing value in CSV."""
    start: datetime | None = None
    """Of a folder laid out as ``yyyy/mm/dd/hh``: first hour, inclusive."""
    end: datetime | None = None
    """First hour that is not read any more."""
