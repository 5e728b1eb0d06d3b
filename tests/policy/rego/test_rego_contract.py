"""The result of a rule: every generation's form is read, and nothing but ``true`` allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.policy.rego.contract import TEXT, VIOLATIONS, read_result
from assay.policy.rego.interface import Answer
from assay.policy.verdict import Violation


def read(value: Any) -> Any:
    return read_result(Answer(value, True))


def test_the_second_generation() -> None:
    result = read(
        {
            "allow": False,
            "violation": {"type": "Banned licence", "details": [{"component": "readline", "licence": "GPL-3.0"}]},
            "summary": [{"allow": False, "violations": 1, "reason": "1 banned licence"}],
            "asset": {"name": "model"},
            "short_description": "licences",
            "description": "Licences that are banned",
            "errors": [],
        }
    )
    assert (result.allow, result.error, result.reason) == (False, None, "1 banned licence")
    (violation,) = result.violations
    assert violation.message == "Banned licence: component readline, licence GPL-3.0"
    assert violation.details == {"component": "readline", "licence": "GPL-3.0"}
    assert (result.short_description, result.description) == ("licences", "Licences that are banned")
    assert result.asset == {"name": "model"}


def test_the_first_generation() -> None:
    result = read({"allow": True, "violations": ["a", {"msg": "b"}, 3], "summary": [{"reason": "ok"}]})
    assert result.allow is True and result.reason == "ok"
    assert [violation.message for violation in result.violations] == ["a", "b", "3"]


@pytest.mark.parametrize("allow", ["true", "True", 1, 1.0, {}, {"a": 1}, [], [True], None, "", "yes", 0])
def test_nothing_but_true_allows(allow: Any) -> None:
    result = read({"allow": allow})
    assert result.allow is False and result.error is not None and "allow" in result.error


@pytest.mark.parametrize("value", [True, 1, "allow", [], [{"allow": True}], None, {}, {"Allow": True}, {"deny": []}])
def test_results_of_another_form_are_errors(value: Any) -> None:
    result = read(value)
    assert result.allow is False and result.error


def test_undefined_and_failed_are_errors() -> None:
    assert "undefined" in (read_result(Answer()).error or "")
    failed = read_result(Answer({"allow": True}, True, error="rule.rego:1: no"))
    assert (failed.allow, failed.error) == (False, "rule.rego:1: no")
    assert read_result(Answer({"allow": True}, True, error="")).error


@pytest.mark.parametrize("errors", [["x"], "x", {"a": 1}, 1, True, [""], [None], False])
def test_errors_of_its_own_are_errors(errors: Any) -> None:
    result = read({"allow": True, "errors": errors})
    assert result.allow is False and result.error and result.error.startswith("the rule reports")


@pytest.mark.parametrize("errors", [[], "", {}, None])
def test_no_errors_are_none(errors: Any) -> None:
    assert read({"allow": True, "errors": errors}).allow is True


@pytest.mark.parametrize("summary", [[{"allow": False}], [{"allow": True}, {"allow": False}], {"allow": False}])
def test_a_result_that_contradicts_itself(summary: Any) -> None:
    assert read({"allow": True, "summary": summary}).error == "the rule's 'allow' is true and its summary's is false"


@pytest.mark.parametrize("violation", ["x", [1], 1, True])
def test_a_violation_that_is_none(violation: Any) -> None:
    assert read({"allow": True, "violation": violation}).error


def test_violations_are_bounded_and_printable() -> None:
    result = read(
        {"allow": False, "violation": {"type": "t", "details": [{"message": "a\x1b[2Jb\n" + "x" * 9_999}] * 5_000}}
    )
    assert len(result.violations) == VIOLATIONS + 1
    assert result.violations[-1] == Violation("and 4,000 more")
    assert result.violations[0].message.startswith("t: a [2Jb xxx") and len(result.violations[0].message) <= TEXT
    assert all(len(text) <= TEXT for text in result.violations[0].details.values())


def test_deep_and_wide_details_cost_little() -> None:
    deep: Any = "end"
    for _ in range(100):
        deep = {"a": deep, "b": [deep, [deep]]} if isinstance(deep, str) else {"a": deep}
    wide = {str(number): [number] * 1_000 for number in range(10_000)}
    nested: Any = 1
    for _ in range(80):
        nested = [nested] * 2 if isinstance(nested, int) else [nested, nested]
    result = read({"allow": False, "violations": [deep, wide, nested], "asset": nested, "errors": []})
    assert len(result.violations) == 3 and result.error is None
    assert len(str(result.violations)) < 60_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["violation", "violations", "summary", "errors", "asset", "description", "short_description"]


@given(JSON | st.fixed_dictionaries({"allow": JSON}, optional=dict.fromkeys(KEYS, JSON)))
def test_any_value_is_read_and_only_true_allows(value: Any) -> None:
    result = read(value)
    assert result.allow is False or (result.error is None and value["allow"] is True)
    assert (result.error is None) or result.violations == ()
    for violation in result.violations:
        assert violation.message.isprintable()
