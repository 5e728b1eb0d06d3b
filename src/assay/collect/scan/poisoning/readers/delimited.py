"""CSV and TSV, as Python's csv module reads them (RFC 4180). A row of another length than the header is an error: two
readers would disagree on what it says.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from assay.collect.scan.poisoning.readers.limits import MAX_COLUMNS, lines
from assay.errors import DocumentError

_DELIMITERS = ",;|\t"


def rows(file: BinaryIO, path: str) -> Iterator[Mapping[str, Any]]:
    """Rows by column. Without a header (a first line of numbers alone) columns are called ``c0``, ``c1``, …"""
    text = lines(file, path)
    first = next(text, "")
    delimiter = "\t" if path.lower().endswith(".tsv") else max(_DELIMITERS, key=first.count)
    try:
        reader = csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
        head = next(reader, [])
        if len(head) > MAX_COLUMNS:
            raise DocumentError(f"{path} has more than {MAX_COLUMNS:,} columns")
        names = head
        if head and all(_number(cell) for cell in head):
            names = [f"c{i}" for i in range(len(head))]
            yield dict(zip(names, head, strict=True))
        names = [name.strip() or f"c{i}" for i, name in enumerate(names)]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DocumentError(f"{path}: the column {twice[:60]!r} is there twice")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise DocumentError(
                    f"{path}: line {reader.line_num:,} has {len(cells):,} fields where the header has {len(names):,}"
                )
            yield dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise DocumentError(f"{path} is no table: {error}") from None


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
