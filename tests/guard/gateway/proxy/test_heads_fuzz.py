"""Whatever the head reader accepts, other readers read alike; whatever they dispute, it refuses."""

from __future__ import annotations

import http.client
import io
import re

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assay.guard.gateway.proxy.answer_heads import AnswerReader
from assay.guard.gateway.proxy.chunks import Chunks
from assay.guard.gateway.proxy.request_heads import Request, RequestReader
from assay.guard.gateway.refusing import Refused

SECRETS = frozenset({b"authorization"})
END = b"\r\n\r\n"


def read(head: bytes) -> Request | None:
    reader = RequestReader(line=8192, size=32768, count=100, secrets=SECRETS, keep_secrets=False)
    data = head + END
    try:
        first = reader.read(data, data.find(END))
        again = reader.read(data, data.find(END))
    except Refused:
        return None
    assert first is again  # remembered
    return first


class Other:
    """What llhttp says."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)
        self.method = self.parser.get_method().decode()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_message_complete(self) -> None:
        self.complete = True


NAMES = st.sampled_from(
    ["Host", "Content-Length", "Transfer-Encoding", "Connection", "X-A", "x-b", "Accept", "Cookie", "Authorization",
     "Expect", "TE", "Upgrade", "X_C", "Content_Length", "host", "X-Forwarded-For"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["m", "1", "0", "01", "+1", "1, 1", "chunked", "Chunked", "gzip, chunked", "close", "x-a", "host", "", " ", "a b",
     "é", "a\x00", "a\tb", "a\rb", "a\nb", "a\r\n b", "100-continue", "websocket", "a, b"]
)  # fmt: skip
SEPARATORS = st.sampled_from([": ", ":", " : ", ":\t", ":  ", " ", ":\x0b"])
ENDS = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\r\n"])
HEADER = st.tuples(NAMES, SEPARATORS, VALUES, ENDS).map("".join)
FIRST = st.builds(
    "{}{}{}{}{}\r\n".format,
    st.sampled_from(["GET", "POST", "HEAD", "get", "G T", "PUT", "DELETE", ""]),
    st.sampled_from([" ", " ", " ", "  ", "\t"]),
    st.sampled_from(["/", "/a?b=c", "http://m/", "*", "//m", "/a b", "/é", ""]),
    st.sampled_from([" ", " ", " ", "  ", "\x0b"]),
    st.sampled_from(["HTTP/1.1"] * 4 + ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "HTTP/1.1 "]),
)
HEADS = st.builds(
    lambda first, headers: (first + "Host: m\r\n" + "".join(headers)).rstrip("\r\n"),
    FIRST,
    st.lists(HEADER, max_size=5),
).map(lambda text: text.encode("latin-1"))


@settings(max_examples=1500, deadline=None)
@given(HEADS | st.binary(max_size=80).map(lambda junk: b"GET / HTTP/1.1\r\nHost: m\r\nX: " + junk))
@example(b"GET / HTTP/1.1\r\nHost: m\r\nX: a\r\n b")
@example(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\nTransfer-Encoding: chunked")
def test_what_is_accepted_has_one_reading(head: bytes) -> None:
    end = (head + END).find(END)
    head = head[:end]
    found = read(head)
    if found is None:
        return
    # A second grammar, written from RFC 9112 and without a line of the first.
    lines = head.decode("latin-1").split("\r\n")
    assert re.fullmatch(r"[A-Z]+ /[!-~]* HTTP/1\.[01]", lines[0])
    assert all(re.fullmatch(r"[A-Za-z0-9-]+:[ \t]*[^\x00-\x08\x0a-\x1f\x7f]*", line) for line in lines[1:])
    assert found.length <= 0 or found.method not in ("GET", "HEAD")
    # Python's own.
    fields = http.client.parse_headers(io.BytesIO((head + END).split(b"\r\n", 1)[1]))
    assert fields.get_all("host") == [found.host.decode("latin-1")]
    for name, value in found.headers.items():
        got = ", ".join(one.strip(" \t") for one in fields.get_all(name.decode()) or [])
        assert got == value.decode("latin-1")
    assert {name.lower() for name in fields} == {name.decode() for name in found.headers}
    assert (fields.get("transfer-encoding") is not None) is (found.length == -1)
    assert not (fields.get("transfer-encoding") and fields.get("content-length"))
    # And llhttp's, with the body that the head announces.
    body = b"0\r\n\r\n" if found.length < 0 else b"x" * min(found.length, 1 << 16)
    other = Other(head + END + body) if b"upgrade" not in found.headers else None
    if other is not None:
        assert (other.method, other.url) == (found.method, found.target)
        assert other.complete
        for name, value in other.headers:
            assert value in found.headers[name]


@settings(max_examples=300, deadline=None)
@given(HEADS)
def test_a_head_in_pieces_is_refused_as_early_and_no_earlier(head: bytes) -> None:
    reader = RequestReader(line=8192, size=32768, count=100, secrets=SECRETS, keep_secrets=False)
    whole = head[: (head + END).find(END)]
    refused = False
    for end in range(1, len(whole) + 4):
        try:
            reader.partial((whole + END)[:end], end - 1)
        except Refused:
            refused = True
            break
    assert not refused or read(whole) is None


@settings(max_examples=500, deadline=None)
@given(HEADS)
def test_what_is_passed_on_has_no_secret_and_frames_nothing(head: bytes) -> None:
    found = read(head[: (head + END).find(END)])
    if found is None:
        return
    names = {line.partition(b":")[0].lower() for line in found.rest.split(b"\r\n")}
    assert not names & {
        b"host", b"content-length", b"transfer-encoding", b"connection", b"authorization", b"expect", b"te", b"upgrade",
        b"x-forwarded-for",
    }  # fmt: skip
    assert b"\n" not in found.rest.replace(b"\r\n", b"")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.data())
def test_chunks_are_read_alike_however_they_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    reader = Chunks()
    got = b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found, rest = reader.feed(stream[begin:end])
        got += b"".join(found)
        assert rest == b""
    assert reader.done
    assert got == b"".join(pieces)


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=60) | st.text("0123456789abcdef\r\n;x ", max_size=30).map(str.encode))
def test_junk_in_chunks_is_refused_or_is_none(junk: bytes) -> None:
    reader = Chunks()
    try:
        pieces, rest = reader.feed(junk)
    except Refused:
        return
    body = b"".join(pieces)
    if reader.done:
        again = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n" + rest
        assert again.lower() == junk.lower()
    assert len(body) <= len(junk)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=100), HEADS)
def test_answers_are_read_or_refused(junk: bytes, head: bytes) -> None:
    reader = AnswerReader(server=False)
    for data in (junk, b"HTTP/1.1 200 OK\r\n" + junk, b"HTTP/1.1 200 OK\r\n" + head.partition(b"\r\n")[2]):
        whole = data + END
        try:
            found = reader.read(whole, whole.find(END))
        except Refused:
            continue
        assert b"\n" not in found.front.replace(b"\r\n", b"")
        assert b"\r" not in found.front.replace(b"\r\n", b"")
        assert found.front.startswith(b"HTTP/1.1 %d " % found.status)
