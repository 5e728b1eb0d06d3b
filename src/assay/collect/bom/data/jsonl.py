"""Reads JSON Lines and arrays of JSON objects: keys, types, and the number of rows.

Keys and types come from a bounded sample; lines are counted without being parsed, an array is parsed once in
bounded memory. No row is kept.
Source: https://jsonlines.org; a blank line is no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import msgspec

from assay.collect.bom.data.facts import clip, columns, head_of, is_packed, opened
from assay.collect.bom.interface import DataFile
from assay.errors import DocumentError

SAMPLE = 4 << 20
"""Bytes at the start of JSON Lines that keys and types are taken from."""

SAMPLE_ROWS = 1000
"""Rows of which keys and types are taken."""

ARRAY_LIMIT = 256 << 20
"""Bytes of an array that are parsed; larger ones are listed without rows."""

_CHUNK = 1 << 20
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\{")
_BLANK = re.compile(rb"(?<=\n)(?:[ \t\r]*\n)+")
_NAMES = {dict: "object", list: "list", str: "string", bool: "bool", int: "int64", float: "double"}


class JsonLinesReader:
    """One JSON object a line, plain or gzip."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Always: there is nothing to recognise it by but its name."""
        return True

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Keys, their types, and the number of lines that are not blank."""
        packed = is_packed(file)
        metadata = {"compression": "gzip"} if packed else {}
        try:
            sample = head_of(opened(file, packed), SAMPLE)
            rows = _count(opened(file, packed))
        except DocumentError as error:
            return DataFile(path, "jsonl", None, (), metadata, (f"{path}: {error.message}",))
        lines = sample.removeprefix(b"\xef\xbb\xbf").split(b"\n", SAMPLE_ROWS)
        if len(lines) > SAMPLE_ROWS or len(sample) == SAMPLE:
            lines.pop()  # the rest of the sample, or a line that is cut off
        listed, warnings = _schema(line for line in lines if line.strip())
        return DataFile(path, "jsonl", rows, listed, metadata, tuple(f"{path}: {text}" for text in warnings))


class JsonArrayReader:
    """One array of JSON objects."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By an array whose first member is an object; anything else is configuration and no data."""
        return _ARRAY.match(head) is not None

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Keys, their types, and the number of members."""
        file.seek(0)
        data = file.read(ARRAY_LIMIT + 1) if size <= ARRAY_LIMIT else b""
        if not 0 < len(data) <= ARRAY_LIMIT:
            text = f"larger than {ARRAY_LIMIT >> 20} MiB; its rows were not read"
            return DataFile(path, "json", warnings=(f"{path}: {text}",))
        try:
            rows = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            return DataFile(path, "json", warnings=(f"{path}: no JSON: {clip(str(error))}",))
        listed, warnings = _schema(bytes(row) for row in rows[:SAMPLE_ROWS])
        return DataFile(path, "json", len(rows), listed, {}, tuple(f"{path}: {text}" for text in warnings))


def _schema(rows: Iterable[bytes]) -> tuple[tuple[Any, ...], list[str]]:
    """Columns of the rows in order of first appearance, and what to warn about."""
    kinds: dict[str, set[str]] = {}
    broken = others = 0
    for row in rows:
        try:
            value = msgspec.json.decode(row)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            broken += 1
            continue
        if not isinstance(value, dict):
            others += 1
            continue
        for key, inner in value.items():
            kinds.setdefault(key, set()).update(() if inner is None else (_NAMES[type(inner)],))
    listed, warnings = columns((key, _one(found)) for key, found in kinds.items())
    if broken:
        warnings.append(f"{broken} rows of its sample are no JSON")
    if others:
        warnings.append(f"{others} rows of its sample are no objects")
    return listed, warnings


def _one(kinds: set[str]) -> str:
    """One type for all of a key's values; ``null`` when it has none."""
    if kinds == {"int64", "double"}:
        return "double"
    return " or ".join(sorted(kinds)) or "null"


def _count(file: BinaryIO) -> int:
    """Lines that are not blank."""
    count, inside = 0, False
    while data := file.read(_CHUNK):
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if first < 0:
            inside = inside or bool(data.strip())
            continue
        count += inside or bool(data[:first].strip())
        count += data.count(b"\n", first + 1, last + 1)
        if any(mark in data for mark in (b"\n\n", b"\n\r", b"\n ", b"\n\t")):
            count -= sum(match[0].count(b"\n") for match in _BLANK.finditer(data, first, last + 1))
        inside = bool(data[last + 1 :].strip())
    return count + inside
