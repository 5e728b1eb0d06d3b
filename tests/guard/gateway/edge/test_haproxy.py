from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gateway_edges as edges
from assay.errors import UndecidedError
from assay.guard.gateway.edge import push

pytestmark = pytest.mark.skipif(not edges.installed("haproxy"), reason="haproxy is not installed")


def test_a_header_that_came_twice_is_told_as_it_came(tmp_path: Path) -> None:
    with edges.edge("haproxy", tmp_path) as it:
        head = (
            f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\nx-api-key: good\r\n"
        )
        assert b" 503 " in edges.raw(it.port, f"{head}authorization: a\r\nauthorization: b\r\n\r\n{{}}".encode())
        assert not it.model.requests


def test_an_absolute_target_reaches_the_model_in_the_form_that_was_decided_about(tmp_path: Path) -> None:
    with edges.edge("haproxy", tmp_path) as it:
        head = f"POST http://evil.example{edges.INFER} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n"
        edges.raw(it.port, f"{head}content-length: 2\r\nx-api-key: good\r\n\r\n{{}}".encode())
        assert [one.target for one in edges.until(lambda: it.rooms.log)] == [edges.INFER.encode()]
        assert it.model.requests[0][0] == f"POST {edges.INFER} HTTP/1.1"


def test_a_service_on_loopback_wants_the_secret(tmp_path: Path) -> None:
    with edges.edge("haproxy", tmp_path, secret="a-secret-of-the-edge") as it:
        assert it.ask().status == 200
        config = (it.folder / "assay.lua").read_text()
        assert "a-secret-of-the-edge" in config


def test_who_was_denied_while_it_ran_is_remembered_and_nobody_is_without_it(tmp_path: Path) -> None:
    with edges.edge("haproxy", tmp_path) as it:
        push(["10.0.0.0/24"], "haproxy", str(it.folder))
        assert (it.folder / "pushed.map").read_text() == "10.0.0.0/24 1\n"
    with pytest.raises(UndecidedError, match="could not be told"):
        push(["10.0.0.1"], "haproxy", str(it.folder))


def test_its_own_rates_refuse_from_twice_the_limit_on(tmp_path: Path) -> None:
    rule = {"id": "flood", "priority": 1, "action": "block", "rate": {"limit": 5, "window": 60, "by": "address"}}
    with edges.edge("haproxy", tmp_path, rules=[rule]) as it:
        found = [it.ask().status for _ in range(13)]
        assert found[:10] == [200] * 10 and found[-1] == 429


def test_bodies_need_a_length_that_is_allowed(tmp_path: Path) -> None:
    with edges.edge("haproxy", tmp_path, sizes={"body": 1000}) as it:
        assert it.ask(body=b"x" * 1000).status == 200
        assert it.ask(body=b"x" * 1001).status == 413
        head = f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\n".encode()
        assert b" 411 " in edges.raw(it.port, head + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b" 411 " in edges.raw(it.port, head + b"\r\n")
        both = b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX"
        for bad in (both, b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", b"content-length: +2\r\n\r\n{}"):
            assert b" 400 " in (got := edges.raw(it.port, head + bad)) or b" 411 " in got
        assert len(it.model.requests) == 1


def test_haproxy_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    with edges.edge("haproxy", tmp_path, host=["a.example", "*.b.example"], **{"trusted-proxies": ["127.0.0.1"]}) as it:
        command = [edges.installed("haproxy"), "-c", "-C", str(it.folder), "-f", "haproxy.cfg"]
        checked = subprocess.run(command, capture_output=True, timeout=20)
        assert checked.returncode == 0 and b"WARNING" not in checked.stderr
        assert it.ask(host="x.b.example", x_forwarded_for="203.0.113.9").status == 200
        seen = edges.until(lambda: it.rooms.log)[0]
        assert it.model.requests[0][1]["x-forwarded-for"] == seen.address == "203.0.113.9"
        assert it.ask(host="evil.example").status == 421
