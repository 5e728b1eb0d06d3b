"""The scan predicate of kind ``poisoning``: every file, what was found in it with counts, by which settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.predicate import document as scan_document
from assay.collect.scan.poisoning.interface import PoisoningResult
from assay.evidence.predicates.scan import Scan


@dataclass(frozen=True, slots=True)
class _NoNames:
    """Stands where a scan of models has its rules: here no name is judged."""

    digest: str

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        """Nothing is known of any name."""
        return Tier.UNKNOWN, "poisoning/no-names"


def document(result: PoisoningResult, *, started: datetime, finished: datetime) -> Scan:
    """The predicate. Rows themselves are never in it, only their numbers, what they share and labels."""
    rules = _NoNames(result.scanned.rules)
    return scan_document(result.scanned, rules, started=started, finished=finished, kind="poisoning")
