"""Parquet, through pyarrow (the extra ``data``), a small batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from assay.collect.scan.poisoning.readers.limits import MAX_COLUMNS
from assay.errors import DocumentError, MissingExtraError

_MAX_FOOTER = 64 << 20
"""Bytes of the footer."""

_MAX_ITEMS = 2_000_000
"""Column chunks that a footer may list."""

_MAX_GROUP = 2 << 30
"""Bytes, unpacked, of one row group: the part that has to fit into memory."""

_BATCH = 512


def rows(file: BinaryIO, path: str) -> Iterator[Mapping[str, Any]]:
    """Rows by column."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("reading Parquet", "data") from None
    file.seek(-8, 2)
    tail = file.read(8)
    if tail[4:] != b"PAR1" or int.from_bytes(tail[:4], "little") > _MAX_FOOTER:
        raise DocumentError(f"{path} does not end with a Parquet footer that can be read")
    file.seek(0)
    try:
        parquet = pq.ParquetFile(file, thrift_string_size_limit=_MAX_FOOTER, thrift_container_size_limit=_MAX_ITEMS)
        footer = parquet.metadata
        names = parquet.schema_arrow.names
        if len(names) > MAX_COLUMNS or len(set(names)) != len(names):
            raise DocumentError(f"{path} has more than {MAX_COLUMNS:,} columns, or two of one name")
        for i in range(footer.num_row_groups):
            if footer.row_group(i).total_byte_size > _MAX_GROUP:
                raise DocumentError(f"{path}: row group {i:,} unpacks to more than {_MAX_GROUP:,} bytes")
        for batch in parquet.iter_batches(batch_size=_BATCH, use_threads=False):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise DocumentError(f"{path} is no Parquet that can be read: {str(error)[:300]}") from None
