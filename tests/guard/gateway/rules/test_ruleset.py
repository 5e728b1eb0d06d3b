"""Rules as a whole: order, actions, what they match, who is counted together."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from assay.errors import AssayError, DocumentError
from assay.guard.gateway.interface import Caller, Context, Decision, Route, Verb
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.rules import Ruleset, compile
from assay.guard.gateway.settings.reading import convert

T0 = 1_790_000_000.0


def ruleset(*rules: dict[str, Any], folder: str = "/nowhere", **more: Any) -> Ruleset:
    numbered = [{"id": f"r{i}", "priority": i, "action": "block"} | rule for i, rule in enumerate(rules)]
    return compile(convert({"assay-gateway": 1, "rules": numbered} | more, "gateway.yaml", folder), Local())


def asked(peer: str = "192.0.2.1", at: float = T0, headers: dict[bytes, bytes] | None = None, **more: Any) -> Context:
    context = Context(more.pop("method", "POST"), b"/x", headers or {}, peer, at, steady=at)
    context.path = "/v2/models/m/infer"
    context.caller = Caller("key:1", user="ann", owner="acme", groups=("admin",))
    context.route = Route("open-inference", Verb.INFER, "m", "1", "/v2/models/{model}/infer")
    for name, value in more.items():
        setattr(context, name, value)
    return context


def ask(rules: Ruleset, context: Context) -> Decision | None:
    return rules.address(context) or rules.decide(context)


def matches(statement: dict[str, Any], context: Context, **more: Any) -> bool:
    return ask(ruleset({"match": statement}, **more), context) is not None


def test_order_is_by_priority_and_the_first_that_ends_it_counts() -> None:
    rules = ruleset(
        {"id": "last", "priority": 30},
        {"id": "seen", "priority": 5, "action": "count"},
        {"id": "friend", "priority": 10, "action": "allow", "match": {"user": "ann"}},
        {"id": "never", "priority": 40, "action": "count"},
    )
    context = asked()
    decision = ask(rules, context)
    assert decision is not None and decision.allowed and decision.rule == "rule:friend"
    assert context.counted == ("seen",)
    stranger = asked(caller=None)
    refused = ask(rules, stranger)
    assert refused is not None and (refused.status, refused.rule, refused.allowed) == (403, "rule:last", False)
    assert rules.figures() == {"seen": 2, "friend": 1, "last": 1, "never": 0}


def test_statuses_and_challenges() -> None:
    for rule, status in (
        ({"action": "block"}, 403),
        ({"action": "block", "status": 404}, 404),
        ({"action": "challenge"}, 401),
        ({"action": "challenge", "status": 407}, 407),
    ):
        refused = ask(ruleset(rule), asked(caller=None))
        assert refused is not None and refused.status == status
        assert bool(refused.challenge) == (status == 401)
    assert ask(ruleset({"action": "challenge"}), asked()) is None  # has proved who it is
    assert ask(ruleset({"action": "challenge"}), asked(caller=Caller("address:192.0.2.1"))) is not None


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({}, True),
        ({"address-in": "192.0.2.0/24"}, True),
        ({"address-in": ["10.0.0.0/8", "ours"]}, True),
        ({"address-in": "10.0.0.0/8"}, False),
        ({"method": "POST"}, True),
        ({"method": ["GET", "HEAD"]}, False),
        ({"path": "/v2/models/m/infer"}, True),
        ({"path": "/v2/models/*/infer"}, True),
        ({"path": "/v2/models/?/infe[rs]"}, True),
        ({"path": "/v2/models/?/infe[!rs]"}, False),
        ({"path": "/v2"}, False),
        ({"path": {"prefix": "/v2/"}}, True),
        ({"path": {"prefix": ["/v1/", "/v3/"]}}, False),
        ({"path": {"contains": "models"}}, True),
        ({"path": {"regex": "^/v[0-9]+/models/[a-z]+/infer$"}}, True),
        ({"header": {"name": "User-Agent", "prefix": "curl"}}, True),
        ({"header": {"name": "user-agent", "exact": "curl"}}, False),
        ({"header": {"name": "user-agent", "regex": "cu.l/[0-9]"}}, True),
        ({"header": {"name": "user-agent"}}, True),
        ({"header": {"name": "x-other"}}, False),
        ({"not": {"header": {"name": "x-other"}}}, True),
        ({"query": {"name": "a", "exact": "é b"}}, True),
        ({"query": {"name": "a", "exact": "2"}}, True),
        ({"query": {"name": "a", "exact": "3"}}, False),
        ({"query": {"name": "c"}}, False),
        ({"query": {"name": "d", "exact": "4"}}, True),
        ({"query": {"name": "b", "exact": ";d=4"}}, True),
        ({"size": {"over": "1KiB"}}, True),
        ({"size": {"over": "1KiB", "under": 2048}}, False),
        ({"protocol": "open-inference"}, True),
        ({"verb": ["infer", "explain"]}, True),
        ({"verb": "chat"}, False),
        ({"model": "m"}, True),
        ({"caller": "key:1"}, True),
        ({"caller": {"prefix": "jwt:"}}, False),
        ({"user": "ann"}, True),
        ({"owner": "acme"}, True),
        ({"plan": "default"}, True),
        ({"group": ["staff", "admin"]}, True),
        ({"group": "staff"}, False),
        ({"method": "POST", "model": "other"}, False),
        ({"all": [{"method": "POST"}, {"model": "m"}]}, True),
        ({"any": [{"method": "GET"}, {"model": "m"}]}, True),
        ({"any": [{"method": "GET"}, {"model": "x"}]}, False),
        ({"not": {"any": [{"method": "GET"}, {"not": {"model": "m"}}]}}, True),
        ({"not": {}}, False),
    ],
)
def test_statements(statement: dict[str, Any], expected: bool) -> None:
    headers = {b"user-agent": b"curl/8", b"content-length": b"4096"}
    context = asked(headers=headers, query=b"a=%C3%A9+b&a=2&b=;d=4")
    assert matches(statement, context, addresses={"ours": ["192.0.2.1"]}) is expected


def test_what_a_request_does_not_have_is_not_matched() -> None:
    for statement in ({"caller": "key:1"}, {"model": "m"}, {"group": "admin"}, {"verb": "infer"}):
        assert not matches(statement, asked(caller=None, route=None))


def test_sizes_that_are_not_declared() -> None:
    chunked = {b"transfer-encoding": b"chunked"}
    assert matches({"size": {"over": 10}}, asked(headers=chunked))
    assert not matches({"size": {"under": 10}}, asked(headers=chunked))
    assert not matches({"size": {"over": 10}}, asked())
    assert matches({"size": {"over": 10}}, asked(headers={b"content-length": b"9" * 5000}))


@pytest.mark.parametrize(
    "rule",
    [
        {"match": {"adress-in": "x"}},
        {"match": {"address-in": "nobody"}},
        {"match": {"address-in": "10.0.0.1/8"}},
        {"match": {"country": "DE"}},
        {"match": {"method": 5}},
        {"match": {"method": "post"}},
        {"match": {"method": {"exact": ["GET", "Post"]}}},
        {"match": {"verb": "predict"}},
        {"match": {"protocol": "kserve"}},
        {"match": {"not": {"protocol": ["openai", "Open-Inference"]}}},
        {"match": {"any": []}},
        {"match": {"all": {}}},
        {"match": {"not": []}},
        {"match": {"path": {"regex": "(a)\\1"}}},
        {"match": {"path": {"suffix": "x"}}},
        {"match": {"path": {"prefix": "x", "exact": "y"}}},
        {"match": {"header": "x"}},
        {"match": {"header": {"name": ""}}},
        {"match": {"size": {"above": 1}}},
        {"match": {"size": {"over": "much"}}},
        {"match": {"group": []}},
        {"rate": {}},
        {"rate": {"limit": 0}},
        {"rate": {"limit": 1, "window": 0}},
        {"rate": {"limit": 1, "window": 86401}},
        {"rate": {"limit": 1, "by": "ip"}},
        {"rate": {"limit": 1, "by": []}},
        {"rate": {"limit": 1, "by": ["address", "address"]}},
        {"rate": {"limit": 1, "by": "header:"}},
        {"rate": {"limit": 1, "scope": {}}},
        {"rate": {"limit": 1, "scope-down": {"x": 1}}},
        {"rate": {"limit": 1}, "action": "allow"},
    ],
)
def test_what_makes_no_sense_is_an_error_that_names_the_rule(rule: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="rule r0"):
        ruleset(rule)


def test_statements_without_end_are_refused() -> None:
    statement: dict[str, Any] = {"method": "GET"}
    for _ in range(5000):
        statement = {"not": statement}
    with pytest.raises(AssayError):
        ruleset({"match": statement})


def through(rules: Ruleset, *contexts: Context) -> list[bool]:
    return [ask(rules, context) is None for context in contexts]


def rate(by: Any = "address", limit: int = 2, **more: Any) -> dict[str, Any]:
    return {"action": "challenge", "rate": {"limit": limit, "window": 60, "by": by} | more}


def test_rates_by_address_and_blocked_hits_count() -> None:
    rules = ruleset(rate())
    assert through(rules, *[asked() for _ in range(4)]) == [True, True, False, False]
    assert through(rules, asked("192.0.2.2")) == [True]
    refused = ask(rules, asked(at=T0 + 60))
    assert refused is not None and (refused.status, refused.retry_after, refused.challenge) == (429, 65, "")
    assert through(rules, asked(at=T0 + 60 + refused.retry_after)) == [True]
    blocked = ask(ruleset({"rate": {"limit": 1}}, {}), asked())
    assert blocked is not None and blocked.rule == "rule:r1"


def test_a_customers_ipv6_network_is_counted_together() -> None:
    rules = ruleset(rate())
    assert through(rules, *[asked(f"2001:db8:1:2::{i}") for i in range(4)]) == [True, True, False, False]
    assert through(rules, asked("2001:db8:1:3::1")) == [True]


@pytest.mark.parametrize(
    ("by", "same", "other", "lacking"),
    [
        ("caller", {}, {"caller": Caller("key:2", owner="acme")}, {"caller": None}),
        (
            "owner",
            {"caller": Caller("key:2", owner="acme")},
            {"caller": Caller("key:1", owner="x")},
            {"caller": Caller("c")},
        ),
        ("header:X-Team", {}, {"headers": {b"x-team": b"b"}}, {"headers": {}}),
        ("cookie:sid", {}, {"headers": {b"cookie": b"x=1; sid=2"}}, {"headers": {b"cookie": b"sidd=1"}}),
        (["address", "header:x-team"], {}, {"peer": "192.0.2.9", "headers": {b"x-team": b"a"}}, {"headers": {}}),
    ],
)
def test_who_is_counted_together(by: Any, same: dict[str, Any], other: dict[str, Any], lacking: dict[str, Any]) -> None:
    headers = {"headers": {b"x-team": b"a", b"cookie": b"sid=1; x=sid=3"}}
    rules = ruleset(rate(by))
    assert through(rules, *[asked(**(headers | same)) for _ in range(3)]) == [True, True, False]
    assert through(rules, *[asked(**(headers | other)) for _ in range(3)]) == [True, True, False]
    assert through(rules, *[asked(**(headers | lacking)) for _ in range(9)]) == [True] * 9


def test_combinations_cannot_be_made_to_look_the_same() -> None:
    rules = ruleset(rate(["header:a", "header:b"], limit=1))
    assert (
        through(
            rules,
            asked(headers={b"a": b"x\x001\x00y", b"b": b"z"}),
            asked(headers={b"a": b"x", b"b": b"1\x00y\x00z"}),
            asked(headers={b"a": b"v" * 9000 + b"1", b"b": b""}),
            asked(headers={b"a": b"v" * 9000 + b"2", b"b": b""}),
        )
        == [True] * 4
    )


def test_only_what_is_in_scope_is_counted() -> None:
    for rule in (rate(**{"scope-down": {"method": "POST"}}), rate() | {"match": {"method": "POST"}}):
        rules = ruleset(rule)
        assert all(through(rules, *[asked(method="GET") for _ in range(9)]))
        assert through(rules, *[asked() for _ in range(3)]) == [True, True, False]
        assert through(rules, asked(method="GET")) == [True]


def test_all_together() -> None:
    rules = ruleset(rate("constant"))
    assert through(rules, asked("192.0.2.1"), asked("192.0.2.2"), asked("192.0.2.3")) == [True, True, False]


def test_forwarded_counts_only_what_a_trusted_proxy_told() -> None:
    rules = ruleset(rate("forwarded"), **{"trusted-proxies": ["10.0.0.0/8"]})
    told = [asked("10.0.0.1", headers={b"x-forwarded-for": b"203.0.113.7"}) for _ in range(3)]
    assert through(rules, *told) == [True, True, False]
    assert told[0].address == "203.0.113.7" and told[0].forwarded
    spoofed = [asked("192.0.2.1", headers={b"x-forwarded-for": b"203.0.113.7"}) for _ in range(5)]
    assert through(rules, *spoofed) == [True] * 5
    assert spoofed[0].address == "192.0.2.1" and not spoofed[0].forwarded


def test_nobody_leaves_a_deny_list_or_rate_by_writing_headers() -> None:
    rules = ruleset({"match": {"address-in": "203.0.113.7"}}, rate(), **{"trusted-proxies": ["10.0.0.0/8", "unix"]})
    for written in (b"", b"1.1.1.1, ", b"<junk>, ", b'"', b"unknown, ", b"10.0.0.1, ", b"x" * 5000 + b", "):
        for peer in ("10.0.0.1", "unix:", "::ffff:10.0.0.2"):
            headers = {b"x-forwarded-for": written.rstrip(b'"') + b"203.0.113.7", b"forwarded": b"for=1.1.1.1"}
            refused = ask(rules, asked(peer, headers=headers))
            assert refused is not None and refused.rule == "rule:r0"
    for i in range(5):
        context = asked("192.0.2.1", headers={b"x-forwarded-for": b"1.1.1.%d" % i, b"forwarded": b"for=2.2.2.%d" % i})
        assert (ask(rules, context) is None) == (i < 2)


def test_unknown_is_the_proxy_itself_and_no_shared_name() -> None:
    rules = ruleset(**{"trusted-proxies": ["10.0.0.0/8"]})
    for value in (b"unknown", b"", b"a" * 9000):
        context = asked("10.0.0.1", headers={b"x-forwarded-for": value})
        rules.address(context)
        assert context.address == "10.0.0.1" and not context.forwarded


def test_forwarded_where_it_is_the_header() -> None:
    rules = ruleset(**{"trusted-proxies": ["10.0.0.0/8"], "trusted-header": "forwarded"})
    context = asked("10.0.0.1", headers={b"forwarded": b"for=203.0.113.7", b"x-forwarded-for": b"1.1.1.1"})
    rules.address(context)
    assert context.address == "203.0.113.7"


def mmdb(countries: dict[str, str]) -> bytes:
    """A MaxMind DB (format 2.0) of IPv4 networks of eight bits, with 24-bit records."""
    data, offsets = b"", {}
    for code in sorted(set(countries.values())):
        offsets[code] = len(data)
        data += b"\xe1\x47country\xe1\x48iso_code\x42" + code.encode()
    nodes: list[list[int | str | None]] = [[None, None]]
    for network, code in countries.items():
        first, node = int(network.partition(".")[0]), 0
        for bit in range(7, 0, -1):
            side = first >> bit & 1
            following = nodes[node][side]
            if following is None:
                nodes.append([None, None])
                following = nodes[node][side] = len(nodes) - 1
            assert isinstance(following, int)
            node = following
        nodes[node][first & 1] = code
    count = len(nodes)

    def record(value: int | str | None) -> bytes:
        number = count if value is None else value if isinstance(value, int) else count + 16 + offsets[value]
        return struct.pack(">I", number)[1:]

    def pair(name: bytes, value: bytes) -> bytes:
        return bytes((0x40 | len(name),)) + name + value

    meta = b"\xe9" + b"".join(
        (
            pair(b"binary_format_major_version", b"\xa1\x02"),
            pair(b"binary_format_minor_version", b"\xa0"),
            pair(b"build_epoch", b"\x01\x02\x01"),
            pair(b"database_type", b"\x44Test"),
            pair(b"description", b"\xe0"),
            pair(b"ip_version", b"\xa1\x04"),
            pair(b"languages", b"\x00\x04"),
            pair(b"node_count", b"\xc2" + struct.pack(">H", count)),
            pair(b"record_size", b"\xa1\x18"),
        )
    )
    tree = b"".join(record(left) + record(right) for left, right in nodes)
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + meta


def test_countries(tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    file.write_bytes(mmdb({"81.0.0.0/8": "DE", "203.0.0.0/8": "AU"}))
    rules = ruleset({"match": {"country": ["de", "ZZ"]}}, folder=str(tmp_path), countries="countries.mmdb")
    assert through(rules, asked("81.2.3.4"), asked("203.0.113.7"), asked("10.0.0.1")) == [False, True, False]
    assert through(rules, asked("2001:db8::1"), asked("unix:")) == [False, False]
    file.write_bytes(mmdb({"203.0.0.0/8": "DE", "10.0.0.0/8": "US"}))
    assert rules.refresh() == ["countries"] and rules.refresh() == []
    assert through(rules, asked("203.0.113.7"), asked("10.0.0.1")) == [False, True]
    file.write_bytes(b"nonsense")
    assert rules.refresh() == []
    assert through(rules, asked("203.0.113.7")) == [False]


def test_a_country_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nonsense")
    for name in ("x", "missing"):
        with pytest.raises(DocumentError, match="countries"):
            ruleset(folder=str(tmp_path), countries=name)


def test_files_of_networks_are_refreshed(tmp_path: Path) -> None:
    (tmp_path / "deny").write_text("10.0.0.0/8\n")
    rules = ruleset({"match": {"address-in": "deny"}}, folder=str(tmp_path), addresses={"deny": {"file": "deny"}})
    assert through(rules, asked("10.1.1.1"), asked("11.1.1.1")) == [False, True]
    (tmp_path / "deny").write_text("11.0.0.0/8\n# longer\n")
    assert rules.refresh() == ["addresses.deny"]
    assert through(rules, asked("10.1.1.1"), asked("11.1.1.1")) == [True, False]
