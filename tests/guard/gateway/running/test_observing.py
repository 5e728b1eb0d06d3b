"""Samples on their way to the keeper: nobody pushes out what others asked, and nothing a stranger sends is too much."""

import msgspec

from assay.guard.gateway.interface import Caller, Context, Decision, Route, Usage, Verb
from assay.guard.gateway.metrics.registry import Registry
from assay.guard.gateway.running.channel import Samples, encode
from assay.guard.gateway.running.counted import Counted
from assay.guard.gateway.running.remote import BODIES, COUNT, LARGE, Remote
from assay.guard.gateway.settings import convert

SETTINGS = convert(
    {"assay-gateway": 1, "routes": [{"protocol": "json", "path": "/predict"}], "detect": {"mode": "count"}}, "g", "/"
)


def finished(caller: str) -> Context:
    context = Context("POST", b"/predict", {b"content-type": b"application/json"}, "192.0.2.7", 1.0)
    context.route, context.caller = Route("json", Verb.INFER, "", "", "/predict"), Caller(caller)
    context.status = 200
    return context


def test_large_bodies_do_not_hide_what_others_ask() -> None:
    remote = Remote(SETTINGS, None, Registry().record)
    large, small = b"x" * (LARGE + 1), b"x" * 1000
    for _ in range(2 * BODIES // len(large)):
        remote.see(finished("key:flood"), large, None)
    for _ in range(100):
        remote.see(finished("key:other"), small, small)
    samples = remote.take()
    assert all(sample.request == small for sample in samples if sample.caller == "key:other")
    held = sum(len(sample.request or b"") for sample in samples if sample.caller == "key:flood")
    assert 0 < held <= BODIES // 2 and remote.shortened > 0 and remote.dropped == 0


def test_an_administrator_sees_whose_plan_it_is_and_what_was_given() -> None:
    remote, counted = Remote(SETTINGS, None, Registry().record), Counted()
    context = finished("key:a")
    context.caller = Caller("key:a", owner="shop", plan="partner")
    remote.see(context, b"{}", None)
    context.usage = Usage(rows=3)
    remote.see(context, b"{}", None)
    context.decision = Decision(False, 429, "budget:rows-day", "used up")
    remote.see(context, b"{}", None)
    for sample in remote.take():
        counted.count(sample)
    figures = counted.figures("key:a", None)
    assert (figures.owner, figures.plan) == ("shop", "partner")
    assert (figures.requests, figures.refused, figures.rows) == (3, 1, 3)


def test_what_waits_is_bounded() -> None:
    remote = Remote(SETTINGS, None, Registry().record)
    for _ in range(COUNT + 10):
        remote.see(finished("key:a"), b"", None)
    assert remote.dropped == 10 and len(remote.take()) == COUNT
    remote.see(finished("key:a"), b"{}", None)
    assert len(remote.take()) == 1


def test_whatever_a_stranger_names_can_be_sent() -> None:
    """A sample that could not be written would end the worker."""
    remote = Remote(SETTINGS, None, Registry().record)
    context = finished("key:a")
    context.headers = {b"content-type": b"\xff\xfe", b"x-amzn-sagemaker-target-variant": b"\xff" * 300}
    context.model, context.content_type = "m\U0010ffff", b"\x80"
    remote.see(context, b"\xff", b"\x00")
    (sample,) = remote.take()
    assert msgspec.msgpack.decode(encode(Samples([sample]))[4:], type=Samples).samples == [sample]
