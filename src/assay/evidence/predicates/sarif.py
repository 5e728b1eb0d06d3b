"""SARIF 2.1.0: results of a static analysis, of any tool (OASIS, sarif-v2.1.0-os). The predicate is the log
itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, Text

PREDICATE_TYPE = "http://docs.oasis-open.org/sarif/sarif/2.1.0"


class Component(Predicate, frozen=True, kw_only=True):
    """A tool or one of its parts."""

    name: Text
    """The tool's name."""
    version: str | None = None
    """Its version."""
    semantic_version: str | None = None
    """Its version by semver."""
    information_uri: str | None = None
    """Its web page."""
    rules: list[dict[str, Any]] | None = None
    """What it looks for."""


class Tool(Predicate, frozen=True, kw_only=True):
    """What produced a run."""

    driver: Component
    """The tool."""


class Result(Predicate, frozen=True, kw_only=True):
    """One finding."""

    message: dict[str, Any]
    """What it says (``text``)."""
    rule_id: str | None = None
    """Which rule fired."""
    level: Literal["none", "note", "warning", "error"] | None = None
    """How bad; absent means what the rule says, else ``warning``."""
    kind: str | None = None
    """``fail`` when absent."""
    locations: list[dict[str, Any]] | None = None
    """Where."""
    partial_fingerprints: dict[str, str] | None = None
    """Stable identity across runs."""
    properties: dict[str, Any] | None = None
    """The tool's own."""


class Run(Predicate, frozen=True, kw_only=True):
    """One run of one tool."""

    tool: Tool
    """The tool."""
    results: list[Result] | None = None
    """Empty: nothing found. Absent or null: the run found out nothing (3.14.23)."""
    invocations: list[dict[str, Any]] | None = None
    """How it ran, and whether it succeeded."""
    properties: dict[str, Any] | None = None
    """The tool's own."""


class Log(Predicate, frozen=True, kw_only=True, rename={"schema": "$schema"}):
    """The predicate."""

    version: Literal["2.1.0"]
    """Of the format."""
    runs: Annotated[list[Run], Meta(min_length=1)]
    """At least one: a log without a run shows nothing."""
    schema: str | None = None
    """``$schema``, for editors."""
