"""Parquet files by polars, some rows at a time. Memory is bounded by the file's largest row group, as the format wills.

A file without its footer is one that is still being written, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources.interface import ANSWERS, KEYS, ROWS, Notes, Origin
from assay.collect.profile.sources.shape import even, flat
from assay.collect.profile.sources.steady import Steady, told
from assay.errors import DocumentError

MAGIC = b"PAR1"
LEAST = 12
"""Bytes of the smallest file that can be one: magic, footer's length, magic."""


class Parquet:
    """One Parquet file."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.keys, self.answers = _named(path)
        self.origin = Origin("parquet", (path,))
        self.notes = Notes()

    @property
    def rows(self) -> int | None:
        """From the footer."""
        self._whole()
        with told(self.name, "Parquet"):
            return int(pl.scan_parquet(self.name, glob=False).select(pl.len()).collect().item())

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Parquet knows its types."""

    def schema(self) -> Mapping[str, pl.DataType]:
        """From the footer."""
        self._whole()
        with told(self.name, "Parquet"):
            return flat(pl.DataFrame(schema=pl.read_parquet_schema(self.name)), self.name).schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """By row groups, in the file's order."""
        self.notes = Notes(files=1)
        steady = Steady(self.name)
        self._whole()
        yield from even(self._read(only), self.name, self.notes, steady=steady.check)

    def _read(self, only: Collection[str] | None) -> Iterator[pl.DataFrame]:
        with told(self.name, "Parquet"):
            scan = pl.scan_parquet(self.name, glob=False)
            if only is not None:
                roots = {part for name in only for part in (name, name.partition(".")[0])}
                scan = scan.select([n for n in scan.collect_schema() if n in roots])
            yield pl.DataFrame(schema=scan.collect_schema())
            start, part = 0, None
            while part is None or part.height == ROWS:  # `collect_batches` reads far ahead: twice the memory
                part = scan.slice(start, ROWS).collect()
                if part.height:
                    yield part
                start += ROWS

    def _whole(self) -> None:
        """Look for both ends of the file."""
        steady = Steady(self.name)
        with told(self.name, "Parquet"), open(self.name, "rb") as file:
            head = file.read(4)
            tail = b""
            if steady.size >= LEAST:
                file.seek(-4, 2)
                tail = file.read(4)
        if head == MAGIC and tail != MAGIC:
            raise DocumentError(
                f"{self.name} has no Parquet footer: it is not complete", hint="wait until it is written to its end"
            )
        if b"PARE" in (head, tail):
            raise DocumentError(f"{self.name} is an encrypted Parquet file", hint="decrypt a copy of it first")
        if head != MAGIC:
            raise DocumentError(f"{self.name} is not a Parquet file: it does not begin with PAR1")


def _named(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """What the file's metadata name as keys and as answers, as captures of our gateway do; what is wrong with a file is
    told later.
    """
    try:
        metadata = pl.read_parquet_metadata(path)
        found = [json.loads(metadata.get(what, "[]")) for what in (KEYS, ANSWERS)]
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return frozenset(), frozenset()
    keys, answers = (
        frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset[str]()
        for named in found
    )
    return keys, answers
