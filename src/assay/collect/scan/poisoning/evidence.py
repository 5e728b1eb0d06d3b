"""The scan predicate of kind ``poisoning``: every file, what was found in it with counts, by which settings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import msgspec

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.models.predicate import document as scan_document
from assay.collect.scan.poisoning.interface import METHOD, PoisoningResult
from assay.evidence.predicates.scan import EarlierVersion, Poisoning, Scan

COLUMNS = 1_000
"""Columns that are listed; a table of pixels has many, all alike."""


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
    made = scan_document(result.scanned, rules, started=started, finished=finished, kind="poisoning")
    return msgspec.structs.replace(made, poisoning=_looked_at(result))


def _looked_at(result: PoisoningResult) -> Poisoning:
    settings, compared = result.settings, result.compared
    groups: Counter[str] = Counter()
    for group in result.groups:
        groups[group.kind] += group.count
    return Poisoning(
        method=METHOD,
        rows=result.rows,
        analysed=result.analysed,
        suspected=result.suspected,
        reasons=dict(result.counts),
        groups=dict(groups),
        label=_called(result, "label"),
        source=_called(result, "source"),
        columns={_name(column): role for column, role in list(result.columns.items())[:COLUMNS]},
        labels={_name(label): count for label, count in result.labels.items()},
        sample=settings.sample,
        seed=settings.seed,
        embeddings={"sha256": settings.embeddings} if settings.embeddings is not None else None,
        since=[
            EarlierVersion(name=_name(item.name), digest={"sha256": item.contents}, rows=item.rows)
            for item in (compared.versions if compared is not None else ())
        ],
        new=compared.new if compared is not None else None,
        relabelled=compared.relabelled if compared is not None else None,
    )


def _called(result: PoisoningResult, role: str) -> str | None:
    return next((_name(column) for column, taken in result.columns.items() if taken == role), None)


def _name(text: str) -> str:
    return one_line(text, 200)
