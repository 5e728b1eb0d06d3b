"""Schemas of any kind: written and read back, and deciding as a plain reading of their words does."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.guard.gateway.interface import Measure
from assay.guard.gateway.schemas.model import Column, Schema, Vector, dumps, loads
from assay.guard.gateway.schemas.validate import Validator
from guard.gateway.protocols.asking import measure
from guard.gateway.schemas.test_validate import guarded

numbers = st.none() | st.integers(-5, 5).map(float) | st.floats(-1e20, 1e20)
letters = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\\u2028\u2029\x85\ufeff\ufffe\uffff'),
    min_size=1,
    max_size=6,
)
values = st.lists(
    letters | st.integers(-3, 3) | st.booleans() | st.floats(-5, 5), max_size=4, unique_by=lambda v: (type(v), v)
).map(tuple)


@st.composite
def columns(draw, names=letters):
    kind = draw(st.sampled_from(["number", "integer", "boolean", "category", "text"]))
    low, high = draw(numbers), draw(numbers)
    if low is not None and high is not None and low > high:
        low, high = high, low
    ranged = kind in ("number", "integer")
    return Column(
        name=draw(names), kind=kind, minimum=low if ranged else None, maximum=high if ranged else None,
        values=draw(values) if kind == "category" else (), nullable=draw(st.booleans()),
        max_length=draw(st.none() | st.integers(0, 5)) if kind in ("text", "category") else None,
    )  # fmt: skip


schemas = st.lists(columns(), min_size=1, max_size=4, unique_by=lambda column: column.name).map(
    lambda some: Schema(columns=tuple(some))
) | st.builds(
    lambda width, integer: Schema(vector=Vector(width=width, integer=integer, minimum=-2.0)),
    st.integers(1, 4),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(schemas)
def test_documents_are_read_back_as_written(schema):
    again = loads(dumps(schema), "s.yaml")
    assert again == schema
    assert repr(again) == repr(schema)  # 1, 1.0 and true are equal and not the same
    Validator(schema, 5)


def fits(column: Column, value) -> bool:
    """What the words of the document mean."""
    if value is None:
        return column.nullable
    number = type(value) in (int, float) and math.isfinite(value)
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    if column.kind == "number":
        return number and low <= value <= high
    if column.kind == "integer":
        return number and low <= value <= high and float(value).is_integer()
    if column.kind == "boolean":
        return type(value) is bool or (number and value in (0, 1))
    if column.kind == "category" and column.values:
        return any(
            value == one
            and isinstance(value, str) == isinstance(one, str)
            and (type(value) is bool) <= (type(one) is bool)
            for one in column.values
        )
    return type(value) is str and len(value) <= (10_000 if column.max_length is None else column.max_length)


cells = (
    st.none()
    | st.booleans()
    | st.integers(-6, 6)
    | st.floats(-6, 6)
    | st.integers(-6, 6).map(float)
    | st.text("ab", max_size=6)
)


@settings(max_examples=400, deadline=None)
@given(
    columns(names=st.just("a")), columns(names=st.just("b")), st.lists(st.tuples(cells, cells), min_size=1, max_size=3)
)
def test_rows_are_decided_as_the_words_say(a, b, rows):
    if any(type(one) is bool for column in (a, b) for one in column.values):
        return  # a category of truth values takes 1 for true: said in the next test
    routes = guarded(Schema(columns=(a, b)))
    wanted = all(fits(a, x) and fits(b, y) for x, y in rows)
    for body in (
        {"instances": rows},
        {"instances": [{"a": x, "b": y} for x, y in rows]},
        {"inputs": {"a": [x for x, _ in rows], "b": [y for _, y in rows]}},
    ):
        got = measure("kserve-v1", json.dumps(body).encode(), routes=routes)
        assert isinstance(got, Measure) == wanted, (body, got)


def test_truth_values_among_categories():
    routes = guarded(Schema(columns=(Column(name="a", kind="category", values=(True, "x")),)))
    for value, wanted in ((True, True), (False, False), ("x", True), ("true", False), (2, False)):
        assert isinstance(measure("kserve-v1", {"instances": [{"a": value}]}, routes=routes), Measure) is wanted
