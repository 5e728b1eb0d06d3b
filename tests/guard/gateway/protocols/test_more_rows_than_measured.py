"""Attacks: bodies by which a model would compute more than the limits count, or that two readers read in two ways."""

import json
import struct

import pytest

from assay.guard.gateway.interface import Measure
from assay.guard.gateway.protocols.reading import Refused, exact
from guard.gateway.protocols.asking import measure, refused, rows


def tensor(shape, data, **more):
    return {"name": "x", "shape": shape, "datatype": "FP32", "data": data} | more


def oip(*tensors, **more):
    return {"inputs": list(tensors), **more}


@pytest.mark.parametrize(
    "body",
    [
        oip(tensor([1, 4], [0.5] * 400)),
        oip(tensor([1, 4], [[0.5] * 4] * 100)),
        oip(tensor([2, 2], [[1, 2, 3], [4]])),
        oip(tensor([1, 2, 2], [[1, 2], [3, 4]])),
        oip(tensor([1], [0.5] * 2)),
        oip(tensor([], [0.5] * 2)),
        oip(tensor([0, 4], [])),
        oip(tensor([-1, -4], [0.5] * 4)),
        oip(tensor([1, 1 << 62, 4], [0.5] * 4)),
        oip(tensor([1 << 32, 1 << 32], [])),
        oip(tensor([1] * 1000 + [4], [0.5] * 4)),
        oip(tensor([True, 4], [0.5] * 4)),
        oip(tensor([1.0, 4], [0.5] * 4)),
        oip(tensor([1, 4], [0.5] * 4), tensor([100, 4], [0.5] * 400, name="y")),
        oip(tensor([1, 4], [0.5] * 4), tensor([1, 4], [0.5] * 4)),
        oip(),
        oip(tensor([1, 4], [0.5] * 4), more=oip(tensor([100, 4], [0.5] * 400))),
        oip(tensor([1, 4], [0.5] * 4), INPUTS=[]),
        oip(tensor([1, 4], [0.5] * 4), parameters={"n": 1000}),
        oip(tensor([1, 4], [0.5] * 4, parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16})),
        oip({"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}),
        oip({"name": "x", "shape": [1, 4], "datatype": "FP32"}),
        oip(tensor([1], ['[{"a":1},{"a":2}]'], datatype="BYTES", parameters={"content_type": "pd_json"})),
        oip(tensor([1], ["x"], datatype="BYTES", parameters={"content_type": "pickle"})),
        oip(tensor([1], [["x", "y"]], datatype="BYTES")),
        oip(tensor([1, 1], [0.5], datatype="OBJECT")),
        oip(tensor([2], [0.5, "x"])),
        oip(tensor([2], [0.5, [0.5]])),
        oip(tensor([1, 4], [0.5] * 4, shape_=[100, 4])),
    ],
)
def test_open_inference_counts_no_row_too_few(body):
    assert refused("open-inference", body) == 422


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs":[{"name":"x","shape":[9,1],"shape":[1,1],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[9,1],"sh\\u0061pe":[1,1],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[],"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}],"id":"a","id":"b"}',
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}],"parameters":{"timeout":1,"timeout":2}}',
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}{"inputs":[]}',
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[NaN]}]}',
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[Infinity]}]}',
        b'{"inputs":[{"name":"\xff","shape":[1,1],"datatype":"FP32","data":[1]}]}',
        b'\xef\xbb\xbf{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        '{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}'.encode("utf-16"),
        b"",
    ],
)
def test_open_inference_is_read_in_one_way(body):
    assert refused("open-inference", body) == 400


def test_numbers_that_no_double_holds_are_refused():
    for number in (b"1e999", b"-1e999", b"9" * 400, b"9" * 5000):
        body = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP64","data":[' + number + b"]}]}"
        assert refused("open-inference", body) in (400, 422)
        assert refused("kserve-v1", b'{"instances":[[' + number + b"]]}") in (400, 422)


