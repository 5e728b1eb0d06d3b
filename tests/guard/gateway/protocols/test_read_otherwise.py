"""Attacks: bodies that a model server reads as more, or as something else, than what was measured and checked."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.guard.gateway.interface import Measure, Permission, Route
from assay.guard.gateway.permissions import permitted
from assay.guard.gateway.schemas.model import Column, Schema, Vector
from guard.gateway.protocols.asking import measure, refused, rows, serving

quick = settings(max_examples=200, deadline=None)


def tensor(datatype, data, shape=None, **more):
    return {"inputs": [{"name": "x", "shape": shape or [len(data)], "datatype": datatype, "data": data, **more}]}


# -- data types: what does not fit is cut off, wrapped round or infinite to the model


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT64", 1.7), ("INT32", -0.5), ("UINT8", 0.9), ("UINT8", 256), ("UINT8", 261), ("UINT8", -1), ("INT8", 128),
        ("INT8", -129), ("INT16", 40000), ("UINT16", 65536), ("INT32", 1 << 31), ("UINT32", 1 << 32), ("UINT64", -1),
        ("INT64", 1 << 64), ("FP16", 70000.0), ("FP32", 1e39), ("FP32", -1e300), ("BF16", 1e39), ("BOOL", 2),
        ("BOOL", -1),
    ],
)  # fmt: skip
def test_numbers_that_their_data_type_does_not_hold_are_refused(datatype, value):
    for body in (
        tensor(datatype, [value]),
        tensor(datatype, [[value]], [1, 1]),
        tensor(datatype, [[[value]]], [1, 1, 1]),
        tensor(datatype, [0, value]),
    ):
        assert refused("open-inference", body) == 422


def test_schemas_are_not_passed_by_what_a_data_type_makes_of_it():
    columns = (Column(name="a", kind="number"), Column(name="b", kind="number"))
    number = serving({"protocol": "open-inference", "schema": {"file": "x"}}, schemas={0: Schema(columns=columns)})
    vector = Schema(vector=Vector(width=2, minimum=0.0, maximum=1000.0, integer=True))
    whole = serving({"protocol": "open-inference", "schema": {"file": "x"}}, schemas={0: vector})
    for routes in (number, whole):
        for datatype, good in (("UINT8", 255), ("INT64", 300), ("FP32", 300.0), ("FP64", 300.0), ("INT32", 3.0)):
            assert rows("open-inference", tensor(datatype, [good, 1], [1, 2]), routes=routes) == 1
        assert refused("open-inference", tensor("UINT8", [300, 1], [1, 2]), routes=routes) == 422
        assert refused("open-inference", tensor("INT64", [0.5, 1], [1, 2]), routes=routes) == 422
    assert refused("open-inference", tensor("FP32", [1e39, 1], [1, 2]), routes=number) == 422
    assert rows("open-inference", tensor("FP64", [1e39, 1], [1, 2]), routes=number) == 1


def test_numbers_that_no_double_holds_are_refused_however_deep_they_stand():
    """They were an error of ours, beside a schema and among more than 512 numbers."""
    digits = b"9" * 400
    row = b"[" + digits + b",1" * 299 + b"]"
    body = b'{"inputs":[{"name":"x","shape":[1,2,300],"datatype":"FP64","data":[[' + row + b"," + row + b"]]}]}"
    routes = serving(
        {"protocol": "open-inference", "schema": {"file": "x"}}, schemas={0: Schema(vector=Vector(width=600))}
    )
    assert refused("open-inference", body, routes=routes) == 422
    assert refused("open-inference", body) == 422


DTYPES = {
    "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4",
    "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8", "BOOL": "?",
}  # fmt: skip
numbers = st.one_of(
    st.integers(-300, 70000), st.integers(-(1 << 52), 1 << 52), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.5, 1.0, -0.0, 255.0, 256, 127, 128, -128, -129, 65504.0, 65520.0, 3.5e38, 1e-320]),
    st.booleans(),
)  # fmt: skip


@quick
@given(st.sampled_from(sorted(DTYPES)), st.lists(numbers, min_size=1, max_size=3), st.integers(1, 3))
def test_what_is_taken_means_to_numpy_the_same(datatype, data, depth):
    nested = data
    for _ in range(depth - 1):
        nested = [nested]
    found = measure("open-inference", tensor(datatype, nested, [1] * (depth - 1) + [len(data)]))
    if not isinstance(found, Measure):
        return
    with np.errstate(all="raise", under="ignore"):
        array = np.array(nested, dtype=DTYPES[datatype])  # as MLServer and KServe read it
    assert array.shape[0] == found.rows
    precision = {"FP16": 1e-3, "FP32": 1e-6}.get(datatype, 1e-12)
    assert np.allclose(array.astype(float).ravel(), [float(value) for value in data], rtol=precision, atol=1e-7)


# -- KServe's servers for tables make a frame of each instance


@pytest.mark.parametrize(
    "instance",
    [
        {"a": [1, 2, 3], "b": [4, 5, 6]},
        {"a": [1, 2, 3], "b": 4},
        {"text": ["x", "y", "z"]},
        {"a": {"0": 1, "1": 2, "2": 3}, "b": {"0": 1, "1": 2, "2": 3}},
        {"a": {"0": 1, "1": 2}, "b": {"2": 3}},
        {"a": {"0": 1, "1": 2, "2": 3}, "b": 1},
        {"a": {"0": 1, "1": 2}, "b": {"b64": "aGk="}},
    ],
)
def test_an_instance_that_is_a_frame_counts_its_rows(instance):
    assert rows("kserve-v1", {"instances": [instance]}) == len(pd.DataFrame(instance)) == 3
    assert rows("kserve-v1", {"inputs": [instance, {"a": 1}]}) == 4


def test_instances_that_are_lists_of_objects_are_refused():
    for instance in ([{"a": 1}, {"a": 2}], [[{"a": 1}], [{"a": 2}]], [{"b64": "aGk=", "a": 1}]):
        assert refused("kserve-v1", {"instances": [instance]}) == 422


cells = st.integers(0, 3) | st.text("ab", max_size=2) | st.none() | st.booleans()
objects = st.dictionaries(st.sampled_from("xy"), cells, max_size=2)
columns = (
    cells
    | st.lists(cells | objects | st.lists(cells, max_size=2), max_size=3)
    | st.dictionaries(st.sampled_from(["0", "1", "b64"]), cells, max_size=3)
)
instances = st.dictionaries(st.sampled_from("abc"), columns, max_size=3) | st.lists(cells | objects, max_size=3)


@quick
@given(st.lists(instances, min_size=1, max_size=3), st.sampled_from(["instances", "inputs"]))
def test_no_frame_has_more_rows_than_were_counted(asked, name):
    found = measure("kserve-v1", {name: asked})
    if not isinstance(found, Measure):
        return
    try:  # what kserve.utils.get_predict_input does
        frame = type(asked[0]) is dict or bool(asked[0] and type(asked[0][0]) is dict)
        read = sum(len(pd.DataFrame(one)) for one in asked if not _vector(one)) if frame else len(np.array(asked))
    except ValueError:
        return  # it refuses that itself
    assert found.rows >= read


def _vector(row) -> bool:
    """What is taken for one row, though it may be a frame of a single column."""
    flat = np.ravel(next(iter(row.values()))).tolist() if type(row) is dict and len(row) == 1 else [""]
    return all(type(one) in (int, float) for one in flat)


def test_examples_of_tensorflow_are_one_row_each():
    body = {"examples": [{"x": [1.0, 2.0], "word": ["a"]}, {"x": [3.0, 4.0], "word": ["b"]}]}
    assert rows("/v1/models/m:classify", body) == 2


def test_vectors_and_pictures_are_one_row():
    for instance in ({"image": [[1, 2], [3, 4]]}, {"b64": "aGk="}, [{"b64": "aGk="}] * 2, {"a": {"b64": "aGk="}}, {}):
        assert rows("kserve-v1", {"instances": [instance, instance]}) == 2


# -- keys


def test_keys_that_stand_twice_beside_one_that_is_left_out():
    """Some servers take the first of them, others the last."""
    schema = Schema(columns=(Column(name="age", kind="number"), Column(name="pay", kind="number", nullable=True)))
    routes = serving(
        {"protocol": "kserve-v1", "schema": {"file": "x"}},
        {"protocol": "sagemaker", "schema": {"file": "x"}},
        {"protocol": "json", "path": "/predict", "schema": {"file": "x"}},
        schemas=dict.fromkeys(range(3), schema),
    )
    for path in ("kserve-v1", "sagemaker", "json"):
        assert refused(path, b'{"instances":[{"age":1,"age":2}]}', routes=routes) == 400
        assert refused(path, b'{"instances":[{"age":1,"pay":2},{"age":1,"\\u0061ge":2}]}', routes=routes) == 400
        assert rows(path, {"instances": [{"age": 1}, {"age": 2, "pay": None}]}, routes=routes) == 2


@quick
@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=3), min_size=1, max_size=3))
def test_no_key_stands_twice_in_what_is_taken(given_rows):
    columns = (Column(name="a", kind="number"), Column(name="b", kind="number", nullable=True))
    routes = serving({"protocol": "kserve-v1", "schema": {"file": "x"}}, schemas={0: Schema(columns=columns)})
    texts = ("{" + ",".join(f'"{name}":{value}' for name, value in row) + "}" for row in given_rows)
    body = ('{"instances":[' + ",".join(texts) + "]}").encode()
    wanted = all(len(dict(row)) == len(row) and "a" in dict(row) for row in given_rows)
    assert isinstance(measure("kserve-v1", body, routes=routes), Measure) == wanted


# -- models that a header chooses

ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"


def test_attributes_that_choose_the_model_are_read():
    """TensorFlow's container: a caller with a permission for one model must not reach another by them."""
    headers = {ATTRIBUTES: b"trace=1,tfs-model-name=other, tfs-model-version=7,tfs-method=predict"}
    found = measure("sagemaker", [[1]], headers=headers)
    assert isinstance(found, Measure) and (found.model, found.version) == ("other", "7")
    route = Route("sagemaker", "infer", found.model, found.version, "/invocations")
    assert not permitted((Permission(model="mine"),), route, final=True)
    only = serving({"protocol": "sagemaker", "models": ["mine"]})
    assert refused("sagemaker", [[1]], headers=headers, routes=only) == 404
    plain = measure("sagemaker", [[1]], headers={ATTRIBUTES: b"trace=1"})
    assert isinstance(plain, Measure) and (plain.model, plain.version) == ("", "")


