"""Link v0.3: a step ran, with these materials; its products are the subjects.

Source: in-toto/attestation, spec/predicates/link.md.
"""

from __future__ import annotations

from typing import Any

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text

PREDICATE_TYPE = "https://in-toto.io/attestation/link/v0.3"


class Link(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    name: Text
    """The step's, unique in its layout."""
    command: list[str] | None = None
    """What ran."""
    materials: list[ResourceDescriptor] | None = None
    """What it read: each with a unique name and digests."""
    byproducts: dict[str, Any] | None = None
    """Exit code, output, …"""
    environment: dict[str, Any] | None = None
    """Where it ran; never the environment's variables as they are."""

    def check(self) -> None:
        """Materials can be matched by name and digest."""
        names = set()
        for material in self.materials or ():
            if not material.name or material.digest is None:
                raise ValueError("every material needs a name and a digest")
            if material.name in names:
                raise ValueError(f"the material {material.name[:100]!r} is listed twice")
            names.add(material.name)
