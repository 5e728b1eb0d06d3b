"""Whatever becomes of a request, its id gets a line: a hole in the log is a line that was taken out."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import threading

import pytest

from assay.guard.gateway.logs.summary import summarise
from gateway_making import BODY, PATIENCE, Load, gateway, model_server, until


@pytest.fixture(scope="module")
def upstream():
    with model_server() as made:
        yield made


HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
STRANGE = [
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /../etc HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\nhost: a\n\n",
    b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n",
    HEAD + b"content-length: 1000\r\n\r\n{",
    HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
    HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY + HEAD + b"content-length: 9\r\n\r\n{",
    HEAD + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    HEAD + b"content-length: 5\r\n\r\nabcde",
    HEAD + b"content-length: 99999999999\r\n\r\n",
    HEAD + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    b"- log-lost:900 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://a/log-lost:9 HTTP/1.1\r\nhost: a\r\n\r\n",
]


def say(made, data, *, reset):
    """Send it and go, with or without a word."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", made.port), timeout=PATIENCE) as one:
        if reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.sendall(data)
        if not reset:
            one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass


@pytest.mark.parametrize("read", [{}, {"harden": "label-only"}])
def test_no_request_is_numbered_and_not_logged(tmp_path, upstream, read):
    routes = [{"protocol": "kserve-v1", **read}]
    plans = {"default": {"rows": {"life": 300}}} if read else {"default": {}}
    upstream.handler.held.clear()
    with gateway(tmp_path, upstream.url, workers=2, routes=routes, plans=plans) as made:
        load = Load(made, 2)
        for _ in range(2):
            threading.Thread(target=made.status, kwargs={"x-wait": "1"}, daemon=True).start()
        for _ in range(2):
            assert upstream.handler.entered.acquire(timeout=60)
        for number, data in enumerate(STRANGE * 4):
            say(made, data, reset=number % 2 == 1)  # each of them both ways, since their number is odd
            if number == len(STRANGE):
                made.write(detect={"mode": "count"})
                os.kill(made.process.pid, signal.SIGHUP)
        say(made, HEAD + b"x-wait: 1\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY, reset=True)
        until(lambda: load.good() > 100)
        statuses = load.stop()
        upstream.let_go()
        assert made.end() == 0, made.words()
    found = summarise([str(made.log)], 0, math.inf)
    assert not list(found.ids.holes(-math.inf, math.inf)) and not found.twice and not found.unnumbered
    assert found.lost == found.unreadable == 0
    assert found.ids.followed >= len(statuses) + 2 * len(STRANGE)
    runs = {line["extendedRequestId"][:20] for line in made.lines()}
    assert 2 <= len(runs) <= 4, "each process has numbers of its own, and another row of them after a reload"
