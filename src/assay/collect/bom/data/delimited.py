"""Reads CSV and TSV: delimiter, header, inferred types, and the exact number of records.

Types come from the first records. All records are counted, but only those that need it are parsed: where
every line has its quotes in pairs, a line is a record, which a few passes over the bytes decide.
Source: RFC 4180 for quotes; the reading of stray ones is that of Python's csv module.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.bom.data.facts import (
    MAX_COLUMNS,
    clip,
    columns,
    head_of,
    infer,
    is_number,
    is_packed,
    opened,
)
from assay.collect.bom.interface import DataFile
from assay.errors import DocumentError

SAMPLE = 256 * 1024
"""Bytes at the start that delimiter, header and types are taken from."""

SAMPLE_ROWS = 1000
"""Records of the sample that types are inferred from."""

DELIMITERS = ",\t;|"

_CHUNK = 1 << 20
_MAX_LINE = 16 << 20
"""Bytes of one line, and characters of one field."""

_OTHERS = bytes(set(range(256)) - set(b'"\n'))
"""What is deleted to see quotes and line ends alone."""

_BLANK = re.compile(rb"(?<=\n)(?:\r?\n)+")


class DelimitedReader:
    """Comma, tab, semicolon and pipe separated values, plain or gzip."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Always: there is nothing to recognise it by but its name."""
        return True

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Columns and the number of records."""
        tab = ".tsv" in path.lower()[-7:]
        format = "tsv" if tab else "csv"
        packed = is_packed(file)
        try:
            sample = head_of(opened(file, packed), SAMPLE)
        except DocumentError as error:
            return DataFile(path, format, warnings=(f"{path}: {error.message}",))
        if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in sample:
            return DataFile(path, format, warnings=(f"{path}: no UTF-8 text; its columns and rows were not read",))
        warnings = []
        try:
            text, encoding = sample.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError as error:
            # A sample may end within a character; anything earlier is another encoding.
            text, encoding = sample.decode("utf-8-sig", "ignore"), "utf-8"
            if error.start < len(sample) - 4:
                text, encoding = sample.decode("latin-1"), "unknown"
                warnings.append("not UTF-8; names are shown as Latin-1")
        delimiter = "\t" if tab else _delimiter(text)
        rows = _parse(text, delimiter, cut=len(sample) >= SAMPLE)
        header = _has_header(rows)
        listed, more = columns(_typed(rows, header))
        warnings += more
        count: int | None = None
        try:
            count = _count(opened(file, packed), delimiter)
            count -= 1 if header and count else 0
        except (DocumentError, csv.Error) as error:
            warnings.append(f"its rows were not counted: {clip(str(error))}")
        metadata = {"delimiter": delimiter, "header": "true" if header else "false", "encoding": encoding}
        if packed:
            metadata["compression"] = "gzip"
        return DataFile(path, format, count, listed, metadata, tuple(f"{path}: {text}" for text in warnings))


def _delimiter(text: str) -> str:
    """The delimiter that gives the most records of one same width, counting wider records for more."""
    best, chosen = 0, ","
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _parse(text[:65536], delimiter, cut=len(text) > 65536)[:100]]
        if not widths:
            continue
        usual = max(set(widths), key=widths.count)
        score = widths.count(usual) * 1000 // len(widths) * (usual > 1) + min(usual, 100)
        if usual > 1 and score > best:
            best, chosen = score, delimiter
    return chosen


def _parse(text: str, delimiter: str, *, cut: bool) -> list[list[str]]:
    """The sample's first records; without the last one, which may be cut off, when ``cut``."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                return rows
    except csv.Error:
        return rows  # the count meets the same error, and tells of it
    return rows[:-1] if cut and len(rows) > 1 else rows


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first record names the columns: distinct texts, none of them a number."""
    first = [cell.strip() for cell in rows[0]] if rows else []
    if not any(first) or not all(first[1:]):  # the first may be empty: the index that pandas writes
        return False
    return len(set(first)) == len(first) and not any(map(is_number, first))


def _typed(rows: list[list[str]], header: bool) -> list[tuple[str, str]]:
    if not rows:
        return []
    body = rows[1:] if header else rows
    width = min(len(rows[0]), MAX_COLUMNS + 1)
    names = rows[0] if header else [f"column_{i}" for i in range(width)]
    return [(names[i], infer(row[i] for row in body if i < len(row))) for i in range(width)]


def _count(file: BinaryIO, delimiter: str) -> int:
    """Records in the file, the header included, blank lines not."""
    count, rest = 0, b""
    while data := file.read(_CHUNK):
        block = rest + data
        end = block.rfind(b"\n") + 1
        if not end:
            if len(block) > _MAX_LINE or b"\r" in block:
                return count + _parse_all(block, file, delimiter)
            rest = block
            continue
        lines, rest = block[:end], block[end:]
        if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
            return count + _parse_all(block, file, delimiter)  # lines that end with a carriage return alone
        if b'"' in lines and b'"' in lines.translate(None, _OTHERS).replace(b'""', b""):
            # Some line has a quote left over: a field goes on in the next line, or a quote has no partner.
            return count + _parse_all(block, file, delimiter)
        count += lines.count(b"\n") - _blank(lines)
    if b"\r" in rest.rstrip(b"\r"):
        return count + _parse_all(rest, file, delimiter)
    return count + bool(rest.strip(b"\r\n"))


def _blank(lines: bytes) -> int:
    """Blank lines in a block of whole lines."""
    found = 0
    if b"\n\n" in lines or b"\n\r\n" in lines:
        found = sum(match[0].count(b"\n") for match in _BLANK.finditer(lines))
    if lines.startswith((b"\n", b"\r\n")):
        found += 1
    return found


class _From(io.RawIOBase):
    """Bytes that were read already, then the rest of the file."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self._first = first
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._first:
            data, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        else:
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _parse_all(first: bytes, file: BinaryIO, delimiter: str) -> int:
    """Records from here to the end, by the csv module. Latin-1, since every byte is a character then."""
    text = io.TextIOWrapper(io.BufferedReader(_From(first, file), _CHUNK), "latin-1", newline="")

    def lines() -> Iterator[str]:
        while line := text.readline(_MAX_LINE):
            if len(line) >= _MAX_LINE:
                raise DocumentError(f"a line is longer than {_MAX_LINE} characters")
            yield line

    before = csv.field_size_limit(_MAX_LINE)
    try:
        return sum(1 for row in csv.reader(lines(), delimiter=delimiter) if row)
    finally:
        csv.field_size_limit(before)
        text.detach()
