"""A target's data files as one table of bounded size: every row is read, a fair sample of them is kept.

What is no table is named with the reason, and what cannot be read to its end makes its file unreadable: rows that
nobody saw must never count as clean.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import Row
from assay.collect.scan.poisoning.readers.limits import MAX_CELL, MAX_WIDTH
from assay.errors import DocumentError
from assay.targets.interface import Target

MAX_FILE = 64 << 30
"""Bytes of one file."""

MAX_ROWS = 50_000_000
"""Rows of all files together."""

MAX_KEPT = 1 << 30
"""Bytes, roughly, of the rows that are kept."""

Cells = Mapping[str, Any]

_BESIDE = re.compile(
    r"^(readme|licen[cs]e|notice|changelog|citation|datasheet)\b|\.md$|^\.git|^assay\.yaml$", re.IGNORECASE
)
"""Documentation, by name: no data, and not counted as skipped."""

_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


@dataclass(slots=True)
class Table:
    """The rows that are analysed."""

    rows: list[Row] = field(default_factory=list)
    """Where each is, in the order of the files."""
    cells: list[Cells] = field(default_factory=list)
    """What each says."""
    order: list[int] = field(default_factory=list)
    """Which one it is of all rows that were read, from 1."""
    total: int = 0
    """Rows that were read."""
    formats: dict[str, str] = field(default_factory=dict)
    """File to its format; None of these failed."""
    broken: dict[str, str] = field(default_factory=dict)
    """File to why it could not be read to its end."""
    skipped: dict[str, str] = field(default_factory=dict)
    """File to why it was not looked at."""
    beside: list[str] = field(default_factory=list)
    """Files that are no data."""
    columns: tuple[str, ...] = ()
    """Names, in the order in which they first came."""

    def keep(self, rows: Iterable[tuple[int, Row, Cells]]) -> None:
        """Have these rows, each with its number among all, and no others."""
        listed = sorted(rows, key=lambda item: item[0])
        self.order = [item[0] for item in listed]
        self.rows = [item[1] for item in listed]
        self.cells = [item[2] for item in listed]
        self.columns = tuple(dict.fromkeys(column for cells in self.cells for column in cells))


def read(
    target: Target,
    *,
    sample: int,
    seed: bytes,
    every: Callable[[Row, Cells], None] = lambda _row, _cells: None,
    wanted: Callable[[Cells], bool] = lambda _cells: True,
) -> Table:
    """Read all tables of ``target``; ``every`` sees each row, whether it is kept or not. Only ``wanted`` rows are kept.

    All files must have the same columns: others are skipped and said so. Raises `MissingExtraError` where a file's
    format needs a library that is not installed.
    """
    table = Table()
    draw = random.Random(seed)  # noqa: S311 - a fair sample, not a secret
    kept: list[tuple[float, int, Row, Cells]] = []
    weight = 0
    first: tuple[str, ...] = ()
    for path, name, rows in _tables(target, table):
        try:
            for number, cells in enumerate(rows, 1):
                if not first:
                    first = tuple(cells)
                if number == 1 and set(first).isdisjoint(cells):
                    table.skipped[path] = f"it has other columns than the rest: {one_line(', '.join(cells), 200)}"
                    break
                table.total += 1
                if table.total > MAX_ROWS:
                    raise DocumentError(f"the data set has more than {MAX_ROWS:,} rows")
                row = Row(name, number)
                cells = {column: plain(value) for column, value in cells.items()}
                every(row, cells)
                if not wanted(cells):
                    continue
                item = (draw.random(), table.total, row, cells)
                if len(kept) < sample:
                    heapq.heappush(kept, item)
                    weight += _weight(cells)
                    if weight > MAX_KEPT:
                        raise DocumentError("the rows are too large to be analysed", hint="analyse a smaller sample")
                elif item[0] > kept[0][0]:
                    weight += _weight(cells) - _weight(heapq.heapreplace(kept, item)[3])
        except DocumentError as error:
            table.broken[path] = error.message
    table.keep((item[1], item[2], item[3]) for item in kept)
    return table


def _tables(target: Target, table: Table) -> Iterator[tuple[str, str, Iterator[Cells]]]:
    """Path, name for the rows' places, and rows of each table."""
    loose = []
    for path, size in zip(target.names, target.sizes, strict=True):
        base = PurePosixPath(path).name
        suffix = PurePosixPath(path).suffix.lower()
        if suffix not in _READERS and suffix not in (".npy", ".npz"):
            if _BESIDE.search(base):
                table.beside.append(path)
            else:
                table.skipped[path] = "the scan for poisoning reads CSV, TSV, JSON Lines, Parquet, .npy and .npz"
            continue
        table.formats[path] = suffix.removeprefix(".")
        if size > MAX_FILE:
            table.broken[path] = f"it is larger than {MAX_FILE:,} bytes"
        elif suffix == ".npy":
            loose.append(path)
        elif suffix == ".npz":
            yield from _archive(target, path, size, table)
        else:
            with target.open(path) as file:
                yield path, path, _reader(suffix)(file, path)
    yield from _loose(target, loose, table)


