"""SLSA provenance v1: how an artifact was built (slsa-framework/slsa, spec/v1.1/provenance.md)."""

from __future__ import annotations

from typing import Any

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text, Time

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
WRITTEN_BY_WITNESS = "https://slsa.dev/provenance/v1.0"
"""What witness writes instead; read, never written."""


class BuildDefinition(Predicate, frozen=True, kw_only=True):
    """The inputs of the build."""

    build_type: Text
    """URI of the template that says what the parameters mean."""
    external_parameters: dict[str, Any]
    """What the caller controlled: to be checked by the consumer, every one."""
    internal_parameters: dict[str, Any] | None = None
    """What the build platform controlled."""
    resolved_dependencies: list[ResourceDescriptor] | None = None
    """What was fetched, with digests."""


class Builder(Predicate, frozen=True, kw_only=True):
    """The build platform."""

    id: Text
    """URI; accepted only together with the signer that belongs to it."""
    builder_dependencies: list[ResourceDescriptor] | None = None
    """What the platform itself consists of."""
    version: dict[str, str] | None = None
    """Versions of its parts."""


class Metadata(Predicate, frozen=True, kw_only=True):
    """One run of the build."""

    invocation_id: str | None = None
    """Identifies the run at the builder."""
    started_on: Time | None = None
    """When it started."""
    finished_on: Time | None = None
    """When it was complete."""


class RunDetails(Predicate, frozen=True, kw_only=True):
    """Who ran the build, and when."""

    builder: Builder
    """The platform that is trusted to have run it as described."""
    metadata: Metadata | None = None
    """The run."""
    byproducts: list[ResourceDescriptor] | None = None
    """Logs and other things that came out beside the subject."""


class Provenance(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    build_definition: BuildDefinition
    """The inputs."""
    run_details: RunDetails
    """The run."""
