"""Headers that rules look at: of two lines with one name a server may take either, so that no rule holds for both."""

from __future__ import annotations

from typing import Any

import pytest

from assay.guard.gateway import headers, ruled
from assay.guard.gateway.settings import Settings, convert
from guard.gateway.proxy.running import Rooms, post
from guard.gateway.proxy.test_forwarding import ask

RULES: list[dict[str, Any]] = [
    {"match": {"all": [{"not": {"any": [{"header": {"name": "X-Tenant", "exact": "evil"}}]}}]}},
    {"rate": {"limit": 9, "by": ["address", "header:X-Team"], "scope-down": {"header": {"name": "x-kind"}}}},
    {"rate": {"limit": 9, "by": "cookie:session"}, "match": {"header": {"name": "accept", "contains": "json"}}},
]


def rules(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "priority": i, "action": "block"} | one for i, one in enumerate(given)]


def settings(*given: dict[str, Any]) -> Settings:
    return convert({"assay-gateway": 1, "rules": rules(*given)}, "gateway.yaml", "/")


def test_what_rules_look_at_comes_once_unless_each_hop_may_add_to_it() -> None:
    read = settings(*RULES)
    named = {name.lower() for name, _ in ruled.headers(read)}
    assert named == {"x-tenant", "x-team", "x-kind", "cookie", "accept"} and not ruled.sizes(read)
    assert headers.single(read) - headers.single(settings()) == {b"x-tenant", b"x-team", b"x-kind"}
    assert ruled.sizes(settings({"match": {"not": {"size": {"over": 9}}}}))


@pytest.mark.parametrize("lines", [("X-Tenant: evil", "x-tenant: good"), ("X-Tenant: good", "X-TENANT: evil")])
def test_a_rule_is_not_evaded_by_saying_a_header_again(lines: tuple[str, ...]) -> None:
    answer, place = ask(post(b"{}", *lines), Rooms(), rules=rules(RULES[0]))
    assert answer.startswith(b"HTTP/1.1 400 ") and not place.upstream.received
    answer, place = ask(post(b"{}", *lines), Rooms())
    assert answer.startswith(b"HTTP/1.1 200 ")
    answer, _ = ask(post(b"{}", "Accept: a", "Accept: b"), Rooms(), rules=rules(RULES[2]))
    assert answer.startswith(b"HTTP/1.1 200 ")
