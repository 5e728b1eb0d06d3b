from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import gateway_edges as edges

pytestmark = pytest.mark.skipif(not edges.installed("nginx"), reason="nginx is not installed")


def test_of_two_headers_the_model_gets_the_one_that_was_decided_about(tmp_path: Path) -> None:
    rule = {"id": "r", "priority": 1, "action": "block", "match": {"header": {"name": "x-variant", "exact": "b"}}}
    with edges.edge("nginx", tmp_path, rules=[rule]) as it:
        head = (
            f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\nconnection: close\r\ncontent-length: 2\r\n"
        )
        twice = "x-variant: a\r\nx-variant: b\r\n\r\n{}"
        assert b" 200 " in edges.raw(it.port, (head + twice).encode())
        told = edges.until(lambda: it.rooms.log)[0].headers[b"x-variant"].decode()
        assert it.model.requests[0][1]["x-variant"] == told == "a"


def test_the_first_line_of_a_rate_is_never_narrower_than_the_rule(tmp_path: Path) -> None:
    rule = {"id": "flood", "priority": 1, "action": "block", "rate": {"limit": 10, "window": 60, "by": "address"}}
    with edges.edge("nginx", tmp_path, rules=[rule]) as it:
        found = [it.ask() for _ in range(14)]
        assert [one.status for one in found[:10]] == [200] * 10
        assert found[-1].status == 429 and found[-1].getheader("Retry-After") == "1"


@pytest.mark.parametrize("place", ["/elsewhere", "@assay_closed", "/.assay/decide"])
def test_a_model_server_does_not_choose_what_nginx_serves(tmp_path: Path, place: str) -> None:
    with edges.edge("nginx", tmp_path) as it:
        it.model.said = f"x-accel-redirect: {place}\r\nx-accel-limit-rate: 200\r\n".encode()
        answer = it.ask()
        assert answer.status == 200 and it.model.requests[0][0].encode() in answer.data


def test_bodies_and_heads_have_bounds(tmp_path: Path) -> None:
    with edges.edge("nginx", tmp_path, sizes={"body": 1000, "line": 1024, "headers": 4096}) as it:
        assert it.ask(body=b"x" * 1000).status == 200
        assert it.ask(body=b"x" * 1001).status == 413
        chunked = f"POST {edges.INFER} HTTP/1.1\r\nhost: x\r\nx-api-key: good\r\ntransfer-encoding: chunked\r\n\r\n"
        assert b" 413 " in edges.raw(it.port, chunked.encode() + b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n")
        assert it.ask(edges.INFER + "?" + "x" * 1100).status == 414
        assert it.ask(x_long="y" * 2000).status == 400
        assert len(it.model.requests) == 1


def test_nginx_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    with edges.edge("nginx", tmp_path) as it:
        checked = subprocess.run(
            [edges.installed("nginx"), "-t", "-p", f"{it.folder}/", "-c", "nginx.conf"], capture_output=True, timeout=20
        )
        assert checked.returncode == 0
        errors = (it.folder / "error.log").read_text()
        assert "[emerg]" not in errors and "uninitialized" not in errors
        os.kill(int((it.folder / "nginx.pid").read_text()), signal.SIGHUP)
        assert it.ask().status == 200
