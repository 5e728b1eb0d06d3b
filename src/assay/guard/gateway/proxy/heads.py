"""Heads of requests and answers as bytes to values: RFC 9112, narrowed to what every reader reads alike.

Written by hand because the grammar is the point: measured as fast as httptools, which accepts more. Nothing is
repaired; `read_request` and `read_answer` have no state but a memory of header lines that they have seen before.
"""

from __future__ import annotations

import re

from assay.guard.gateway.proxy.refusals import STATUS, malformed

REMEMBERED = 2048
"""Lines whose meaning is remembered, of one reader; all are forgotten when there are more."""
LONGEST_REMEMBERED = 160
HEADS = 512
"""Whole heads that are remembered, of one reader: under load the same come again and again."""
LONGEST_HEAD = 2048

CLOSE = 1
CHUNKED = 2
LENGTH = 4
EXPECT = 8
UPGRADE = 16
CONNECTION = 32
DROPPED = 64
"""Bits of a header line's meaning. Any of them keeps the line from being passed on as it is."""

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z-]{0,31}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_LINE = re.compile(
    rb"([A-Za-z0-9][A-Za-z0-9-]*):[ \t]*"
    rb"((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_ANSWER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_HOST = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LONE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

SINGLE = frozenset(
    b"host content-length transfer-encoding content-type content-encoding content-range authorization cookie expect "
    b"upgrade x-api-key x-request-id traceparent user-agent referer origin from date range max-forwards "
    b"proxy-authorization if-match if-modified-since if-range if-unmodified-since sec-websocket-key "
    b"sec-websocket-version sec-websocket-accept location etag".split()
)
"""Headers that may come once: to read one of two is to choose, and two readers may choose differently."""

HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authorization "
    b"proxy-authenticate http2-settings".split()
)
"""Headers of one connection (RFC 9110, 7.6.1)."""

OURS = frozenset(
    b"forwarded x-forwarded x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-server "
    b"x-forwarded-ssl x-forwarded-prefix x-forwarded-scheme x-real-ip x-client-ip x-cluster-client-ip true-client-ip "
    b"cf-connecting-ip fastly-client-ip x-original-url x-rewrite-url x-original-host x-host x-http-method-override "
    b"x-method-override x-http-method x-request-id traceparent front-end-https x-original-forwarded-for "
    b"x-envoy-external-address x-original-method x-original-uri".split()
)
"""What only we say to the model server, or what would make it read another request than the one that was judged."""

_UNTOUCHABLE = HOP - {b"te", b"keep-alive", b"upgrade", b"http2-settings", b"trailer"} | SINGLE - {b"upgrade"} | OURS
"""Headers that ``Connection`` must not name: a caller could take away what we or the model server rely on."""


class Request:
    """The head of a request. Heads that are the same share one; nobody changes it."""

    __slots__ = ("bits", "front", "headers", "host", "http", "length", "method", "rest", "target")

    def __init__(
        self,
        line: tuple[str, bytes, str, bytes],
        headers: dict[bytes, bytes],
        kept: list[bytes],
        length: int,
        bits: int,
    ) -> None:
        self.method, self.target, self.http, self.front = line
        """`front` is the request line to pass on, with its end."""
        self.headers = headers
        """As `interface.Headers`."""
        self.host = headers[b"host"]
        self.rest = b"\r\n".join(kept) + b"\r\n" if kept else b""
        """Headers that are passed on, each with its end."""
        self.length = length
        """Of the body; -1: it comes in chunks."""
        self.bits = bits
        """`CLOSE`, `EXPECT`, `UPGRADE`."""


class Answer:
    """The head of an answer. Heads that are the same share one; nobody changes it."""

    __slots__ = ("bits", "front", "headers", "kept", "length", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes], kept: list[bytes], length: int, bits: int) -> None:
        self.status = status
        self.headers = headers
        self.kept = kept
        """Lines that are passed on."""
        self.front = b"\r\n".join((STATUS[status][:-2], *kept, b""))
        """Our status line and the lines that are passed on, each with its end."""
        self.length = length
        """Of the body; -1: in chunks; -2: until the connection ends."""
        self.bits = bits
        """`CLOSE`, `UPGRADE`, `LENGTH`."""


