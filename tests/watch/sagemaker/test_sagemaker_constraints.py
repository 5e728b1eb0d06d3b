"""constraints.json, both ways: the documented schema, its defaults, and the meaning of its shares."""

from __future__ import annotations

import json

import jsonschema
import pytest

from assay.collect.profile.interface import Kind
from assay.errors import DocumentError
from assay.watch.constraints.model import Column, Constraints, Drift, Settings
from assay.watch.sagemaker import constraints
from watch.sagemaker.schemas import CONSTRAINTS

WRITTEN = {
    "version": 0.0,
    "features": [
        {
            "name": "age",
            "inferred_type": "Integral",
            "completeness": 1.0,
            "num_constraints": {"is_non_negative": True},
            "monitoringConfigOverrides": {},
        },
        {
            "name": "state",
            "inferred_type": "String",
            "completeness": 0.98,
            "string_constraints": {"domains": ["AK", "WA"]},
            "monitoringConfigOverrides": {
                "domain_content_threshold": 0.9,
                "distribution_constraints": {"perform_comparison": "Disabled"},
            },
        },
        {"name": "whatever", "inferred_type": "Unknown"},
    ],
    "monitoring_config": {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Disabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": 0.2,
            "comparison_method": "Simple",
            "categorical_comparison_threshold": 0.15,
            "categorical_drift_method": "ChiSquared",
        },
    },
}


def _read(document: object) -> Constraints:
    return constraints.loads(json.dumps(document).encode())


def test_a_file_of_the_service_is_read_as_it_is_meant():
    found = _read(WRITTEN)
    assert found.columns["age"] == Column(type=Kind.INTEGRAL, completeness=1.0, non_negative=True)
    state = found.columns["state"]
    assert (state.domain, state.domain_share, state.completeness) == (["AK", "WA"], 0.9, 0.98)
    assert not found.drift("state").compare
    assert found.drift("age").compare
    assert found.settings == Settings(
        emit_metrics=False,
        least_rows=1,
        chance=0.0,
        type_share=1.0,
        domain_share=1.0,
        drift=Drift(method="simple", categorical="chi_square", effects={"ks": 0.2, "l_infinity": 0.15}),
    )


def test_what_is_not_said_has_the_documented_defaults():
    found = _read({"features": [{"name": "a", "inferred_type": "Fractional"}]}).settings
    assert (found.type_share, found.domain_share, found.evaluate, found.emit_metrics) == (0.1, 0.1, True, True)
    assert found.drift.compare
    assert found.drift.effects == {"ks": 0.1, "l_infinity": 0.1}
    assert found.drift.categorical == "l_infinity"


def test_a_threshold_for_categories_defaults_to_that_of_numbers():
    config = {"distribution_constraints": {"comparison_threshold": 0.3}}
    assert _read({"features": [], "monitoring_config": config}).settings.drift.effects["l_infinity"] == 0.3


def test_the_guides_own_misspelling_is_understood():
    config = {"distribution_constraints": {"comparion_method": "Simple"}}
    assert _read({"features": [], "monitoring_config": config}).settings.drift.method == "simple"


def test_what_is_read_is_written_again_with_the_same_meaning():
    again = constraints.dumps(_read(WRITTEN))
    jsonschema.validate(json.loads(again), CONSTRAINTS)
    assert constraints.loads(again) == _read(WRITTEN)
    assert json.loads(again)["monitoring_config"] == WRITTEN["monitoring_config"]


def test_ours_are_written_as_the_schema_says_and_lose_only_what_has_no_place_there():
    columns = {
        "age": Column(type=Kind.INTEGRAL, completeness=0.99, non_negative=True, range=(0, 120), type_share=0.95),
        "when": Column(type=Kind.TIME, completeness=1.0),
        "state": Column(type=Kind.STRING, domain=["AK", "WA"], domain_share=0.9, drift=Drift(effects={"psi": 0.3})),
        "flag": Column(type=Kind.BOOLEAN),
        "vector": Column(type=Kind.VECTOR),
    }
    written = json.loads(constraints.dumps(Constraints(columns=columns)))
    jsonschema.validate(written, CONSTRAINTS)
    assert [item["inferred_type"] for item in written["features"]] == [
        "Integral", "Fractional", "String", "String", "Unknown",
    ]  # fmt: skip
    assert written["features"][0]["num_constraints"] == {"is_non_negative": True}
    assert written["features"][0]["monitoringConfigOverrides"] == {"datatype_check_threshold": 0.95}
    read = constraints.loads(json.dumps(written).encode())
    assert read.columns["age"].type_share == 0.95
    assert read.columns["state"].domain == ["AK", "WA"]
    assert read.columns["age"].range is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": [{"name": "a", "inferred_type": "Number"}]}, "inferred_type"),
        ({"features": [{"name": "a", "inferred_type": "String", "completeness": 3}]}, "completeness"),
        ({"features": [{"name": "a", "inferred_type": "String"}] * 2}, "twice"),
        ({"features": [], "monitoring_config": {"datatype_check_threshold": 7}}, "datatype_check_threshold"),
        (
            {"features": [], "monitoring_config": {"distribution_constraints": {"comparison_method": "Best"}}},
            "comparison_method",
        ),
        ({"features": [], "monitoring_config": {"evaluate_constraints": "yes"}}, "evaluate_constraints"),
        ({"features": "none"}, "features"),
        ([], "constraints.json"),
    ],
)
def test_what_is_not_such_a_file_is_refused_with_the_field(change, words):
    with pytest.raises(DocumentError, match=words):
        _read(change)
