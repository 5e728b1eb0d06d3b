"""Refusals and header values as every way in writes them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from asgi_making import Rooms, ask, guarded, scope_of
from assay.guard.gateway.headers import field_value
from assay.guard.gateway.interface import Context, Decision
from assay.guard.gateway.proxy.refusals import refusal as proxied
from assay.guard.gateway.refusing import refusal
from assay.guard.gateway.service import answering

EVIL = 'Bearer realm="a\\"b"\r\nset-cookie: a=b\r\n\r\n<p>é'


def context_of() -> Context:
    context = Context("POST", b"/", {}, "192.0.2.1", 0.0)
    context.id = context.request_id = "0" * 32
    return context


@given(st.text(max_size=600))
def test_no_text_ends_a_header(text: str) -> None:
    for quotes in (False, True):
        value = field_value(text, quotes=quotes)
        assert all(0x20 <= byte <= 0x7E for byte in value) and value == value.strip()
        assert quotes or not set(value) & set(b'"\\')


def test_a_value_without_anything_special_is_itself() -> None:
    assert field_value("key:7Qx (a/b; c=d)") == b"key:7Qx (a/b; c=d)"
    assert field_value("mtls:CN=a\\, b,O=50%") == b"mtls:CN=a%5C, b,O=50%25"
    assert field_value('Bearer realm="a", error="b"', quotes=True) == b'Bearer realm="a", error="b"'
    assert field_value("\udcff") == b"?"


@given(st.text(max_size=100), st.text(max_size=100))
def test_the_body_is_one_line_that_can_be_a_header(rule: str, reason: str) -> None:
    headers, body = refusal(context_of(), Decision(False, 403, rule, reason))
    assert all(0x20 <= byte <= 0x7E for byte in body)
    error = {"code": 403, "rule": rule, "message": reason, "request_id": "0" * 32}
    assert json.loads(body) == {"error": error}
    assert dict(headers)[b"content-length"] == b"%d" % len(body)


def test_a_challenge_is_one_header_in_every_face() -> None:
    decision = Decision(False, 401, "caller", "no", challenge=EVIL, retry_after=3)
    said = dict(refusal(context_of(), decision)[0])
    assert said[b"www-authenticate"] == b'Bearer realm="a\\"b"%0D%0Aset-cookie: a=b%0D%0A%0D%0A<p>%C3%A9'
    assert said[b"retry-after"] == b"3"
    for answer in (
        proxied(context_of(), decision, close=True, date=b"date: now\r\n"),
        answering.refused(context_of(), decision, plain=True),
    ):
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        assert said.items() <= lines.items() and b"set-cookie" not in lines
        assert json.loads(body)["error"]["code"] == 401

    async def app(scope, receive, send):
        raise AssertionError("it was let through")

    class Challenging(Rooms):
        def identify(self, context: Context) -> Decision:
            return decision

    answer = ask(guarded(app, Challenging()), scope_of())
    assert answer.headers[b"www-authenticate"] == said[b"www-authenticate"]
