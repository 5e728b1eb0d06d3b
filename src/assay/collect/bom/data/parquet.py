"""Reads Parquet: schema, row count and row groups, all from the footer; no data page is read.

pyarrow parses the footer, whose length is limited first. Source: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from typing import Any, BinaryIO

from assay.collect.bom.data.facts import clip, columns
from assay.collect.bom.interface import DataFile
from assay.errors import MissingExtraError

_MAX_FOOTER = 64 << 20
"""Bytes of the footer."""

_MAX_ITEMS = 2_000_000
"""Column chunks that a footer may list (columns times row groups)."""


class ParquetReader:
    """Parquet files."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Always: a file that is called Parquet and is none is told of."""
        return True

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Columns with Parquet's logical types as Arrow names them, and the number of rows."""
        if problem := _problem(file, size):
            return _unread(path, problem)
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            return _unread(path, MissingExtraError("the schema of Parquet", "data").message)
        try:
            file.seek(0)
            parquet = pq.ParquetFile(file, thrift_string_size_limit=_MAX_FOOTER, thrift_container_size_limit=_MAX_ITEMS)
            footer = parquet.metadata
            listed, warnings = columns((field.name, _type(field.type)) for field in parquet.schema_arrow)
            metadata = {"row_groups": str(footer.num_row_groups), "version": clip(str(footer.format_version))}
            if footer.created_by:
                metadata["created_by"] = clip(footer.created_by)
            rows = footer.num_rows
        except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
            return _unread(path, f"its footer cannot be read: {clip(str(error))}")
        if rows < 0:
            return _unread(path, "its footer states a negative number of rows")
        return DataFile(path, "parquet", rows, listed, metadata, tuple(f"{path}: {text}" for text in warnings))


def _problem(file: BinaryIO, size: int) -> str | None:
    """Why the file is no Parquet, by its magic numbers and the length of its footer."""
    file.seek(0)
    head = file.read(4)
    if size < 12 or head not in (b"PAR1", b"PARE"):
        return "is called Parquet and is none"
    file.seek(size - 8)
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PARE":
        return "its footer is encrypted"
    if tail[4:] != b"PAR1" or length > size - 12:
        return "is cut off: it does not end with a footer"
    return f"its footer has {length} bytes, too many to be read" if length > _MAX_FOOTER else None


def _unread(path: str, reason: str) -> DataFile:
    return DataFile(path, "parquet", warnings=(f"{path}: {reason}",))


def _type(kind: Any) -> str:
    return clip(str(kind))
