"""The report as JSON with stable names: the same report always gives the same document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from assay.policy.coverage.interface import Link, Report, Row, State

SCHEMA = "https://assay.dev/coverage/v1"
"""Changes when a field is renamed, dropped or means something else; not when one is added."""


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON-like values, every row of every section among them."""
    return {
        "schema": SCHEMA,
        "framework": {
            "id": report.framework,
            "name": report.name,
            "version": report.version,
            "source": report.source,
            "licence": report.licence,
        },
        "time": _time(report.time),
        "store": {"name": report.store, "head": report.head},
        "attestations": {"read": report.statements, "trusted": report.trusted},
        "targets": list(report.targets),
        "counts": {state.value: report.count(state) for state in State},
        "warnings": list(report.warnings),
        "columns": [{"id": id, "name": name} for id, name in report.columns],
        "sections": [
            {"id": item.id, "name": item.name, "text": item.text, "rows": [_row(row) for row in item.rows]}
            for item in report.sections
        ],
        "characteristics": [
            {"id": item.id, "name": item.name, "state": item.state.value, "why": item.why, "rows": list(item.rows)}
            for item in report.characteristics
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "aliases": list(row.aliases),
        "state": row.state.value,
        "why": row.why,
        "text": row.text,
        "url": row.url,
        "parent": row.parent,
        "columns": list(row.columns),
        "related": list(row.related),
        "highlighted": row.highlighted,
        "measures": [
            {"title": item.title, "kind": item.kind.value, "met": item.met, "how": item.how, "note": item.note}
            for item in row.measures
        ],
        "evidence": [_link(link) for link in row.links],
        "moreEvidence": row.more_links,
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "digest": {"sha256": link.digest},
        "entry": link.entry or None,
        "predicateType": link.predicate_type,
        "subject": link.subject,
        "signers": list(link.signers),
        "time": _time(link.time) if link.time else None,
        "claim": link.claim,
    }


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
