"""Rows against a schema. Where rows are JSON, parsing and checking are one step of generated `msgspec` types.

Tells the first problem as a sentence with the column's name. It must never repeat a value: refusals are logged.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from operator import ge, le
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from assay.errors import DocumentError
from assay.guard.gateway.schemas.model import Column, Schema, Vector

MAX = sys.float_info.max
"""Beyond it there is no finite number."""
SMALL = 512
"""So many numbers are checked one by one; more, with numpy."""
TEXT = 10_000
"""Characters of a text or category that has no limit of its own."""

_PLACE = re.compile(r" - at `\$\[(?:[0-9]+|\.\.\.)\](.*)`$", re.DOTALL)
_INDEX = re.compile(r"\[([0-9]+)\]")
_MISSING = re.compile(r"^Object missing required field `(.*)` - at ", re.DOTALL)


class Invalid(Exception):
    """Rows that do not fit, with the sentence for the caller."""


class Validator:
    """A schema at work. Immutable; safe to share between threads."""

    def __init__(self, schema: Schema, rows: int) -> None:
        self.rows = min(rows, schema.rows or rows)
        """Most rows of a request."""
        self.schema = schema
        self.columns: tuple[Column, ...] = schema.columns
        self.vector = schema.vector
        self.width = self.vector.width if self.vector is not None else len(self.columns)
        """Numbers in a positional row."""
        self.names = tuple(column.name for column in self.columns)
        self._types = tuple(_type(column) for column in self.columns)
        self._lists = tuple(list[kind] for kind in self._types)  # type: ignore[valid-type]
        self._allowed = tuple((i, frozenset(column.values)) for i, column in enumerate(self.columns) if _loose(column))
        self._low, self._high, self._whole, self._null = _bounds(schema)
        self.steps = tuple(map(_step, self._low, self._high))
        """A thousandth of each number's range; 0 where it has none."""
        self._ranges = not self._allowed and not any(self._whole)
        """Whether ranges are all there is to check of numbers."""
        self.plain = all(column.kind in ("number", "integer") and not column.nullable for column in self.columns)
        """Whether a row is nothing but numbers."""
        self.least, self.greatest, self.integral = min(self._low), max(self._high), all(self._whole)
        """Of the numbers of a row that is `plain`: what they may be at all, and whether all have to be whole."""
        self._whole_rows = not any(self._null)
        """Whether a named row has all of its columns."""
        self._fields = tuple(f"f{i}" for i in range(len(self.columns)))
        if self.vector is not None:
            number = _number(self.vector)
            row = list[number]  # type: ignore[valid-type]
            positional: Any = Annotated[row, Meta(min_length=self.width, max_length=self.width)]
            named: Any = None
            if name := self.vector.name:
                named = msgspec.defstruct("Row", [("f0", positional)], rename={"f0": name}, forbid_unknown_fields=True)
        else:
            positional = self._struct(array_like=True)
            named = self._struct(array_like=False)
        self._rows: Any = list[positional]
        self._one = msgspec.json.Decoder(positional)
        self._positional = msgspec.json.Decoder(list[positional])
        self._named = None if named is None else msgspec.json.Decoder(list[named])

    def _struct(self, *, array_like: bool) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for name, kind, column in zip(self._fields, self._types, self.columns, strict=True):
            fields.append((name, kind) if array_like or not column.nullable else (name, kind, None))
        try:
            return msgspec.defstruct(
                "Row",
                fields,
                rename=dict(zip(self._fields, self.names, strict=True)),
                forbid_unknown_fields=True,
                array_like=array_like,
                kw_only=not array_like,
                gc=False,
            )
        except ValueError as error:  # names that cannot be JSON keys as they are
            raise DocumentError(f"the schema's column names cannot be used: {error}") from None

    def decode(self, raw: bytes | msgspec.Raw) -> tuple[int, int]:
        """Rows of a JSON list of arrays or of objects, all checked: how many, and how many keys they have (0 where
        columns may be left out: nobody has counted then). Raises `Invalid`, or `msgspec.DecodeError` for what is no
        JSON.
        """
        named = _opens_object(raw)
        decoder = self._named if named else self._positional
        if decoder is None:
            raise Invalid("rows are lists of numbers here, not objects")
        try:
            rows = decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise Invalid(self._sentence(str(error))) from None
        self.count(len(rows))
        if self._allowed:
            self._members(rows)
        return len(rows), len(rows) * max(1, len(self.columns)) if named and self._whole_rows else 0

    def single(self, raw: bytes | msgspec.Raw) -> None:
        """Check one positional row where `plain`, read and checked in one step. Raises as `decode`."""
        try:
            self._one.decode(raw)
        except msgspec.ValidationError:
            self.decode(b"[" + bytes(raw) + b"]")  # again, for the sentence

    def count(self, rows: int) -> None:
        """Raise `Invalid` where there are too many rows, or none."""
        if not 0 < rows <= self.rows:
            raise Invalid("there are no rows" if not rows else f"a request has at most {self.rows} rows")

    def numbers(self, flat: Sequence[float], rows: int) -> None:
        """Check ``rows`` positional rows that lie one after the other. NaN counts as null. Raises `Invalid`."""
        self.count(rows)
        width = self.width
        if len(flat) != rows * width:
            raise Invalid(f"a row has {width} columns")
        if len(flat) > SMALL:
            self._many(flat, rows)
            return
        if not isinstance(flat, list):
            flat = flat.tolist()  # type: ignore[attr-defined]  # an array's own numbers compare in its own precision
        low, high, whole, null = self._low, self._high, self._whole, self._null
        lows, highs = (low, high) if rows == 1 else (low * rows, high * rows)
        if self._ranges and all(map(le, lows, flat)) and all(map(ge, highs, flat)):
            return  # no loop of Python's where nothing is wrong
        for start in range(0, len(flat), width):
            for i, value in enumerate(flat[start : start + width]):
                fits = low[i] <= value <= high[i] and (not whole[i] or value == int(value))
                if not fits and (value == value or not null[i]):  # NaN is not itself
                    raise Invalid(self._about(i))
            for i, allowed in self._allowed:
                if flat[start + i] not in allowed and not (null[i] and flat[start + i] != flat[start + i]):
                    raise Invalid(self._about(i))

    def by_column(self, values: Mapping[str, Sequence[Any]], rows: int) -> None:
        """Check columns by name, each with one value a row. Raises `Invalid`."""
        self.count(rows)
        if self.vector is not None or values.keys() != set(self.names):
            raise Invalid("the columns are not the ones that this model takes")
        for i, name in enumerate(self.names):
            try:
                converted = msgspec.convert(values[name], self._lists[i])
            except msgspec.ValidationError:
                raise Invalid(self._about(i)) from None
            if len(converted) != rows:
                raise Invalid("the columns have different lengths")
        for i, allowed in self._allowed:
            null = self._null[i]
            if any(value not in allowed and not (value is None and null) for value in values[self.names[i]]):
                raise Invalid(self._about(i))

    def texts(self, rows: Sequence[Sequence[str]]) -> None:
        """Check rows of fields of a text format (CSV); an empty field is null. Raises `Invalid`.

        The words nan and inf, which are numbers to a reader of text, are in no range, and each number has one.
        """
        self.count(len(rows))
        given = [[field or None for field in row] for row in rows]
        try:
            converted: list[Any] = msgspec.convert(given, self._rows, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(self._sentence(str(error))) from None
        if self._allowed:
            self._members(converted)

    def _members(self, rows: Sequence[Any]) -> None:
        """Categories whose values are not all texts."""
        for i, allowed in self._allowed:
            name, null = self._fields[i], self._null[i]
            for row in rows:
                value = getattr(row, name)
                if value not in allowed and not (value is None and null):
                    raise Invalid(self._about(i))

    def _many(self, flat: Sequence[float], rows: int) -> None:
        import numpy as np

        matrix = np.asarray(flat, dtype=np.float64).reshape(rows, self.width)
        with np.errstate(invalid="ignore"):
            bad = ~((matrix >= self._low) & (matrix <= self._high))
            whole = np.array(self._whole)
            if whole.any():
                bad |= whole & (matrix != np.floor(matrix))
        for i, allowed in self._allowed:
            bad[:, i] |= ~np.isin(matrix[:, i], [float(value) for value in allowed if not isinstance(value, str)])
        bad &= ~(np.isnan(matrix) & np.array(self._null))
        if bad.any():
            raise Invalid(self._about(int(np.flatnonzero(bad.any(axis=0))[0])))

    def _about(self, i: int) -> str:
        if (vector := self.vector) is not None:
            kind: Literal["integer", "number"] = "integer" if vector.integer else "number"
            number = Column(name="x", kind=kind, minimum=vector.minimum, maximum=vector.maximum)
            return f"each of the row's {self.width} numbers must be {number.describe()}"
        column = self.columns[i]
        return f"column {column.name!r} must be {column.describe()}"

    def _sentence(self, message: str) -> str:
        """Our own sentence for one of msgspec's, which may repeat what a stranger wrote."""
        if message.startswith("Object contains unknown field"):
            return "a row has a column that this model does not take"
        if (missing := _MISSING.match(message)) and missing[1] in self.names:
            return f"a row lacks the column {missing[1]!r}"
        place = _PLACE.search(message)
        length = f"a row has {self.width} columns"
        if place is None or not place[1]:
            return length if "length" in message or "array" in message else "a row does not fit"
        if self.vector is not None:
            return length if message.startswith("Expected `array` of") else self._about(0)
        if (index := _INDEX.fullmatch(place[1])) and int(index[1]) < self.width:
            return self._about(int(index[1]))
        name = place[1].removeprefix(".")
        return self._about(self.names.index(name)) if name in self.names else "a row does not fit"


def _opens_object(raw: bytes | msgspec.Raw) -> bool:
    """Whether the first element of a JSON list is an object."""
    return bytes(memoryview(raw)[:64]).lstrip()[1:].lstrip()[:1] == b"{"


def _number(of: Column | Vector) -> Any:
    whole = of.integer if isinstance(of, Vector) else of.kind == "integer"
    low = -MAX if of.minimum is None else of.minimum
    high = MAX if of.maximum is None else of.maximum
    # 3.0 is a whole number too: tables of numbers are commonly sent as floats throughout.
    return Annotated[float, Meta(ge=low, le=high, multiple_of=1)] if whole else Annotated[float, Meta(ge=low, le=high)]


def _loose(column: Column) -> bool:
    """Whether a category's values have to be looked up after parsing: numbers come as 1 and as 1.0."""
    return column.kind == "category" and any(not isinstance(value, str) for value in column.values)


def _type(column: Column) -> Any:
    kind: Any
    if column.kind in ("number", "integer"):
        kind = _number(column)
    elif column.kind == "boolean":
        kind = bool | Annotated[float, Meta(ge=0, le=1, multiple_of=1)]
    elif column.values and not _loose(column):
        kind = Literal[tuple(str(value) for value in column.values)]
    elif column.values:
        kind = float
        if any(isinstance(value, str) for value in column.values):
            kind = kind | str
        if any(isinstance(value, bool) for value in column.values):
            kind = kind | bool
    else:
        length = TEXT if column.max_length is None else column.max_length
        kind = Annotated[str, Meta(max_length=length)]
    return kind | None if column.nullable else kind


def _step(low: float, high: float) -> float:
    return (high - low) / 1000 if -MAX < low < high < MAX else 0.0


def _bounds(schema: Schema) -> tuple[list[float], list[float], list[bool], list[bool]]:
    """Least, greatest, whole, nullable of each positional number; a column of texts takes no number at all."""
    if (vector := schema.vector) is not None:
        low = -MAX if vector.minimum is None else vector.minimum
        high = MAX if vector.maximum is None else vector.maximum
        width = vector.width
        return [low] * width, [high] * width, [vector.integer] * width, [False] * width
    lows, highs = [], []
    for column in schema.columns:
        low = -MAX if column.minimum is None else column.minimum
        high = MAX if column.maximum is None else column.maximum
        if column.kind == "boolean":
            low, high = 0.0, 1.0
        elif column.kind == "text" or (column.kind == "category" and not _loose(column)):
            low, high = MAX, -MAX
        lows.append(low)
        highs.append(high)
    whole = [column.kind in ("integer", "boolean") for column in schema.columns]
    return lows, highs, whole, [column.nullable for column in schema.columns]