def _archive(target: Target, path: str, size: int, table: Table) -> Iterator[tuple[str, str, Iterator[Cells]]]:
    from assay.collect.scan.poisoning.readers import arrays

    with target.open(path) as file:
        try:
            listed = arrays.tables(arrays.members(file, path, size))
        except DocumentError as error:
            table.broken[path] = error.message
            return
        for split, members in listed:
            yield path, f"{path}!/{split}" if len(listed) > 1 else path, arrays.rows(members)


def _loose(target: Target, paths: list[str], table: Table) -> Iterator[tuple[str, str, Iterator[Cells]]]:
    """Single arrays: those of one folder and one length are columns of one table."""
    from assay.collect.scan.poisoning.readers import arrays

    with ExitStack() as stack:
        folders: dict[str, list[arrays.Array]] = {}
        for path in paths:
            try:
                made = arrays.array(stack.enter_context(target.open(path)), PurePosixPath(path).stem, path)
                folders.setdefault(str(PurePosixPath(path).parent), []).append(made)
            except DocumentError as error:
                table.broken[path] = error.message
        for listed in folders.values():
            for _, together in arrays.tables(listed):
                largest = max(together, key=lambda item: len(item.shape))
                yield largest.path, largest.path, arrays.rows(together)


def _reader(suffix: str) -> Callable[[Any, str], Iterator[Cells]]:
    import importlib

    module = importlib.import_module(f"assay.collect.scan.poisoning.readers.{_READERS[suffix]}")
    return module.rows  # type: ignore[no-any-return]


_READERS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".parquet": "parquet",
}


def plain(value: Any) -> Any:
    """A cell as None, float, text or a flat sequence of numbers; one value has one form, whatever file it came from."""
    if value is None:
        return None
    if isinstance(value, str):
        if not value:
            return None
        if len(value) < 40 and _NUMBER.match(value):
            return float(value)
        return value[:MAX_CELL]
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            return str(value)[:MAX_CELL] if abs(value) < 10**4000 else "a very large number"
    if isinstance(value, bytes):
        return value[:MAX_CELL].decode("utf-8", "backslashreplace")
    if hasattr(value, "dtype"):
        # A copy: a view would keep the whole block of the file alive for one row.
        return repr(value.tolist())[:MAX_CELL] if value.dtype.kind in "US" else value.copy()
    if isinstance(value, list):
        if 0 < len(value) <= MAX_WIDTH and all(type(item) in (int, float, bool) for item in value):
            try:
                return [float(item) for item in value]
            except OverflowError:
                return str(value)[:MAX_CELL] if len(value) < 100 else "very large numbers"
        return repr(value)[:MAX_CELL]
    return repr(value)[:MAX_CELL]


def shown(value: Any) -> str:
    """A label or source as text: ``1`` for 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def content_key(cells: Cells, left_out: frozenset[str]) -> bytes:
    """Digest of what a row says apart from some columns; the same for the same content in another format."""
    made = hashlib.blake2b(digest_size=16)
    for column in sorted(cells):
        value = cells[column]
        if column in left_out or value is None:
            continue
        if hasattr(value, "tolist"):
            value = value.tolist()
        text = repr([float(item) for item in value]) if isinstance(value, list) and _numeric(value) else repr(value)
        made.update(f"{len(column)}:{column}={len(text)}:{text};".encode("utf-8", "backslashreplace"))
    return made.digest()


def _numeric(value: list[Any]) -> bool:
    return all(isinstance(item, int | float) for item in value)


def _weight(cells: Cells) -> int:
    return sum(
        value.nbytes
        if hasattr(value, "nbytes")
        else 8 * len(value)
        if isinstance(value, list)
        else len(value)
        if isinstance(value, str)
        else 8
        for value in cells.values()
    ) + 100 * len(cells)
