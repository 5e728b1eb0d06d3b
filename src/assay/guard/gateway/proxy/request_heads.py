"""The head of a request, strictly: what two servers could read in two ways is refused, and never repaired."""

from __future__ import annotations

import re

from assay.guard.gateway.headers import HOP, OURS, SINGLE
from assay.guard.gateway.headers import LENGTH as NUMBER
from assay.guard.gateway.proxy.heads import (
    CHUNKED,
    CLOSE,
    CONNECTION,
    DROPPED,
    EXPECT,
    HEADS,
    LENGTH,
    LONE,
    LONGEST_HEAD,
    LONGEST_REMEMBERED,
    TOKEN,
    UPGRADE,
    HeadReader,
    Line,
    remember,
    tokens,
    without,
)
from assay.guard.gateway.proxy.refusals import malformed
from assay.guard.gateway.refusing import LARGE_HEAD, LONG_LINE, REPEATED, Refused

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z-]{0,31}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_LINE = re.compile(
    rb"([A-Za-z0-9][A-Za-z0-9-]*):[ \t]*+"  # possessive: blanks that are tried as two runs are tried in square time
    rb"((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_HOST = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

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


class RequestReader(HeadReader[Request]):
    """Reads requests of one configuration."""

    def __init__(
        self,
        *,
        line: int,
        size: int,
        count: int,
        secrets: frozenset[bytes],
        keep_secrets: bool,
        alone: frozenset[bytes] = SINGLE,
    ) -> None:
        """``secrets`` are the names of headers with callers' credentials, which the model server gets only with
        ``keep_secrets``; ``alone`` those of headers that may come once. Sizes are in bytes.
        """
        super().__init__(alone | secrets)
        self._longest = line
        self._largest = line + size + 4
        self._size = size
        self._count = count
        self._secrets = secrets
        self._keep_secrets = keep_secrets
        self._untouchable = _UNTOUCHABLE | secrets
        self._first: dict[bytes, tuple[str, bytes, str, bytes]] = {}

    def partial(self, data: bytes, since: int = 0) -> None:
        """Refuse what can no longer become a head, as soon as that is known. ``data`` has no empty line yet; up to
        ``since`` it was looked at before (who sends byte by byte must not make us read it all each time).
        """
        first = data.find(b"\r\n")
        if (first < 0 and len(data) > self._longest + 1) or first > self._longest:
            raise Refused(LONG_LINE)
        if len(data) > self._largest:
            raise Refused(LARGE_HEAD)
        if not 0x41 <= data[0] <= 0x5A:
            raise malformed("this is no HTTP/1.1 request")
        if LONE.search(data, max(0, since - 1)):
            raise malformed("lines end with CR LF, and heads have no control characters")

    def read(self, data: bytes, end: int) -> Request:
        """The head in ``data[:end]``, after which the empty line begins. Raises `Refused`."""
        if end > self._largest:
            raise Refused(LARGE_HEAD)
        head = data[:end]
        found = self._heads.get(head)
        if found is not None:
            return found
        lines = head.split(b"\r\n")
        line = lines[0]
        if len(line) > self._longest:
            raise Refused(LONG_LINE)
        if len(lines) > self._count + 1 or end - len(line) > self._size:
            raise Refused(LARGE_HEAD)
        first = self._first.get(line) or self._read_first(line)
        del lines[0]
        headers, kept, bits = self._collect(lines)
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
            remember(self._heads, head, found, HEADS)
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
            remember(self._first, line, found)
        return found

    def _repeated(self) -> Refused:
        return Refused(REPEATED)

    def _read_line(self, line: bytes) -> Line:
        match = _LINE.fullmatch(line)
        if match is None:
            raise malformed("a header is not in its one form")
        name, value = match[1].lower(), match[2]
        meaning = 0
        if name == b"content-length":
            if NUMBER.fullmatch(value) is None:
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
        return name, value, match[1] + b": " + value, meaning

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
        named = tokens(value)
        gone = named - {b"close", b"keep-alive", b"upgrade", b"te"}
        for token in gone:
            if not TOKEN.fullmatch(token) or token in self._untouchable or token.startswith(b"x-assay-"):
                raise malformed("Connection names a header that it must not")
        if gone:
            kept[:] = without(kept, gone)
        return CLOSE if b"close" in named else 0
