"""JSON Lines: one object per line, block by block, by polars; lines of mixed types by hand.

A line that is no object is left out, counted and told; the beginning of an object at the end of the file too, since
somebody is still writing it. Of a name that occurs twice in an object, the first counts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources import values
from assay.collect.profile.sources.blocks import Block, blocks
from assay.collect.profile.sources.interface import Notes, Origin
from assay.collect.profile.sources.shape import even
from assay.collect.profile.sources.steady import Steady
from assay.errors import DocumentError


def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its pairs, of equal names the first, as polars takes them."""
    return dict(reversed(pairs)) if len({name for name, _ in pairs}) < len(pairs) else dict(pairs)


class JsonLines:
    """One file of JSON objects, packed or not."""

    keys: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    rows: int | None = None

    def __init__(self, path: str) -> None:
        self.name = path
        self.origin = Origin("jsonl", (path,))
        self.notes = Notes()

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """JSON knows its types."""

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first block."""
        frame = next(iter(self.frames()), None)
        return {} if frame is None else frame.schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Block by block."""
        self.notes = Notes(files=1)
        steady = Steady(self.name)
        yield from even(self._read(), self.name, self.notes, steady=steady.check)

    def _read(self) -> Iterator[pl.DataFrame]:
        read = 0
        for block in blocks(self.name):
            if not block.data.strip():
                continue
            for frame in self._block(block):
                read += frame.height
                yield frame
        if not read and self.notes.dropped:
            raise DocumentError(
                f"{self.name} has no line that is a JSON object; {self.notes.examples[0]}",
                hint="JSON Lines have one object on each line",
            )

    def _block(self, block: Block) -> list[pl.DataFrame]:
        if block.ended:
            try:
                frame = pl.read_ndjson(block.data, infer_schema_length=None)
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
                pass
            else:
                if not _mixed(frame, block.data):
                    return [frame]
        return values.records(list(self._objects(block)))

    def _objects(self, block: Block) -> Iterator[dict[str, Any]]:
        """The block's objects, by hand."""
        lines = block.data.split(b"\n")
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            where = f"{self.name}, line {block.line + number}"
            try:
                found = json.loads(line, object_pairs_hook=first)
            except (ValueError, RecursionError) as error:
                last = not block.ended and number == len(lines) - 1
                why = "the last line is not complete" if last else f"is not JSON: {error}"
                self.notes.drop(where, why)
                continue
            if isinstance(found, dict):
                yield values.flattened(found)
            else:
                self.notes.drop(where, "is no JSON object")


def _texts(columns: Iterable[pl.Series]) -> Iterator[tuple[str, int]]:
    """Names of all columns of text, nested ones too, and how many values are there."""
    for column in columns:
        if isinstance(column.dtype, pl.String):
            yield column.name, column.len() - column.null_count()
        elif isinstance(column.dtype, pl.Struct):
            yield from _texts(column.struct.unnest())


def _mixed(frame: pl.DataFrame, data: bytes) -> bool:
    """False if all values of text were text before: polars makes text of numbers that stand beside it, without a word.

    As many values as there are must stand in quotes behind their name. True also where that cannot be told so simply
    (other spaces, escapes in names, a name twice): then the block is read by hand.
    """
    there: dict[str, int] = {}
    for name, count in _texts(frame):
        there[name] = there.get(name, 0) + count
    for name, count in there.items():
        mark = json.dumps(name, ensure_ascii=False).encode(errors="replace")
        if count and data.count(mark + b':"') + data.count(mark + b': "') != count:
            return True
    return False
