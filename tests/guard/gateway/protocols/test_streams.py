"""Streamed answers: what they cost is read out of them, wherever they are cut."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.guard.gateway.interface import Measure, Usage
from assay.guard.gateway.protocols.events import LONGEST, Events
from guard.gateway.protocols.asking import ALL, context, measure, refused

ASKED = {"model": "m", "messages": [{"role": "user", "content": 'a {"b": \\ '}], "stream": True}


def event(value) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(text) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}}], "usage": None})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}})
DONE = event(b"[DONE]")


def followed(pieces, *, hide=True, status=200, reserved=500):
    meter = Events(hide=hide)
    passed = b"".join(meter.feed(piece) for piece in pieces)
    asked = context(ALL, "chat")
    asked.usage, asked.status = Usage(1, 7, reserved), status
    meter.close(asked)
    return passed, asked.usage


def test_usage_is_asked_for_and_everything_else_stays():
    body = json.dumps(ASKED, indent=1).encode()
    measured = measure("chat", b"  " + body)
    assert isinstance(measured, Measure) and measured.stream and measured.body is not None
    assert json.loads(measured.body) == ASKED | {"stream_options": {"include_usage": True}}
    for options in (None, {}, {"include_usage": False}, {"include_usage": False, "continuous_usage_stats": True}):
        measured = measure("chat", ASKED | {"stream_options": options})
        assert isinstance(measured, Measure) and measured.body is not None
        assert json.loads(measured.body)["stream_options"] == (options or {}) | {"include_usage": True}
        assert json.loads(measured.body)["messages"] == ASKED["messages"]
    measured = measure("chat", ASKED | {"stream_options": {"include_usage": True}})
    assert isinstance(measured, Measure) and measured.stream and measured.body is None
    assert refused("chat", ASKED | {"stream_options": {"include_usage": 1}}) == 422
    measured = measure("chat", ASKED | {"stream": False})
    assert isinstance(measured, Measure) and not measured.stream and measured.body is None
    measured = measure("responses", {"model": "m", "input": "x", "stream": True})
    assert isinstance(measured, Measure) and measured.stream and measured.body is None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12), st.booleans(), st.booleans())
def test_cuts_anywhere_change_nothing(cuts, hide, crlf):
    shown = delta("héllo ") + b": ping\n\n" + delta("wor\u2028ld") + b"event: x\nid: 5\n\n"
    stream, wanted = shown + USAGE + DONE, shown + (b"" if hide else USAGE) + DONE
    if crlf:
        stream, wanted = stream.replace(b"\n", b"\r\n"), wanted.replace(b"\n", b"\r\n")
    pieces, place = [], 0
    for size in cuts:
        pieces.append(stream[place : place + size])
        place += size
    passed, usage = followed([*pieces, stream[place:]], hide=hide)
    assert passed == wanted
    assert (usage.tokens_in, usage.tokens_out) == (11, 22)


def test_every_single_cut_of_lines_that_end_with_crlf():
    stream, wanted = ((delta("a") + more + DONE).replace(b"\n", b"\r\n") for more in (USAGE, b""))
    for cut in range(len(stream)):
        assert followed([stream[:cut], stream[cut:]])[0] == wanted


def test_one_byte_at_a_time():
    stream = delta("a") + USAGE + DONE
    passed, usage = followed([stream[i : i + 1] for i in range(len(stream))])
    assert passed == delta("a") + DONE and usage.tokens_out == 22


def test_a_broken_stream_costs_what_was_streamed():
    passed, usage = followed([delta("one") + delta("two") + delta("three is longer than that"), b'data: {"cho'])
    assert passed == delta("one") + delta("two") + delta("three is longer than that")
    assert usage.tokens_in == 7 and usage.tokens_out == 1 + 1 + 7
    assert followed([b"data: [DONE]"])[0] == b"data: [DONE]"


def test_usage_without_its_last_line_end_counts():
    assert followed([delta("a"), USAGE.rstrip()])[1].tokens_out == 22


def test_errors_pass_at_once_and_cost_no_answer():
    body = b'{"error":{"message":"no"}}'
    passed, usage = followed([body[:9], body[9:]], status=400)
    assert passed == body and usage.tokens_out == 0


def test_usage_with_choices_is_never_hidden():
    both = event({"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    passed, usage = followed([both + DONE])
    assert passed == both + DONE and usage.tokens_out == 2


def test_lines_without_end_are_not_collected():
    meter = Events(hide=True)
    piece = b'data: {"choices":[' + b" " * 65536
    passed = sum(len(meter.feed(piece if i == 0 else b" " * 65536)) for i in range(64))
    assert passed > 64 * 65536 - LONGEST
    assert len(meter._rest) <= LONGEST
    assert meter.feed(b"]}\n\n" + USAGE) == b"]}\n\n"
    for hide in (True, False):
        odd = Events(hide=hide)
        assert odd.feed(b"x" * 5000) == b"x" * 5000
        assert odd.feed(b"y" * 5000 + b"\n") == b"y" * 5000 + b"\n"


def test_strange_events_do_no_harm():
    for line in (b"data: {", b"data: {}", b'data: {"choices":5}', b'data: {"usage":{"prompt_tokens":"x"}}', b"data:",
                 b'data: {"choices":[],"usage":5}', b"data: " + b"[" * 9999, b"data: {" + b'"a":{' * 9999):  # fmt: skip
        passed, usage = followed([line + b"\n\n" + delta("a")])
        assert passed == line + b"\n\n" + delta("a") and 1 <= usage.tokens_out <= 1 + len(line) // 4
    assert (
        followed([event({"choices": [], "usage": {"prompt_tokens": -5, "completion_tokens": -9}})])[1].tokens_out == 0
    )


def test_responses_tell_their_usage_in_another_event():
    first = b"event: response.output_text.delta\n" + event({"type": "response.output_text.delta", "delta": "hi"})
    last = event({"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 4}}})
    passed, usage = followed([first + last], hide=False)
    assert passed == first + last and (usage.tokens_in, usage.tokens_out) == (3, 4)
    assert followed([first], hide=False)[1].tokens_out == 1


def settled(path, body, status=200, kind=b"application/json"):
    asked = context(ALL, path)
    asked.usage, asked.status = Usage(2, 7, 500), status
    ALL.settle(asked, kind, body if isinstance(body, bytes) else json.dumps(body).encode())
    return asked.usage


def test_answers_that_are_not_streamed_are_settled():
    usage = settled("chat", {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})
    assert (usage.tokens_in, usage.tokens_out) == (3, 5)
    usage = settled("embed", {"data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    assert (usage.tokens_in, usage.tokens_out) == (3, 0)
    assert settled("chat", {"choices": []}).tokens_out == 4
    assert settled("chat", b"x" * 9000).tokens_out == 500
    assert settled("chat", b"no", 500).tokens_out == 0


def test_more_predictions_than_rows_count():
    assert settled("kserve-v1", {"predictions": [1] * 100}).rows == 100
    assert settled("kserve-v1", {"predictions": [1]}).rows == 2
    output = {"name": "y", "shape": [50, 1], "datatype": "INT64", "data": [1] * 50}
    assert settled("open-inference", {"outputs": [output]}).rows == 50
    assert settled("sagemaker", b"1\n2\n3\n", kind=b"text/csv").rows == 3
    assert settled("json", {"predictions": [1] * 9}).rows == 9
    assert settled("kserve-v1", b"x").rows == 2
    assert settled("kserve-v1", {"predictions": [1] * 100}, 500).rows == 2
