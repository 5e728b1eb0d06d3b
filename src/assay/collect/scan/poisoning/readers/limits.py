"""How much of a file is believed, and reading lines without believing that they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from assay.errors import DocumentError

MAX_LINE = 16 << 20
"""Bytes of one line."""

MAX_COLUMNS = 10_000
"""Columns of a table."""

MAX_WIDTH = 65_536
"""Numbers in one row of an array, and in one list of a row."""

MAX_CELL = 1 << 20
"""Characters of one text that are kept; longer ones are cut."""


def lines(file: BinaryIO, path: str) -> Iterator[str]:
    """Lines as text, ends kept. Bytes that are no UTF-8 become words like ``\\xff``: they still differ."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DocumentError(f"{path}: line {number:,} is longer than {MAX_LINE:,} bytes")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield line.decode("utf-8", "backslashreplace")
