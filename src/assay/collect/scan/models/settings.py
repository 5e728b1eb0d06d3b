"""The ``scan`` section of `assay.yaml`, and what a scan fails on. A slip of the pen is an error, never a default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from assay.collect.scan.models.baseline import Baseline
from assay.collect.scan.models.interface import Severity, TargetResult, Tier
from assay.errors import DocumentError, UsageError

TIERS = ("unknown", "code", "unreadable", "malicious")
"""What a scan can be told to fail on; each one means itself and everything worse."""

DEFAULT = ("unknown",)
"""Everything that was not proved to be safe."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section."""

    allow: list[str] = []
    """Files with further allow-lists, as ``assay scan allow LIBRARY -O FILE`` writes them."""
    fail_on: list[str] = []
    """What a scan fails on when no flag says so: see `Gate.of`."""
    baseline: str | None = None
    """A signed file of accepted findings."""
    baseline_keys: list[str] = []
    """Public keys (PEM) of those who may accept findings; without any, whoever is trusted for the target."""
    poisoning: dict[str, Any] = {}
    """How data sets are scanned: see `assay.collect.scan.poisoning.settings`."""


def parse(section: Mapping[str, Any]) -> Settings:
    """The section of a configuration. Raises `DocumentError` naming the field."""
    try:
        made = msgspec.convert(dict(section), Settings)
    except msgspec.ValidationError as error:
        raise DocumentError(f"assay.yaml: scan: {error}") from None
    Gate.of(made.fail_on)
    return made


@dataclass(frozen=True, slots=True)
class Gate:
    """What makes a scan fail."""

    tier: Tier | None
    """The least bad tier that fails; None where tiers alone do not."""
    severity: Severity | None = None
    """The least bad severity of a finding that fails."""

    @classmethod
    def of(cls, words: Sequence[str]) -> Gate:
        """From words like ``malicious`` and ``findings:high``; several may stand in one, divided by commas.

        Of several tiers the least bad one counts. Raises `UsageError` for any other word.
        """
        tier: Tier | None = None
        severity: Severity | None = None
        for word in [part.strip() for text in (words or DEFAULT) for part in text.split(",")]:
            kind, colon, level = word.partition(":")
            if word in TIERS:
                tier = min(filter(None, (tier, Tier(word))), key=lambda item: item.rank)
            elif kind == "findings" and colon and level in [item.value for item in Severity]:
                order = list(Severity)
                severity = max(filter(None, (severity, Severity(level))), key=order.index)
            else:
                raise UsageError(
                    f"{word[:60]!r} is nothing that a scan can fail on",
                    hint=f"one of {', '.join(TIERS)}, or findings:SEVERITY with {', '.join(Severity)}",
                )
        return cls(tier, severity)

    def exit_code(self, result: TargetResult, baseline: Baseline) -> int:
        """1 where something reaches the gate, 3 where something was not seen that might, else 0."""
        tiers = [baseline.tier(item) for item in result.files]
        if self.tier is not None and any(tier.rank >= self.tier.rank for tier in tiers):
            return 1
        if self.severity is not None:
            bad = list(Severity)[: list(Severity).index(self.severity) + 1]
            if any(finding.severity in bad for item in result.files for finding in baseline.remaining(item)):
                return 1
        return 3 if result.skipped or Tier.UNREADABLE in tiers else 0
