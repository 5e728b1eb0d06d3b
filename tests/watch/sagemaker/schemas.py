"""JSON Schemas of the forms that SageMaker's developer guide documents, for the tests.

Transcribed from "Schema for Statistics", "Schema for Constraints", "Schema for Violations", "CloudWatch Metrics for
Bring Your Own Containers" and the pages on bias and attribution violations. Known fields only: a field that the guide
does not have would fail here.
"""

from __future__ import annotations

from typing import Any

NUMBER, TEXT = {"type": "number"}, {"type": "string"}
SWITCH = {"enum": ["Enabled", "Disabled"]}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_COMMON = _object({"num_present": {"type": "integer"}, "num_missing": {"type": "integer"}})
_KLL = _object(
    {
        "buckets": {
            **_list(_object({"lower_bound": NUMBER, "upper_bound": NUMBER, "count": NUMBER})),
            "minItems": 10,
            "maxItems": 10,
        },
        "sketch": _object({"parameters": _object({"c": NUMBER, "k": NUMBER}), "data": _list(_list(NUMBER))}),
    }
)
_NUMERICAL = _object(
    {"common": _COMMON},
    {
        **{name: {"type": ["number", "null"]} for name in ("mean", "sum", "std_dev", "min", "max")},
        "distribution": {"oneOf": [_object({"kll": _KLL}), {"type": "null"}]},
    },
)
_STRING = _object(
    {
        "common": _COMMON,
        "distinct_count": NUMBER,
        "distribution": _object(
            {"categorical": _object({"buckets": _list(_object({"value": TEXT, "count": NUMBER}))})}
        ),
    }
)
STATISTICS = _object(
    {
        "version": NUMBER,
        "dataset": _object({"item_count": {"type": "integer"}}),
        "features": _list(
            {
                "oneOf": [
                    _object(
                        {
                            "name": TEXT,
                            "inferred_type": {"enum": ["Fractional", "Integral"]},
                            "numerical_statistics": _NUMERICAL,
                        }
                    ),
                    _object({"name": TEXT, "inferred_type": {"const": "String"}, "string_statistics": _STRING}),
                    _object({"name": TEXT, "inferred_type": {"const": "Unknown"}}),
                ]
            }
        ),
    }
)
CONSTRAINTS = _object(
    {
        "version": NUMBER,
        "features": _list(
            _object(
                {"name": TEXT, "inferred_type": {"enum": ["Integral", "Fractional", "String", "Unknown"]}},
                {
                    "completeness": SHARE,
                    "num_constraints": _object({"is_non_negative": {"type": "boolean"}}),
                    "string_constraints": _object({"domains": _list(TEXT)}),
                    "monitoringConfigOverrides": {"type": "object"},
                },
            )
        ),
        "monitoring_config": _object(
            {
                "evaluate_constraints": SWITCH,
                "emit_metrics": SWITCH,
                "datatype_check_threshold": SHARE,
                "domain_content_threshold": SHARE,
                "distribution_constraints": _object(
                    {
                        "perform_comparison": SWITCH,
                        "comparison_threshold": NUMBER,
                        "comparison_method": {"enum": ["Simple", "Robust"]},
                        "categorical_comparison_threshold": NUMBER,
                        "categorical_drift_method": {"enum": ["LInfinity", "ChiSquared"]},
                    }
                ),
            }
        ),
    }
)
CHECKS = [
    "data_type_check",
    "completeness_check",
    "baseline_drift_check",
    "missing_column_check",
    "extra_column_check",
    "categorical_values_check",
]
VIOLATIONS = _object(
    {
        "violations": _list(
            _object({"feature_name": TEXT, "constraint_check_type": {"enum": CHECKS}, "description": TEXT})
        )
    }
)
BIAS_VIOLATIONS = _object(
    {
        "version": {"const": "1.0"},
        "violations": _list(
            _object(
                {
                    "facet": TEXT,
                    "facet_value": TEXT,
                    "metric_name": TEXT,
                    "constraint_check_type": {"const": "bias_drift_check"},
                    "description": TEXT,
                }
            )
        ),
    }
)
ATTRIBUTION_VIOLATIONS = _object(
    {
        "version": {"const": "1.0"},
        "violations": _list(
            _object(
                {
                    "label": TEXT,
                    "metric_name": {"const": "shap"},
                    "constraint_check_type": {"const": "feature_attribution_drift_check"},
                    "description": TEXT,
                }
            )
        ),
    }
)
_DIMENSIONS = _list(_object({"Name": TEXT, "Value": TEXT}))
_SUMMARY = _object(dict.fromkeys(("SampleCount", "Sum", "Minimum", "Maximum"), NUMBER))
METRIC = {
    "oneOf": [
        _object({"MetricName": TEXT, "Timestamp": TEXT, "Dimensions": _DIMENSIONS, **value}, {"Unit": TEXT})
        for value in ({"Value": NUMBER}, {"StatisticValues": _SUMMARY})
    ]
}
