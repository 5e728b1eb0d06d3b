"""What callers write in the hope that an edge, the decision service or the model server takes it for another's."""

from __future__ import annotations

from pathlib import Path

import pytest

import gateway_edges as edges
from assay.errors import DocumentError, UsageError
from assay.guard.gateway.edge import EDGES, Place, export
from assay.guard.gateway.headers import OURS

PROXIED = {"trusted-proxies": ["127.0.0.1"]}


def test_nothing_that_says_who_asks_or_what_is_asked_comes_from_the_caller(tmp_path: Path, kind: str) -> None:
    names = {name.decode() for name in OURS - {b"traceparent"}} | {
        *("x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-client-cert"),
        *("x-assay-caller", "x-assay-user", "x-assay-route", "x-assay-id", "x-assay-status", "x-assay-body"),
        *("x-original-length", "x-original-protocol", "x-original-scheme", "x-edge-secret", "x-edge-answer"),
        *("x-client-cert", "authorization", "proxy"),
    }
    with edges.edge(kind, tmp_path) as it:
        assert b" 200 " in it.post(*(f"{name}: root" for name in sorted(names)))
        told = it.model.requests[0][1]
        assert not {name: said for name, said in told.items() if said == "root"}
        assert (told["x-assay-caller"], told["x-assay-user"]) == ("key:good", "alice")
        assert told["x-forwarded-for"] == told["x-real-ip"] == "127.0.0.1"
        # The service saw the request itself, not the one that its headers speak of.
        seen = edges.until(lambda: it.rooms.log)[0]
        assert (seen.target, seen.method, seen.address) == (edges.INFER.encode(), "POST", "127.0.0.1")


def test_the_model_server_chooses_no_service_by_the_name_that_a_caller_asked_for(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path) as it:
        assert it.ask(host="other-model.example").status == 200
        told = it.model.requests[0][1]
        assert (told["host"], told["x-forwarded-host"]) == (f"127.0.0.1:{it.model.port}", "other-model.example")


def test_of_several_lines_of_hops_the_last_counts(tmp_path: Path, kind: str) -> None:
    with edges.edge(kind, tmp_path, **PROXIED) as it:
        hops = ("6.6.6.6", "7.7.7.7", "8.8.8.8", "203.0.113.9")  # the proxy has added a line of its own
        assert b" 200 " in it.post(*(f"x-forwarded-for: {hop}" for hop in hops))
        seen = edges.until(lambda: it.rooms.log)[0]
        assert seen.address == it.model.requests[0][1]["x-forwarded-for"] == "203.0.113.9"


@pytest.mark.parametrize("said", ["unknown", "1.2.3", "", "fe80::1%lo"])
def test_a_hop_that_is_no_address_leaves_the_proxy_itself(tmp_path: Path, kind: str, said: str) -> None:
    rule = {"id": "no", "priority": 1, "action": "block", "match": {"address-in": "127.0.0.0/8"}}
    with edges.edge(kind, tmp_path, **PROXIED, rules=[rule]) as it:
        assert b" 403 " in it.post(f"x-forwarded-for: {said}")
        assert not it.model.requests


@pytest.mark.parametrize("edge", EDGES)
def test_an_edge_never_believes_a_header_that_its_proxies_do_not_write(tmp_path: Path, edge: str) -> None:
    values = {"upstream": "http://10.1.2.3:80", "trusted-header": "forwarded"}
    export(edges.settings(tmp_path, **values), edge, Place("unix:/run/d.sock"))  # nobody is believed
    with pytest.raises(UsageError, match="trusted-header"):
        export(edges.settings(tmp_path, **values, **PROXIED), edge, Place("unix:/run/d.sock"))


LINES = ("h2c", "h2c, websocket", "h2c\r\nupgrade: websocket", "websocket\r\nupgrade: h2c")


