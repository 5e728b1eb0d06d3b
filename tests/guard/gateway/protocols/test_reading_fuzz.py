"""Whatever bytes come: an answer, never an exception; and what is taken means to the json module the same."""

import csv
import io
import json
import math
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.guard.gateway.interface import Decision, Measure
from assay.guard.gateway.parts import Unhardened
from guard.gateway.protocols.asking import ALL, PATHS, context, measure, sample, serving

KINDS = (b"application/json", b"text/csv", b"application/jsonlines", b"application/octet-stream", b"")
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 10), st.integers(), st.floats(), st.text(max_size=4),
    st.sampled_from(["FP32", "BYTES", "INT64", "BOOL", "x"]),
)  # fmt: skip
names = st.sampled_from([
    "inputs", "instances", "shape", "data", "datatype", "name", "parameters", "binary_data_size", "model", "messages",
    "prompt", "input", "n", "max_tokens", "stream", "stream_options", "content", "features", "dataframe_split",
    "columns", "a", "b", "predictions", "outputs", "scores", "label", "score", "usage", "choices",
])  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(-1, 3), max_size=3))
    data = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), max_size=9))
    more = draw(st.dictionaries(st.sampled_from(["parameters", "x", "shape"]), values, max_size=1))
    return {"name": draw(st.sampled_from("ab")), "shape": shape, "datatype": "FP64", "data": data, **more}


bodies = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet='{}[]:,"\\01e-. nulltrue\r\n\u2028', max_size=40).map(str.encode),
    values.map(lambda value: json.dumps(value).encode()),
    st.lists(tensors(), max_size=2).map(lambda given: json.dumps({"inputs": given}).encode()),
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), values, max_size=2).map(
        lambda value: json.dumps(value).encode()
    ),
)


def strict(body):
    def pairs(found):
        assert len(dict(found)) == len(found)
        return dict(found)

    def constant(name):
        raise AssertionError(name)

    return json.loads(body, object_pairs_hook=pairs, parse_constant=constant)


@quick
@given(st.sampled_from(sorted(PATHS)), st.sampled_from(KINDS), bodies, st.booleans())
def test_every_body_gets_an_answer(path, kind, body, headed):
    headers = {b"inference-header-content-length": b"%d" % len(body)} if headed else {}
    measured = measure(path, body, kind, headers=headers)
    assert isinstance(measured, Measure | Decision)
    if isinstance(measured, Measure) and kind == b"application/json":
        strict(body)  # one document, no key twice, no NaN
        assert measured.rows >= 1


@quick
@given(st.lists(tensors(), min_size=1, max_size=2), st.integers(0, 3))
def test_open_inference_counts_what_json_reads(inputs, cut):
    body = json.dumps({"inputs": inputs}).encode()
    measured = measure("open-inference", body)
    if isinstance(measured, Measure):
        read = strict(body)["inputs"]
        for tensor in read:
            assert math.prod(tensor["shape"]) == len(tensor["data"])
            assert (tensor["shape"] or [1])[0] == measured.rows
        table = ALL.table(sample(ALL, "open-inference", body))
        assert table is not None and len(table.features) == measured.rows


@quick
@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3), min_size=1, max_size=4)
)
def test_instances_are_counted_as_json_reads_them(instances):
    body = json.dumps({"instances": instances}).encode()
    measured = measure("kserve-v1", body)
    if len({len(row) for row in instances}) > 1:
        assert isinstance(measured, Decision)
    else:
        assert isinstance(measured, Measure) and measured.rows == len(strict(body)["instances"])
        table = ALL.table(sample(ALL, "kserve-v1", body))
        assert table is not None and table.features.tolist() == instances


@quick
@given(st.text(alphabet='1a,"\r\n \t.', max_size=30))
def test_csv_has_the_lines_that_pythons_readers_see(text):
    body = text.encode()
    measured = measure("sagemaker", body, b"text/csv")
    if isinstance(measured, Measure):
        assert measured.rows == len(list(csv.reader(io.StringIO(text, newline="")))) == len(text.splitlines())


@quick
@given(
    st.binary(max_size=40), st.lists(st.integers(0, 4), max_size=3), st.sampled_from(["FP32", "BYTES", "BF16", "INT8"])
)
def test_binary_tensors_have_exactly_their_bytes(data, shape, datatype):
    head = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({"inputs": [head]}).encode()
    headers = {b"inference-header-content-length": b"%d" % len(text)}
    measured = measure("open-inference", text + data, b"application/octet-stream", headers=headers)
    if isinstance(measured, Measure):
        count = math.prod(shape)
        if datatype == "BYTES":
            place = found = 0
            while place < len(data):
                place += 4 + struct.unpack_from("<I", data, place)[0]
                found += 1
            assert (place, found) == (len(data), count)
        else:
            assert len(data) == count * {"FP32": 4, "BF16": 2, "INT8": 1}[datatype]
        found = ALL.table(sample(ALL, "open-inference", text + data, kind=b"application/octet-stream"))
        assert found is not None and len(found.features) == measured.rows


HARD = serving(
    hardenings={
        "all": {"top": 2, "noise": 0.1, "buckets": 10, "digits": 2},
        "digits": {"digits": 1},
        "label-only": {"label-only": True},
    }
)
answers = st.one_of(
    bodies,
    st.dictionaries(st.sampled_from(["predictions", "outputs", "results", "data", "choices"]), values, max_size=2).map(
        lambda value: json.dumps(value).encode()
    ),
    st.lists(tensors(), max_size=2).map(lambda given: json.dumps({"outputs": given}).encode()),
    st.text(alphabet='0.123456789,\n-eE"', max_size=20).map(str.encode),
    st.sampled_from([b"data: [DONE]\n\n", b'data: {"choices":[]}\n\n', b"data: {\n", b"event: x\r\n"]),
)
STREAM = b"text/event-stream"


@quick
@given(
    st.sampled_from(sorted(PATHS)), st.sampled_from((*KINDS, STREAM)), answers, bodies,
    st.sampled_from(["all", "digits", "label-only"]), st.sampled_from([200, 204, 301, 400, 500]),
)  # fmt: skip
def test_every_answer_is_hardened_or_held_back(path, kind, answer, question, name, status):
    asked = context(HARD, path, harden=name)
    try:
        hardened = HARD.harden(asked, status, kind, answer, question)
    except Unhardened as error:
        assert str(error)
    else:
        assert isinstance(hardened, bytes)


@quick
@given(st.sampled_from(sorted(PATHS)), st.sampled_from((*KINDS, STREAM)), bodies, answers)
def test_those_who_look_get_a_table_or_nothing(path, kind, question, answer):
    seen = sample(ALL, path, question, answer, kind, kind)
    ALL.table(seen)
    ALL.answers(seen)
    asked = context(ALL, path)
    ALL.settle(asked, kind, answer)
    assert asked.usage is not None and asked.usage.rows >= 0