def test_open_inference_counts_rows_of_every_form():
    assert rows("open-inference", oip(tensor([3, 2], [1, 2, 3, 4, 5, 6]))) == 3
    assert rows("open-inference", oip(tensor([3, 2], [[1, 2], [3, 4], [5, 6]]))) == 3
    assert rows("open-inference", oip(tensor([2, 1, 2], [[[1, 2]], [[3, 4]]]))) == 2
    assert rows("open-inference", oip(tensor([2], ["a", "b"], datatype="BYTES"))) == 2
    assert rows("open-inference", oip(tensor([2, 1], [[True], [False]], datatype="BOOL"))) == 2
    two = oip(tensor([2, 1], [1, 2], name="a"), tensor([2], ["x:y", "{:}"], name="b", datatype="BYTES"))
    assert rows("open-inference", two) == 2
    assert rows("open-inference", oip(tensor([1, 1], [1]), id="1", outputs=[{"name": "y"}])) == 1


def binary(shape, content, size=None, datatype="FP32", **more):
    head = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size or len(content)}}
    text = json.dumps({"inputs": [head | more]}).encode()
    return text + content, {b"inference-header-content-length": str(len(text)).encode()}


def test_binary_tensors_are_counted_by_their_bytes():
    kind = b"application/octet-stream"
    floats = struct.pack("<8f", *range(8))
    body, headers = binary([2, 4], floats)
    assert rows("open-inference", body, kind, headers=headers) == 2
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"a", b"", b"\xff\xff"))
    body, headers = binary([3], texts, datatype="BYTES")
    assert rows("open-inference", body, kind, headers=headers) == 3
    for bad in (
        binary([1, 4], floats),
        binary([4, 4], floats),
        binary([2, 4], floats, size=16),
        binary([2, 4], floats + floats, size=32),
        binary([2, 4], floats, size=64),
        binary([2, 4], floats, datatype="FP64"),
        binary([2, 4], floats, data=[0.5] * 8),
        binary([1], texts, datatype="BYTES"),
        binary([4], texts, datatype="BYTES"),
        binary([3], texts[:-1], datatype="BYTES"),
        binary([1], struct.pack("<I", 0xFFFFFFFF) + b"x", datatype="BYTES"),
    ):
        assert refused("open-inference", bad[0], kind, headers=bad[1]) == 422
    body, _ = binary([2, 4], floats)
    assert refused("open-inference", body, b"application/json") == 400  # the bytes stand behind the document
    for length in (b"0", b"-1", b"+5", b"9999999", b"1e2", b"0x10", b"", b"99999999999999"):
        headers = {b"inference-header-content-length": length}
        assert refused("open-inference", body, kind, headers=headers) == 400


def test_kserve_counts_rows_of_every_form():
    assert rows("kserve-v1", {"instances": [[1, 2], [3, 4]]}) == 2
    assert rows("kserve-v1", {"instances": [1, 2, 3]}) == 3
    assert rows("kserve-v1", {"instances": ["a", "b:c"]}) == 2
    assert rows("kserve-v1", {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}) == 2
    assert rows("kserve-v1", {"instances": [{"b64": "aGk="}]}) == 1
    assert rows("kserve-v1", {"instances": [[[[1], [2]], [[3], [4]]]]}) == 1
    assert rows("kserve-v1", {"inputs": {"a": [1, 2, 3], "b": [[1], [2], [3]]}}) == 3
    assert rows("kserve-v1", {"inputs": [[1, 2], [3, 4]], "signature_name": "s"}) == 2
    assert rows("kserve-v1", {"instances": [[1, None], ["x", True]]}) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2], [3]]},
        {"instances": [[1, 2], 3]},
        {"instances": [[[1], [2]], [[3], [4], [5]]]},
        {"instances": [["a"], ["a", "b"]]},
        {"instances": []},
        {"instances": {"a": [1]}},
        {"instances": 5},
        {"inputs": {"a": [1], "b": [1, 2]}},
        {"inputs": {"a": [], "b": []}},
        {"inputs": {}},
        {"inputs": {"a": 1}},
        {"instances": [[1]], "inputs": [[1]] * 100},
        {"instances": [[1]], "parameters": {"n": 100}},
        {"instances": [[1]], "Instances": [[1]] * 100},
        {},
        {"instances": [{"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {}}}}}}}}}}}] * 1 + [[1]]},
    ],
)
def test_kserve_refuses_what_is_uneven_or_more(body):
    assert refused("kserve-v1", body) == 422


def test_kserve_is_read_in_one_way():
    for body in (
        b'{"instances":[[1]],"instances":[[1],[2]]}',
        b'{"instances":[{"a":1,"a":2}]}',
        b'{"instances":[{"a":1,"\\u0061":2}]}',
        b'{"inputs":{"a":[1],"a":[2]}}',
        b'{"instances":[[1]]}{"instances":[[1]]}',
        b'{"instances":[[1]]}\n{"instances":[[1]]}',
        b"[" * 5000 + b"]" * 5000,
        b'{"instances":' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}",
    ):
        assert refused("kserve-v1", body) in (400, 422)
    assert refused("kserve-v1", b'{"instances":[{"a":1,"a":2}]}') == 400


