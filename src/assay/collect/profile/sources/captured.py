"""Captured predictions: SageMaker's ``captureData`` JSON Lines (our gateway's too), and its ground truth.

Input and output of an event become one row, with its id and time. An event that does not fit (other counts of rows,
an unknown encoding) is left out, counted and told: half an event would look like missing values.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import math
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources import values
from assay.collect.profile.sources.blocks import Block, blocks
from assay.collect.profile.sources.interface import ROWS, Notes, Origin, Reading
from assay.collect.profile.sources.jsonl import first
from assay.collect.profile.sources.shape import even
from assay.collect.profile.sources.steady import Steady
from assay.collect.profile.sources.texts import decide, typed
from assay.errors import DocumentError

KEYS = frozenset({"eventId", "inferenceId", "inferenceTime"})
"""Columns beside the data, as the metadata calls them."""

WRAPPERS = ("instances", "inputs", "predictions", "outputs", "dataframe_records")
"""Names around the rows in the JSON of common model servers (TensorFlow Serving, MLflow)."""

Rows = list[dict[str, Any]]


class Unreadable(Exception):
    """Why an event is left out."""


class Captured:
    """One file of captured events or of ground truth."""

    keys = KEYS
    answers: frozenset[str] = frozenset()
    rows: int | None = None

    def __init__(self, path: str, reading: Reading) -> None:
        self.name = path
        self.origin = Origin("captured", (path,))
        self.notes = Notes()
        self._reading = reading
        self._known: dict[str, Kind] = {}

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Columns of CSV data are read as this."""
        self._known = dict(kinds)

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first block."""
        frame = next(iter(self.frames()), None)
        return {} if frame is None else frame.schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """Block by block."""
        self.notes = Notes(files=1)
        steady = Steady(self.name)
        yield from even(self._read(), self.name, self.notes, steady=steady.check)

    def _read(self) -> Iterator[pl.DataFrame]:
        types: dict[str, pl.DataType] = {}
        read = 0
        for block in blocks(self.name):
            waiting: Rows = []
            for row in self._events(block):
                waiting.append(row)
                if len(waiting) >= ROWS:
                    yield from self._frames(waiting, types)
                    read, waiting = read + len(waiting), []
            if waiting:
                yield from self._frames(waiting, types)
                read += len(waiting)
        if not read and self.notes.dropped:
            raise DocumentError(
                f"{self.name} has no captured event that can be read; {self.notes.examples[0]}",
                hint="each line must be an object with captureData or groundTruthData, and eventMetadata",
            )

    def _frames(self, rows: Rows, types: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """Rows as frames; the types of text columns are chosen when they are first seen."""
        for frame in values.records(rows):
            texts = [n for n, dtype in frame.schema.items() if isinstance(dtype, pl.String) and n not in KEYS]
            types |= decide(frame.select(name for name in texts if name not in types), self._known)
            yield from typed(frame, {name: types[name] for name in texts})

    def _events(self, block: Block) -> Iterator[dict[str, Any]]:
        """Rows of the block's events."""
        lines = block.data.split(b"\n")
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                event = json.loads(line, object_pairs_hook=first)
            except (ValueError, RecursionError) as error:
                last = not block.ended and number == len(lines) - 1
                why = "the last line is not complete" if last else f"is not JSON: {error}"
                self.notes.drop(f"{self.name}, line {block.line + number}", why)
                continue
            try:
                yield from self._rows(event)
            except Unreadable as error:
                self.notes.drop(f"{self.name}, line {block.line + number}", str(error))

    def _rows(self, event: Any) -> Rows:
        """One row for each record of an event."""
        if not isinstance(event, dict):
            raise Unreadable("is no JSON object")
        data, truth = event.get("captureData"), event.get("groundTruthData")
        about = _about(event.get("eventMetadata"))
        if isinstance(truth, dict):
            return [about | row for row in self._side(truth, self._reading.outputs, "label_")]
        if not isinstance(data, dict):
            raise Unreadable("has no captureData")
        sides = []
        for name, columns, prefix in (
            ("endpointInput", self._reading.columns, "_c"),
            ("endpointOutput", self._reading.outputs, "output_"),
        ):
            if name in self._reading.sides and data.get(name) is not None:
                if not isinstance(data[name], dict):
                    raise Unreadable(f"{name} is no object")
                sides.append(self._side(data[name], columns, prefix))
        if not sides:
            raise Unreadable("has neither endpointInput nor endpointOutput")
        if len({len(rows) for rows in sides}) > 1:
            raise Unreadable(f"has {len(sides[0])} inputs and {len(sides[1])} outputs")
        joined: Rows = []
        for parts in zip(*sides, strict=True):
            row = dict(about)
            for name, value in (item for part in parts for item in part.items()):
                row[f"output.{name}" if name in row else name] = value
            joined.append(row)
        return joined

    def _side(self, side: Mapping[str, Any], columns: tuple[str, ...], prefix: str) -> Rows:
        """The records of one side of an event."""
        data, encoding = side.get("data"), side.get("encoding")
        kind = str(side.get("observedContentType") or "").partition(";")[0].strip().lower()
        if encoding == "BASE64":
            try:
                data = base64.b64decode(str(data), validate=True).decode()
            except (binascii.Error, ValueError):
                raise Unreadable(f"BASE64 data of type {kind or 'unknown'} is no text") from None
            encoding = "JSON" if kind.endswith("json") or kind == "application/jsonlines" else "CSV"
            if encoding == "CSV" and not kind.endswith("csv"):
                raise Unreadable(f"BASE64 data of type {kind or 'unknown'} is neither CSV nor JSON")
        if encoding == "CSV" and isinstance(data, str):
            return self._csv(data, columns, prefix)
        if encoding == "JSON":
            return _json(data, columns, prefix)
        raise Unreadable(f"the encoding {encoding!r} is not CSV, JSON or BASE64")

    def _csv(self, data: str, columns: tuple[str, ...], prefix: str) -> Rows:
        """Records of CSV, all values as text."""
        try:
            records = [record for record in csv.reader(io.StringIO(data)) if record]
        except csv.Error as error:
            raise Unreadable(f"is not CSV: {error}") from None
        missing = self._reading.missing
        return [_named([None if cell in missing else cell for cell in r], columns, prefix) for r in records]


