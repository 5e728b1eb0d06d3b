"""Rows against schemas, by every protocol: the first problem by name, never by value."""

import json
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.guard.gateway.interface import Decision, Measure
from assay.guard.gateway.schemas.model import Column, Schema, Vector, dumps, loads
from assay.guard.gateway.schemas.validate import Invalid, Validator
from guard.gateway.protocols.asking import context, measure, refused, rows, sample, serving

PEOPLE = Schema(
    columns=(
        Column(name="age", kind="integer", minimum=17, maximum=90),
        Column(name="gain", kind="number", minimum=0.0, nullable=True),
        Column(name="job", kind="category", values=("clerk", "farmer")),
        Column(name="code", kind="category", values=(1, 2, 5)),
        Column(name="owner", kind="boolean"),
        Column(name="note", kind="text", max_length=5),
    )
)
GOOD = {"age": 40, "gain": 1.5, "job": "clerk", "code": 5, "owner": True, "note": "ok"}
FLAT = Schema(columns=tuple(Column(name=name, kind="number", minimum=0.0, maximum=1.0) for name in "abcd"))
PIXELS = Schema(vector=Vector(width=4, minimum=0.0, maximum=16.0, integer=True))


def guarded(schema, mode="enforce", most=3):
    protocols = ("open-inference", "kserve-v1", "sagemaker", "json")
    routes = [{"protocol": one, "schema": {"rows": most, "mode": mode}} for one in protocols]
    routes[3]["path"] = "/predict"
    return serving(*routes, schemas=dict.fromkeys(range(4), schema))


def reason(path, body, routes, kind=b"application/json", headers=None) -> str:
    decision = measure(path, body, kind, routes, headers)
    assert isinstance(decision, Decision) and (decision.status, decision.rule) == (422, "schema"), decision
    return decision.reason


def tensors(row, **kinds):
    return {
        "inputs": [
            {"name": name, "shape": [1], "data": [value], "datatype": "BYTES" if isinstance(value, str) else "FP64"}
            for name, value in row.items()
        ]
    }


def ways(row):
    """The same row by each protocol."""
    yield "kserve-v1", {"instances": [row]}, b"application/json"
    yield "kserve-v1", {"instances": [list(row.values())]}, b"application/json"
    yield "kserve-v1", {"inputs": {name: [value] for name, value in row.items()}}, b"application/json"
    yield "sagemaker", {"instances": [row]}, b"application/json"
    yield "sagemaker", [list(row.values())], b"application/json"
    yield "sagemaker", {"dataframe_records": [row]}, b"application/json"
    split = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
    yield "sagemaker", split, b"application/json"
    yield "sagemaker", json.dumps(row).encode(), b"application/jsonlines"
    yield "json", {"instances": [row]}, b"application/json"
    yield "json", {"instances": row}, b"application/json"
    yield (
        "open-inference",
        tensors({n: float(v) if isinstance(v, bool) else v for n, v in row.items()}),
        b"application/json",
    )


