"""What a check is: a question to one predicate that ``require:`` answers without any code of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from assay.policy.verdict import Violation


@dataclass(frozen=True, slots=True)
class Document:
    """What a check gets to see: what a piece of evidence says, never whether it is signed."""

    predicate_type: str
    predicate: Mapping[str, Any]
    """Other tools' wrappers are taken off; the type's form was checked."""
    said: Mapping[str, Any]
    """What the statement says of its subject (`assay.api.subjects.described`): time, origin, context, labels."""
    subjects: tuple[tuple[str, Mapping[str, str]], ...]
    """Name and digests of each subject."""
    now: datetime
    """Time of the decision."""


class Check(Protocol):
    """One check. Pure. It answers with everything that is wrong; nothing wrong means that the check holds.

    What it cannot find, read or understand is wrong: a check never passes for want of something to look at, unless
    its arguments say so.
    """

    name: str
    """The key in ``require:``; lower-case words with hyphens."""
    types: tuple[str, ...]
    """Predicate types (URIs, a trailing ``*`` matches any ending) that it can read."""
    schema: Mapping[str, Any]
    """JSON Schema (2020-12) of its arguments, with descriptions, for `assay policy check` and editors."""

    def prepare(self, arguments: Any, place: str) -> Any:
        """The arguments, parsed once when the policy is read. Raises `DocumentError` starting with ``place``."""
        ...

    def violations(self, document: Document, arguments: Any) -> Iterable[Violation]:
        """All that is wrong, given what `prepare` returned."""
        ...


class Particular(Protocol):
    """A check of one of several sorts of document that share a predicate type."""

    def concerns(self, document: Document, arguments: Any) -> bool:
        """Whether the document is one that is asked about at all. Others count neither for nor against anything, and
        are not the newest of their type either: a scan for secrets is no newer scan for code.
        """
        ...