@pytest.mark.parametrize(
    "value",
    [
        b"tfs-model-name=a,tfs-model-name=b", b"tfs-model-name=", b"tfs-model-name", b"tfs-model-name=a/../b",
        b"tfs-model-name=../b", b"tfs-model-name=a b", b"tfs-model-name=a=b", b"tfs-model-name=a:classify",
        b"tfs-method=explain", b"tfs-other=1", b"xtfs-model-name=a,ytfs-model-name=b",
    ],
)  # fmt: skip
def test_attributes_that_choose_in_two_ways_are_refused(value):
    assert refused("sagemaker", [[1]], headers={ATTRIBUTES: value}) == 400


def test_several_headers_that_choose_are_refused():
    for other in (b"x-amzn-sagemaker-target-model", b"x-amzn-sagemaker-target-variant"):
        headers = {ATTRIBUTES: b"tfs-model-name=a", other: b"b"}
        assert refused("sagemaker", [[1]], headers=headers) == 400


# -- tokens


def tokens(body, path="chat") -> Measure:
    found = measure(path, {"model": "m"} | body)
    assert isinstance(found, Measure), found
    return found


def test_no_limit_is_not_a_limit_of_nothing():
    """vLLM and SGLang take ``max_completion_tokens or max_tokens``: 0 is none to them."""
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    assert tokens(chat | {"max_completion_tokens": 0}).tokens_out == 4096
    assert tokens(chat | {"max_completion_tokens": 0, "max_tokens": 10}).tokens_out == 4096
    assert tokens({"prompt": "a", "max_tokens": 0, "n": 2}, "complete").tokens_out == 8192
    assert tokens({"input": "a", "max_output_tokens": 0}, "responses").tokens_out == 4096


@pytest.mark.parametrize("kind", ["image", "image_url", "input_image", "file", "audio", "video_url", "input_audio"])
def test_words_beside_a_picture_cost_what_words_cost(kind):
    words = "word " * 40_000
    for content in (words, [{"type": "text", "text": words}], [{"type": "text", "text": "word " * 400}] * 100):
        assert tokens({"messages": [{"role": "user", "type": kind, "content": content}]}).tokens_in > 40_000
        assert tokens({"messages": [{"role": "user", "content": [{"type": kind, "text": content}]}]}).tokens_in > 40_000


def test_what_is_only_referred_to_is_refused():
    assert refused("responses", {"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]}) == 422


def test_whole_requests_of_a_text_are_still_estimated():
    part = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64," + "A" * 400_000}
    assert 100_000 < tokens({"input": [{"role": "user", "content": [part]}]}, "responses").tokens_in < 101_000
    assert json.dumps(part)  # a document as clients send it
