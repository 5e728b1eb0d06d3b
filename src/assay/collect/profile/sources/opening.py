"""Which source a thing is: by its type, its address, its name, and where that says nothing by its first bytes."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import replace

from assay.collect.profile.sources.interface import Reading, Source
from assay.errors import UsageError

NAMES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}
PACKED = (".gz", ".zst", ".zstd")


def _parquet(path: str, _: Reading) -> Source:
    from assay.collect.profile.sources.parquet import Parquet

    return Parquet(path)


def _csv(path: str, reading: Reading) -> Source:
    from assay.collect.profile.sources.csv import Csv

    return Csv(path, reading)


def _jsonl(path: str, _: Reading) -> Source:
    from assay.collect.profile.sources.jsonl import JsonLines

    return JsonLines(path)


def _arrow(path: str, _: Reading) -> Source:
    from assay.collect.profile.sources.arrow import Arrow

    return Arrow(path)


def _captured(path: str, reading: Reading) -> Source:
    from assay.collect.profile.sources.captured import Captured

    return Captured(path, reading)


KINDS: dict[str, Callable[[str, Reading], Source]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
    "arrow": _arrow,
    "captured": _captured,
}
"""What a file can be read as."""


def open_source(
    what: object, *, kind: str | None = None, query: str | None = None, reading: Reading | None = None
) -> Source:
    """The source for ``what``: a path of a file or folder, a pattern, several paths, a database's URL, or a table.

    ``kind`` (one of `KINDS`) overrides what a file's name says. ``query`` is the statement for a database. Nothing is
    read yet but a few first bytes. Raises `AssayError`.
    """
    reading = reading or Reading()
    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no kind of data {kind!r}", hint=f"one of {', '.join(sorted(KINDS))}")
    if isinstance(what, str | os.PathLike):
        return _named(os.fsdecode(what), kind, query, reading)
    if isinstance(what, list | tuple) and what and all(isinstance(part, str | os.PathLike) for part in what):
        from assay.collect.profile.sources.folder import Folder

        paths = [os.fsdecode(part) for part in what]
        return Folder(f"{len(paths)} files", paths, lambda path: _file(path, kind, reading))
    from assay.collect.profile.sources.frames import Table

    return Table(what)


def _named(name: str, kind: str | None, query: str | None, reading: Reading) -> Source:
    if "://" in name:
        from assay.collect.profile.sources.sql import Query

        if query is None:
            raise UsageError("a database needs a statement", hint='as query="select * from table"')
        return Query(name, query)
    if query is not None:
        raise UsageError(f"{name} is no database that a statement could be run in", hint="use sqlite:///path or a URL")
    if os.path.isdir(name):
        return _folder(name, kind, reading)
    if not os.path.exists(name) and glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True))
        if not found:
            raise UsageError(f"no file is named like {name}")
        return open_source(found, kind=kind, reading=reading)
    return _file(name, kind, reading)


def _folder(path: str, kind: str | None, reading: Reading) -> Source:
    from assay.collect.profile.sources.folder import Folder, listed

    files = listed(path, reading.start, reading.end)
    if not files and reading.start is None and reading.end is None:
        raise UsageError(f"{path} has no files in it")
    whole = replace(reading, start=None, end=None)
    return Folder(path, files, lambda file: _file(file, kind, whole))


def _file(path: str, kind: str | None, reading: Reading) -> Source:
    if not os.path.isfile(path):
        what = "is not there" if not os.path.exists(path) else "is no regular file"
        raise UsageError(f"{path} {what}")
    return KINDS[kind or _kind(path)](path, reading)


def _kind(path: str) -> str:
    """What a file is."""
    name = path.lower()
    packed = next((end for end in PACKED if name.endswith(end)), "")
    found = NAMES.get(os.path.splitext(name.removesuffix(packed))[1])
    if found in ("parquet", "arrow") and packed:
        raise UsageError(f"{path} is packed", hint="unpack it; Parquet and Arrow pack their own columns")
    if found in (None, "jsonl"):
        found = _look(path, found)
    if found is None:
        raise UsageError(f"it is not known what {path} is", hint=f"say which kind: {', '.join(sorted(KINDS))}")
    return found


def _look(path: str, found: str | None) -> str | None:
    """What the first bytes say."""
    from assay.collect.profile.sources.blocks import first_line

    line = first_line(path).lstrip()
    if line.startswith(b"{"):
        return "captured" if b'"captureData"' in line or b'"groundTruthData"' in line else "jsonl"
    for magic, kind in ((b"PAR1", "parquet"), (b"ARROW1", "arrow")):
        if line.startswith(magic):
            return kind
    return found
