"""Inputs: declared, bound and put in place, and none of what they hold is ever read as anything but a value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.policy.reading.inputs import MAX_GROWTH, Bound, Input, bind, declare, substitute
from helpers import one_sentence

DECLARED = [
    {"name": "licences", "type": "list", "required": True, "description": "allowed ones"},
    {"name": "limit", "type": "integer", "default": 3},
    {"name": "share", "type": "number"},
    {"name": "age", "type": "duration", "default": "7d"},
    {"name": "strict", "type": "boolean", "default": False},
    {"name": "team"},
    {"name": "level", "choices": ["low", "high"]},
    {"name": "table", "type": "object"},
]


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        call(*arguments)
    return one_sentence(caught.value) + " | " + (caught.value.hint or "")


def test_declared_and_bound() -> None:
    declared = declare(DECLARED, "rule.yaml")
    assert declared[0] == Input("licences", "list", "allowed ones", None, True)
    bound = bind(declared, {"licences": ["MIT"], "share": 0.5, "table": {"a": 1}}, "with")
    assert bound == {
        "licences": ["MIT"],
        "limit": 3,
        "share": 0.5,
        "age": "7d",
        "strict": False,
        "table": {"a": 1},
    }
    assert "team" in bound.names


@pytest.mark.parametrize(
    ("given_value", "problem"),
    [
        ({}, "the input 'licences' (a list) is not given"),
        ({"licences": None}, "not given"),
        ({"licences": "MIT"}, "not a list"),
        ({"licences": [], "limit": "3"}, "not a whole number"),
        ({"licences": [], "limit": True}, "not a whole number"),
        ({"licences": [], "limit": 3.0}, "not a whole number"),
        ({"licences": [], "share": True}, "not a number"),
        ({"licences": [], "strict": "yes"}, "not true or false"),
        ({"licences": [], "age": "7 days"}, "not a duration"),
        ({"licences": [], "age": 7}, "not a duration"),
        ({"licences": [], "team": 1}, "not text"),
        ({"licences": [], "level": "mid"}, "not one of low, high"),
        ({"licences": [], "table": []}, "not a mapping"),
        ({"licences": [], "limmit": 3}, "did you mean 'limit'?"),
    ],
)
def test_binding_refuses(given_value: dict[str, Any], problem: str) -> None:
    assert problem in refused(bind, declare(DECLARED, "rule.yaml"), given_value, "with of x@v1")


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({}, "not a list"),
        (["limit"], "not a mapping"),
        ([{"type": "list"}], "name is not a word"),
        ([{"name": "a.b"}], "name is not a word"),
        ([{"name": "a", "type": "strng"}], "did you mean 'string'?"),
        ([{"name": "a", "type": ["list"]}], "is no type"),
        ([{"name": "a", "typ": "list"}], "did you mean 'type'?"),
        ([{"name": "a"}, {"name": "a"}], "declared twice"),
        ([{"name": "a", "required": "yes"}], "not true or false"),
        ([{"name": "a", "required": True, "default": "x"}], "never be used"),
        ([{"name": "a", "type": "integer", "default": "x"}], "the default of a"),
        ([{"name": "a", "choices": "x"}], "choices"),
        ([{"name": f"a{i}"} for i in range(200)], "more than 100"),
    ],
)
def test_declaring_refuses(declared: Any, problem: str) -> None:
    assert problem in refused(declare, declared, "rule.yaml")


def test_references_are_replaced_and_keep_their_type() -> None:
    bound = bind(declare(DECLARED, "r"), {"licences": ["MIT"], "team": "vision"}, "with")
    tree = {
        "allow": "${{ inputs.licences }}",
        "limit": "${{inputs.limit}}",
        "text": "at most ${{ inputs.limit }} of ${{ inputs.team }}, ${{ inputs.strict }}",
        "absent": "${{ inputs.share }}",
        "list": ["${{ inputs.share }}", 1, None],
        "plain": "$ {{ x }}",
    }
    assert substitute(tree, bound, "r") == {
        "allow": ["MIT"],
        "limit": 3,
        "text": "at most 3 of vision, false",
        "list": [1, None],
        "plain": "$ {{ x }}",
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("${{ inputs.limmit }}", "did you mean 'limit'?"),
        ("${{ secrets.token }}", "is no reference"),
        ("${{ inputs.limit + 1 }}", "is no reference"),
        ("${{ inputs.limit", "never closed"),
        ("a ${{ inputs.limit }} ${{", "never closed"),
        ("at most ${{ inputs.licences }}", "is a list"),
        ("of ${{ inputs.share }}", "is not given"),
        ({"${{ inputs.team }}": 1}, "a key cannot hold a reference"),
        ({"rego": {"script": "x := ${{ inputs.limit }}"}}, "input.config.args.NAME"),
    ],
)
def test_references_that_are_refused(value: Any, problem: str) -> None:
    bound = bind(declare(DECLARED, "r"), {"licences": ["MIT"]}, "with")
    assert problem in refused(substitute, value, bound, "r")


@pytest.mark.parametrize(
    "hostile",
    ["${{ inputs.other }}", "x\nadmin: true", "]\n- evil", '"}', "{{ .Args.X }}", "*alias", "!!python/none", "${{"],
)
def test_a_value_is_a_value_whatever_it_holds(hostile: str) -> None:
    """It is put in once: no reference, YAML or template in it comes to life."""
    bound = {"x": hostile, "other": "secret"}
    assert substitute({"a": "${{ inputs.x }}", "b": "<${{ inputs.x }}>"}, bound, "r") == {
        "a": hostile,
        "b": f"<{hostile}>",
    }


def test_references_cannot_make_a_bomb() -> None:
    bound = {"x": "y" * 100_000}
    many = ["-${{ inputs.x }}"] * (MAX_GROWTH // 100_000 + 1)
    assert "too long" in refused(substitute, many, bound, "r")


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.lists(st.text(max_size=5), max_size=3)


@given(st.text(alphabet="${} inputs.xy\n", max_size=40), VALUES)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str, value: Any) -> None:
    bound = Bound({} if value is None else {"x": value})
    bound.names = ("x",)
    try:
        made = substitute([text], bound, "r")
    except DocumentError as error:
        one_sentence(error)
    else:
        if "${{" not in text:
            assert made == [text]
