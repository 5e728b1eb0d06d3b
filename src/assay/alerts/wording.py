"""An alert in words for people, and as the CloudEvents document that machines get.

The words never hold a control or formatting character: a title comes from strangers and must not steer a terminal,
split a log line or turn the direction of the text around it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from assay.alerts.finding import Alert, State


def headline(alert: Alert) -> str:
    """One line: ``New high finding: Licence not allowed``."""
    finding = alert.finding
    if alert.state is State.RESOLVED:
        return one_line(f"Resolved: {finding.title}")
    return one_line(f"New {finding.severity} finding: {finding.title}")


def where(alert: Alert) -> str:
    """One line: which target, and who found it."""
    finding = alert.finding
    digest = f" sha256:{finding.target_sha256}" if finding.target_sha256 else ""
    return one_line(", ".join(part for part in (f"{finding.target_name}{digest}".strip(), finding.source) if part))


def paragraphs(alert: Alert) -> str:
    """A few lines: what is wrong, where, what to do."""
    finding = alert.finding
    lines = [one_line(finding.message)]
    if place := where(alert):
        lines.append(f"Where: {place}")
    if finding.mitigation and alert.state is State.NEW:
        lines.append(f"What to do: {one_line(finding.mitigation)}")
    if ids := [f"{name} {' '.join(found)}" for name, found in finding.frameworks.items()]:
        lines.append(f"Frameworks: {one_line('; '.join(ids))}")
    if finding.url:
        lines.append(f"More: {one_line(finding.url)}")
    lines.append(f"Scope: {one_line(alert.scope)}")
    lines.append(f"Alert: {alert.id}")
    return "\n".join(lines)


def one_line(text: str) -> str:
    """``text`` with every line break as a space and every other unprintable character written out."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else f"\\u{{{ord(char):x}}}" for char in text
    ).strip()


def cloud_event(alert: Alert) -> bytes:
    """The alert in CloudEvents 1.0 structured JSON (one line). ``source`` and ``id`` together are unique."""
    finding = alert.finding
    data: dict[str, Any] = {
        "state": alert.state,
        "scope": alert.scope,
        "key": finding.key,
        "title": finding.title,
        "severity": finding.severity,
        "message": finding.message,
        "source": finding.source,
        "target": {"name": finding.target_name, "sha256": finding.target_sha256},
        "mitigation": finding.mitigation,
        "frameworks": {name: list(ids) for name, ids in finding.frameworks.items()},
        "details": dict(finding.details),
        "url": finding.url,
    }
    event = {
        "specversion": "1.0",
        "id": alert.id,
        "source": f"/assay/{quote(alert.scope, safe='')}",
        "type": f"dev.assay.finding.{alert.state}",
        "time": moment(alert.time),
        "datacontenttype": "application/json",
        "data": data,
    }
    if finding.key:  # CloudEvents forbids an empty subject
        event["subject"] = finding.key
    return json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode()


def moment(time: datetime) -> str:
    """A time as RFC 3339 in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
