"""Ground truth as SageMaker's merge job reads it: JSON Lines with ``groundTruthData`` and ``eventMetadata``.

The files are other people's: a line that is not of this form is counted and left out, and never stops the others.
Source: SageMaker developer guide, "Ingest Ground Truth labels and merge them with predictions".
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from assay.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

LONGEST_LINE = 1 << 24
"""Longer lines are malformed: a label is no picture."""
_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})/(\d{2})/[^/]*$")


class _Data(msgspec.Struct):
    data: str
    encoding: str


class _Event(msgspec.Struct, rename="camel"):
    event_id: str | None = None
    inference_id: str | None = None


class _Line(msgspec.Struct, rename="camel"):
    ground_truth_data: _Data
    event_metadata: _Event


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The labels of some files."""

    frame: pl.DataFrame
    """Columns ``id``, ``label`` (text) and ``label_time`` (UTC: the hour of the file's folder, or null)."""
    malformed: int
    """Lines that were left out."""


def read(paths: Iterable[str], *, column: int = 0, attribute: str | None = None) -> GroundTruth:
    """The labels in ``paths``: files, or folders with ``.jsonl`` files in them (``yyyy/mm/dd/hh``).

    A label is the ``column`` of a CSV line, or the ``attribute`` of a JSON object. Raises `UsageError` for a file that
    cannot be read.
    """
    import polars as pl

    ids: list[str] = []
    labels: list[str | None] = []
    times: list[datetime | None] = []
    malformed = 0
    decoder = msgspec.json.Decoder(_Line)
    for path in _files(paths):
        time = _hour(path)
        for line in _lines(path):
            try:
                entry = decoder.decode(line)
                label = _label(entry.ground_truth_data, column, attribute)
            except (msgspec.DecodeError, ValueError, RecursionError):
                malformed += 1
                continue
            identity = entry.event_metadata.inference_id or entry.event_metadata.event_id
            if not identity:
                malformed += 1
                continue
            ids.append(identity)
            labels.append(label)
            times.append(time)
    columns = (
        pl.Series("id", ids, pl.String),
        pl.Series("label", labels, pl.String),
        pl.Series("label_time", times, pl.Datetime("us", "UTC")),
    )
    return GroundTruth(pl.DataFrame(columns), malformed)


def _files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".jsonl"))


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while line := file.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                        pass
                    yield b"\0"  # the rest of a line is none: it could look like a label
                elif line.strip():
                    yield line
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _hour(path: str) -> datetime | None:
    """The hour that the folders say, in UTC."""
    found = _HOUR.search(path.replace(os.sep, "/"))
    try:
        return datetime(*map(int, found.groups()), tzinfo=UTC) if found else None  # type: ignore[misc,arg-type]
    except ValueError:
        return None


def _label(data: _Data, column: int, attribute: str | None) -> str | None:
    """The label as text, None where it is empty. Raises `ValueError` for what it cannot be read from."""
    text = data.data
    if data.encoding == "BASE64":
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("no text") from error
    elif data.encoding not in ("CSV", "JSON"):
        raise ValueError("unknown encoding")
    if data.encoding == "JSON":
        value = json.loads(text)
        if attribute is not None:
            value = value.get(attribute) if isinstance(value, dict) else None
        if value is None or isinstance(value, str):
            return value or None
        if isinstance(value, dict | list):
            raise ValueError("no single label")
        return json.dumps(value)
    try:
        fields = next(csv.reader([text.strip()]), [])
    except csv.Error as error:
        raise ValueError("no CSV") from error
    if not fields:
        return None
    if column >= len(fields):
        raise ValueError("too few columns")
    return fields[column].strip() or None
