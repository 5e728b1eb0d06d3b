"""Software supply chain attribute integrity v0.3: attributes and the evidence for them.

Source: in-toto/attestation, spec/predicates/scai.md.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text

PREDICATE_TYPE = "https://in-toto.io/attestation/scai/v0.3"


class Attribute(Predicate, frozen=True, kw_only=True):
    """One property of the subject or of ``target``."""

    attribute: Text
    """The property."""
    target: ResourceDescriptor | None = None
    """What has it, if not the subject."""
    conditions: dict[str, Any] | None = None
    """Under which conditions it holds."""
    evidence: ResourceDescriptor | None = None
    """What shows it."""


class AttributeReport(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    attributes: Annotated[list[Attribute], Meta(min_length=1)]
    """What is asserted."""
    producer: ResourceDescriptor | None = None
    """Who or what produced the subject."""
