"""What data were like when somebody said that they are right: a profile, and the constraints that follow from it.

The subject is the data. The profile itself is in the baseline file, which is named by its digest; raw rows are nowhere.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text, Time

PREDICATE_TYPE = "https://assay.dev/baseline/v0.1"


class Column(Predicate, frozen=True, kw_only=True):
    """One column of the data."""

    name: str
    kind: Text
    """``integral``, ``fractional``, ``time``, ``boolean``, ``string``, ``text``, ``vector`` or ``unknown``."""
    missing: Annotated[int, Meta(ge=0)]
    """Rows without a value."""
    distinct: Annotated[int, Meta(ge=0)] | None = None
    """Different values; an estimate where there are many."""


class Baseline(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    made: Time
    """When."""
    tool: Text
    """What made it, with its version."""
    rows: Annotated[int, Meta(ge=1)]
    """Rows of the data."""
    columns: Annotated[list[Column], Meta(min_length=1)]
    """In the table's order."""
    profile: ResourceDescriptor
    """The profile's state, by its digest: monitoring reports name it as their baseline."""
    document: ResourceDescriptor
    """The baseline file."""
    constraints: dict[str, Any] = field(default_factory=dict)
    """As in the baseline file."""

    def check(self) -> None:
        """Both are bound by their bytes."""
        for name, thing in (("profile", self.profile), ("document", self.document)):
            if not thing.digest or "sha256" not in thing.digest:
                raise ValueError(f"{name} has no sha256")
        for column in self.columns:
            if column.missing > self.rows:
                raise ValueError(f"the column {column.name[:100]!r} misses more values than there are rows")
