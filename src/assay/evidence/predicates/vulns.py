"""Vulnerability scan v0.2: what a scanner found.

Source: in-toto/attestation, spec/predicates/vuln.md.
"""

from __future__ import annotations

from typing import Any

from assay.evidence.predicates.common import Predicate, Text, Time

PREDICATE_TYPE = "https://in-toto.io/attestation/vulns/v0.2"


class Database(Predicate, frozen=True, kw_only=True):
    """What the scanner knew."""

    last_update: Time
    """How old that knowledge was."""
    uri: str | None = None
    """Where it came from."""
    version: str | None = None
    """Its version."""


class Severity(Predicate, frozen=True, kw_only=True):
    """How bad, by one scale."""

    method: Text
    """The scale: ``nvd``, ``cvss_v3``, …"""
    score: Text
    """A score or level on it."""


class Result(Predicate, frozen=True, kw_only=True):
    """One vulnerability."""

    id: Text
    """``CVE-…``, ``GHSA-…``, ``PYSEC-…``."""
    severity: list[Severity]
    """By scale; may be empty."""
    annotations: list[dict[str, Any]] | dict[str, Any] | None = None
    """The package concerned, the fixed version, …"""


class Scanner(Predicate, frozen=True, kw_only=True):
    """Who scanned, with what knowledge, and what came out."""

    uri: Text
    """Identifies the scanner."""
    result: list[Result]
    """Empty when nothing was found."""
    version: str | None = None
    """The scanner's."""
    db: Database | None = None
    """Its database."""


class Metadata(Predicate, frozen=True, kw_only=True):
    """When the scan ran."""

    scan_started_on: Time
    """Start."""
    scan_finished_on: Time
    """End."""


class Vulnerabilities(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    scanner: Scanner
    """The scanner and its result."""
    metadata: Metadata
    """The run."""
