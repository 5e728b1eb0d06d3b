"""What the readers of data formats share: columns kept within limits, inferred types, and unpacking with a limit."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from assay.collect.bom.interface import Column
from assay.errors import DocumentError

MAX_COLUMNS = 10_000
"""Columns listed of one file."""

MAX_TEXT = 300
"""Characters of a column's name or type."""

MAX_UNPACKED = 64 << 30
"""Bytes that a compressed file may unpack to before its rows are no longer counted."""

_GZIP = b"\x1f\x8b"

_UNPACK_ERRORS = (OSError, EOFError, zlib.error)
"""What reading a broken gzip file can raise."""

_WHOLE = re.compile(r"[+-]?\d{1,18}")
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?|[+-]?(?:nan|inf|NaN|Inf|infinity)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")
_MISSING = frozenset({"", "NA", "N/A", "null", "NULL", "None", "NaN", "nan"})


def clip(text: str) -> str:
    """A name or type that fits into a document: no lone surrogates, at most `MAX_TEXT` characters."""
    kept = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return kept if kept.isascii() else kept.encode("utf-8", "replace").decode("utf-8")


def columns(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[Column, ...], list[str]]:
    """Names and types as columns, the first `MAX_COLUMNS` of them, and what to warn about."""
    kept: list[Column] = []
    for name, kind in pairs:
        if len(kept) >= MAX_COLUMNS:
            return tuple(kept), [f"has more than {MAX_COLUMNS} columns; the others are not listed"]
        kept.append(Column(clip(name), clip(kind)))
    return tuple(kept), []


def infer(values: Iterable[str]) -> str:
    """The narrowest type that fits all texts of a column: int64, double, bool, date, timestamp, string or null."""
    kinds = {_kind(value) for value in values if value.strip() not in _MISSING}
    if not kinds:
        return "null"
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {"int64", "double"}:
        return "double"
    return "timestamp" if kinds == {"date", "timestamp"} else "string"


def is_number(text: str) -> bool:
    """Whether a text is written as a number."""
    return _kind(text) in ("int64", "double")


def _kind(value: str) -> str:
    value = value.strip()[:64]
    if _WHOLE.fullmatch(value):
        return "int64"
    if _REAL.fullmatch(value):
        return "double"
    if value.lower() in ("true", "false"):
        return "bool"
    if _DATE.fullmatch(value):
        return "date"
    return "timestamp" if _TIME.fullmatch(value) else "string"


class Unpacked(io.RawIOBase):
    """A gzip file's content, read forwards, with an end to it: `DocumentError` beyond ``limit`` bytes."""

    def __init__(self, file: BinaryIO, limit: int = MAX_UNPACKED) -> None:
        self._file = gzip.GzipFile(fileobj=file, mode="rb")
        self._left = limit

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, and at most 1 MiB; `DocumentError` when the file is broken or unpacks too far."""
        try:
            data = self._file.read(min(size, 1 << 20) if size >= 0 else 1 << 20)
        except _UNPACK_ERRORS as error:
            raise DocumentError(f"cannot be unpacked: {clip(str(error))}") from None
        self._left -= len(data)
        if self._left < 0:
            raise DocumentError("unpacks to too many bytes")
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase.readinto`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def is_packed(file: BinaryIO) -> bool:
    """Whether a file begins like gzip."""
    file.seek(0)
    return file.read(len(_GZIP)) == _GZIP


def opened(file: BinaryIO, packed: bool) -> BinaryIO:
    """``file`` from its start, unpacked where it is ``packed``."""
    file.seek(0)
    return Unpacked(file) if packed else file  # type: ignore[return-value]


def head_of(file: BinaryIO, length: int) -> bytes:
    """The next ``length`` bytes, fewer only at the end of the file."""
    parts = []
    while length and (data := file.read(length)):
        parts.append(data)
        length -= len(data)
    return b"".join(parts)
