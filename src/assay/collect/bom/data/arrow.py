"""Reads Arrow IPC, as a file (Feather version 2 is the same) and as a stream: columns and row count.

pyarrow parses the schema. Rows are counted from the messages' own metadata, passing over their bodies, so
that a file of many gigabytes is a few small reads.
Source: https://arrow.apache.org/docs/format/Columnar.html, Arrow's ``format/{File,Message}.fbs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.bom.data.facts import clip, columns
from assay.collect.bom.interface import Column, DataFile
from assay.collect.headers.flatbuffer import FlatBuffer, Table
from assay.errors import DocumentError, MissingExtraError

_FILE = b"ARROW1"
_CONTINUED = b"\xff\xff\xff\xff"
_FEATHER_1 = b"FEA1"
_MAX_METADATA = 64 << 20
"""Bytes of one message's metadata, or of the footer."""

_MAX_BATCHES = 1_000_000
"""Record batches that are counted."""

_SCHEMA, _BATCH = 1, 3
"""``MessageHeader`` in Message.fbs."""


class ArrowReader:
    """Arrow files, Arrow streams and Feather."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Always: a file that is called Arrow and is none is told of."""
        return True

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Columns with Arrow's types, and the number of rows."""
        file.seek(0)
        head = file.read(8)
        if head.startswith(_FEATHER_1):
            return _unread(path, "feather", "Feather version 1, which is not read")
        whole = head.startswith(_FILE)
        if not whole and not head.startswith(_CONTINUED):
            return _unread(path, "arrow", "is called Arrow and is none")
        format = "arrow" if whole else "arrow-stream"
        warnings: list[str] = []
        metadata: dict[str, str] = {}
        rows: int | None = None
        try:
            batches = list(_file_batches(file, size) if whole else _stream_batches(file, size))
            rows, metadata = sum(batches), {"batches": str(len(batches))}
        except DocumentError as error:
            warnings.append(f"its rows were not counted: {error.message}")
        listed: tuple[Column, ...] = ()
        try:
            listed, more = _columns(file, whole, size)
            warnings += more
        except (DocumentError, MissingExtraError) as error:
            warnings.append(error.message)
        return DataFile(path, format, rows, listed, metadata, tuple(f"{path}: {text}" for text in warnings))


def _unread(path: str, format: str, reason: str) -> DataFile:
    return DataFile(path, format, warnings=(f"{path}: {reason}",))


def _columns(file: BinaryIO, whole: bool, size: int) -> tuple[tuple[Column, ...], list[str]]:
    """The schema's columns, by pyarrow: from the footer, or from the stream's first message alone."""
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError("the schema of Arrow", "data") from None
    try:
        if whole:
            file.seek(0)
            schema = pa.ipc.open_file(file).schema
        else:
            file.seek(0)
            _message, _body, end = _message_at(file, 0, size)
            file.seek(0)
            schema = pa.ipc.read_schema(pa.py_buffer(file.read(end)))
        return columns((field.name, str(field.type)) for field in schema)
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise DocumentError(f"its schema cannot be read: {clip(str(error))}") from None


def _file_batches(file: BinaryIO, size: int) -> Iterator[int]:
    """Rows of each record batch that the footer of a file lists."""
    file.seek(max(0, size - 10))
    tail = file.read(10)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _FILE or length > size - 18:
        raise DocumentError("it does not end with a footer")
    if length > _MAX_METADATA:
        raise DocumentError(f"its footer has {length} bytes, too many to be read")
    footer = FlatBuffer(file, size - 10 - length, length).root()
    blocks = footer.length(3, 24)
    if blocks > _MAX_BATCHES:
        raise DocumentError(f"it lists {blocks} record batches")
    for offset, _metadata_length, _body_length in footer.structs(3, "<qi4xq", blocks):
        message, _body, _end = _message_at(file, offset, size)
        yield _rows(message)


def _stream_batches(file: BinaryIO, size: int) -> Iterator[int]:
    """Rows of each record batch in a stream, up to its end mark or the end of the file."""
    at, done = 0, 0
    while at + 8 <= size:
        file.seek(at)
        if file.read(8) == _CONTINUED + b"\0\0\0\0":
            return
        message, body, at = _message_at(file, at, size)
        at += body
        if at > size:
            raise DocumentError("it is cut off within a record batch")
        if message.number(1, "<B") == _BATCH:
            done += 1
            if done > _MAX_BATCHES:
                raise DocumentError(f"it has more than {_MAX_BATCHES} record batches")
            yield _rows(message)


def _message_at(file: BinaryIO, at: int, size: int) -> tuple[Table, int, int]:
    """The message whose prefix lies at ``at``: its table, the length of its body, and where the body starts."""
    if not 0 <= at <= size - 8:
        raise DocumentError("a message lies outside of the file")
    file.seek(at)
    prefix = file.read(8)
    length = int.from_bytes(prefix[4:], "little")
    if not prefix.startswith(_CONTINUED):
        raise DocumentError("a message has no continuation mark (a format older than Arrow 0.15)")
    if length > _MAX_METADATA or at + 8 + length > size:
        raise DocumentError("a message reaches beyond the file")
    message = FlatBuffer(file, at + 8, length).root()
    body = message.number(3, "<q")
    if body < 0:
        raise DocumentError("a message has a body of negative length")
    return message, body, at + 8 + length


def _rows(message: Table) -> int:
    batch = message.table(2) if message.number(1, "<B") == _BATCH else None
    rows = batch.number(0, "<q") if batch else -1
    if rows < 0:
        raise DocumentError("a record batch states no number of rows")
    return rows
