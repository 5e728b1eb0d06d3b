"""Coverage reports: what a store's verified evidence means in the terms of ATLAS, AI RMF and other frameworks.

`assess` makes a report, `FORMATS` write it. A report claims no more than the attestations show: what nobody expected
signed backs nothing, and what no tool can assess is never counted as covered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.policy.coverage.assess import assess, report
from assay.policy.coverage.facts import Found, Record, gather
from assay.policy.coverage.interface import Report
from assay.policy.coverage.mapping import FRAMEWORKS

__all__ = ["FORMATS", "FRAMEWORKS", "Found", "Record", "assess", "gather", "report"]


def _html(report: Report) -> bytes:
    from assay.policy.coverage.html import render

    return render(report).encode()


def _markdown(report: Report) -> bytes:
    from assay.policy.coverage.markdown import markdown

    return markdown(report).encode()


def _json(report: Report) -> bytes:
    from assay.policy.coverage.json import as_json

    return _bytes(as_json(report))


def _csv(report: Report) -> bytes:
    from assay.policy.coverage.csv import as_csv

    return as_csv(report).encode()


def _oscal(report: Report) -> bytes:
    from assay.policy.coverage.oscal import render

    return _bytes(render(report))


def _navigator(report: Report) -> bytes:
    from assay.policy.coverage.navigator import render

    return _bytes(render(report))


def _bytes(document: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


FORMATS: dict[str, Callable[[Report], bytes]] = {
    "html": _html,
    "markdown": _markdown,
    "json": _json,
    "csv": _csv,
    "oscal": _oscal,
    "navigator": _navigator,
}
"""Writers by the name that the user gives. ``navigator`` is for ATLAS and raises `UsageError` for others."""
