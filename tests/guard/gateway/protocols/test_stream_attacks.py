"""Streams by which a caller would pay less than it got: text in other fields, usage of a part, usage beyond all."""

import json

import pytest

from assay.guard.gateway.interface import Usage
from assay.guard.gateway.protocols.events import LONGEST, Events
from guard.gateway.protocols.asking import ALL, context


def event(value) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def cancelled(*events, path: str = "chat") -> Usage:
    """What is settled when the caller goes away after these."""
    meter = Events(hide=True)
    for one in events:
        meter.feed(event(one))
    asked = context(ALL, path)
    asked.usage, asked.status = Usage(1, 7, 500), 200
    meter.close(asked)
    return asked.usage


def chosen(**delta) -> dict:
    return {"choices": [{"index": 0, "delta": delta}], "usage": None}


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 400}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "x" * 400}}]},
        {"function_call": {"arguments": "x" * 400}},
        {"refusal": "x" * 400},
        {"a_field_of_tomorrow": ["x" * 400]},
    ],
)
def test_text_costs_in_whatever_field_it_comes(delta):
    assert cancelled(chosen(role="assistant"), *[chosen(**delta)] * 3).tokens_out >= 300


def test_an_event_that_cannot_be_read_costs_its_bytes():
    assert cancelled({"choices": [{"delta": "x" * 400}]}).tokens_out >= 100
    assert cancelled({"choices": {"0": {"delta": {"content": "x" * 400}}}}).tokens_out >= 100


def test_a_line_that_is_not_read_costs_its_bytes():
    long = event({"choices": [{"delta": {"content": "x" * (LONGEST + 4000)}}]})
    for hide in (True, False):
        meter = Events(hide=hide)
        for start in range(0, len(long), 4096):
            meter.feed(long[start : start + 4096])
        asked = context(ALL, "chat")
        asked.usage, asked.status = Usage(1, 7, 500), 200
        meter.close(asked)
        assert asked.usage.tokens_out >= LONGEST // 4
    meter = Events(hide=False)
    meter.feed(long[:8000])  # passed on at once, and then the caller goes away
    meter.close(asked)
    assert asked.usage.tokens_out >= 1900


def test_usage_of_one_choice_is_not_that_of_all():
    """vLLM's ``continuous_usage_stats`` tells with each piece what this choice has had so far."""
    pieces = [
        {
            "choices": [{"index": choice, "delta": {"content": "word"}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": step, "total_tokens": 9 + step},
        }
        for step in range(1, 11)
        for choice in range(8)
    ]
    assert cancelled(*pieces).tokens_out == 80
    whole = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 61}}
    assert cancelled(*pieces, whole).tokens_out == 61


@pytest.mark.parametrize("count", [2**63, 2**64, 10**400, -1, -(10**400)])
def test_whatever_a_model_server_reports_can_be_counted_and_sent_on(count):
    import msgspec

    said = b'{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}' % (count, count)
    meter = Events(hide=True)
    meter.feed(b"data: " + said + b"\n\n")
    streamed = context(ALL, "chat")
    streamed.usage, streamed.status = Usage(1, 7, 500), 200
    meter.close(streamed)
    whole = context(ALL, "chat")
    whole.usage, whole.status = Usage(1, 7, 500), 200
    ALL.settle(whole, b"application/json", said)
    for usage in (streamed.usage, whole.usage):
        assert 0 <= usage.tokens_in < 2**53 and 0 <= usage.tokens_out < 2**53
        msgspec.msgpack.encode(usage.tokens_in + usage.tokens_out)
        float(usage.tokens_in + usage.tokens_out)


def test_usage_without_the_answers_tokens_is_what_is_left_of_the_sum():
    for said, wanted in (({"total_tokens": 90}, 83), ({"prompt_tokens": 5, "total_tokens": 90}, 85)):
        whole = context(ALL, "chat")
        whole.usage, whole.status = Usage(1, 7, 500), 200
        ALL.settle(whole, b"application/json", json.dumps({"choices": [], "usage": said}).encode())
        assert whole.usage.tokens_in + whole.usage.tokens_out >= 90 and whole.usage.tokens_out >= wanted
        assert cancelled({"choices": [], "usage": said}).tokens_out >= wanted
    # Neither: what was reserved stays, for nobody knows that it was less.
    assert cancelled(*[chosen(content="word")] * 9, {"choices": [], "usage": {"prompt_tokens": 5}}).tokens_out >= 9