@pytest.mark.parametrize("said", LINES)
def test_a_route_for_websockets_is_no_way_to_another_protocol(tmp_path: Path, kind: str, said: str) -> None:
    with edges.edge(kind, tmp_path, routes=[{"protocol": "open-inference", "websocket": True}]) as it:
        it.rooms.method = "GET"
        head = f"GET {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
        head += "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        edges.raw(it.port, f"{head}upgrade: {said}\r\nconnection: Upgrade, HTTP2-Settings\r\n\r\n".encode())
        assert all(headers.get("upgrade") in (None, "websocket") for _, headers, _ in it.model.requests)
        assert edges.upgraded(it.port, edges.INFER).endswith(b"HELLO")


@pytest.mark.parametrize("said", ["evil.example, models.example", "models.example,evil.example"])
def test_a_list_of_hosts_is_another_host(tmp_path: Path, kind: str, said: str) -> None:
    with edges.edge(kind, tmp_path, host=["models.example"]) as it:
        assert it.ask(host="models.example").status == 200
        assert it.ask(host=said).status in (400, 421)
        assert len(it.model.requests) == 1


@pytest.mark.parametrize("websocket", [True, False])
def test_a_connection_takes_away_nothing_that_we_say(tmp_path: Path, kind: str, websocket: bool) -> None:
    with edges.edge(kind, tmp_path, routes=[{"protocol": "open-inference", "websocket": websocket}]) as it:
        head = f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\ncontent-length: 2\r\n"
        edges.raw(it.port, f"{head}connection: close, x-assay-caller\r\n\r\n{{}}".encode())
        assert all("x-assay" not in headers.get("connection", "") for _, headers, _ in it.model.requests)
        assert it.model.requests


def test_a_body_of_unknown_size_has_no_small_one(tmp_path: Path, kind: str) -> None:
    rules = [{"id": "large", "priority": 1, "action": "block", "match": {"size": {"over": 10}}}]
    with edges.edge(kind, tmp_path, rules=rules) as it:
        head = f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\n"
        chunked = f"{head}transfer-encoding: chunked\r\n\r\n14\r\n{'x' * 20}\r\n0\r\n\r\n"
        assert b" 411 " in edges.raw(it.port, chunked.encode())
        assert it.ask().status == 200 and len(it.model.requests) == 1
        it.rooms.method = "GET"
        refused = b" 411 " in edges.raw(it.port, chunked.replace("POST", "GET", 1).encode())
        if not refused:
            edges.until(lambda: it.rooms.log[-1].method == "GET")
            assert it.rooms.log[-1].headers[b"content-length"] == b"20", "the service was told of no body"
        assert it.ask(method="GET", body=b"").status == 200


def test_a_rule_about_a_length_changes_no_framing(tmp_path: Path, kind: str) -> None:
    rule = {"id": "r", "priority": 1, "action": "count", "match": {"header": {"name": "content-length", "exact": "2"}}}
    with edges.edge(kind, tmp_path, rules=[rule]) as it:
        assert it.ask(te="trailers").status == it.ask().status == 200
        assert edges.until(lambda: it.rooms.log)[0].headers[b"content-length"] == b"2"
        for _, told, body in it.model.requests:
            assert body == b"{}" and told["content-length"] == "2" and "te" not in told


FRAMING = ("connection", "upgrade", "te", "keep-alive", "expect", "transfer-encoding", "http2-settings")


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", [*FRAMING, "x-real-ip", "X-Original-URI", "x-edge-secret", "x-assay-caller"])
def test_what_the_edge_says_itself_is_never_told_in_a_callers_words(tmp_path: Path, edge: str, name: str) -> None:
    values = [
        {"callers": {"header": name}},
        {"rules": [{"id": "r", "priority": 1, "action": "block", "match": {"not": {"header": {"name": name}}}}]},
        {"rules": [{"id": "r", "priority": 1, "action": "block", "rate": {"limit": 9, "by": f"header:{name}"}}]},
        {"rules": [{"id": "r", "priority": 1, "action": "block", "rate": {"limit": 9, "by": ["x", f"header:{name}"]}}]},
    ]
    for one in values:
        settings = edges.settings(tmp_path, upstream="http://10.1.2.3:80", **one)
        with pytest.raises(DocumentError, match=name.lower()):
            export(settings, edge, Place("unix:/run/d.sock"))
