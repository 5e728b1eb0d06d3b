"""Reference v0.1: where further documents about the subject can be had.

Source: in-toto/attestation, spec/predicates/reference.md.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text

PREDICATE_TYPE = "https://in-toto.io/attestation/reference/v0.1"


class Attester(Predicate, frozen=True, kw_only=True):
    """Who says so."""

    id: Text
    """URI."""


class Reference(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    attester: Attester
    """Who says so."""
    references: Annotated[list[ResourceDescriptor], Meta(min_length=1)]
    """The documents, each with ``downloadLocation`` and ``mediaType``."""

    def check(self) -> None:
        """A reference says where and what."""
        for i, item in enumerate(self.references):
            if item.download_location is None or item.media_type is None:
                raise ValueError(f"references[{i}] needs a downloadLocation and a mediaType")
