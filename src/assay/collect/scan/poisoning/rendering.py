"""A result for people and machines: lines of a table, and plain JSON. What rows say is shown printable and cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from assay.collect.scan.models.baseline import Baseline
from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.models.predicate import as_json as scan_as_json
from assay.collect.scan.models.predicate import verdict
from assay.collect.scan.poisoning.interface import PoisoningResult, Row

SHOWN = 15
"""Suspect rows in a table."""


def lines(result: PoisoningResult, *, verbose: bool = False) -> Iterator[str]:
    """The answer, what acts together, and the rows to look at first."""
    sampled = f" ({result.analysed:,} analysed)" if result.analysed < result.rows else ""
    labels = f", {len(result.labels):,} labels" if result.labels else ""
    yield f"{verdict(result.scanned)} {result.target}: {result.rows:,} rows{sampled}{labels}, {_suspect(result)}"
    for group in result.groups:
        if verbose or group.severity != "info":
            yield f"  {group.severity.value:<8}  {group.kind}: {group.text}"
    for item in result.scanned.files:
        for finding in item.findings:
            if finding.tier is not Tier.SAFE:
                yield f"  {finding.severity.value:<8}  {item.path}: {finding.message}"
    shown = result.suspects if verbose else result.suspects[:SHOWN]
    if shown:
        yield "  score  row"
    for suspect in shown:
        label = "" if suspect.label is None else f"  {one_line(suspect.label, 30)!r}"
        other = "" if suspect.suggested is None else f" (rather {one_line(suspect.suggested, 30)!r})"
        yield f"  {suspect.score:5.2f}  {one_line(str(suspect.row), 80)}{label}{other}: {suspect.reasons[0].text}"
        for reason in suspect.reasons[1:] if verbose else ():
            yield f"         {reason.text}"
    if len(shown) < result.suspected:
        yield f"  … and {result.suspected - len(shown):,} more rows"
    if result.compared is not None:
        for earlier in result.compared.versions:
            yield (
                f"  compared with {one_line(earlier.name, 80)} (sha256:{earlier.contents[:12]}…, {earlier.rows:,} rows)"
            )
        yield f"  since then: {result.compared.new:,} new rows, {result.compared.relabelled:,} with another label"
    for path, why in result.scanned.skipped.items():
        yield f"  not scanned  {one_line(path, 200)}: {why}"
    for note in result.notes:
        yield f"  note: {one_line(note)}"


def _suspect(result: PoisoningResult) -> str:
    return f"{result.suspected:,} {'row' if result.suspected == 1 else 'rows'} with a reason to look at"


def as_json(result: PoisoningResult) -> dict[str, Any]:
    """Everything but the picture's points. ``target``, ``verdict`` and ``files`` are those of every scan."""
    return {
        **scan_as_json(result.scanned, result.target, Baseline()),
        "rows": result.rows,
        "analysed": result.analysed,
        "columns": dict(result.columns),
        "labels": dict(result.labels),
        "counts": dict(result.counts),
        "suspected": result.suspected,
        "groups": [
            {
                "kind": group.kind,
                "severity": group.severity.value,
                "message": group.text,
                "count": group.count,
                "label": group.label,
                "rows": [_row(row) for row in group.rows],
            }
            for group in result.groups
        ],
        "suspects": [
            {
                **_row(item.row),
                "score": item.score,
                "label": item.label,
                "suggested": item.suggested,
                "reasons": [
                    {"kind": reason.kind, "strength": reason.strength, "message": reason.text}
                    for reason in item.reasons
                ],
            }
            for item in result.suspects
        ],
        "compared": None
        if result.compared is None
        else {
            "versions": [
                {"name": item.name, "contents": f"sha256:{item.contents}", "rows": item.rows}
                for item in result.compared.versions
            ],
            "new": result.compared.new,
            "relabelled": result.compared.relabelled,
        },
        "settings": {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(result.settings).items()
        },
        "notes": list(result.notes),
    }


def _row(row: Row) -> dict[str, Any]:
    return {"file": row.file, "row": row.number}
