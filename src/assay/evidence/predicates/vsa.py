"""Verification summary v1: somebody verified an artifact against a policy.

Source: slsa-framework/slsa, spec/v1.1/verification_summary.md.
"""

from __future__ import annotations

from typing import Literal

from assay.evidence.predicates.common import DigestSet, Predicate, Text, Time, check_digests

PREDICATE_TYPE = "https://slsa.dev/verification_summary/v1"


class Verifier(Predicate, frozen=True, kw_only=True):
    """Who verified."""

    id: Text
    """URI; accepted only together with the signer that belongs to it."""
    version: dict[str, str] | None = None
    """Versions of its parts."""


class Policy(Predicate, frozen=True, kw_only=True):
    """What was demanded."""

    uri: Text
    """Identifies the policy."""
    digest: DigestSet | None = None
    """The policy's own digests."""

    def check(self) -> None:
        """Digests have their form."""
        if self.digest is not None:
            check_digests(self.digest, "digest")


class InputAttestation(Predicate, frozen=True, kw_only=True):
    """One attestation that the verifier used."""

    digest: DigestSet
    """Of the attestation."""
    uri: Text | None = None
    """Identifies it."""

    def check(self) -> None:
        """Digests have their form."""
        check_digests(self.digest, "digest")


class VerificationSummary(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    verifier: Verifier
    """Who verified."""
    resource_uri: Text
    """The artifact that the verdict is about."""
    policy: Policy
    """What was demanded."""
    verification_result: Literal["PASSED", "FAILED"]
    """The verdict."""
    verified_levels: list[Text]
    """What the artifact is certified to be; may be empty."""
    time_verified: Time | None = None
    """When."""
    input_attestations: list[InputAttestation] | None = None
    """All that were used, or absent."""
    dependency_levels: dict[str, int] | None = None
    """How many dependencies have each level."""
    slsa_version: str | None = None
    """Version of the SLSA specification."""
