"""``dataset``: where a data set may come from and what its files must and must not hold, by its bill of materials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta, field

from assay.errors import DocumentError
from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, Count, Word, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, listed, objects, show, string, told
from assay.policy.verdict import Violation

_SCHEMA, _COLUMNS, _ROWS, _FORMAT = (f"assay:data:{name}" for name in ("schema", "columns", "rows", "format"))


class Columns(Arguments, frozen=True):
    """Columns of the tables in a data set."""

    require: Annotated[dict[Word, Word], Meta(description="Name to type (glob): each table must have it.")] = field(
        default_factory=dict
    )
    forbid: Annotated[Words, Meta(description="No table may have a column of such a name (globs, any case).")] = ()


class Dataset(Arguments, frozen=True):
    """A data set."""

    sources: Annotated[Words, Meta(description="It must come from one of these URLs (globs).")] = ()
    formats: Annotated[Words, Meta(description="Every data file must be of one of these formats (globs).")] = ()
    columns: Annotated[Columns, Meta(description="Which columns its tables must and must not have.")] = Columns()
    rows: Annotated[Count, Meta(description="How many rows it must have.")] = 0
    files: Annotated[Words, Meta(description="Look at these data files only (globs over the path).")] = ()


class _Check:
    name = "dataset"
    types: tuple[str, ...] = bom.CYCLONEDX_TYPES
    schema = schema(Dataset)

    def prepare(self, arguments: Any, place: str) -> Dataset:
        """See `Check.prepare`."""
        read = convert(Dataset, arguments, place)
        if read == Dataset() or read == Dataset(files=read.files):
            raise DocumentError(f"{place}: nothing is demanded", hint="sources, formats, columns or rows")
        return read

    def violations(self, document: Document, arguments: Dataset) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, arguments))


def _wrong(document: Document, wanted: Dataset) -> Iterator[Violation]:
    bill = bom.read(document)
    yield from bill.problems
    target = bill.target
    if target is not None and target.kind != "data":
        yield Violation(f"it is about {show(target.kind)}, not about a data set", "metadata.component.type")
    if wanted.sources:
        yield from _sources(document, target, wanted.sources)
    if not (wanted.formats or wanted.columns != Columns() or wanted.rows):
        return
    # Data files lie in the target; other data components are only named by it.
    files = [part for part in bill.parts if part.kind == "data" and part.raw.get("data") is not None]
    files = [part for part in files if not wanted.files or first(wanted.files, part.name)]
    if not files:
        yield Violation("no data file is described", "components")
    rows: int | None = 0
    for part in files:
        facts = _facts(part)
        if wanted.formats and not first(wanted.formats, facts.get(_FORMAT, "")):
            yield Violation(f"{part.title} is {show(facts.get(_FORMAT))}, not on the list of formats", part.path)
        if wanted.columns != Columns():
            yield from _columns(part, facts, wanted.columns)
        count = facts.get(_ROWS, "")
        known = count.isascii() and count.isdigit() and len(count) < 19
        rows = rows + int(count) if known and rows is not None else None
    if wanted.rows and (rows is None or rows < wanted.rows):
        found = "an unknown number of" if rows is None else rows
        yield Violation(f"the data set has {found} rows, needs {wanted.rows}", "components")


def _sources(document: Document, target: bom.Part | None, allowed: Words) -> Iterator[Violation]:
    """Every place that it is said to come from must be one of those allowed."""
    raw: Mapping[str, Any] = target.raw if target is not None else {}
    found = [string(document.said.get("origin"))]
    for item in objects(raw.get("externalReferences")):
        if item.get("type") in ("vcs", "distribution", "source-distribution"):
            found.append(string(item.get("url")) or "")
    named = [url for url in found if url is not None]
    if not named:
        yield Violation("the data set does not say where it comes from", "metadata.component.externalReferences")
    for url in dict.fromkeys(named):
        if not first(allowed, url):
            text = f"the source {show(url)} is not on the allow list"
            yield Violation(text, "metadata.component.externalReferences", {"source": url[:500]})


def _facts(part: bom.Part) -> Mapping[str, str]:
    """Properties of a data file's contents."""
    found: dict[str, str] = {}
    for data in objects(part.raw.get("data")):
        for item in objects(dig(data, "contents", "properties")):
            name, value = item.get("name"), item.get("value")
            if isinstance(name, str) and isinstance(value, str):
                found.setdefault(name, value)
    return found


def _columns(part: bom.Part, facts: Mapping[str, str], wanted: Columns) -> Iterator[Violation]:
    try:
        rows = json.loads(facts.get(_SCHEMA, ""))
        columns = {str(name): str(kind) for name, kind in listed(rows)}
    except (ValueError, TypeError, RecursionError):
        columns = {}
    if not columns or facts.get(_COLUMNS) != str(len(columns)):
        yield Violation(f"the columns of {part.title} are not all known", part.path)
    for name, kind in wanted.require.items():
        if name not in columns:
            yield Violation(f"{part.title} has no column {show(name)}", part.path, {"column": name})
        elif not first((kind,), columns[name]):
            found = columns[name][:100]
            text = f"the column {show(name)} of {part.title} is {show(found)}, needs {show(kind)}"
            yield Violation(text, part.path, {"column": name, "type": found})
    patterns = tuple(pattern.lower() for pattern in wanted.forbid)
    for name in columns:
        if first(patterns, name.lower()):
            text = f"{part.title} has the column {show(name)}, which must not be there"
            yield Violation(text, part.path, {"column": name[:200]})


CHECK = _Check()
