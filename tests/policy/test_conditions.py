"""Conditions: what each operator accepts, and that nothing that can't be compared is ever accepted."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.policy.checks.interface import Document
from assay.policy.conditions import EVALUATION, parse, violation
from helpers import one_sentence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def document(predicate: Any, said: Any = None, kind: str = "https://example.com/p") -> Document:
    return Document(kind, predicate, said or {}, (("m", {"sha256": "ab" * 32}),), NOW)


def holds(text: str, predicate: Any, said: Any = None, kind: str = "https://example.com/p") -> bool:
    return violation(parse(text, "where"), document(predicate, said, kind)) is None


TRUE: list[tuple[str, Any]] = [
    ("a == 1", {"a": 1}),
    ("a == 1", {"a": 1.0}),
    ("a != 1", {"a": 2}),
    ("a>=0.9", {"a": 0.9}),
    ("a > -3", {"a": -2}),
    ("a <= 1e3", {"a": 1000}),
    ("a < 2", {"a": 1}),
    ("a >= 90%", {"a": 0.9}),
    ("a == true", {"a": True}),
    ("a != true", {"a": False}),
    ("a == MIT", {"a": "MIT"}),
    ("a == 'two words'", {"a": "two words"}),
    ('a == "say \\"x\\""', {"a": 'say "x"'}),
    ("a == https://x.example/b", {"a": "https://x.example/b"}),
    ("a in [x, 'y z', 3]", {"a": "y z"}),
    ("a in [x, 'y, z', 3]", {"a": 3}),
    ("a in[x]", {"a": "x"}),
    ("a not in [x, y]", {"a": "z"}),
    ("a  not  in [x]", {"a": "z"}),
    ("a matches 'refs/heads/*'", {"a": "refs/heads/main"}),
    ("a matches 'x[1]*'", {"a": "x[1]yz"}),
    ("a contains b", {"a": ["a", "b"]}),
    ("a contains 1", {"a": [True, 1]}),
    ("a contains b", {"a": "abc"}),
    ("a exists", {"a": 0}),
    ("a exists", {"a": False}),
    ("a.b.c == 1", {"a": {"b": {"c": 1}}}),
    ("a[1] == 2", {"a": [1, 2]}),
    ("a[0][1].b == 2", {"a": [[1, {"b": 2}]]}),
    ('a."top-5 accuracy" >= 0.9', {"a": {"top-5 accuracy": 0.95}}),
    ("'x.y' == 1", {"x.y": 1}),
    ("top-5 == 1", {"top-5": 1}),
    ("a[*] >= 1", {"a": [1, 2]}),
    ("all a[*].b == x", {"a": [{"b": "x"}, {"b": "x"}]}),
    ("any a[*].b == x", {"a": [{"b": "y"}, {"b": "x"}]}),
    ("any a[*] == 1", {"a": ["x", 1]}),
    ("a[*] >= 1", {"a": {"p": 1, "q": 2}}),
    ("a[*][*] > 0", {"a": [[1], [2, 3]]}),
    ("any a[*][*] == 3", {"a": [[], [2, 3]]}),
    ("all >= 3", {"all": 3}),
    ("any in [x]", {"any": "x"}),
    ("a >= 2026-01-01", {"a": "2026-01-01T00:00:00Z"}),
    ("a < 2026-01-01T12:00:00Z", {"a": "2026-01-01T12:30:00+01:00"}),
    ("a == 2026-01-01", {"a": "2026-01-01"}),
    ("$schema exists", {"$schema": "x"}),
    ("predicate.labels.x == 1", {"labels": {"x": 1}}),
]

FALSE: list[tuple[str, Any]] = [
    ("a == 1", {}),
    ("a == 1", {"a": None}),
    ("a == 1", {"a": True}),
    ("a == true", {"a": 1}),
    ("a != true", {"a": 1}),
    ("a == 1", {"a": "1"}),
    ("a != 1", {"a": "2"}),
    ("a != 1", {}),
    ("a != x", {"a": 2}),
    ("a >= 0", {"a": math.nan}),
    ("a != 0", {"a": math.nan}),
    ("a >= 0", {"a": math.inf}),
    ("a not in [1]", {"a": math.nan}),
    ("a >= 0.9", {"a": 0.89}),
    ("a >= 0", {"a": [1]}),
    ("a in [x]", {"a": "y"}),
    ("a in [1]", {"a": True}),
    ("a in [x]", {"a": ["x"]}),
    ("a not in [x]", {"a": 1}),
    ("a not in [x]", {}),
    ("a matches '*'", {"a": 1}),
    ("a matches 'a*c'", {"a": "ab"}),
    ("a contains b", {"a": {"b": 1}}),
    ("a contains 1", {"a": [True]}),
    ("a contains 1", {"a": "1"}),
    ("a exists", {"a": None}),
    ("a exists", {"b": 1}),
    ("a.b == 1", {"a": [{"b": 1}]}),
    ("a[0] == 1", {"a": {"0": 1}}),
    ("a[3] == 1", {"a": [1]}),
    ("a[*] >= 1", {"a": []}),
    ("all a[*] >= 1", {"a": {}}),
    ("any a[*] >= 1", {"a": []}),
    ("a[*] >= 1", {"a": "text"}),
    ("a[*] >= 1", {"a": [1, 0]}),
    ("a[*].b exists", {"a": [{"b": 1}, {}]}),
    ("any a[*].b == x", {"a": [{"b": "y"}, {"c": "x"}]}),
    ("a[*][*] > 0", {"a": [[1], []]}),
    ("a >= 2026-01-01", {"a": "2025-12-31T23:59:59Z"}),
    ("a >= 2026-01-01", {"a": "2026-02-01T00:00:00"}),
    ("a >= 2026-01-01", {"a": "not a time"}),
    ("a >= 2026-01-01", {"a": 20260201}),
    ("a == 1.10", {"a": "1.10"}),
]


@pytest.mark.parametrize(("text", "predicate"), TRUE)
def test_holds(text: str, predicate: Any) -> None:
    assert holds(text, predicate)


@pytest.mark.parametrize(("text", "predicate"), FALSE)
def test_does_not_hold(text: str, predicate: Any) -> None:
    wrong = violation(parse(text, "where"), document(predicate))
    assert wrong is not None
    assert wrong.message.isprintable() and "needs" in wrong.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        3,
        None,
        ["a == 1"],
        "a",
        "a ==",
        "== 1",
        "a = 1",
        "a === 1",
        "a == x y",
        "a == 'x",
        'a == "\\x"',
        "a == null",
        "a in x",
        "a in []",
        "a in [x,]",
        "a in [,x]",
        "a in [x",
        "a == [x]",
        "a >= x",
        "a >= true",
        "a >= [1]",
        "a matches 3",
        "a exists 1",
        "a. == 1",
        "a..b == 1",
        "a[x] == 1",
        "a[-1] == 1",
        "a[ 1 ] == 1",
        '"*" == 1',
        '"" == 1',
        "any a == 1",
        "a >= 1e999",
        "said == 1",
        "x" * 2000 + " == 1",
        ".".join("a" * 50) + " == 1",
        "__import__('os').system('x') == 1",
        "a == 1; b == 2",
        "a == 1 and b == 2",
    ],
)
def test_refused(text: object) -> None:
    with pytest.raises(DocumentError) as error:
        parse(text, "policy.yml: where")
    assert one_sentence(error.value).startswith("policy.yml: where: ")


@pytest.mark.parametrize(
    ("text", "predicate", "message"),
    [
        ("accuracy >= 0.9", {"accuracy": 0.87}, "accuracy is 0.87, needs >= 0.9"),
        ("accuracy >= 90%", {}, "accuracy is absent, needs >= 0.9"),
        ("accuracy >= 0.9", {"accuracy": "0.95"}, "accuracy is '0.95' (text), needs >= 0.9"),
        ("a in [x, y]", {"a": "z"}, "a is 'z', needs in ['x', 'y']"),
        ("a[*].b > 1", {"a": [{"b": 2}, {"b": 1}]}, "a[*].b is 1, needs > 1 (at a[1].b)"),
        ("any a[*] > 1", {"a": [1]}, "a[*] is 1, needs one > 1"),
        ("a[*] > 1", {"a": []}, "a[*] has no items, needs > 1"),
        ("a == x", {"a": "\x1b[31m\n"}, "a is '\\x1b[31m\\n', needs == 'x'"),
        ("a exists", {}, "a is absent, needs to be there"),
    ],
)
def test_messages(text: str, predicate: Any, message: str) -> None:
    wrong = violation(parse(text, "where"), document(predicate))
    assert wrong is not None and wrong.message == message


def test_the_violation_says_where() -> None:
    wrong = violation(parse('a[*]."x y".c == 1', "where"), document({"a": [{"x y": {"c": 1}}, {"x y": {"c": 2}}]}))
    assert wrong is not None and wrong.path == 'a[1]["x y"].c' and wrong.details["found"] == "2"


def test_aliases_come_first_and_lead_to_what_is_said() -> None:
    aliases = {"training", "evaluation"}
    condition = parse("training.context.git_branch == main", "where", aliases=aliases)
    assert (condition.alias, condition.root, condition.path) == ("training", "said", ("context", "git_branch"))
    assert parse("evaluation.metrics.f1 > 0", "w", aliases=aliases).root == "predicate"
    assert parse("evaluation.said.size > 0", "w", aliases=aliases).path == ("size",)
    assert parse("training.revision == abc", "w", aliases=aliases).root == "said"
    for text in ("other.a == 1", "a == 1", "training == 1", "training.said == 1"):
        with pytest.raises(DocumentError):
            parse(text, "w", aliases=aliases)
    assert holds("labels.stage == prod", {"labels": {"stage": "dev"}}, {"labels": {"stage": "prod"}})
    assert not holds("context.git_branch == main", {"context": {"git_branch": "main"}}, {"context": {}})


def test_metrics_of_an_evaluation_need_no_prefix() -> None:
    evaluation = {"dataset": "x", "metrics": {"accuracy": 0.95, "samples": 3}, "samples": 100}
    assert holds("accuracy >= 0.9", evaluation, kind=EVALUATION)
    assert holds("metrics.accuracy >= 0.9", evaluation, kind=EVALUATION)
    assert holds("samples == 100", evaluation, kind=EVALUATION)
    assert not holds("accuracy >= 0.9", evaluation)
    assert not holds("f1 >= 0.9", evaluation, kind=EVALUATION)


def test_globs_take_linear_time() -> None:
    """A pattern on which a backtracking matcher would not end before the universe does; this test ends."""
    pattern = "*a" * 200 + "b"
    condition = parse(f"a matches '{pattern}'", "where")
    assert violation(condition, document({"a": "a" * 20_000})) is not None
    assert violation(condition, document({"a": "a" * 20_000 + "b"})) is None


def test_a_wide_document_is_walked_once() -> None:
    wide = {"a": [{"b": [{"c": 1}] * 300}] * 300}
    assert holds("a[*].b[*].c == 1", wide)
    assert not holds("any a[*].b[*].c == 2", wide)


@settings(max_examples=150, deadline=None)
@given(JSON, st.sampled_from([text for text, _ in TRUE]), st.sampled_from(["https://x", EVALUATION]))
def test_any_document_gets_an_answer(value: Any, text: str, kind: str) -> None:
    for predicate in ({"a": value}, {"a": [value]}, {"a": {"b": value}}, value):
        wrong = violation(parse(text, "where"), document(predicate, kind=kind))
        assert wrong is None or (wrong.message.isprintable() and len(wrong.message) < 1500)


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=40)
    | st.from_regex(r"[a-z\[\]\*\.\"' ]{1,10} ?(==|in|>=|matches|exists) ?[a-z0-9\[\],'\"%. ]{0,10}")
)
def test_any_text_is_a_condition_or_a_sentence(text: str) -> None:
    try:
        condition = parse(text, "where")
    except DocumentError as error:
        one_sentence(error)
        return
    violation(condition, document({"a": 1}))


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=12), st.floats(allow_nan=False, allow_infinity=False))
def test_thresholds_agree_with_python(key: str, limit: float) -> None:
    if key in ("*", "?"):
        return
    condition = parse(f"predicate.{json.dumps(key)} >= {limit!r}", "where")
    for value in (limit, math.nextafter(limit, -math.inf), math.nextafter(limit, math.inf)):
        if math.isfinite(value):
            assert (violation(condition, document({key: value})) is None) == (value >= limit)
