"""Attacks: what an answer tells beside its numbers, by its order, its signs, or in fields of another server."""

import base64
import json
import struct

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assay.guard.gateway.interface import Decision, Measure
from assay.guard.gateway.parts import Unhardened
from guard.gateway.protocols.asking import context, measure, serving

HOWS = {
    "four": {"buckets": 4, "digits": 2},
    "buckets": {"buckets": 2},
    "digits": {"digits": 0},
    "top": {"top": 1},
    "noise": {"noise": 0.05},
    "both": {"top": 3, "digits": 1},
    "round": {"digits": 1},
}
ROUTES = serving(hardenings=HOWS)
KIND = b"application/json"


def hardened(path, answer, how, question=None):
    asked = context(ROUTES, path, harden=how)
    body = json.dumps({"instances": [[1.0]]} if question is None else question).encode()
    return json.loads(ROUTES.harden(asked, 200, KIND, json.dumps(answer).encode(), body))


def one(item, how):
    return hardened("kserve-v1", {"predictions": [item]}, how)["predictions"][0]


ORDERS = (("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a"))
"""In which a server may list classes: by name, or by probability."""
SCORES = {"a": 0.31, "b": 0.33, "c": 0.36}


@pytest.mark.parametrize("how", [*HOWS, "label-only"])
def test_the_order_of_classes_tells_nothing(how):
    named = [one({name: SCORES[name] for name in order}, how) for order in ORDERS]
    assert len({json.dumps(answer) for answer in named}) == 1
    ranked = [one([{"label": name, "score": SCORES[name]} for name in order], how) for order in ORDERS]
    assert len({json.dumps(answer) for answer in ranked}) == 1
    lists = [one({"classes": list(order), "scores": [SCORES[name] for name in order]}, how) for order in ORDERS]
    assert len({json.dumps(answer) for answer in lists}) == 1


@pytest.mark.parametrize("how", ["buckets", "digits", "round", "top", "label-only"])
@pytest.mark.parametrize("scores", [(0.31, 0.33, 0.36), (0.36, 0.33, 0.31), (0.33, 0.36, 0.31), (0.9, 0.05, 0.05)])
def test_the_label_stays_wherever_it_is_looked_for(how, scores):
    given = dict(zip("abc", scores, strict=True))
    label = max(given, key=given.__getitem__)
    for order in ORDERS:
        named = one({name: given[name] for name in order}, how)
        assert max(named, key=named.__getitem__) == label
        ranked = one([{"label": name, "score": given[name]} for name in order], how)
        assert ranked[0]["label"] == label == max(ranked, key=lambda each: each["score"])["label"]
        lists = one({"labels": list(order), "probabilities": [given[name] for name in order]}, how)
        assert lists["labels"][lists["probabilities"].index(max(lists["probabilities"]))] == label


def test_lists_of_classes_that_say_nothing_stay():
    answer = one({"predicted_label": "b", "classes": ["c", "b", "a"], "score": 0.7}, "label-only")
    assert answer == {"predicted_label": "b", "classes": ["a", "b", "c"], "score": 1.0}


def test_embeddings_tell_no_sign_of_what_was_rounded_away():
    answer = {"data": [{"embedding": [-0.04, 0.04, -0.0, -0.26, 3]}]}
    asked = context(ROUTES, "embed", harden="round")
    found = ROUTES.harden(asked, 200, KIND, json.dumps(answer).encode(), b"{}")
    assert b"-0.0" not in found and json.loads(found)["data"][0]["embedding"] == [0.0, 0.0, 0.0, -0.3, 3.0]


@pytest.mark.parametrize(
    "telling",
    [
        {"completion_probabilities": [{"content": "a", "probs": [{"tok_str": "a", "prob": 0.12345}]}]},
        {"completion_probabilities": [{"top_probs": [{"token": "a", "prob": 0.12345}]}]},
        {"meta_info": {"output_token_logprobs": [[-0.12345, 5, None]], "input_top_logprobs": [[[-0.12345, 5]]]}},
        {"details": {"tokens": [{"id": 5, "logprob": -0.12345}], "prefill": [{"logprob": -0.12345}]}},
        {"choices": [{"logits": [0.12345]}]},
        {"choices": [{"logProbs": [0.12345], "probability": 0.12345}]},
    ],
)
def test_probabilities_by_other_names(telling):
    """llama.cpp, SGLang and Text Generation Inference speak OpenAI's API too."""
    answer = {"choices": [{"message": {"content": "hi"}}], **telling}
    assert "12345" not in json.dumps(hardened("chat", answer, "label-only"))
    event = b"data: " + json.dumps(answer).encode() + b"\n\n"
    asked = context(ROUTES, "chat", harden="label-only")
    assert b"12345" not in ROUTES.harden(asked, 200, b"text/event-stream", event, b"{}")


def test_words_that_only_look_like_probabilities_stay():
    answer = {"choices": [{"message": {"content": "hi", "problem": "x", "probe": 1}}]}
    assert hardened("chat", answer, "label-only") == answer


