"""Violation files: what does not hold is in them, under the documented names, and they are read again."""

from __future__ import annotations

import json

import jsonschema
import pytest

from assay.errors import DocumentError, UsageError
from assay.watch.interface import Check, Outcome
from assay.watch.sagemaker import violations
from watch.sagemaker.schemas import ATTRIBUTION_VIOLATIONS, BIAS_VIOLATIONS, VIOLATIONS

CHECKS = (
    Check("type", Outcome.VIOLATED, "age", 1.0, 0.5, "error", "half are no numbers", {}, "data_type_check"),
    Check("range", Outcome.VIOLATED, "age", ("0", "1"), 0.5, "error", "up to 7"),
    Check("duplicate-batch", Outcome.VIOLATED, None, "new rows", "old rows"),
    Check("completeness", Outcome.HOLDS, "age", sagemaker="completeness_check"),
    Check("domain", Outcome.UNDECIDED, "state", sagemaker="categorical_values_check"),
)


def test_all_violations_and_nothing_else():
    document = json.loads(violations.dumps(CHECKS))
    jsonschema.validate(document, VIOLATIONS)
    assert document["violations"] == [
        {"feature_name": "age", "constraint_check_type": "data_type_check", "description": "half are no numbers"},
        {"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "range: up to 7"},
        {
            "feature_name": "dataset",
            "constraint_check_type": "baseline_drift_check",
            "description": "duplicate-batch: expected new rows, observed old rows",
        },
    ]


def test_no_violation_is_an_empty_list():
    assert json.loads(violations.dumps(CHECKS[3:])) == {"violations": []}


def test_a_file_of_the_service_is_read():
    line = {
        "feature_name": "chas",
        "constraint_check_type": "data_type_check",
        "description": "Data type match requirement is not met.",
    }
    found = violations.loads(json.dumps({"violations": [line]}).encode())
    assert [(item.check, item.feature, item.outcome, item.sagemaker) for item in found] == [
        ("data-type", "chas", Outcome.VIOLATED, "data_type_check")
    ]
    assert json.loads(violations.dumps(found))["violations"] == [line]


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"violations": [{}]}', b'{"violations": 1}', b"", b"\xff"])
def test_what_is_none_is_refused(data):
    for read in (violations.loads, violations.bias_loads, violations.attribution_loads):
        with pytest.raises(DocumentError, match="constraint_violations"):
            read(data)


def test_both_spellings_are_found(tmp_path):
    with pytest.raises(UsageError, match="neither"):
        violations.find(str(tmp_path))
    for name in violations.NAMES:
        folder = tmp_path / name[:12]
        folder.mkdir()
        (folder / name).write_bytes(b"{}")
        assert violations.find(str(folder)).endswith(name)
    (tmp_path / violations.NAMES[0]).write_bytes(b"{}")
    (tmp_path / violations.NAMES[1]).write_bytes(b"{}")
    assert violations.find(str(tmp_path))
    (tmp_path / violations.NAMES[1]).write_bytes(b"[]")
    with pytest.raises(UsageError, match="differ"):
        violations.find(str(tmp_path))


def test_bias_both_ways():
    checks = (
        Check("DPPL", Outcome.VIOLATED, "sex=female", message="farther from 0", sagemaker="bias_drift_check"),
        Check("DI", Outcome.HOLDS, "sex=female", sagemaker="bias_drift_check"),
        CHECKS[0],
    )
    data = violations.bias_dumps(checks)
    jsonschema.validate(json.loads(data), BIAS_VIOLATIONS)
    assert violations.bias_loads(data) == checks[:1]


def test_attribution_both_ways():
    message = "Feature attribution drift 0.7639720923277322 exceeds threshold 0.9"
    check = Check(
        "feature_attribution", Outcome.VIOLATED, "label0", message=message, sagemaker="feature_attribution_drift_check"
    )
    data = violations.attribution_dumps((check, CHECKS[0]))
    jsonschema.validate(json.loads(data), ATTRIBUTION_VIOLATIONS)
    assert violations.attribution_loads(data) == (check,)


def test_other_monitors_types_have_no_place_in_data_qualitys_file():
    bad = [
        Check("accuracy", Outcome.VIOLATED, message="accuracy is 0.5", sagemaker="LessThanThreshold"),
        Check("DPPL", Outcome.VIOLATED, "sex=f", message="DPPL is 0.4", sagemaker="bias_drift_check"),
    ]
    document = json.loads(violations.dumps(bad))
    jsonschema.validate(document, VIOLATIONS)
    assert {item["constraint_check_type"] for item in document["violations"]} == {"baseline_drift_check"}
    assert [item["description"] for item in document["violations"]] == [
        "accuracy: accuracy is 0.5",
        "DPPL: DPPL is 0.4",
    ]
