"""OSCAL: valid for compliance-trestle, references that resolve, and no row satisfied without evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

import coverage_reports as made
from assay.policy.coverage import oscal
from assay.policy.coverage.interface import State

TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def _places(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner, key)


def _check(document: dict[str, Any]) -> None:
    """What OSCAL demands everywhere: nothing empty, single lines, unique identifiers, references that resolve."""
    own, named = [], set()
    for key, value in _places(document):
        assert value not in ([], "", None), key
        if key == "uuid":
            assert UUID.fullmatch(value)
            own.append(value)
        elif key.endswith("-uuid"):
            named.add(value)
        elif key == "href" and value.startswith("#"):
            named.add(value[1:])
        elif key in ("target-id", "control-id"):
            assert TOKEN.fullmatch(value)
        elif key in ("title", "value", "version"):
            assert isinstance(value, str) and "\n" not in value and value == value.strip()
    assert len(own) == len(set(own))
    assert named <= set(own)


def _result(report: made.Report) -> dict[str, Any]:
    document = oscal.render(report)
    _check(document)
    (result,) = document["assessment-results"]["results"]
    return result


def test_only_verified_evidence_satisfies() -> None:
    rows = [made.row(f"AML.M{at:04}", state, why=f"why {at}") for at, state in enumerate(State)]
    result = _result(made.report(*rows))
    states = {one["target"]["target-id"]: one["target"]["status"] for one in result["findings"]}
    assert {name: status["state"] for name, status in states.items()} == {
        "AML.M0000": "satisfied",
        "AML.M0001": "not-satisfied",
        "AML.M0002": "not-satisfied",
    }
    assert "only by a setting" in states["AML.M0001"]["remarks"]
    (selection,) = result["reviewed-controls"]["control-selections"]
    assert selection["exclude-controls"] == [{"control-id": "AML.M0003"}]
    assert [one["description"] for one in result["observations"]] == ["why 0", "why 1", "why 2", "why 3"]


def test_each_attestation_is_found_by_its_digest() -> None:
    link = made.link()
    document = oscal.render(made.report(made.row(links=(link,)), made.row("AML.T0018", links=(link,))))
    _check(document)
    resources = document["assessment-results"]["back-matter"]["resources"]
    (attestation,) = [one for one in resources if one["title"].startswith("Attestation")]
    assert attestation["rlinks"][0]["hashes"] == [{"algorithm": "SHA-256", "value": link.digest}]
    observations = document["assessment-results"]["results"][0]["observations"]
    evidence = [one["relevant-evidence"][0] for one in observations if "relevant-evidence" in one]
    assert [one["href"] for one in evidence] == [f"#{attestation['uuid']}"] * 2
    assert {prop["value"] for one in evidence for prop in one["props"]} == {link.digest}


def test_what_is_missing_is_said_with_what_would_back_it() -> None:
    row = made.row(state=State.NOTHING, measures=made.MEASURES[:1])
    (finding,) = _result(made.report(row))["findings"]
    assert "assay sign MODEL" in finding["remarks"]


def test_ids_stay_from_one_report_to_the_next() -> None:
    first = _result(made.report(made.row(state=State.NOTHING)))
    later = _result(made.report(made.row(), head="413:" + "cd" * 32))
    assert first["findings"][0]["uuid"] == later["findings"][0]["uuid"]
    assert first["uuid"] != later["uuid"]


def test_ids_that_differ_only_where_a_token_can_not() -> None:
    result = _result(made.report(made.row("MAP 4.1"), made.row("MAP-4.1"), made.row("MAP-4.1-2"), made.row("4.1")))
    names = [one["target"]["target-id"] for one in result["findings"]]
    assert len(set(names)) == 4 and names[0] == "MAP-4.1"


@settings(max_examples=100, deadline=None)
@given(made.random_reports)
def test_any_report_gives_a_sound_document_and_always_the_same(report: made.Report) -> None:
    document = oscal.render(report)
    _check(document)
    assert json.dumps(document) == json.dumps(oscal.render(report))
    assert json.dumps(document, ensure_ascii=False).encode()
    result = document["assessment-results"]["results"][0]
    assert len(result.get("findings", ())) == len(report.rows) - report.count(State.NOT_ASSESSABLE)
    assert len(result.get("observations", ())) == sum(1 + len(row.links) for row in report.rows)


@pytest.fixture(scope="module")
def model() -> Any:
    """trestle's model of a document with assessment-results."""
    module = pytest.importorskip("trestle.oscal.assessment_results", reason="compliance-trestle is not installed")
    return module.Model


def test_trestle_reads_a_whole_report(model: Any) -> None:
    for report in (made.atlas_sized(20), made.airmf_sized(), made.report()):
        document = oscal.render(report)
        read = model.model_validate(document).assessment_results
        assert read.metadata.title.startswith("assay: coverage of")
        findings = read.results[0].findings or []
        assert len(findings) == len(report.rows) - report.count(State.NOT_ASSESSABLE)


@settings(max_examples=25, deadline=None)
@given(report=made.random_reports)
def test_trestle_reads_any_report(model: Any, report: made.Report) -> None:
    assert model.model_validate(oscal.render(report))
