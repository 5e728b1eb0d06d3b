"""Expressions in linear time say what Python's engine says, and refuse what could not be linear."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.guard.gateway.rules.linear import MOST_REMEMBERED, Linear

atoms = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", r"\d", r"\w", "^", r"\Z", "(?:a|bc)", "(b)", "[a-c]", r"\."]
)
pieces = st.builds(
    lambda atom, repeat: atom if atom in ("^", r"\Z") else atom + repeat,
    atoms,
    st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?"]),
)
branches = st.lists(pieces, max_size=4).map("".join)
patterns = st.lists(branches, min_size=1, max_size=3).map("|".join)
nested = st.builds(
    lambda inner, repeat, after: f"(?:{inner}){repeat}{after}",
    patterns,
    st.sampled_from(["", "*", "+", "{0,2}"]),
    pieces,
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(patterns, nested), st.text("abc1. ", max_size=12))
def test_as_python_says(pattern: str, text: str) -> None:
    assert Linear(pattern, "t").search(text.encode()) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "(a|aa)+$", "a*a*a*a*a*a*b", "(.*)*x", "(a?){25}a{25}$"])
def test_what_blows_up_elsewhere_ends_here(pattern: str) -> None:
    """Of Python's engine each of these takes longer than the universe."""
    assert not Linear(pattern, "t").search(b"a" * 30_000 + b"!")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?i)a",
        "(?i:a)",
        "(",
        "[",
        "a{3000}",
        "(a{100}){100}",
        "(?:){2000000}",
        "(?:(?:){1000}){1000}",
        r"\b",
        "(?>a)",
        "a" + "(" * 300,
        "ü\u20ac",
    ],
)
def test_what_is_not_linear_or_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(DocumentError, match="^rule x"):
        Linear(pattern, "rule x")


def test_what_is_remembered_is_bounded() -> None:
    expression = Linear("a.{800}b", "t")
    text = random.Random(0).randbytes(3000).translate(bytes(b"ac"[byte % 2] for byte in range(256)))
    assert not expression.search(text) and expression.search(text + b"a" + b"c" * 800 + b"b")
    table = expression._table
    assert 0 < sum(len(state) + len(row) for state, row in table.items()) < MOST_REMEMBERED + 1000
