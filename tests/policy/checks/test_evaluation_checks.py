"""Metrics, bias between groups, and fields that must be there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.evidence import predicates
from assay.policy.checks import CHECKS
from policy.checks.asking import SHA, ask

EVALUATION = "https://assay.dev/evaluation/v0.1"
MODEL: dict[str, Any] = {
    "dataset": {"name": "test.parquet", "digest": {"sha256": SHA}},
    "metrics": {"accuracy": 0.91, "loss": 0.2, "accuracy/sex=f": 0.9, "accuracy/sex=m": 0.93, "count": 10},
    "samples": 500,
    "split": "test",
}


def test_the_sample_has_its_types_form() -> None:
    predicates.check(EVALUATION, MODEL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"require": {"accuracy": {"minimum": 0.91}, "loss": {"maximum": 0.2}}}, None),
        ({"require": {"accuracy": {"minimum": 0.92}}}, "accuracy is 0.91, needs >= 0.92"),
        ({"require": {"loss": {"maximum": 0.1}}}, "loss is 0.2, needs <= 0.1"),
        ({"require": {"f1": {"minimum": 0}}}, "the metric 'f1' is absent"),
        ({"require": {"loss": {"maximum": 1}}, "samples": 500, "digested": True, "splits": ["te*"]}, None),
        ({"require": {"loss": {"maximum": 1}}, "samples": 501}, "it was evaluated on 500 samples, needs 501"),
        ({"require": {"loss": {"maximum": 1}}, "splits": ["train"]}, "it was evaluated on the split 'test'"),
        ({"require": {"loss": {"maximum": 1}}, "datasets": [f"sha256:{SHA}"]}, None),
        ({"require": {"loss": {"maximum": 1}}, "datasets": ["test.*"]}, None),
        (
            {"require": {"loss": {"maximum": 1}}, "datasets": ["other"]},
            "it was evaluated on 'test.parquet', not on the list",
        ),
    ],
)
def test_metrics(arguments: Any, message: str | None) -> None:
    assert ask("metrics", arguments, MODEL) == ([] if message is None else [message])


@pytest.mark.parametrize("value", [None, True, "0.95", float("nan"), float("inf"), [0.95], {"v": 1}])
def test_a_metric_that_is_no_number(value: Any) -> None:
    for bounds in ({"minimum": 0}, {"maximum": 10**9}):
        assert ask("metrics", {"require": {"a": bounds}}, {"metrics": {"a": value}}) == ["'a' is not a number"]


@pytest.mark.parametrize(
    "dataset",
    [None, "name", f"sha256:{SHA}", {"name": f"sha256:{SHA}"}, {"digest": {"sha1": "ab" * 20}}, {"digest": "x"}],
)
def test_a_data_set_without_digest(dataset: Any) -> None:
    predicate = {**MODEL, "dataset": dataset}
    assert len(ask("metrics", {"require": {"loss": {"maximum": 1}}, "digested": True}, predicate)) == 1
    assert len(ask("metrics", {"require": {"loss": {"maximum": 1}}, "datasets": [f"sha256:{SHA}"]}, predicate)) == 1


@pytest.mark.parametrize(
    "arguments",
    [{}, {"require": {}}, {"require": {"a": {}}}, {"require": {"a": {"minimum": 2, "maximum": 1}}},
     {"require": {"a": {"minimum": float("nan")}}}, {"require": {"a": 1}}, {"require": {"a": {"minimum": "1"}}}],
)  # fmt: skip
def test_refused_bounds(arguments: Any) -> None:
    with pytest.raises(DocumentError, match="^p"):
        CHECKS["metrics"].prepare(arguments, "p")


def gap(**fields: Any) -> dict[str, Any]:
    return {"require": [{"metric": "accuracy/sex=*", **fields}]}


def test_bias() -> None:
    assert ask("bias", gap(**{"max-gap": 0.03}), MODEL) == []
    assert ask("bias", gap(**{"min-ratio": 0.8}), MODEL) == []
    assert ask("bias", gap(**{"max-gap": 0.03, "groups": ["f", "m"]}), MODEL) == []
    assert ask("bias", gap(**{"max-gap": 0.02}), MODEL) == [
        "accuracy/sex=* is 0.9 for 'f' and 0.93 for 'm', further apart than 0.02"
    ]
    assert len(ask("bias", gap(**{"min-ratio": 0.99}), MODEL)) == 1
    assert ask("bias", gap(**{"max-gap": 1, "groups": ["x"]}), MODEL) == ["accuracy/sex=* is not stated for 'x'"]
    assert ask("bias", gap(**{"max-gap": 1, "minimum": 3}), MODEL) == ["accuracy/sex=* is stated for 2 groups, needs 3"]


def test_bias_that_nobody_measured() -> None:
    assert ask("bias", gap(**{"max-gap": 1}), {"metrics": {}}) != []
    assert ask("bias", gap(**{"max-gap": 1}), {"metrics": {"accuracy/sex=f": 0.1}}) != []
    odd = {"metrics": {"accuracy/sex=f": "0.1", "accuracy/sex=m": 0.1, "accuracy/sex=x": 0.1}}
    assert ask("bias", gap(**{"max-gap": 1}), odd) == ["'accuracy/sex=f' is not a number"]
    negative = {"metrics": {"accuracy/sex=f": -1, "accuracy/sex=m": -1}}
    assert ask("bias", gap(**{"min-ratio": 0.1}), negative) != []


@pytest.mark.parametrize("metric", ["accuracy", "a*b*", "a?*", "*?"])
def test_refused_groups(metric: str) -> None:
    with pytest.raises(DocumentError, match="^p"):
        CHECKS["bias"].prepare({"require": [{"metric": metric, "max-gap": 1}]}, "p")
    with pytest.raises(DocumentError, match="^p"):
        CHECKS["bias"].prepare({"require": [{"metric": "a*"}]}, "p")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=2), st.floats(0, 1))
def test_the_gap_is_the_largest_difference(groups: dict[str, float], limit: float) -> None:
    predicate = {"metrics": {f"tpr[{name}]": value for name, value in groups.items()}}
    wrong = ask("bias", {"require": [{"metric": "tpr[*]", "max-gap": limit}]}, predicate)
    largest = max(abs(a - b) for a in groups.values() for b in groups.values())
    assert (wrong == []) == (largest <= limit + 1e-12 * max(1, limit))


def test_fields() -> None:
    predicate = {"metadata": {"authors": [{"name": "A"}, {"name": "B"}]}, "empty": None}
    assert ask("field", {"exists": ["metadata.authors[*].name"], "absent": ["debug", "empty"]}, predicate) == []
    assert ask("field", {"exists": ["metadata.owner"]}, predicate) == ["metadata.owner is absent, needs to be there"]
    assert ask("field", {"absent": ["metadata"]}, predicate) == ["metadata is there"]
    assert ask("field", {"exists": ["labels.stage"]}, predicate, said={"labels": {"stage": "prod"}}) == []
    for bad in ({}, {"exists": ["a ="]}, {"absent": ["a[*]"]}, {"exists": [""]}):
        with pytest.raises(DocumentError, match="^p"):
            CHECKS["field"].prepare(bad, "p")
