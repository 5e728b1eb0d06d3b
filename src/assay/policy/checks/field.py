"""``field``: that fields are there at all, or are not. For comparisons there is ``where:``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy import conditions
from assay.policy.checks.arguments import Arguments, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import told
from assay.policy.model import Condition
from assay.policy.verdict import Violation


class Field(Arguments, frozen=True):
    """Fields by path, as conditions name them: ``metadata.authors[0].name``."""

    exists: Annotated[Words, Meta(description="These must be there, and not be null.")] = ()
    absent: Annotated[Words, Meta(description="These must not be there. No [*].")] = ()


@dataclass(frozen=True, slots=True)
class _Prepared:
    exists: tuple[Condition, ...]
    absent: tuple[Condition, ...]


class _Check:
    name = "field"
    types: tuple[str, ...] = ("*",)
    schema = schema(Field)

    def prepare(self, arguments: Any, place: str) -> _Prepared:
        """See `Check.prepare`."""
        read = convert(Field, arguments, place)
        if not (read.exists or read.absent):
            raise DocumentError(f"{place}: neither exists nor absent is given")
        exists, absent = (
            tuple(replace(conditions.parse(f"{path} exists", place), text=path) for path in paths)
            for paths in (read.exists, read.absent)
        )
        if any("*" in condition.path or "?" in condition.path for condition in absent):
            raise DocumentError(f"{place}: absent takes no [*]")
        return _Prepared(exists, absent)

    def violations(self, document: Document, arguments: _Prepared) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, arguments))


def _wrong(document: Document, wanted: _Prepared) -> Iterator[Violation]:
    for condition in wanted.exists:
        if (wrong := conditions.violation(condition, document)) is not None:
            yield wrong
    for condition in wanted.absent:
        if conditions.violation(condition, document) is None:
            yield Violation(f"{condition.text} is there", condition.text)


CHECK = _Check()
