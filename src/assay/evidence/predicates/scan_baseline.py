"""Findings that somebody has looked at and accepts, for the very bytes that they were found in, until a day.

It changes nothing about what was found: a scan's evidence lists accepted findings like all others. It only tells a gate
that people answer for them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from assay.evidence.predicates.common import DigestSet, Predicate, Text, Time, check_digests

PREDICATE_TYPE = "https://assay.dev/scan-baseline/v0.1"


class Accepted(Predicate, frozen=True, kw_only=True):
    """One finding in one file."""

    path: Text
    """Of the file, relative to the target; for people, since the digest says which file is meant."""
    digest: DigestSet
    """Of the file; has a ``sha256``."""
    rule: Text
    """Id of the rule that fired."""
    member: str | None = None
    """Path inside an archive; nested ones divided by ``!/``."""
    offset: Annotated[int, Meta(ge=0)] | None = None
    """Byte offset in the file or member."""
    call: str | None = None
    """The call that loading would make."""

    def check(self) -> None:
        """Only a digest says which bytes were looked at."""
        check_digests(self.digest, "digest")
        if "sha256" not in self.digest:
            raise ValueError("digest has no sha256")


class ScanBaseline(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    until: Time
    """From then on nothing is accepted any more."""
    reason: Text
    """Why these findings are acceptable, and who says so."""
    accepted: list[Accepted]
    """The findings, in the order of the files."""
    made: Time | None = None
    """When."""

    def check(self) -> None:
        """It ends after it began."""
        if self.made is not None and self.until <= self.made:
            raise ValueError("until is not after made")
