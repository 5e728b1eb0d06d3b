"""OpenVEX: which vulnerabilities concern a product, and which do not (openvex/spec, OPENVEX-SPEC.md v0.2.0)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, Text, Time

PREDICATE_TYPE = "https://openvex.dev/ns/v0.2.0"
UNVERSIONED = "https://openvex.dev/ns"


class Statement(Predicate, frozen=True, kw_only=True, rename=None):
    """One vulnerability's status for some products."""

    vulnerability: dict[str, Any] | Text
    """With ``name``; a bare string in v0.0.x."""
    status: Literal["not_affected", "affected", "fixed", "under_investigation"]
    """What is claimed."""
    products: list[Any] | None = None
    """What it concerns; absent means the enclosing statement's subjects."""
    timestamp: Time | None = None
    """When, if not when the document says."""
    justification: str | None = None
    """Why not affected."""
    impact_statement: str | None = None
    """Why not affected, in words."""
    action_statement: str | None = None
    """What to do when affected."""

    def check(self) -> None:
        """A bare "not affected" persuades nobody (section "Status Labels")."""
        if self.status == "not_affected" and not self.justification and not self.impact_statement:
            raise ValueError("not_affected needs a justification or an impact_statement")
        if self.status == "affected" and not self.action_statement:
            raise ValueError("affected needs an action_statement")


class Vex(Predicate, frozen=True, kw_only=True, rename={"context": "@context", "id": "@id"}):
    """The predicate."""

    context: Annotated[str, Meta(pattern=r"^https://openvex\.dev/ns(/v[0-9.]+)?$")]
    """Names the format and its version."""
    id: Text
    """IRI of the document."""
    author: Text
    """Who says so."""
    timestamp: Time
    """When."""
    version: int | str
    """Of the document; counts up."""
    statements: Annotated[list[Statement], Meta(min_length=1)]
    """What is said."""