CSV = b"text/csv"


def test_csv_counts_lines_as_every_reader_does():
    assert rows("sagemaker", b"1,2\n3,4\n", CSV) == 2
    assert rows("sagemaker", b"1,2\r\n3,4", CSV) == 2
    assert rows("sagemaker", b'"a,b",2\n"c ""d""",4', CSV) == 2
    assert rows("sagemaker", b"5", CSV) == 1
    for body in (
        b"1,2\r3,4\r5,6",
        b"1,2\r\r\n3,4",
        b"1,2\x0b3,4",
        b"1,2\x0c3,4",
        b"1,2\x1c3,4",
        "1,2\u20283,4".encode(),
        "1,2\x853,4".encode(),
        b"1,2\x003,4",
        b"\xef\xbb\xbf1,2",
        b"1,\xff",
    ):
        assert refused("sagemaker", body, CSV) == 400
    for body in (b"", b"\n", b"1,2\n\n3,4", b"1,2\n3", b'"1\n2",3', b'"1,2', b'"a"b,2', b"1\n \n2"):
        assert refused("sagemaker", body, CSV) == 422


def test_json_lines_are_one_row_each():
    kind = b"application/jsonlines"
    assert rows("sagemaker", b"[1,2]\n[3,4]\n", kind) == 2
    assert rows("sagemaker", b'{"features":[1,2]}\n{"features":[3,4]}', kind) == 2
    assert rows("sagemaker", b'{"inputs":"some: text"}', kind) == 1
    for body in (
        b"[1,2][3,4]",
        b"[1,2]\r[3,4]",
        b'{"instances":[[1],[2]]}',
        b'{"instances":[1,2]}',
        b'{"inputs":["a","b"]}',
        b"[[1],[2]]",
        b'{"a":{"b":1}}',
        b'{"a":[[1],[2]]}',
        b"[1\n2]",
        b'{"a":1,"a":2}',
        b"5",
        b"[1]\n\n[2]",
        '["a\u2028b"]'.encode(),
    ):
        assert refused("sagemaker", body, kind) in (400, 422)


def test_sagemaker_json_has_its_rows_in_one_place():
    assert rows("sagemaker", {"instances": [[1], [2]]}) == 2
    assert rows("sagemaker", {"instances": [{"features": [1, 2]}]}) == 1
    assert rows("sagemaker", [[1, 2], [3, 4]]) == 2
    assert rows("sagemaker", [1, 2, 3]) == 3  # without a schema nobody knows: careful
    assert rows("sagemaker", {"inputs": "a text: with colon"}) == 1
    assert rows("sagemaker", {"inputs": ["a", "b"]}) == 2
    assert rows("sagemaker", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}) == 2
    assert rows("sagemaker", {"dataframe_records": [{"a": 1}, {"a": 2}]}) == 2
    for body in (
        {"inputs": "x", "parameters": {"num_return_sequences": 100}},
        {"instances": [[1]], "dataframe_records": [{"a": 1}] * 9},
        {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["a"], "data": [1, 2]}},
        {"instances": {"a": [1, 2]}},
        {"data": [[1]]},
        "text",
        7,
    ):
        assert refused("sagemaker", body) in (400, 422)


