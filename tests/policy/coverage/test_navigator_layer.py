"""The Navigator layer: what MITRE's Navigator demands of it, and that it says what the report says."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings

import coverage_reports as made
from assay.errors import UsageError
from assay.policy.coverage import navigator
from assay.policy.coverage.interface import State

TECHNIQUE = {"techniqueID", "tactic", "comment", "enabled", "score", "color", "metadata", "links", "showSubtechniques"}
"""Keys of a technique in layer format 4.5."""


def _check(layer: dict) -> None:
    """The format's own rules (layerformat.md 4.5)."""
    assert layer["versions"] == {"layer": "4.5", "navigator": "4.9.0"}
    assert layer["name"] and layer["domain"] == "atlas-atlas"
    seen = set()
    for technique in layer["techniques"]:
        assert set(technique) <= TECHNIQUE
        assert re.fullmatch(r"AML\.T\d{4}(\.\d{3})?", technique["techniqueID"])
        assert re.fullmatch(r"#[0-9a-f]{6}", technique["color"])
        assert 0 <= technique.get("score", 0) <= 100
        assert all(pair["name"] and pair["value"] for pair in technique["metadata"])
        assert all(link["url"].startswith("https://") and link["label"] for link in technique.get("links", ()))
        seen.add((technique["techniqueID"], technique.get("tactic")))
    assert layer["gradient"]["maxValue"] > layer["gradient"]["minValue"] and len(layer["gradient"]["colors"]) >= 2
    assert all(pair["name"] and pair["value"] for pair in layer["metadata"])


def test_a_technique_stands_in_each_of_its_tactics_under_mitres_name_for_them() -> None:
    row = made.row(columns=("AML.TA0004", "AML.TA0011"), links=(made.link(),), aliases=("ML Supply Chain Compromise",))
    layer = navigator.render(made.report(row, made.row("AML.T0010.001", State.NOTHING, parent="AML.T0010")))
    _check(layer)
    assert [(one["techniqueID"], one.get("tactic"), one["score"]) for one in layer["techniques"]] == [
        ("AML.T0010", "initial-access", 100),
        ("AML.T0010", "impact", 100),
        ("AML.T0010.001", None, 0),
    ]
    said = layer["techniques"][0]["metadata"]
    assert {"name": "formerly", "value": "ML Supply Chain Compromise"} in said
    assert any(made.link().digest in pair["value"] and "key b206e3b64d883b7d" in pair["value"] for pair in said)
    assert layer["techniques"][0]["showSubtechniques"] is True


def test_what_no_tool_can_assess_is_greyed_out_and_has_no_score() -> None:
    layer = navigator.render(made.report(made.row(state=State.NOT_ASSESSABLE, columns=("AML.TA0004",))))
    (technique,) = layer["techniques"]
    assert technique["enabled"] is False and "score" not in technique


def test_the_whole_of_atlas() -> None:
    layer = navigator.render(made.atlas_sized())
    _check(layer)
    report = made.atlas_sized()
    techniques = [row for row in report.rows if row.id.startswith("AML.T")]
    assert {one["techniqueID"] for one in layer["techniques"]} == {row.id for row in techniques}
    assert len(layer["techniques"]) == sum(max(1, len(row.columns)) for row in techniques)
    assert {tactic for one in layer["techniques"] if (tactic := one.get("tactic"))} <= {
        name.lower().replace(" ", "-") for name in made.TACTICS
    }


def test_no_link_but_https() -> None:
    for url in made.HOSTILE[:7]:
        (technique,) = navigator.render(made.report(made.row(url=url)))["techniques"]
        assert all(link["url"].startswith("https://") for link in technique.get("links", ()))
    (technique,) = navigator.render(made.report(made.row(url="http://example.com")))["techniques"]
    assert "links" not in technique


def test_another_framework_has_no_navigator() -> None:
    with pytest.raises(UsageError, match="MITRE ATLAS.*NIST AI RMF"):
        navigator.render(made.airmf_sized())


@settings(max_examples=100, deadline=None)
@given(made.random_reports)
def test_any_report_gives_a_layer_and_always_the_same(report: made.Report) -> None:
    report = replace(report, framework="atlas")
    layer = navigator.render(report)
    _check(layer)
    text = json.dumps(layer)
    assert text == json.dumps(navigator.render(report)) and json.dumps(layer, ensure_ascii=False).encode()