def _about(metadata: Any) -> dict[str, Any]:
    """Id and time of an event."""
    if not isinstance(metadata, dict):
        raise Unreadable("has no eventMetadata")
    about: dict[str, Any] = {name: metadata[name] for name in ("eventId", "inferenceId") if metadata.get(name)}
    if "inferenceTime" in metadata:
        try:
            moment = datetime.fromisoformat(str(metadata["inferenceTime"]))
        except ValueError:
            raise Unreadable(f"inferenceTime {str(metadata['inferenceTime'])[:40]!r} is no RFC 3339 time") from None
        about["inferenceTime"] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return about


def _named(record: list[Any], columns: tuple[str, ...], prefix: str) -> dict[str, Any]:
    """The record's values under their names."""
    if columns and len(record) != len(columns):
        raise Unreadable(f"has {len(record)} values for {len(columns)} columns")
    return dict(zip(columns or (f"{prefix}{i}" for i in range(len(record))), record, strict=True))


def _json(data: Any, columns: tuple[str, ...], prefix: str) -> Rows:
    """Records of JSON: an object, a list of objects, a list of values or of lists of them, or those in a wrapper."""
    lines = [data]
    if isinstance(data, str):
        try:
            lines = [json.loads(data, object_pairs_hook=first)]
        except (ValueError, RecursionError):
            try:  # application/jsonlines
                lines = [json.loads(line, object_pairs_hook=first) for line in data.splitlines() if line.strip()]
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"its data is not JSON: {error}") from None
    return [row for line in lines for row in _records(line, columns, prefix)]


def _records(value: Any, columns: tuple[str, ...], prefix: str) -> Rows:
    """Records of one JSON value."""
    if isinstance(value, dict):
        split = value.get("dataframe_split")
        if isinstance(split, dict) and isinstance(split.get("data"), list):
            return _records(split["data"], columns or tuple(map(str, split.get("columns") or ())), prefix)
        for name in WRAPPERS:
            if name in ("inputs", "outputs") and _are_tensors(value.get(name)):
                return _tensors(value[name], columns, prefix)
            if isinstance(value.get(name), list):
                return _records(value[name], columns, prefix)
        return [values.flattened(value)]
    if isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        rows: Rows = []
        for part in value:
            if isinstance(part, dict):
                rows.append(values.flattened(part))
            else:
                rows.append(_named(part if isinstance(part, list) else [part], columns, prefix))
        return rows
    if isinstance(value, list) and prefix != "_c":
        return [_named([part], columns, prefix) for part in value]  # of outputs: one for each record
    return [_named(value if isinstance(value, list) else [value], columns, prefix)]


def _are_tensors(value: Any) -> bool:
    """Whether it has the form of the Open Inference Protocol (v2): named, with shape and data."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and isinstance(one.get("shape"), list)
            and isinstance(one.get("data"), list)
            for one in value
        )
    )


def _tensors(tensors: list[dict[str, Any]], columns: tuple[str, ...], prefix: str) -> Rows:
    """One row for each place of the first dimension. The only tensor's values are columns in their order; of several,
    one with one value a row is a column of its name, and one with more gives columns ``name_0``, ``name_1``, …
    """
    parts: list[list[dict[str, Any]]] = []
    for tensor in tensors:
        shape, data = tensor["shape"], tensor["data"]
        if not shape or not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in shape):
            raise Unreadable("has a tensor without a shape")
        width = math.prod(shape[1:])
        while data and isinstance(data[0], list):
            if not all(isinstance(one, list) for one in data):
                raise Unreadable("has a tensor whose data have no form")
            data = [cell for one in data for cell in one]
        if len(data) != shape[0] * width:
            raise Unreadable(f"has a tensor of {len(data)} values and the shape {shape}")
        rows = [data[i * width : (i + 1) * width] for i in range(shape[0])]
        if len(tensors) == 1:
            parts.append([_named(row, columns, prefix) for row in rows])
        elif width == 1:
            parts.append([{tensor["name"]: row[0]} for row in rows])
        else:
            parts.append([{f"{tensor['name']}_{i}": cell for i, cell in enumerate(row)} for row in rows])
    if len({len(rows) for rows in parts}) > 1:
        raise Unreadable("has tensors of several lengths")
    return [{name: cell for part in row for name, cell in part.items()} for row in zip(*parts, strict=True)]
