"""Heads that cost more than their length, and those that would steer a server in front of us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from assay.guard.gateway.proxy.answer_heads import AnswerReader
from assay.guard.gateway.proxy.request_heads import RequestReader
from guard.gateway.proxy.running import Upstream, body_of, post, proxy

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("name", ["X-Accel-Redirect", "x-accel-charset", "X-Sendfile", "X-LIGHTTPD-send-file"])
def test_an_answer_does_not_steer_the_edge_that_it_passes(name: str) -> None:
    """nginx, Apache and lighttpd in front of us would answer with files or places of their own that it names."""

    async def run() -> None:
        lines = f"{name}: /secret\r\nX-Accel-Buffering: no\r\nContent-Length: 2\r\n\r\n{{}}"
        async with proxy(Upstream(OK + lines.encode())) as place:
            answer = await place.talk(post(b"{}"))
            assert b"/secret" not in answer and body_of(answer) == b"{}"
            assert b"x-accel-buffering: no" in answer.lower()

    asyncio.run(run())


def calls(work: Callable[[], object]) -> int:
    """How many functions are called on the way: a measure of work that no clock has a say in."""
    number = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return number


def test_connection_that_names_many_headers_costs_no_more_than_its_length() -> None:
    rest = b"".join(b"\r\nX-%d: a" % i for i in range(90)) + b"\r\n\r\n"
    named = b"Connection: " + b"a," * 14_000 + b"x-7" + rest
    requests = RequestReader(line=8192, size=32768, count=100, secrets=frozenset(), keep_secrets=False)
    asked = b"GET / HTTP/1.1\r\nHost: m\r\n" + named
    assert calls(lambda: requests.read(asked, len(asked) - 4)) < 100_000
    assert b"X-7:" not in requests.read(asked, len(asked) - 4).rest
    answers = AnswerReader(server=False)
    answered = OK + named
    assert calls(lambda: answers.read(answered, len(answered) - 4)) < 100_000
    assert b"X-7:" not in answers.read(answered, len(answered) - 4).front


BLANKS = """
import resource
from assay.guard.gateway.proxy.request_heads import RequestReader
from assay.guard.gateway.refusing import Refused
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
reader = RequestReader(line=8192, size=4 << 20, count=100, secrets=frozenset(), keep_secrets=False)
for line in (b"X:" + b" " * (2 << 20), b"X:" + b"a " * (1 << 20), b"X: a" + b" \\t" * (1 << 20)):
    head = b"GET / HTTP/1.1\\r\\nHost: m\\r\\n" + line + b"\\x01"
    try:
        reader.read(head + b"\\r\\n\\r\\n", len(head))
    except Refused:
        print("refused")
"""


def test_blanks_are_read_in_a_time_that_grows_with_their_number() -> None:
    """In square time these would be hours, and the 32 KB that anybody may send were seconds."""
    ended = subprocess.run([sys.executable, "-c", BLANKS], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.split()) == (0, ["refused"] * 3), ended.stderr