QUESTION = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1.0]}]}


@pytest.mark.parametrize("codec", ["base64", "str", "datetime"])
def test_numbers_are_not_asked_for_as_texts(codec):
    """MLServer encodes an output as its caller asks: by ``base64`` a float becomes text in which nobody sees one."""
    asking = QUESTION | {"outputs": [{"name": "predict", "parameters": {"content_type": codec}}]}
    refused = measure("open-inference", asking, routes=ROUTES, harden="round")
    assert isinstance(refused, Decision) and refused.status == 422
    assert isinstance(measure("open-inference", asking, routes=ROUTES), Measure)  # whose answers are not hardened may
    for usual in ("np", "pd"):
        asking["outputs"][0]["parameters"]["content_type"] = usual
        assert isinstance(measure("open-inference", asking, routes=ROUTES, harden="round"), Measure)


def test_numbers_in_base64_are_held_back():
    text = base64.b64encode(struct.pack("<d", 0.7312)).decode()
    output = {"name": "p", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    answer = {"outputs": [output | {"parameters": {"content_type": "base64"}}]}
    with pytest.raises(Unhardened):
        hardened("open-inference", answer, "label-only", QUESTION)


def told(values, how) -> tuple:
    """All that a hardening may tell: the label, and in which part each probability lies."""
    label = values.index(max(values))
    if "buckets" in how:
        return label, *(min(int(value * how["buckets"]), how["buckets"] - 1) for value in values)
    return label, *(round(value, how["digits"]) for value in values)


parts = st.sampled_from([0, 1, 5, 20, 400]) | st.integers(0, 1000)
"""Of a distribution; many servers answer exact zeros."""


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(parts, st.integers(-30, 30)), min_size=2, max_size=4),
    st.sampled_from(["four", "buckets", "digits", "round"]),
    st.randoms(),
)
def test_nothing_is_told_but_what_is_meant_to_be(given_parts, how, random):
    """A 0 of the model's own, which a forest tells of what it knows by heart, is told apart from nothing near it."""
    some, others = [part for part, _ in given_parts], [max(0, part + change) for part, change in given_parts]
    assume(sum(some) and sum(others) and all(sorted(each)[-1] != sorted(each)[-2] for each in (some, others)))
    first, second = ([part / sum(each) for part in each] for each in (some, others))
    assume(told(first, HOWS[how]) == told(second, HOWS[how]))
    names = "abcd"[: len(first)]
    answers = []
    for values in (first, second):
        order = random.sample(range(len(values)), len(values))
        label = names[values.index(max(values))]
        named = {names[i]: values[i] for i in order}
        ranked = [{"label": names[i], "score": values[i]} for i in order]
        lists = {"classes": [names[i] for i in order], "scores": [values[i] for i in order]}
        forms = (values, named, ranked, lists, {"label": label, "probabilities": named})
        answers.append([one(form, how) for form in forms])
    assert json.dumps(answers[0]) == json.dumps(answers[1])


def test_certainty_gets_noise_too():
    """Or a row that the model knows by heart would be told by having none."""
    found = [
        hardened("kserve-v1", {"predictions": [[0.0, 1.0, 0.0]]}, "noise", {"instances": [[number]]})
        for number in range(20)
    ]
    answers = [tuple(one["predictions"][0]) for one in found]
    assert len(set(answers)) == 20 and all(max(answer) == answer[1] < 1 for answer in answers)


def test_noise_is_not_undone_by_what_is_cut_away():
    """It kept the sum of what was left of the row: with ``top: 1`` that is the probability itself."""
    routes = serving(hardenings={"noisy": {"top": 1, "noise": 0.1}})
    found = set()
    for number in range(20):
        asked = context(routes, "kserve-v1", harden="noisy")
        question = json.dumps({"instances": [[number]]}).encode()
        told = json.loads(routes.harden(asked, 200, KIND, b'{"predictions":[[0.2,0.5,0.3]]}', question))
        (first, second, third) = told["predictions"][0]
        assert (first, third) == (0, 0)
        found.add(round(second, 6))
    assert len(found) == 20


def test_certainty_that_stands_alone_is_no_label():
    for certain, nearly in ((1.0, 0.999), (0.0, 0.001), ([1.0], [0.999])):
        assert one(certain, "buckets") == one(nearly, "buckets") != certain
    assert 0 < one(1.0, "noise") < 1 and one(1.0, "label-only") == 1 and one(0.0, "label-only") == 0
    assert one(1, "buckets") == 1 and one(3.0, "buckets") == 3 and one(True, "noise") is True
    output = {"name": "p", "shape": [2, 1], "datatype": "FP32", "data": [1.0, 0.999]}
    two = {"inputs": [{"name": "x", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 2.0]}]}
    assert len(set(hardened("open-inference", {"outputs": [output]}, "buckets", two)["outputs"][0]["data"])) == 1
