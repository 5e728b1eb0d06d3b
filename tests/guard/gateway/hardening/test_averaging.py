"""Noise that would average out: one input written in many ways must be given one and the same noise."""

import json

import pytest

from assay.guard.gateway.schemas.model import Column, Schema, Vector
from guard.gateway.protocols.asking import context, serving

NOISE = {"noisy": {"noise": 0.05}}
TABLE = Schema(
    columns=(
        Column(name="age", kind="number"),
        Column(name="job", kind="text", nullable=True),
        Column(name="pay", kind="number", nullable=True),
    )
)
ANSWER = {"predictions": [[0.1, 0.2, 0.3, 0.4]]}


def given(routes, path, body, kind=b"application/json", headers=None) -> list[float]:
    """The noisy answer to a body with one row."""
    asked = context(routes, path, kind, headers, harden="noisy")
    asked.model = asked.model or ""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    measured = routes.measure(asked, body)
    assert getattr(measured, "rows", None) == 1, measured
    asked.model = measured.model or asked.model
    found = routes.harden(asked, 200, b"application/json", json.dumps(ANSWER).encode(), body)
    return json.loads(found)["predictions"][0]


def all_the_same(answers) -> bool:
    return len({tuple(answer) for answer in answers}) == 1


def test_a_header_that_a_single_model_ignores_gives_no_new_noise():
    """A container with one model serves it whatever ``X-Amzn-SageMaker-Target-Model`` says."""
    routes = serving({"protocol": "sagemaker"}, hardenings=NOISE)
    headers = [{}, *({b"x-amzn-sagemaker-target-model": b"m%d" % i} for i in range(20))]
    assert all_the_same(given(routes, "sagemaker", {"instances": [[1, 2]]}, headers=one) for one in headers)


def test_models_that_the_file_names_have_noise_of_their_own():
    """Or a caller who knows one of two models that answer to one question would know the other's noise."""
    routes = serving({"protocol": "sagemaker", "models": ["a", "b"]}, hardenings=NOISE)
    a, b = (
        given(routes, "sagemaker", {"instances": [[1, 2]]}, headers={b"x-amzn-sagemaker-target-model": name})
        for name in (b"a", b"b")
    )
    assert a != b


def test_numbers_as_texts():
    routes = serving({"protocol": "json", "path": "/predict"}, hardenings=NOISE)
    values = [1.5, "1.5", "1.50", "1.5000000", " 1.5", "15e-1", "+1.5", "0001.5"]
    assert all_the_same(given(routes, "json", {"instances": [[value, 2]]}) for value in values)
    assert given(routes, "json", {"instances": [["one", 2]]}) != given(routes, "json", {"instances": [["two", 2]]})


def test_what_is_missing_is_null():
    routes = serving(
        {"protocol": "json", "path": "/predict", "schema": {"file": "unused"}}, hardenings=NOISE, schemas={0: TABLE}
    )
    rows = [
        {"age": 3, "job": None, "pay": None},
        {"pay": None, "age": 3.0},
        {"age": 3},
        {"age": 3, "job": None},
        [3, None, None],
    ]
    assert all_the_same(given(routes, "json", {"instances": [row]}) for row in rows)


def test_names_and_places_are_the_same_columns():
    routes = serving({"protocol": "sagemaker", "schema": {"file": "unused"}}, hardenings=NOISE, schemas={0: TABLE})
    named = {"age": 30, "job": "cook", "pay": 12.5}
    answers = [
        given(routes, "sagemaker", {"instances": [named]}),
        given(routes, "sagemaker", {"instances": [list(named.values())]}),
        given(routes, "sagemaker", {"dataframe_records": [named]}),
        given(routes, "sagemaker", {"dataframe_split": {"columns": list(named), "data": [list(named.values())]}}),
        given(routes, "sagemaker", {"inputs": {name: [value] for name, value in named.items()}}),
        given(routes, "sagemaker", json.dumps(list(named.values())).encode(), b"application/jsonlines"),
        given(routes, "sagemaker", b"30,cook,12.5\n", b"text/csv"),
        given(routes, "sagemaker", b'30.0,"cook",1.25e1\n', b"text/csv"),
    ]
    assert all_the_same(answers)


