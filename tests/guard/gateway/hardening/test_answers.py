"""Answers of every protocol made to say less; what is not understood is held back."""

import json
import re

import pytest

from assay.guard.gateway.parts import Unhardened
from guard.gateway.protocols.asking import context, measure, refused, sample, serving

ROUTES = serving(
    hardenings={"noise": {"noise": 0.05}, "digits": {"digits": 1}, "top": {"top": 1}, "buckets": {"buckets": 4}}
)
JSON = b"application/json"
ROW = {"instances": [[1.0, 2.0]]}


def hardened(path, answer, how="label-only", question=None, kind=JSON, status=200):
    asked = context(ROUTES, path, harden=how, content_type=kind if kind == b"text/csv" else JSON)
    question = ROW if question is None else question
    question = question if isinstance(question, bytes) else json.dumps(question).encode()
    answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    found = ROUTES.harden(asked, status, kind, answer, question)
    return json.loads(found) if kind == JSON else found


def held(*args, **more):
    with pytest.raises(Unhardened) as caught:
        hardened(*args, **more)
    return str(caught.value)


def test_predictions_of_every_form():
    def label_only(item):
        return hardened("kserve-v1", {"predictions": [item]})["predictions"][0]

    assert label_only([0.2, 0.7, 0.1]) == [0, 1, 0]
    assert label_only(3) == 3 and label_only("cat") == "cat" and label_only([1]) == [1] and label_only(2.0) == 2.0
    assert label_only(0.73) == 1.0 and label_only(0.2) == 0.0 and label_only([0.73]) == [1.0]
    assert label_only({"cat": 0.7, "dog": 0.3}) == {"cat": 1, "dog": 0}
    assert label_only({"label": "cat", "score": 0.7}) == {"label": "cat", "score": 1}
    assert label_only({"score": 0.2, "predicted_label": 0}) == {"score": 0, "predicted_label": 0}
    assert label_only({"predicted_label": 2, "scores": [0.1, 0.2, 0.7]}) == {"predicted_label": 2, "scores": [0, 0, 1]}
    ranking = [{"label": "b", "score": 0.4}, {"label": "a", "score": 0.6}]
    assert label_only(ranking) == [{"label": "a", "score": 1}]