def test_sagemaker_json_is_read_in_one_way():
    for body in (
        b'{"instances":[[1]],"instances":[[1],[2]]}',
        b'{"instances":[[1],[2]],"inst\\u0061nces":[[1]]}',
        b'{"dataframe_records":[{"a":1,"a":2}]}',
        b'[{"a":1,"a":2}]',
        b"[[1]][[2]]",
    ):
        assert refused("sagemaker", body) == 400


def test_formats_that_are_not_read_are_refused():
    for kind in (
        b"application/x-npy",
        b"application/x-recordio-protobuf",
        b"text/plain",
        b"",
        b"application/json; x=y",
    ):
        assert refused("sagemaker", b"[[1]]", kind) == 415
    assert refused("sagemaker", b"[[1]]", b"application/json; charset=utf-16") == 415
    assert refused("open-inference", b"{}", b"text/json") == 415
    assert rows("sagemaker", b"[[1]]", b"Application/JSON; Charset=UTF-8") == 1


def test_plain_json_takes_nothing_that_it_does_not_measure():
    assert rows("json", {"instances": [[1], [2]], "id": "a:b", "n": 1}) == 2
    assert rows("json", {"instances": [{"a": 1}]}) == 1
    assert rows("json", {"instances": {"a": 1, "b": "x"}}) == 1
    assert rows("json", {"instances": {"a": [1, 2], "b": [3, 4]}}) == 2
    for body in (
        {"instances": [[1]], "inputs": [[1]] * 100},
        {"instances": [[1]], "more": {"instances": [[1]] * 100}},
        {"other": [[1]]},
        {"instances": {"a": 1, "b": {"c": [1] * 100}}},
        {"instances": {"a": [1, 2], "b": 1}},
        {"instances": "x"},
        {"instances": []},
        [[1]],
    ):
        assert refused("json", body) == 422
    assert refused("json", b'{"instances":[[1]],"instances":[[1],[2]]}') == 400


def tokens(path, body, **more) -> Measure:
    measured = measure(path, body, **more)
    assert isinstance(measured, Measure), measured
    return measured


CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


def test_answers_that_multiply_are_reserved():
    assert tokens("chat", CHAT).tokens_out == 4096
    assert tokens("chat", CHAT | {"max_tokens": 10}).tokens_out == 10
    assert tokens("chat", CHAT | {"max_tokens": 10, "max_completion_tokens": 500}).tokens_out == 500
    assert tokens("chat", CHAT | {"max_tokens": 10, "n": 100}).tokens_out == 1000
    assert tokens("chat", CHAT | {"max_tokens": 10, "min_tokens": 700}).tokens_out == 700
    assert tokens("chat", CHAT | {"max_tokens": None}).tokens_out == 4096
    complete = tokens("complete", {"model": "m", "prompt": ["a", "b"], "best_of": 5, "n": 2, "max_tokens": 3})
    assert (complete.rows, complete.tokens_out) == (10, 30)
    assert tokens("embed", {"model": "m", "input": ["a"] * 7}).rows == 7
    assert tokens("embed", {"model": "m", "input": [[1, 2], [3, 4]]}).tokens_in >= 4
    assert tokens("responses", {"model": "m", "input": "hi", "max_output_tokens": 5}).tokens_out == 5


@pytest.mark.parametrize(
    "more",
    [
        {"n": 1000}, {"n": 0}, {"n": -1}, {"n": 1.5}, {"n": True}, {"n": "2"}, {"best_of": 10}, {"max_tokens": -1},
        {"max_tokens": 1 << 40}, {"max_tokens": "9"}, {"use_beam_search": True}, {"prompt": ["x"] * 99}, {"N": 5},
        {"prompt_embeds": "gASVAAAAAAAAAAA="}, {"model": ""}, {"model": None}, {"model": 5}, {"model": ["a"]},
        {"messages": "x"}, {"messages": None}, {"stream": "yes"}, {"stream": 1}, {"background": True},
        {"previous_response_id": "resp_1"}, {"audio": {}},
    ],
)  # fmt: skip
def test_chat_refuses_what_it_cannot_reserve(more):
    assert refused("chat", CHAT | more) == 422


