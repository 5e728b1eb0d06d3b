"""A data set's groups as findings of its files: what evidence, SARIF and gates are made of."""

from __future__ import annotations

from collections import Counter

from assay.collect.scan.models.interface import FileResult, Finding, Severity, TargetResult, Tier
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import Group, Settings
from assay.collect.scan.poisoning.table import Table
from assay.targets.interface import Manifest, Target

SAMPLED = "poisoning/sampled"
"""The rule of a file whose data set was too large to be analysed whole."""

UNLABELLED = "poisoning/no-label"
"""The rule of a file whose labels nobody named."""

_ADVICE = {
    "trigger": "Look at the rows and where they came from; leave them out and train again before deploying.",
    "source": "Look at what this source sent, and leave it out until its labels are confirmed.",
    "relabelled": "Ask who changed these labels and why; compare with the attested version.",
    "new": "Review the new rows before training on them.",
    "block": "Look at how these rows came into the file.",
    "duplicate-conflict": "Decide which label is right, and keep one copy.",
    "label-errors": "Let somebody confirm the labels of the listed rows.",
}


def findings(
    target: Target,
    manifest: Manifest,
    table: Table,
    groups: tuple[Group, ...],
    settings: Settings,
    *,
    unlabelled: bool,
) -> TargetResult:
    """Groups as findings of the file that has most of their rows; a file that was not seen whole is not clean.

    Neither is one whose labels nobody named: without them most poison is not even looked for.
    """
    by_file: dict[str, list[Finding]] = {}
    for group in groups:
        files = Counter(row.file.partition("!/")[0] for row in group.rows)
        path = files.most_common(1)[0][0]
        few = ", ".join(str(row) if len(files) > 1 else f"{row.number:,}" for row in group.rows[:10])
        more = ", …" if group.count > 10 else ""
        message = one_line(f"{group.text}. Rows: {few}{more}")
        by_file.setdefault(path, []).append(
            Finding(
                f"poisoning/{group.kind}",
                Tier.SAFE,
                group.severity,
                message,
                atlas=("AML.T0020",) if group.severity != Severity.INFO else (),
                mitigation=_ADVICE.get(group.kind, ""),
            )
        )
    sampled = len(table.rows) < table.total
    made = []
    for resource in manifest:
        path = resource.name
        if path in table.skipped:
            continue
        listed = by_file.get(path, [])
        tier = Tier.NONE if path in table.beside else Tier.SAFE
        if path in table.broken:
            tier = Tier.UNREADABLE
            message = one_line(table.broken[path], 500)
            listed = [*listed, Finding("poisoning/unreadable", tier, Severity.HIGH, message)]
        elif sampled and tier == Tier.SAFE:
            tier = Tier.UNKNOWN
            message = f"{len(table.rows):,} of the data set's {table.total:,} rows were analysed: a sample"
            advice = "Analyse all rows with a larger sample."
            listed = [*listed, Finding(SAMPLED, tier, Severity.LOW, message, mitigation=advice)]
        if unlabelled and tier in (Tier.SAFE, Tier.UNKNOWN):
            tier = Tier.UNKNOWN
            message = "no column is known to hold the labels: wrong labels and triggers were not looked for"
            advice = "Name the column, or say that there is none."
            listed = [*listed, Finding(UNLABELLED, tier, Severity.LOW, message, mitigation=advice)]
        sha256 = None if resource.sha256 is None else resource.sha256.hex()
        made.append(FileResult(path, tier, table.formats.get(path), sha256, tuple(listed)))
    return TargetResult(str(target.reference), tuple(made), settings.digest, dict(table.skipped))