@pytest.mark.parametrize(
    "item",
    [
        12.7, -0.3, [3.2, -1.1], [0.1, 0.2], [[0.5, 0.5]] * 2, {"logits": [0.5, 0.5]}, {}, [], None,
        {"label": "a", "x": 0.5}, {"label": "a", "votes": 17},
        {"a": 0.2, "b": 0.2}, {"label": [0.5, 0.5]}, {"label": "score 0.734"}, "0.734", '{"p":1}',
        "x" * 300, [0.5, "a"],
        {"score": 7.3}, {"scores": [5.0, 7.0]}, {"label": 0.734}, {"labels": ["b", "a"]},
        {"classes": ["b", "a"], "scores": [0.4, 0.3, 0.3]}, {"label": {"a": 0.5}}, {"prediction": 0.7312},
        "87%", "cat 87 %", ".734", "0,734", "1,0", "7E-1", "734e-3",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_held_back(item):
    assert held("kserve-v1", {"predictions": [item]})
    assert held("sagemaker", {"predictions": [item]})


def test_everything_beside_the_predictions_is_gone():
    answer = {"predictions": [[0.2, 0.8]], "logits": [[1.5, 2.5]], "debug": {"p": 0.81234}}
    assert hardened("kserve-v1", answer) == {"predictions": [[0, 1]]}
    assert hardened("sagemaker", answer) == {"predictions": [[0, 1]]}
    assert hardened("json", answer) == {"predictions": [[0, 1]]}
    assert held("kserve-v1", answer | {"outputs": [[0.2, 0.8]]})
    assert held("kserve-v1", {"explanations": [[0.2, 0.8]]})
    assert held("kserve-v1", b"not json") and held("kserve-v1", b"[" * 9999)
    assert held("kserve-v1", b'{"predictions":[[0.2,0.8]]}', kind=b"text/html")


def test_columns_of_tensorflow():
    answer = {"outputs": {"scores": [[0.2, 0.8], [0.9, 0.1]], "classes": [1, 0]}}
    two = {"instances": [[1], [2]]}
    assert hardened("kserve-v1", answer, question=two) == {"outputs": {"scores": [[0, 1], [1, 0]], "classes": [1, 0]}}
    assert held("kserve-v1", {"results": [[["a", 0.7], ["b", 0.3]]]})


def tensor(name, shape, datatype, data, **more):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data} | more


QUESTION = {"inputs": [tensor("x", [2, 2], "FP32", [1, 2, 3, 4])]}


def test_open_inference_outputs():
    answer = {
        "model_name": "m", "model_version": "1", "parameters": {"p": 0.1234}, "id": "7",
        "outputs": [
            tensor("label", [2], "INT64", [1, 0]),
            tensor("probabilities", [2, 2], "FP32", [0.2, 0.8, 0.9, 0.1], parameters={"content_type": "np", "p": 0.9}),
        ],
    }  # fmt: skip
    got = hardened("open-inference", answer, question=QUESTION)
    assert got["outputs"][0]["data"] == [1, 0] and got["outputs"][1]["data"] == [0, 1, 1, 0]
    assert got["outputs"][1]["parameters"] == {"content_type": "np"}
    assert "0.1234" not in json.dumps(got) and got["model_name"] == "m" and got["id"] == "7"
    nested = {"outputs": [tensor("p", [2, 2], "FP32", [[0.2, 0.8], [0.9, 0.1]])]}
    assert hardened("open-inference", nested, question=QUESTION)["outputs"][0]["data"] == [0, 1, 1, 0]
    scalar = {"outputs": [tensor("p", [2, 1], "FP64", [0.2, 0.8])]}
    assert hardened("open-inference", scalar, question=QUESTION)["outputs"][0]["data"] == [0, 1]
    text = {"outputs": [tensor("l", [2, 1], "BYTES", ["a", "b"])]}
    assert hardened("open-inference", text, question=QUESTION)["outputs"][0]["data"] == ["a", "b"]


@pytest.mark.parametrize(
    "output",
    [
        tensor("logits", [2, 2], "FP32", [3.0, -1.0, 2.0, 1.0]),
        tensor("p", [2, 2], "FP32", [0.2, 0.8, 0.9]),
        tensor("p", [2, 2], "INT32", [20, 80, 90, 10]),
        tensor("l", [2], "BYTES", ["0.81:1:dog", "0.6:0:cat"]),
        tensor("l", [2], "BYTES", ['{"p":5}', "a"]),
        tensor("y", [2], "FP32", [17.3, 0.5]),
        {"name": "p", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
    ],
)
def test_open_inference_holds_back(output):
    assert held("open-inference", {"outputs": [output]}, question=QUESTION)


def test_binary_answers_are_not_asked_for_by_those_whose_answers_are_hardened():
    for more in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
        {"outputs": [{"name": "y", "parameters": {"classification": 3}}]},
    ):
        assert refused("open-inference", QUESTION | more, routes=ROUTES, harden="label-only") == 422
        assert measure("open-inference", QUESTION | more, routes=ROUTES).rows == 2


def test_csv_and_lines():
    csv = b"text/csv"
    assert hardened("sagemaker", b"0.2,0.8\n0.9,0.1\n", kind=csv, question=b"1\n2") == b"0.0,1.0\n1.0,0.0\n"
    assert hardened("sagemaker", b"0.73\n0.2\n", kind=csv, question=b"1\n2") == b"1.0\n0.0\n"
    assert hardened("sagemaker", b"cat\ndog", kind=csv, question=b"1\n2") == b"cat\ndog\n"
    assert held("sagemaker", b"12.5\n0.2\n", kind=csv, question=b"1\n2")
    assert held("sagemaker", b"cat,0.73\n", kind=csv, question=b"1")
    lines = b"application/jsonlines"
    assert hardened("sagemaker", b"[0.2,0.8]\n[0.9,0.1]\n", kind=lines) == b"[0.0,1.0]\n[1.0,0.0]\n"
    assert hardened("sagemaker", b"[[0.2,0.8],[0.9,0.1]]") == [[0, 1], [1, 0]]
    assert held("sagemaker", b"\x93NUMPY", kind=b"application/x-npy")


def test_noise_is_the_same_for_the_same_row_wherever_it_stands():
    answer = {"predictions": [[0.4, 0.6], [0.4, 0.6], [0.4, 0.6]]}
    a, b, c = hardened("kserve-v1", answer, "noise", {"instances": [[1, 2], [5, 6], [1, 2]]})["predictions"]
    assert a == c != b and a != [0.4, 0.6]
    alone = hardened("kserve-v1", {"predictions": [[0.4, 0.6]]}, "noise", {"instances": [[1.0, 2.0]]})["predictions"][0]
    assert alone == a
    assert hardened("json", {"predictions": [[0.4, 0.6]]}, "noise", {"instances": [[1.0, 2.0]]})["predictions"][0] != a
    for wrong in ({"instances": [[1, 2]]}, {"instances": [[1, 2]] * 4}, b"{}", b""):
        assert held("kserve-v1", answer, "noise", wrong)


def test_other_hardenings_reach_every_form():
    assert hardened("kserve-v1", {"predictions": [[0.24, 0.76]]}, "digits") == {"predictions": [[0.2, 0.8]]}
    assert hardened("kserve-v1", {"predictions": [[0.24, 0.76]]}, "top") == {"predictions": [[0, 0.76]]}
    assert hardened("kserve-v1", {"predictions": [{"a": 0.24, "b": 0.76}]}, "buckets") == {
        "predictions": [{"a": 0.125, "b": 0.875}]
    }


def test_errors_and_explanations_tell_nothing():
    leak = b'{"error":"row 17 of train.csv: p=0.93"}'
    for path in ("kserve-v1", "open-inference", "sagemaker", "json", "chat"):
        body = hardened(path, leak, status=500)
        assert "0.93" not in json.dumps(body) and "error" in body
    assert refused("/v1/models/m:explain", ROW, routes=ROUTES, harden="label-only") == 403
    for answer in ({"explanations": [[0.2, 0.8]]}, {"predictions": [[0.2, 0.8]]}):
        assert held("/v1/models/m:explain", answer)
    assert measure("/v1/models/m:explain", ROW, routes=ROUTES).rows == 1


def test_language_models_lose_their_log_probabilities():
    answer = {
        "choices": [{"message": {"content": "hi"}, "logprobs": {"content": [{"logprob": -0.12345}]}}],
        "prompt_logprobs": [-0.54321], "usage": {"prompt_tokens": 1},
    }  # fmt: skip
    got = hardened("chat", answer)
    assert got["choices"][0] == {"message": {"content": "hi"}, "logprobs": None}
    assert not re.search("12345|54321", json.dumps(got)) and got["usage"] == {"prompt_tokens": 1}
    stream = b'data: {"choices":[{"delta":{"content":"x"},"logprobs":{"c":-0.12345}}]}\r\n\r\n: hi\n\ndata: [DONE]\n\n'
    got = hardened("chat", stream, kind=b"text/event-stream")
    assert b"12345" not in got and got.endswith(b"data: [DONE]\n\n") and b'"content":"x"' in got
    for odd in (b"data: -0.5\n\n", b"0.5\n", b"data: [0.5]\n\n", b"data: {\n\n", b"x\rdata: 1\n"):
        assert held("chat", odd, kind=b"text/event-stream")
    assert held("chat", b"0.5")


def test_embeddings():
    answer = {"data": [{"embedding": [0.123, -0.456], "index": 0}]}
    assert hardened("embed", answer, "digits")["data"][0]["embedding"] == [0.1, -0.5]
    for how in ("label-only", "top", "noise", "buckets"):
        assert "embeddings" in held("embed", answer, how)
    assert held("embed", {"data": [{"embedding": "AAAA"}]}, "digits")


def test_answers_for_those_who_look():
    def read(path, body, kind=JSON):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = ROUTES.answers(sample(ROUTES, path, b"{}", body, JSON, kind))
        assert found is not None
        labels = None if found.labels is None else found.labels.tolist()
        return labels, None if found.probabilities is None else found.probabilities.tolist()

    assert read("kserve-v1", {"predictions": [[0.2, 0.8], [0.9, 0.1]]}) == ([1, 0], [[0.2, 0.8], [0.9, 0.1]])
    assert read("kserve-v1", {"predictions": [1, 0]}) == ([1, 0], None)
    cats = read("kserve-v1", {"predictions": ["cat", "dog", "cat"]})[0]
    assert cats[0] == cats[2] != cats[1]
    one = [{"label": "b", "score": 0.6}, {"label": "a", "score": 0.4}]
    assert read("sagemaker", {"predictions": [one, one[::-1]]})[1] == [[0.4, 0.6]] * 2
    assert read("sagemaker", b"0.25\n0.75\n", b"text/csv") == ([0, 1], [[0.75, 0.25], [0.25, 0.75]])
    outputs = [tensor("l", [2], "INT64", [5, 6]), tensor("p", [2, 2], "FP32", [0.5, 0.5, 0.25, 0.75])]
    assert read("open-inference", {"outputs": outputs}) == ([5, 6], [[0.5, 0.5], [0.25, 0.75]])
    assert ROUTES.answers(sample(ROUTES, "chat", b"{}", b'{"choices":[]}')) is None


@pytest.mark.parametrize("path", ["json", "sagemaker", "kserve-v1"])
def test_answers_that_are_nested_too_deeply_are_held_back(path):
    assert held(path, b'{"predictions":' + b"[" * 900 + b"0.5" + b"]" * 900 + b"}")
