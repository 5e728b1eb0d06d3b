"""Scanning bytes in tests of the formats beside pickles: real detection and budget; pickles are told of, not run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from assay.collect.scan.models.formats.scanning import scan_stream
from assay.collect.scan.models.interface import Finding, Limits, Rules, Severity, Tier


class Nothing:
    """Rules that allow nothing."""

    digest = "0" * 64

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        """Every name is unknown."""
        return Tier.UNKNOWN, "test/unknown"


def tell_of_pickle(
    file: BinaryIO, size: int, *, exact: bool, encoding: str, rules: Rules, limits: Limits, inner: object
) -> Iterator[Finding]:
    """Passes over the rest of the file: these tests ask only whether a pickle is handed on at all."""
    file.seek(0, 2)
    yield Finding("test/pickle", Tier.MALICIOUS, Severity.CRITICAL, "a pickle was handed on")


def look(data: bytes, path: str, siblings: Mapping[str, int] | None = None) -> tuple[str | None, list[Finding]]:
    """Format and findings of a file with these bytes."""
    name, findings = scan_stream(
        io.BytesIO(data), len(data), path, Nothing(), Limits(), tell_of_pickle, siblings=siblings
    )
    return name, list(findings)


def tier(findings: list[Finding]) -> Tier:
    """The worst of them; `Tier.SAFE` without any that matters."""
    return max((finding.tier for finding in findings), key=lambda tier: tier.rank, default=Tier.NONE)


def rules(findings: list[Finding]) -> set[str]:
    """Ids of what was found."""
    return {finding.rule for finding in findings}
