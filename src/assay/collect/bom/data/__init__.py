"""Readers of data formats: what a data file's own bytes say about its columns, its rows and its kind.

`read_data` picks files by their name's ending, since data has few magic numbers and a data set may have a
million files, and lets the content decide. No reader executes anything or keeps rows; what cannot be read
becomes a warning.

What counts as data:

- ``.parquet``, ``.arrow``, ``.feather``, ``.ipc``, ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` always, the
  text formats also with ``.gz``; a file that is not what it is called is listed with a warning;
- ``.json`` only when it is an array of objects (an object is configuration), except `CONFIGURATION`;
- ``.tar`` only when its first file looks like a part of a WebDataset sample;
- a folder of images, see `images`. Never ``.txt``, and never ``.npy``: the model readers state those.
"""

from __future__ import annotations

import importlib
from functools import cache

from assay.collect.bom.data.images import ENDINGS as IMAGE_ENDINGS
from assay.collect.bom.data.images import read_folders
from assay.collect.bom.interface import DataFile, DataReader
from assay.targets.interface import Target

HEAD = 4096
"""Bytes that a reader judges a file by."""

CONFIGURATION = frozenset({"modules.json"})
"""Arrays of objects that configure a model and hold no data: the parts of a sentence-transformers model."""

READERS: dict[str, str] = {
    ".parquet": "parquet:ParquetReader",
    ".arrow": "arrow:ArrowReader",
    ".feather": "arrow:ArrowReader",
    ".ipc": "arrow:ArrowReader",
    ".csv": "delimited:DelimitedReader",
    ".csv.gz": "delimited:DelimitedReader",
    ".tsv": "delimited:DelimitedReader",
    ".tsv.gz": "delimited:DelimitedReader",
    ".jsonl": "jsonl:JsonLinesReader",
    ".jsonl.gz": "jsonl:JsonLinesReader",
    ".ndjson": "jsonl:JsonLinesReader",
    ".ndjson.gz": "jsonl:JsonLinesReader",
    ".json": "jsonl:JsonArrayReader",
    ".tar": "webdataset:WebDatasetReader",
}
"""``module:class`` by the ending of a file's name, in lower case."""


@cache
def _reader(entry: str) -> DataReader:
    module, name = entry.split(":")
    reader: DataReader = getattr(importlib.import_module(f"{__name__}.{module}"), name)()
    return reader


def read_data(target: Target) -> list[DataFile]:
    """What each data file and each folder of images of ``target`` says, in order of name.

    Errors that concern reading the target itself (an unreadable or changing file) are raised; what is wrong
    with a file's content becomes a warning.
    """
    found: list[DataFile] = []
    images: list[tuple[str, int]] = []
    for name, size in zip(target.names, target.sizes, strict=True):
        base = name.rsplit("/", 1)[-1]
        ending = _ending(base)
        if ending in IMAGE_ENDINGS:
            images.append((name, size))
        elif ending in READERS and base not in CONFIGURATION:
            reader = _reader(READERS[ending])
            with target.open(name) as file:
                head = file.read(HEAD)
                if reader.recognises(name, head):
                    file.seek(0)
                    found.append(reader.read(name, file, size))
    found += read_folders(images, target.names, target.open)
    return sorted(found, key=lambda data: data.path)


def _ending(base: str) -> str:
    """``.csv`` or ``.csv.gz``, in lower case; empty without one."""
    stem, dot, last = base.lower().rpartition(".")
    if last == "gz" and "." in stem:
        return f".{stem.rpartition('.')[2]}.gz"
    return dot + last