@pytest.mark.parametrize("named", [False, True])
def test_a_vector_is_one_however_it_is_nested(named):
    routes = serving(
        {"protocol": "json", "path": "/predict", "schema": {"file": "unused"}},
        hardenings=NOISE,
        schemas={0: Schema(vector=Vector(width=4, name="pixels"))},
    )
    rows = [[1, 2, 3, 4], [[1, 2], [3, 4]], [[1], [2], [3], [4]], [[[1, 2, 3, 4]]]]
    if named:
        rows = [rows[0], {"pixels": rows[0]}]
    assert all_the_same(given(routes, "json", {"instances": [row]}) for row in rows)


def test_other_rows_have_other_noise():
    routes = serving({"protocol": "json", "path": "/predict"}, hardenings=NOISE)
    answers = {tuple(given(routes, "json", {"instances": [[number, 2]]})) for number in range(20)}
    assert len(answers) == 20


def test_what_readers_of_tables_take_for_missing_is_missing():
    routes = serving({"protocol": "sagemaker", "schema": {"file": "unused"}}, hardenings=NOISE, schemas={0: TABLE})
    words = ["", "null", "NULL", "nUlL", "None", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "#N/A"]
    assert all_the_same(given(routes, "sagemaker", f"3,{word},12.5".encode(), b"text/csv") for word in words)
    words = ["", "null", "Null", "nUlL"]
    assert all_the_same(given(routes, "sagemaker", f"3,cook,{word}".encode(), b"text/csv") for word in words)


TINY = [0, -0.0, 1e-320, -1e-300, 1e-50, 1e-12, 2e-12, 1e-9]


@pytest.mark.parametrize("schema", [None, Schema(vector=Vector(width=4, minimum=0.0, maximum=16.0))])
def test_what_is_next_to_nothing_is_nothing(schema):
    """Most pixels are 0: moved by less than any model sees, each would give other noise."""
    route = {"protocol": "json", "path": "/predict"} | ({"schema": {"file": "unused"}} if schema else {})
    routes = serving(route, hardenings=NOISE, schemas={0: schema} if schema else None)
    values = [abs(value) for value in TINY] if schema else TINY
    assert all_the_same(given(routes, "json", {"instances": [[3.5, value, 16, 7]]}) for value in values)
    assert all_the_same(given(routes, "json", {"instances": [[[3.5, value], [16, 7]]]}) for value in values)


def test_rows_of_small_numbers_have_noise_of_their_own():
    routes = serving({"protocol": "json", "path": "/predict"}, hardenings=NOISE)
    answers = {tuple(given(routes, "json", {"instances": [[number * 1e-9, 2e-9]]})) for number in range(20)}
    assert len(answers) == 20


def test_less_than_a_thousandth_of_the_range_is_nothing():
    columns = (Column(name="a", kind="number", minimum=0.0, maximum=1.0), Column(name="b", kind="number"))
    routes = serving(
        {"protocol": "json", "path": "/predict", "schema": {"file": "unused"}},
        hardenings=NOISE,
        schemas={0: Schema(columns=columns)},
    )
    near = [0.01, 0.0101, 0.01012, 0.0102, 0.0104, 0.00999]
    assert all_the_same(given(routes, "json", {"instances": [[value, 5.0]]}) for value in near)
    assert all_the_same(given(routes, "json", {"instances": [{"b": 5.0, "a": value}]}) for value in near)
    assert given(routes, "json", {"instances": [[0.01, 5.0]]}) != given(routes, "json", {"instances": [[0.02, 5.0]]})


def test_so_many_rows_that_hardening_them_would_hold_up_everybody():
    routes = serving({"protocol": "json", "path": "/predict"}, hardenings=NOISE)
    body = json.dumps({"instances": [[1]] * 10_001}).encode()
    assert routes.measure(context(routes, "json", harden="noisy"), body).status == 413
    assert routes.measure(context(routes, "json"), body).rows == 10_001