def test_a_good_row_passes_every_way():
    routes = guarded(PEOPLE)
    for path, body, kind in ways(GOOD):
        assert rows(path, body, kind, routes) == 1, (path, body)
    for path, body, kind in ways(GOOD | {"age": 40.0, "code": 5.0, "owner": 1}):
        assert rows(path, body, kind, routes) == 1, (path, body)
    assert rows("sagemaker", b"40,1.5,clerk,5,true,ok\n17,,farmer,1,false,x", b"text/csv", routes) == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("age", 16), ("age", 91), ("age", 40.5), ("age", 1e300), ("age", -5), ("gain", -0.001), ("job", "spy-4711"),
        ("job", "Clerk"), ("job", ""), ("code", 3), ("code", 1.5), ("owner", 2), ("note", "sixsix-4711"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_every_way_and_told_by_its_column(column, value):
    routes = guarded(PEOPLE)
    for path, body, kind in ways(GOOD | {column: value}):
        said = reason(path, body, routes, kind)
        assert f"column '{column}' must be" in said, (path, said)
        assert "4711" not in said
    line = ",".join(str(one) for one in (GOOD | {"owner": "true", column: value}).values()).encode()
    assert column in reason("sagemaker", line, routes, b"text/csv")


def test_types_are_not_bent():
    routes = guarded(PEOPLE)
    for column, value in (("age", "40"), ("age", None), ("age", True), ("job", 1), ("note", None), ("gain", "1"),
                          ("age", [40]), ("age", {}), ("code", "5"), ("owner", "true")):  # fmt: skip
        for form in ({"instances": [GOOD | {column: value}]}, {"instances": [list((GOOD | {column: value}).values())]}):
            assert column in reason("kserve-v1", form, routes)
    assert rows("kserve-v1", {"instances": [GOOD | {"gain": None}]}, routes=routes) == 1
    without = {name: value for name, value in GOOD.items() if name != "gain"}
    assert rows("kserve-v1", {"instances": [without]}, routes=routes) == 1


def test_columns_that_are_missing_or_more():
    routes = guarded(PEOPLE)
    said = reason("kserve-v1", {"instances": [GOOD | {"evil-4711": 1}]}, routes)
    assert said == "a row has a column that this model does not take"
    without = {name: value for name, value in GOOD.items() if name != "job"}
    assert reason("kserve-v1", {"instances": [without]}, routes) == "a row lacks the column 'job'"
    for row in ([], [40], [*GOOD.values(), 1]):
        assert "6 columns" in reason("kserve-v1", {"instances": [row]}, routes)
    assert "columns" in reason("kserve-v1", {"inputs": {"age": [40]}}, routes)
    assert "columns" in reason("open-inference", tensors({"age": 40.0}), routes)
    assert "columns" in reason("sagemaker", {"dataframe_split": {"columns": ["age"], "data": [[40]]}}, routes)
    wrong = {"dataframe_split": {"columns": list(GOOD)[::-1], "data": [list(GOOD.values())]}}
    assert "in their order" in reason("sagemaker", wrong, routes)
    assert (
        refused("kserve-v1", b'{"instances":[' + json.dumps(GOOD).encode()[:-1] + b',"age":41}]}', routes=routes) == 400
    )


def test_rows_are_capped_every_way():
    routes = guarded(FLAT)
    row = [0.5] * 4
    many = {"open-inference": {"inputs": [{"name": "x", "shape": [4, 4], "datatype": "FP32", "data": row * 4}]}}
    for path in ("kserve-v1", "json", "sagemaker"):
        many[path] = {"instances": [row] * 4}
    for path, body in many.items():
        assert "at most 3 rows" in reason(path, body, routes)
    assert "at most 3 rows" in reason("sagemaker", b"0,0,0,0\n" * 4, routes, b"text/csv")
    assert "at most 3 rows" in reason("sagemaker", b"[0,0,0,0]\n" * 4, routes, b"application/jsonlines")


def test_matrices_and_flat_rows():
    routes = guarded(FLAT)
    assert rows("sagemaker", [0, 1, 0.5, 0], routes=routes) == 1
    assert rows("json", {"instances": [0, 1, 0.5, 0]}, routes=routes) == 1
    assert rows("sagemaker", {"instances": [{"features": [0, 1, 0.5, 0]}]}, routes=routes) == 1
    assert "4 columns" in reason("sagemaker", {"instances": [{"features": [0, 1, 0.5]}]}, routes)
    assert "'c'" in reason("sagemaker", {"instances": [{"features": [0, 1, 5, 0]}]}, routes)
    assert "'c'" in reason("sagemaker", b'{"features":[0,1,5,0]}', routes, b"application/jsonlines")
    body = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [0.0] * 7 + [1.5]}]}
    assert "'d'" in reason("open-inference", body, routes)
    body["inputs"][0]["shape"] = [1, 8]
    assert "columns" in reason("open-inference", body, routes)
    table = routes.table(sample(routes, "kserve-v1", b'{"instances":[[0,0,1,1]]}'))
    assert table is not None and table.names == ("a", "b", "c", "d")


def test_numbers_that_are_none():
    routes = guarded(FLAT)
    for word in (b"nan", b"NaN", b"inf", b"-Infinity", b"1e999", b"0x1", b"1_0", b" 1", b""):
        assert reason("sagemaker", b"0,0," + word + b",0", routes, b"text/csv")
    free = guarded(Schema(columns=tuple(Column(name=name, kind="number") for name in "abcd")))
    for word in (b"nan", b"inf", b"-infinity", b"1e999"):
        assert "'c'" in reason("sagemaker", b"0,0," + word + b",0", free, b"text/csv")
    kind = b"application/octet-stream"
    for odd in (math.nan, math.inf, -math.inf):
        data = struct.pack("<4f", 0, 0, odd, 0)
        head = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
        text = json.dumps({"inputs": [head]}).encode()
        headers = {b"inference-header-content-length": str(len(text)).encode()}
        assert "'c'" in reason("open-inference", text + data, free, kind, headers)


