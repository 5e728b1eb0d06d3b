"""Comma-separated files: block by block, by polars, in the types that the first block or the baseline says.

A block with values that do not fit is read again as text; lines with too many fields are left out, counted and told.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources.blocks import Block, blocks
from assay.collect.profile.sources.interface import Notes, Origin, Reading
from assay.collect.profile.sources.shape import even, repeated
from assay.collect.profile.sources.steady import Steady, told
from assay.collect.profile.sources.texts import decide, typed
from assay.errors import DocumentError


@contextlib.contextmanager
def long_fields() -> Iterator[None]:
    """Fields of up to 1 GiB; Python's limit is one for the whole process, and other readers rely on theirs."""
    before = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(before)


BLANK = re.compile(rb"^\r?\n", re.MULTILINE)


def names(count: int) -> tuple[str, ...]:
    """Names of columns that have none, as Spark and SageMaker give them."""
    return tuple(f"_c{i}" for i in range(count))


def fields(line: bytes, separator: str, where: str) -> list[str]:
    """The fields of the first record of ``line``."""
    try:
        with long_fields():
            return next(csv.reader(io.StringIO(line.decode()), delimiter=separator), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DocumentError(f"{where}, line 1: {error}") from None


class Csv:
    """One CSV file, packed or not."""

    keys: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    rows: int | None = None

    def __init__(self, path: str, reading: Reading) -> None:
        self.name = path
        self.origin = Origin("csv", (path,))
        self.notes = Notes()
        tabs = path.removesuffix(".gz").removesuffix(".zst").endswith(".tsv")
        self._separator = reading.separator or ("\t" if tabs else ",")
        self._reading = reading
        self._known: dict[str, Kind] = {}

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Columns are read as this."""
        self._known = dict(kinds)

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first block."""
        return next(iter(self.frames())).schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Block by block."""
        self.notes = Notes(files=1)
        steady = Steady(self.name)
        yield from even(self._read(), self.name, self.notes, steady=steady.check)

    def _read(self) -> Iterator[pl.DataFrame]:
        columns: tuple[str, ...] = ()
        types: dict[str, pl.DataType] = {}
        for block in blocks(self.name, quote=b'"'):
            if not columns:
                columns, data = self._columns(block.data)
                block = Block(data, block.line + block.data.count(b"\n") - data.count(b"\n"), block.ended)
            if types:
                frames, types = self._block(block, columns, types)
                yield from frames
            else:
                text = self._parse(block, dict.fromkeys(columns, pl.String()))
                types = decide(text, self._known) if text.height else {}
                yield from typed(text, types) if text.height else [text]
            if not block.ended and block.data:
                self.notes.remarks.append(f"{self.name}: the last line has no newline; it was taken as complete")
        if not columns:
            raise DocumentError(f"{self.name} is empty: it has not even a line of column names")

    def _columns(self, data: bytes) -> tuple[tuple[str, ...], bytes]:
        """Names of the columns, and what is behind them."""
        end = 0
        while True:  # a name in quotes may hold newlines
            end = data.find(b"\n", end) + 1 or len(data)
            if end == len(data) or data.count(b'"', 0, end) % 2 == 0:
                break
        first = fields(data[:end], self._separator, self.name)
        if not self._reading.header:
            found = self._reading.columns or names(len(first))
        else:
            found, data = tuple(name.strip() for name in first), data[end:]
            if not any(found):
                raise DocumentError(f"{self.name}, line 1: there are no column names")
        repeated(found, self.name)
        return found, data

    def _block(
        self, block: Block, columns: tuple[str, ...], types: dict[str, pl.DataType]
    ) -> tuple[list[pl.DataFrame], dict[str, pl.DataType]]:
        """One block in its types, and the types that the next one is tried with."""
        late = {name: dtype for name, dtype in types.items() if isinstance(dtype, pl.Datetime | pl.Boolean)}
        fast = types | dict.fromkeys(late, pl.String())
        try:
            frame = self._polars(block.data, fast)
        except pl.exceptions.PolarsError:
            frames = typed(self._parse(block, dict.fromkeys(columns, pl.String())), types)
            wider = {name: dtype for name, dtype in frames[0].schema.items() if isinstance(dtype, pl.Float64)}
            return frames, types | wider
        return typed(frame, late), types

    def _polars(self, data: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        if not data.strip(b"\r\n"):
            return pl.DataFrame(schema=dict(schema))
        if len(schema) > 1 and BLANK.search(data):  # of one column, a blank line is a missing value
            if b'"' in data:
                raise pl.exceptions.ComputeError("blank lines, perhaps inside quotes")
            data = BLANK.sub(b"", data)
        return pl.read_csv(
            data,
            has_header=False,
            schema=dict(schema),
            separator=self._separator,
            null_values=list(self._reading.missing),
            empty_string_is_null="" in self._reading.missing,
        )

    def _parse(self, block: Block, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """A block as text; by hand if polars does not take it, leaving out the lines that are to blame."""
        try:
            return self._polars(block.data, schema)
        except pl.exceptions.PolarsError:
            with told(f"{self.name}, from line {block.line}", "CSV"), long_fields():
                return pl.DataFrame(list(self._kept(block, len(schema))), schema=dict(schema), orient="row")

    def _kept(self, block: Block, width: int) -> Iterator[list[str | None]]:
        """Records with at most ``width`` fields of valid UTF-8, made up to it."""
        bad = kept = 0

        def lines() -> Iterator[str]:
            nonlocal bad
            for number, line in enumerate(block.data.splitlines(keepends=True)):
                try:
                    yield line.decode()
                except UnicodeDecodeError:
                    bad += 1
                    self.notes.drop(f"{self.name}, line {block.line + number}", "is not UTF-8")

        for record in (reader := csv.reader(lines(), delimiter=self._separator)):
            if not record and width > 1:
                continue
            if len(record) > width:
                where = f"{self.name}, line {block.line + bad + reader.line_num - 1}"
                self.notes.drop(where, f"{len(record)} fields instead of {width}")
                continue
            kept += 1
            there = [None if value in self._reading.missing else value for value in record]
            yield there + [None] * (width - len(record))
        if not kept:
            raise DocumentError(
                f"{self.name}: no line from {block.line} on could be read as CSV of {width} columns",
                hint="give the separator, or say that there is no header",
            )
