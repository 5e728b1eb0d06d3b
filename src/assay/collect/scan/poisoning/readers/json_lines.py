"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import msgspec

from assay.collect.scan.poisoning.readers.limits import MAX_COLUMNS, lines
from assay.errors import DocumentError


def rows(file: BinaryIO, path: str) -> Iterator[Mapping[str, Any]]:
    """Rows by column."""
    decode = msgspec.json.Decoder().decode
    for number, line in enumerate(lines(file, path), 1):
        if not line.strip():
            continue
        try:
            row = decode(line)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise DocumentError(f"{path}: line {number:,} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise DocumentError(f"{path}: line {number:,} is no object", hint="JSON Lines has one object a line")
        if len(row) > MAX_COLUMNS:
            raise DocumentError(f"{path}: line {number:,} has more than {MAX_COLUMNS:,} fields")
        yield row