class RequestReader:
    """Reads requests of one configuration."""

    def __init__(self, *, line: int, size: int, count: int, secrets: frozenset[bytes], keep_secrets: bool) -> None:
        """``secrets`` are the names of headers with callers' credentials, which the model server gets only with
        ``keep_secrets``. Sizes are in bytes.
        """
        self._line = line
        self._largest = line + size + 4
        self._size = size
        self._count = count
        self._secrets = secrets
        self._keep_secrets = keep_secrets
        self._single = SINGLE | secrets
        self._untouchable = _UNTOUCHABLE | secrets
        self._lines: dict[bytes, tuple[bytes, bytes, bytes, int]] = {}
        self._first: dict[bytes, tuple[str, bytes, str, bytes]] = {}
        self._heads: dict[bytes, Request] = {}

    def partial(self, data: bytes, since: int = 0) -> None:
        """Refuse what can no longer become a head, as soon as that is known. ``data`` has no empty line yet; up to
        ``since`` it was looked at before (who sends byte by byte must not make us read it all each time).
        """
        first = data.find(b"\r\n")
        if (first < 0 and len(data) > self._line + 1) or first > self._line:
            raise malformed("the request line is too long", 414, "size")
        if len(data) > self._largest:
            raise malformed("the request's headers are too large", 431, "size")
        if not 0x41 <= data[0] <= 0x5A:
            raise malformed("this is no HTTP/1.1 request")
        if _LONE.search(data, max(0, since - 1)):
            raise malformed("lines end with CR LF, and heads have no control characters")

    def read(self, data: bytes, end: int) -> Request:
        """The head in ``data[:end]``, after which the empty line begins. Raises `Refused`."""
        if end > self._largest:
            raise malformed("the request's headers are too large", 431, "size")
        head = data[:end]
        found = self._heads.get(head)
        if found is not None:
            return found
        lines = head.split(b"\r\n")
        line = lines[0]
        if len(line) > self._line:
            raise malformed("the request line is too long", 414, "size")
        if len(lines) > self._count + 1:
            raise malformed("the request has too many headers", 431, "size")
        if end - len(line) > self._size:
            raise malformed("the request's headers are too large", 431, "size")
        first = self._first.get(line) or self._read_first(line)
        del lines[0]
        headers: dict[bytes, bytes] = {}
        kept: list[bytes] = []
        known = self._lines
        bits = 0
        for line in lines:
            name, value, clean, meaning = known.get(line) or self._read_line(line)
            if name in headers:
                if name in self._single:
                    raise malformed("a header that must be alone comes twice")
                headers[name] += b", " + value
            else:
                headers[name] = value
            if meaning:
                bits |= meaning
            else:
                kept.append(clean)
        if b"host" not in headers:
            raise malformed("the request has no Host")
        if bits & (CHUNKED | CONNECTION | EXPECT) or first[2] == "HTTP/1.0":
            bits = self._special(first, headers, kept, bits)
        length = 0
        if bits & LENGTH:
            length = int(headers[b"content-length"])
        elif bits & CHUNKED:
            length = -1
        if length and (first[0] == "GET" or first[0] == "HEAD" or first[0] == "OPTIONS"):
            raise malformed("this method takes no body")
        found = Request(first, headers, kept, length, bits)
        if end <= LONGEST_HEAD:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[head] = found
        return found

    def _read_first(self, line: bytes) -> tuple[str, bytes, str, bytes]:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            if re.fullmatch(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/[0-9](\.[0-9])?", line) and line[-8:-2] != b"HTTP/1":
                raise malformed("only HTTP/1.1 is spoken here", 505)
            raise malformed("the request line is not in its one form")
        method = match[1].decode()
        if method in ("CONNECT", "TRACE"):
            raise malformed("this method is not served", 405)
        found = (
            method,
            match[2],
            "HTTP/1.1" if match[3] == b"1" else "HTTP/1.0",
            b"%b %b HTTP/1.1\r\n" % match.group(1, 2),
        )
        if len(line) <= LONGEST_REMEMBERED:
            if len(self._first) >= REMEMBERED:
                self._first.clear()
            self._first[line] = found
        return found

    def _read_line(self, line: bytes) -> tuple[bytes, bytes, bytes, int]:
        match = _LINE.fullmatch(line)
        if match is None:
            raise malformed("a header is not in its one form")
        name, value = match[1].lower(), match[2]
        meaning = 0
        if name == b"content-length":
            if _LENGTH.fullmatch(value) is None:
                raise malformed("Content-Length is no plain number")
            meaning = LENGTH
        elif name == b"transfer-encoding":
            if value != b"chunked":
                raise malformed("Transfer-Encoding may only be chunked")
            meaning = CHUNKED
        elif name == b"host":
            if _HOST.fullmatch(value) is None:
                raise malformed("Host is not in its one form")
            meaning = DROPPED
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise malformed("only 100-continue can be expected", 417)
            meaning = EXPECT
        elif name == b"upgrade":
            meaning = UPGRADE
        elif name == b"connection":
            meaning = CONNECTION
        elif name in HOP or name in OURS or name.startswith((b"x-assay-", b"x-forwarded-")):
            meaning = DROPPED
        if name in self._secrets and not self._keep_secrets:
            meaning |= DROPPED
        found = name, value, match[1] + b": " + value, meaning
        if len(line) <= LONGEST_REMEMBERED:
            if len(self._lines) >= REMEMBERED:
                self._lines.clear()
            self._lines[line] = found
        return found

    def _special(
        self, first: tuple[str, bytes, str, bytes], headers: dict[bytes, bytes], kept: list[bytes], bits: int
    ) -> int:
        """What most requests have not; returns the bits, corrected."""
        if first[2] == "HTTP/1.0":
            if bits & (CHUNKED | EXPECT | UPGRADE):
                raise malformed("HTTP/1.0 has no such framing")
            bits |= CLOSE
        if bits & CHUNKED and bits & LENGTH:
            raise malformed("a body has Content-Length or Transfer-Encoding, never both")
        if bits & CONNECTION:
            bits |= self._connection(headers[b"connection"].lower(), kept)
        return bits

    def _connection(self, value: bytes, kept: list[bytes]) -> int:
        """Take away what ``Connection`` names."""
        bits = 0
        for part in value.split(b","):
            token = part.strip(b" \t")
            if token == b"close":
                bits |= CLOSE
            elif token and token not in (b"keep-alive", b"upgrade", b"te"):
                if not _TOKEN.fullmatch(token) or token in self._untouchable or token.startswith(b"x-assay-"):
                    raise malformed("Connection names a header that it must not")
                kept[:] = [line for line in kept if line.partition(b":")[0].lower() != token]
        return bits


class AnswerReader:
    """Reads what the model server answers."""

    def __init__(self, *, server: bool, size: int = 64 << 10, count: int = 200) -> None:
        """``server``: whether its ``Server`` header is passed on. ``size`` is in bytes."""
        self._server = server
        self._size = size
        self._count = count
        self._lines: dict[bytes, tuple[bytes, bytes, bytes, int]] = {}
        self._first: dict[bytes, tuple[int, int]] = {}
        self._heads: dict[bytes, Answer] = {}

    def partial(self, data: bytes, since: int = 0) -> None:
        """Refuse what can no longer become a head; see `RequestReader.partial`."""
        if (
            len(data) > self._size
            or _LONE.search(data, max(0, since - 1))
            or not data.startswith(b"HTTP/1."[: len(data)])
        ):
            raise malformed("no head of an answer", 502, "upstream")

    def read(self, data: bytes, end: int) -> Answer:
        """The head in ``data[:end]``. Raises `Refused` where it is malformed."""
        head = data[:end]
        found = self._heads.get(head)
        if found is not None:
            return found
        lines = head.split(b"\r\n")
        if end > self._size or len(lines) > self._count:
            raise malformed("the answer's head is too large", 502, "upstream")
        status, bits = self._first.get(lines[0]) or self._read_first(lines[0])
        del lines[0]
        headers: dict[bytes, bytes] = {}
        kept: list[bytes] = []
        known = self._lines
        for line in lines:
            name, value, clean, meaning = known.get(line) or self._read_line(line)
            if name in headers:
                if name in SINGLE:
                    raise malformed("a header that must be alone comes twice", 502, "upstream")
                headers[name] += b", " + value
            else:
                headers[name] = value
            if meaning:
                bits |= meaning
            else:
                kept.append(clean)
        if bits & CONNECTION:
            bits |= _answer_connection(headers[b"connection"].lower(), kept)
        if bits & CHUNKED:
            if bits & LENGTH or data.startswith(b"HTTP/1.0"):
                raise malformed("the answer is framed in two ways", 502, "upstream")
            length = -1
        else:
            length = int(headers[b"content-length"]) if bits & LENGTH else -2
        found = Answer(status, headers, kept, length, bits)
        if end <= LONGEST_HEAD:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[head] = found
        return found

    def _read_first(self, line: bytes) -> tuple[int, int]:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise malformed("no status line", 502, "upstream")
        found = int(match[2]), CLOSE if match[1] == b"0" else 0
        if len(self._first) >= REMEMBERED:
            self._first.clear()
        if len(line) <= LONGEST_REMEMBERED:
            self._first[line] = found
        return found

    def _read_line(self, line: bytes) -> tuple[bytes, bytes, bytes, int]:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _ANSWER_NAME.fullmatch(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise malformed("a header of the answer is malformed", 502, "upstream")
        low = name.lower()
        meaning = 0
        if low == b"content-length":
            if _LENGTH.fullmatch(value) is None:
                raise malformed("Content-Length is no plain number", 502, "upstream")
            meaning = LENGTH
        elif low == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise malformed("Transfer-Encoding may only be chunked", 502, "upstream")
            meaning = CHUNKED
        elif low == b"connection":
            meaning = CONNECTION
        elif low == b"upgrade":
            meaning = UPGRADE
        elif low in HOP or low in (b"x-request-id", b"alt-svc") or (low == b"server" and not self._server):
            meaning = DROPPED
        found = low, value, name + b": " + value, meaning
        if len(line) <= LONGEST_REMEMBERED:
            if len(self._lines) >= REMEMBERED:
                self._lines.clear()
            self._lines[line] = found
        return found


def _answer_connection(value: bytes, kept: list[bytes]) -> int:
    bits = 0
    for part in value.split(b","):
        token = part.strip(b" \t")
        if token == b"close":
            bits |= CLOSE
        elif token not in (b"", b"keep-alive", b"upgrade"):
            kept[:] = [line for line in kept if line.partition(b":")[0].lower() != token]
    return bits
