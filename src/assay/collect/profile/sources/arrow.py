"""Arrow IPC, as file or as stream, one record batch after the other, by pyarrow: the only reader that streams both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources.interface import Notes, Origin
from assay.collect.profile.sources.shape import even
from assay.collect.profile.sources.steady import Steady, told
from assay.errors import DocumentError, MissingExtraError

MAGIC = b"ARROW1"


class Arrow:
    """One file of record batches."""

    keys: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    rows: int | None = None

    def __init__(self, path: str) -> None:
        self.name = path
        self.origin = Origin("arrow", (path,))
        self.notes = Notes()

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Arrow knows its types."""

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first batch."""
        return next(iter(self.frames())).schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Record batches, in order."""
        self.notes = Notes(files=1)
        steady = Steady(self.name)
        yield from even(self._read(), self.name, self.notes, steady=steady.check)

    def _read(self) -> Iterator[pl.DataFrame]:
        try:
            import pyarrow as pa
        except ImportError:
            raise MissingExtraError(f"reading {self.name} (Arrow)", "data") from None
        with told(self.name, "Arrow"), pa.OSFile(self.name) as file:
            head = file.read(len(MAGIC))
            if len(head) < len(MAGIC):
                raise DocumentError(f"{self.name} is not an Arrow file: it is empty")
            file.seek(0)
            if head == MAGIC:
                reader = pa.ipc.open_file(file)
                batches: Any = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                reader = batches = pa.ipc.open_stream(file)
            yield frame(reader.schema.empty_table())
            for batch in batches:
                batch.validate(full=True)  # offsets that point elsewhere must not reach code that trusts them
                yield frame(batch)


def frame(table: Any) -> pl.DataFrame:
    """A pyarrow table or batch as a frame, without a copy where that is possible."""
    made = pl.from_arrow(table)
    return made if isinstance(made, pl.DataFrame) else made.to_frame()
