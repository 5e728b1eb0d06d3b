"""Who answers for a profile: for what a step usually does. The subject is the profile's file.

It says how the file came to be what it is: learned from a run that showed nothing severe, or accepted by a person.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from assay.evidence.predicates.common import DigestSet, Predicate, Text, Time, check_digests

PREDICATE_TYPE = "https://assay.dev/profile/v0.1"


class ProfileState(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    step: Text
    """Of which step it is the profile."""
    runs: Annotated[int, Meta(ge=0)]
    """How many runs it has learned."""
    action: Literal["learned", "accepted", "waiting"]
    """How it came about; ``waiting`` is one run by itself that nobody has accepted yet."""
    made: Time
    """When."""
    pipeline: str | None = None
    """Of which pipeline."""
    image: str | None = None
    """In which container image."""
    by: str | None = None
    """Which person accepted it."""
    reason: str | None = None
    """Why it is right, in that person's words."""
    findings: list[Text] = field(default_factory=list)
    """Keys of the findings that were accepted."""
    previous: DigestSet | None = None
    """Of the file that it takes the place of."""

    def check(self) -> None:
        """Somebody answers for what was accepted."""
        if self.action == "accepted" and not (self.by and self.reason):
            raise ValueError("accepted by nobody, or for no reason")
        if self.previous is not None:
            check_digests(self.previous, "previous")
