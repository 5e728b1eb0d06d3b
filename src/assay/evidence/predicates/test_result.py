"""Test result v0.1: which tests passed, warned and failed.

Source: in-toto/attestation, spec/predicates/test-result.md.
"""

from __future__ import annotations

from typing import Literal

from assay.evidence.predicates.common import Predicate, ResourceDescriptor

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"


class TestResult(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    __test__ = False  # the name is the specification's; pytest must not take it for a test

    result: Literal["PASSED", "WARNED", "FAILED"]
    """The outcome of all of them together."""
    configuration: list[ResourceDescriptor]
    """What was configured or read for the run; may be empty."""
    url: str | None = None
    """Where the run can be looked at."""
    passed_tests: list[str] | None = None
    """Names."""
    warned_tests: list[str] | None = None
    """Names; skipped tests are among them, since a test that did not run shows nothing."""
    failed_tests: list[str] | None = None
    """Names."""
