"""A schema as a document: YAML or JSON, ``assay-schema: 1``. An unknown key is an error."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from assay import strict_yaml
from assay.errors import DocumentError
from assay.files import read_file
from assay.guard.gateway.settings.words import Section

Kind = Literal["number", "integer", "boolean", "category", "text"]


class Column(Section, frozen=True):
    """One column of a table."""

    name: Annotated[str, Meta(min_length=1, max_length=500, pattern=r'^[^"\\\x00-\x1f]*$')]
    kind: Kind
    minimum: float | None = None
    """Of a number, itself allowed."""
    maximum: float | None = None
    values: tuple[str | int | float | bool, ...] = ()
    """Of a category: what it may be; none: any short text."""
    nullable: bool = False
    """Whether it may be null (an empty field in CSV), or be left out of a named row."""
    max_length: Annotated[int, Meta(ge=0)] | None = None
    """Of a text, in characters."""

    def describe(self) -> str:
        """What a value must be, for a sentence: ``a whole number from 0 to 120``."""
        words = {
            "number": "a number",
            "integer": "a whole number",
            "boolean": "true or false",
            "category": "one of the known values" if self.values else "a text",
            "text": "a text",
        }[self.kind]
        if self.kind in ("number", "integer"):
            low, high = self.minimum, self.maximum
            if low is not None and high is not None:
                words += f" from {low:g} to {high:g}"
            elif low is not None:
                words += f", at least {low:g}"
            elif high is not None:
                words += f", at most {high:g}"
        elif self.max_length is not None and not self.values:
            words += f" of at most {self.max_length} characters"
        return words + (" or null" if self.nullable else "")


class Vector(Section, frozen=True):
    """Rows that are one vector of numbers each: pixels, embeddings."""

    width: Annotated[int, Meta(ge=1)]
    """Numbers in a row, however they are nested."""
    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    name: str = ""
    """Of the field that holds it, where rows are named."""


class Schema(Section, frozen=True):
    """The whole document: either columns or a vector."""

    assay_schema: Literal[1] = 1
    columns: tuple[Column, ...] = ()
    """In the order of positional rows."""
    vector: Vector | None = None
    rows: Annotated[int, Meta(ge=1)] | None = None
    """Most rows of a request; None: the settings' limit alone."""
    source: str = ""
    """What it was inferred from, for people: a profile's digest."""


def read(path: str) -> Schema:
    """Read a file. Raises `UsageError` where it cannot be read, `DocumentError` naming what is wrong."""
    return loads(read_file(path, strict_yaml.MAX_BYTES), path)


def loads(data: bytes, name: str) -> Schema:
    """A schema from YAML or JSON bytes. Raises `DocumentError`."""
    raw = strict_yaml.loads(data, name)
    if not isinstance(raw, dict) or raw.get("assay-schema") != 1:
        raise DocumentError(f"{name} is no schema", hint="it begins with 'assay-schema: 1'")
    try:
        schema = msgspec.convert(raw, Schema)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name}: {error}") from None
    if problem := _problem(schema):
        raise DocumentError(f"{name}: {problem}")
    return schema


def dumps(schema: Schema) -> bytes:
    """As YAML that `loads` reads, without what is as usual."""
    import yaml

    plain = msgspec.to_builtins(schema)
    plain["columns"] = [_short(column, Column) for column in plain["columns"]]
    if plain["vector"] is not None:
        plain["vector"] = _short(plain["vector"], Vector)
    head = {"assay-schema": 1}
    text: bytes = yaml.safe_dump(head | _short(plain, Schema), sort_keys=False, allow_unicode=True, encoding="utf-8")
    return text


def _short(values: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    usual = {field.encode_name: field.default for field in msgspec.structs.fields(kind)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if not (value == usual[name] and type(value) is type(usual[name])) and value not in ((), [])
    }


def _problem(schema: Schema) -> str | None:
    if bool(schema.columns) == (schema.vector is not None):
        return "either 'columns' or 'vector' is given"
    names = [column.name for column in schema.columns]
    if len(set(names)) != len(names):
        return "a column's name stands twice"
    ranges = [(f"column {column.name!r}", column.minimum, column.maximum) for column in schema.columns]
    if schema.vector is not None:
        ranges.append(("the vector", schema.vector.minimum, schema.vector.maximum))
    for what, low, high in ranges:
        if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
            return f"{what}: a limit is no finite number"
        if low is not None and high is not None and low > high:
            return f"{what}: the minimum is above the maximum"
    for column in schema.columns:
        if column.values and column.kind != "category":
            return f"column {column.name!r}: only a category has 'values'"
        if any(isinstance(value, float) and not math.isfinite(value) for value in column.values):
            return f"column {column.name!r}: a value is no finite number"
    return None
