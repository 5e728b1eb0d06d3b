"""Heads that came before are read from memory: what they say must be what they would say when read anew."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_making import FILE, scope_of
from assay.guard.gateway.asgi.reading import FRAMING, REMEMBERED, SHORT, Limits, context_of
from assay.guard.gateway.settings.reading import convert


def limits_of(**more: Any) -> Limits:
    return Limits(convert({**FILE, **more}, "gateway.yaml", "."))


def said(scope: dict[str, Any], limits: Limits) -> tuple[Any, ...]:
    context, problem = context_of(scope, limits)
    return (
        context.method,
        context.target,
        dict(context.headers),
        context.peer,
        context.http,
        context.tls,
        None if problem is None else problem.rule,
    )


@pytest.mark.parametrize(
    "other",
    [
        {"method": "GET"},
        {"raw_path": b"/predict/", "path": "/predict/"},
        {"query_string": b"a=1"},
        {"client": ("192.0.2.2", 5)},
        {"client": None},
        {"http_version": "2"},
        {"scheme": "https"},
        {"headers": [(b"host", b"a")]},
        {"headers": [(b"host", b"a"), (b"x-api-key", b"another")]},
        {"headers": [(b"host", b"a"), (b"host", b"b")]},
        {"headers": [(b"host", b"a"), (b"content-length", b"1"), (b"transfer-encoding", b"chunked")]},
    ],
)
def test_no_head_is_taken_for_another(other: dict[str, Any]) -> None:
    both = limits_of()
    for scope in (scope_of(), {**scope_of(), **other}) * 2:
        assert said(scope, both) == said(scope, limits_of())
    assert said(scope_of(), both) != said({**scope_of(), **other}, both)


def test_a_path_that_only_the_decoded_form_tells_is_read_each_time() -> None:
    limits = limits_of()
    for path in ("/a", "/b"):
        assert said({**scope_of(), "path": path, "raw_path": None}, limits)[1] == path.encode()


def test_names_and_values_that_meet_elsewhere_are_other_headers() -> None:
    limits = limits_of()
    one, two = [(b"a", b"b"), (b"c", b"d")], [(b"a", b"b\0c"), (b"d", b"")]
    assert said({**scope_of(), "headers": one}, limits)[2] == dict(one)
    assert said({**scope_of(), "headers": two}, limits)[2] == dict(two)


def test_what_is_refused_is_refused_again() -> None:
    limits = limits_of()
    scope = scope_of(headers=[(b"content-length", b"+1")])
    for _ in range(3):
        assert context_of(scope, limits)[1] is FRAMING
    assert not limits.known


@pytest.mark.parametrize("value", [b"abc ", b"abc\t", b"abc \t ", b" abc"])
def test_blanks_around_values_go(value: bytes) -> None:
    limits = limits_of()
    for place in range(2):
        headers = [(b"x-last", b"z")] * place + [(b"x-blank", value)] + [(b"x-next", b"y")] * (1 - place)
        for _ in range(2):
            found = said({**scope_of(), "headers": headers}, limits)[2]
            assert found[b"x-blank"].rstrip() == found[b"x-blank"] and b"abc" in found[b"x-blank"]


def test_servers_may_give_lists() -> None:
    limits = limits_of()
    scope = scope_of()
    scope["headers"] = [list(pair) for pair in scope["headers"]]
    assert said(scope, limits) == said(scope_of(), limits_of())


def test_strangers_cannot_make_it_grow() -> None:
    limits = limits_of()
    for number in range(REMEMBERED + 10):
        context_of({**scope_of(), "query_string": b"%d" % number}, limits)
    assert len(limits.known) <= REMEMBERED
    context_of(scope_of(headers=[(b"x-long", bytes(SHORT))]), limits)
    context_of({**scope_of(), "raw_path": b"/long" + bytes(SHORT)}, limits)
    context_of({**scope_of(), "query_string": b"long" + bytes(SHORT)}, limits)
    assert all(b"x-long" not in known[2] and b"long" not in known[1] for known in limits.known.values())


def test_two_requests_of_one_head_are_two() -> None:
    limits = limits_of()
    first, second = context_of(scope_of(), limits)[0], context_of(scope_of(), limits)[0]
    assert first is not second and second.at >= first.at
    first.error = first.id = "changed"
    assert (second.error, second.id) == ("", "")