def test_openai_is_read_in_one_way():
    for body in (
        b'{"model":"a","model":"b","messages":[]}',
        b'{"model":"a","mod\\u0065l":"b","messages":[]}',
        b'{"model":"a","messages":[],"n":1,"n":9}',
        b'{"model":"a","messages":[{"role":"user","content":"x","content":"y"}]}',
        b'{"model":"a","messages":[]}{"model":"b","messages":[]}',
        b'{"model":"a","messages":[],"temperature":NaN}',
        b'{"model":"a","messages":"' + b"\xff" + b'"}',
        b'{"model":"a","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ):
        assert refused("chat", body) == 400
    assert refused("chat", b'{"model":"a","messages":' + b"[" * 200 + b"]" * 200 + b"}") == 422
    del_model = {name: value for name, value in CHAT.items() if name != "model"}
    assert refused("chat", del_model) == 422
    for bad in ({"input": []}, {"input": [[]]}, {"input": [1, "a"]}, {"input": {"a": 1}}, {"input": ["a"] * 5000}, {}):
        assert refused("embed", {"model": "m", **bad}) == 422


def test_prompts_are_never_estimated_far_too_low():
    def prompt(text):
        return tokens("complete", {"model": "m", "prompt": text}).tokens_in

    for text in ("word " * 1000, "1234567890" * 100, "日本語の文" * 100, "🙂" * 100, "{}[]();:" * 100, "é" * 500):
        assert prompt(text) >= len(text.encode()) / 4
    assert prompt("🙂" * 100) >= 200  # each is two tokens or three in common vocabularies
    assert prompt("1 2 3 4 5 " * 100) >= 300
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    one = tokens("chat", CHAT | {"messages": [{"role": "user", "content": [picture]}]}).tokens_in
    two = tokens("chat", CHAT | {"messages": [{"role": "user", "content": [picture, picture]}]}).tokens_in
    assert 1000 < one < 2000 < two < 4000
    tools = [{"type": "function", "function": {"name": "f", "description": "words " * 500, "parameters": {}}}]
    assert tokens("chat", CHAT | {"tools": tools}).tokens_in > 700


def test_the_greatest_of_several_counts():
    measured = tokens("complete", {"model": "m", "prompt": "a", "n": 5, "best_of": 2, "max_tokens": 10})
    assert (measured.rows, measured.tokens_out) == (5, 50)


def test_parts_that_are_skipped_while_reading_are_text_too():
    assert refused("json", b'{"instances":[[1]],"id":"\xff"}') == 400
    assert refused("sagemaker", b'{"dataframe_split":{"columns":["a"],"index":["\xff"],"data":[[1]]}}') == 400


def test_the_exact_reader_takes_no_more_than_the_fast_one():
    for body in (b"[NaN]", b"[-Infinity]", b'{"a":1,"a":1}', b'[{"b":{"a":1,"\\u0061":1}}]', b"[" * 9999, b"9" * 5000):
        with pytest.raises(Refused):
            exact(body)
    assert exact(b'{"a":[{"b":1},{"b":2}]}') == {"a": [{"b": 1}, {"b": 2}]}


@pytest.mark.parametrize(
    ("path", "unit", "kind"),
    [
        ("kserve-v1", b'{"a":1},', b"application/json"),
        ("kserve-v1", b"{},", b"application/json"),
        ("kserve-v1", b"[],", b"application/json"),
        ("sagemaker", b"[1]\n", b"application/jsonlines"),
        ("sagemaker", b"1\n", b"text/csv"),
        ("chat", b"{},", b"application/json"),
        ("chat", b'"",', b"application/json"),
    ],
)
def test_bodies_that_would_take_seconds_to_look_through_are_refused(path, unit, kind):
    """Ten megabytes of empty objects took five seconds, in which nobody else was answered."""
    start = {"kserve-v1": b'{"instances":[', "chat": b'{"model":"m","messages":['}.get(path, b"")
    end = unit.rstrip(b",") + b"]}" if start else b""
    assert refused(path, start + unit * 250_001 + end, kind) == 413
    if path != "chat":
        assert rows(path, start + unit * 1000 + end, kind) >= 1000


def test_a_number_on_each_line_is_no_list_on_each_line():
    assert rows("kserve-v1", b'{"instances":[[' + b"1,\n" * 250_001 + b"1]]}") == 1
