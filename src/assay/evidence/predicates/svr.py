"""Simple verification result v0.2: properties that a verifier found to hold.

Source: in-toto/attestation, spec/predicates/svr.md.
"""

from __future__ import annotations

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text, Time

PREDICATE_TYPE = "https://in-toto.io/attestation/svr/v0.2"


class Verifier(Predicate, frozen=True, kw_only=True):
    """Who verified, against what."""

    id: Text
    """URI of the verifier."""
    policies: list[ResourceDescriptor]
    """The policies applied; may be empty."""


class SimpleVerificationResult(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    verifier: Verifier
    """Who verified."""
    time_created: Time
    """When."""
    properties: list[Text]
    """What holds; a property that does not hold is not listed."""