def test_vectors():
    routes = guarded(PIXELS)
    assert rows("kserve-v1", {"instances": [[0, 16, 3, 4.0]]}, routes=routes) == 1
    assert rows("kserve-v1", {"instances": [[[0, 16], [3, 4]], [[0, 0], [0, 0]]]}, routes=routes) == 2
    assert rows("sagemaker", b"0,16,3,4", b"text/csv", routes) == 1
    body = {"inputs": [{"name": "x", "shape": [1, 2, 2], "datatype": "UINT8", "data": [0, 16, 3, 4]}]}
    assert rows("open-inference", body, routes=routes) == 1
    for row in ([0, 17, 3, 4], [0, 1.5, 3, 4], [0, 1, 3], [0, 1, 3, "4"], [[0, 1], [2, 17]], [[0, 1], [2, None]]):
        assert refused("kserve-v1", {"instances": [row]}, routes=routes) == 422


def test_counting_only_counts():
    routes = guarded(FLAT, mode="count")
    for body, counted in (({"instances": [[9] * 4] * 5}, ("schema",)), ({"instances": [[0] * 4]}, ())):
        asked = context(routes, "kserve-v1")
        measured = routes.measure(asked, json.dumps(body).encode())
        assert isinstance(measured, Measure) and measured.rows == len(body["instances"])
        assert asked.counted == counted
    assert refused("kserve-v1", b'{"instances":[[0,0,0,0]],"instances":[[0,0,0,0]]}', routes=routes) == 400
    assert refused("kserve-v1", {"instances": [[1], [1, 2]]}, routes=routes) == 422  # nobody could count that


def test_many_numbers_are_checked_like_few():
    columns = (
        Column(name="a", kind="integer", minimum=0, maximum=3, nullable=True),
        Column(name="b", kind="category", values=(1, 2.5)),
        Column(name="c", kind="number", maximum=1.0),
    )
    validator = Validator(Schema(columns=columns), 10_000)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([0.0, 1.0, 3.0, 4.0, 0.5, math.nan]), st.sampled_from([1.0, 2.5, 2.0, math.nan]),
                st.sampled_from([0.0, 1.0, 1.5, -1e300, math.nan, math.inf]),
            ), min_size=1, max_size=3,
        )
    )  # fmt: skip
    def same(some):
        def fits(given):
            flat = [value for row in given for value in row]
            try:
                validator.numbers(flat, len(given))
            except Invalid:
                return False
            return True

        assert fits(some) == fits([(1.0, 1.0, 0.0)] * 400 + some)
        # Beside them, what it says: by hand.
        assert fits(some) == all(
            (math.isnan(a) or a in (0, 1, 2, 3)) and b in (1, 2.5) and -math.inf < c <= 1 for a, b, c in some
        )

    same()


def test_documents_are_read_back_as_written():
    for schema in (PEOPLE, FLAT, PIXELS):
        assert loads(dumps(schema), "s.yaml") == schema
    assert loads(b'{"assay-schema": 1, "vector": {"width": 3}}', "s.json").vector == Vector(width=3)


@pytest.mark.parametrize(
    "text",
    [
        "", "a: 1", "assay-schema: 2", "assay-schema: 1", "assay-schema: 1\ncolumns: []",
        "assay-schema: 1\ncolumns: [{name: a, kind: number}, {name: a, kind: text}]",
        "assay-schema: 1\ncolumns: [{name: a, kind: number, minimum: 2, maximum: 1}]",
        "assay-schema: 1\ncolumns: [{name: a, kind: number, minimum: .nan}]",
        "assay-schema: 1\ncolumns: [{name: a, kind: number, values: [1]}]",
        "assay-schema: 1\ncolumns: [{name: a, kind: other}]",
        "assay-schema: 1\ncolumns: [{name: a, kind: text, more: 1}]",
        'assay-schema: 1\ncolumns: [{name: "a\\"b", kind: text}]',
        "assay-schema: 1\nvector: {width: 0}",
        "assay-schema: 1\nvector: {width: 2}\ncolumns: [{name: a, kind: text}]",
    ],
)  # fmt: skip
def test_documents_that_make_no_sense_are_told(text):
    with pytest.raises(DocumentError, match="s.yaml"):
        loads(text.encode(), "s.yaml")
