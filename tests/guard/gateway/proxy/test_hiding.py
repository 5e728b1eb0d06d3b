"""What a model server says beside a hardened answer, and how a caller would keep others from reading what it got."""

import pytest

from assay.guard.gateway.interface import ANSWER, KEEP_ANSWER, KEEP_BODY
from guard.gateway.proxy.running import Rooms, Upstream, body_of, post
from guard.gateway.proxy.test_forwarding import ask, lines

SAYS_MORE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-cache\r\nX-Score: zqz7312\r\n"
    b"Set-Cookie: last=zqz7312\r\nServer-Timing: layers;dur=zqz312\r\nX-Amzn-SageMaker-Custom-Attributes: p=zqz7312\r\n"
    b"Link: <zqz7312>\r\nContent-Length: 4\r\n\r\ntrue"
)


def test_headers_tell_nothing_that_the_hardened_answer_does_not() -> None:
    answer, _ = ask(post(b"{}"), Rooms(needs=ANSWER, harden="h", hardened=b"less"), Upstream(SAYS_MORE))
    assert body_of(answer) == b"less" and b"zqz" not in answer
    found = lines(answer)
    assert found[b"content-type"] == [b"application/json"] and found[b"cache-control"] == [b"no-cache"]


def test_other_answers_keep_their_headers() -> None:
    answer, _ = ask(post(b"{}"), Rooms(), Upstream(SAYS_MORE))
    assert lines(answer)[b"x-score"] == [b"zqz7312"]


@pytest.mark.parametrize("needs", [KEEP_ANSWER, KEEP_ANSWER | KEEP_BODY])
def test_an_answer_that_somebody_reads_later_comes_in_a_form_that_can_be_read(needs: int) -> None:
    """A caller who asks for a coding that nobody here knows would be told what no detector sees."""
    _, place = ask(post(b"{}", "Accept-Encoding: br, zstd"), Rooms(needs=needs), Upstream(SAYS_MORE))
    assert lines(place.upstream.received)[b"accept-encoding"] == [b"identity"]
    assert place.rooms.finished[0][2] == b"true"
    _, place = ask(post(b"{}", "Accept-Encoding: br"), Rooms(), Upstream(SAYS_MORE))
    assert lines(place.upstream.received)[b"accept-encoding"] == [b"br"]
