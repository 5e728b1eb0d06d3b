"""A layer for the ATT&CK Navigator: ATLAS's own matrix, coloured by what backs each technique.

Only ATLAS has a Navigator (MITRE's fork of ATT&CK's). The layer states nothing that the report does not.
Format: layer 4.5 of mitre-attack/attack-navigator, ``layers/spec/v4.5/layerformat.md``.
"""

from __future__ import annotations

import re
from typing import Any

from assay.errors import UsageError
from assay.policy.coverage.interface import Link, Report, Row, State
from assay.policy.coverage.wording import WORDS, plain, stamp, summary

DOMAIN = "atlas-atlas"
"""What MITRE's own layers of ATLAS say (mitre-atlas/atlas-navigator-data, ``dist/default-navigator-layers``)."""

COLORS = {
    State.EVIDENCE: "#7fcdbb",
    State.CONFIGURATION: "#fee391",
    State.NOTHING: "#f4a582",
    State.NOT_ASSESSABLE: "#d9d9d9",
}
"""Light enough for the Navigator's black text, and apart in lightness or hue for every kind of colour vision."""

SCORES = {State.EVIDENCE: 100, State.CONFIGURATION: 50, State.NOTHING: 0}
"""Percent. What can't be assessed has no score, so that no average counts it."""

_TECHNIQUE = re.compile(r"AML\.T[0-9]{4}(\.[0-9]{3})?")
_NAMED_LINKS = 5


def render(report: Report) -> dict[str, Any]:
    """The layer as a JSON value. Raises `UsageError` for any other framework than ATLAS."""
    if report.framework != "atlas":
        raise UsageError(
            f"a Navigator layer shows the matrix of MITRE ATLAS, and this report is about {plain(report.name, 80)}",
            hint="ask for --framework atlas, or for another format",
        )
    tactics = {column: re.sub(r"\s+", "-", plain(name).lower()) for column, name in report.columns}
    parents = {row.parent for row in report.rows if row.parent}
    rows = [row for row in report.rows if _TECHNIQUE.fullmatch(row.id)]
    return {
        "name": f"assay: {plain(report.name)} coverage",
        "versions": {"layer": "4.5", "navigator": "4.9.0"},  # the first Navigator that reads layer 4.5
        "domain": DOMAIN,
        "description": summary(report),
        "sorting": 0,
        "layout": {"layout": "side", "showID": True, "showName": True, "expandedSubtechniques": "annotated"},
        "hideDisabled": False,
        "techniques": [technique for row in rows for technique in _techniques(row, tactics, row.id in parents)],
        "gradient": {
            "colors": [COLORS[state] for state in (State.NOTHING, State.CONFIGURATION, State.EVIDENCE)],
            "minValue": 0,
            "maxValue": 100,
        },
        "legendItems": [{"label": WORDS[state].short, "color": COLORS[state]} for state in WORDS],
        "metadata": [
            {"name": "atlas_data_version", "value": plain(report.version) or "unknown"},
            {"name": "generated_on", "value": stamp(report.time)},
            {"name": "evidence store", "value": plain(report.store) or "unnamed"},
            {"name": "store head", "value": plain(report.head) or "empty"},
            {"name": "attestations", "value": f"{report.statements} looked at, {report.trusted} by expected signers"},
        ],
    }


def _techniques(row: Row, tactics: dict[str, str], parent: bool) -> list[dict[str, Any]]:
    """One entry per tactic; a sub-technique has one that stands in all of its technique's tactics."""
    entry: dict[str, Any] = {
        "techniqueID": row.id,
        "color": COLORS[row.state],
        "comment": f"{WORDS[row.state].short}: {plain(row.why)}",
        "enabled": row.state is not State.NOT_ASSESSABLE,
        "metadata": _metadata(row),
    }
    if row.state in SCORES:
        entry["score"] = SCORES[row.state]
    if row.url.startswith("https://") and row.url.isprintable():
        entry["links"] = [{"label": f"{row.id} at its source", "url": row.url}]
    if parent:
        entry["showSubtechniques"] = True
    named = [tactics[column] for column in row.columns if column in tactics] if row.parent is None else []
    return [entry | {"tactic": tactic} for tactic in dict.fromkeys(named)] or [entry]


def _metadata(row: Row) -> list[dict[str, str]]:
    said = [("state", WORDS[row.state].short)]
    said += [("formerly", plain(alias)) for alias in row.aliases]
    said += [("met" if measure.met else "not met", plain(measure.title)) for measure in row.measures]
    said += [("attestation", _attestation(link)) for link in row.links[:_NAMED_LINKS]]
    more = len(row.links[_NAMED_LINKS:]) + row.more_links
    if more:
        said.append(("attestations", f"and {more:,} more"))
    return [{"name": name, "value": value} for name, value in said if value]


def _attestation(link: Link) -> str:
    signers = ", ".join(plain(signer) for signer in link.signers) or "nobody named"
    return f"sha256:{plain(link.digest)} of {plain(link.subject)}, signed by {signers}"
