"""A folder of files (or a list of them), read one after the other in the order of their names.

Of a folder that is laid out as ``yyyy/mm/dd/hh``, as captures are, only the hours of the asked time are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources.interface import EXAMPLES, Notes, Origin, Source
from assay.errors import UsageError

HOUR = re.compile(r"(?:^|/)(\d{4})/(\d\d)/(\d\d)(?:/(\d\d))?/[^/]+$")


def listed(path: str, start: datetime | None = None, end: datetime | None = None) -> tuple[str, ...]:
    """Files below ``path`` by name; those beginning with ``_`` or ``.`` are bookkeeping of who wrote it.

    With ``start`` (inclusive) or ``end`` (exclusive), those whose hour overlaps it. Raises `UsageError`.
    """
    found = []
    for folder, folders, files in os.walk(path, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(files):
            full = os.path.join(folder, name)
            if not name.startswith((".", "_")) and _within(os.path.relpath(full, path), full, start, end):
                found.append(full)
    return tuple(found)


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}")


def _within(relative: str, full: str, start: datetime | None, end: datetime | None) -> bool:
    """True if the file's hour (or day) overlaps the asked time."""
    if start is None and end is None:
        return True
    found = HOUR.search(relative)
    try:
        if not found:
            raise ValueError
        year, month, day = (int(part) for part in found.groups()[:3])
        begins = datetime(year, month, day, int(found[4] or 0), tzinfo=UTC)
    except ValueError:
        raise UsageError(
            f"{full} is not in a folder of an hour", hint="a range of time needs folders yyyy/mm/dd/hh, in UTC"
        ) from None
    ends = begins + (timedelta(hours=1) if found[4] else timedelta(days=1))
    return (end is None or begins < end) and (start is None or ends > start)


class Folder:
    """Several files as one table; a column that only some of them have is missing in the others."""

    def __init__(self, name: str, files: Sequence[str], open_one: Callable[[str], Source]) -> None:
        self.name = name
        self.notes = Notes()
        self._files = tuple(files)
        self._open = open_one
        self._kinds: Mapping[str, Kind] = {}
        self.origin = Origin("folder", self._files)
        first = self._one(self._files[0]) if self._files else None
        self.keys = first.keys if first is not None else frozenset[str]()
        self.answers = first.answers if first is not None else frozenset[str]()

    def _one(self, path: str) -> Source:
        source = self._open(path)
        source.expect(self._kinds)
        return source

    @property
    def rows(self) -> int | None:
        """Where all files know it."""
        total = 0
        for path in self._files:
            count = self._one(path).rows
            if count is None:
                return None
            total += count
        return total

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Passed on to every file."""
        self._kinds = kinds

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first file that has columns."""
        return next((schema for path in self._files if (schema := self._one(path).schema())), {})

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """File after file. What `expect` said meanwhile holds for the files that are still to come."""
        self.notes = Notes()
        for path in self._files:
            source = self._one(path)
            self.keys, self.answers = self.keys | source.keys, self.answers | source.answers
            for frame in source.frames(only):
                self.notes.rows += frame.height
                yield frame
            self.notes.files += source.notes.files
            self.notes.dropped += source.notes.dropped
            self.notes.examples += source.notes.examples[: EXAMPLES - len(self.notes.examples)]
            self.notes.remarks += source.notes.remarks
