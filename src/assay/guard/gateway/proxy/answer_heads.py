"""The head of an answer of the model server's, strictly where it frames and leniently where it only says something."""

from __future__ import annotations

import re

from assay.guard.gateway.headers import HOP
from assay.guard.gateway.headers import LENGTH as NUMBER
from assay.guard.gateway.proxy.heads import (
    CHUNKED,
    CLOSE,
    CONNECTION,
    DROPPED,
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
from assay.guard.gateway.refusing import REPEATED, STATUS, Refused

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_OURS = HOP | {b"x-request-id", b"alt-svc"}
"""What only we say to a caller."""
_STEERING = re.compile(rb"x-accel-(?!buffering$).*|x-sendfile|x-lighttpd-send-(?:temp)?file|x-reproxy-url")
"""With these a server in front of us would answer with files or places of its own that the model server names."""


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


class AnswerReader(HeadReader[Answer]):
    """Reads what the model server answers."""

    def __init__(self, *, server: bool, size: int = 64 << 10, count: int = 200) -> None:
        """``server``: whether its ``Server`` header is passed on. ``size`` is in bytes."""
        super().__init__()
        self._server = server
        self._size = size
        self._count = count
        self._first: dict[bytes, tuple[int, int]] = {}

    def partial(self, data: bytes, since: int = 0) -> None:
        """Refuse what can no longer become a head; see `RequestReader.partial`."""
        if (
            len(data) > self._size
            or LONE.search(data, max(0, since - 1))
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
        headers, kept, more = self._collect(lines)
        bits |= more
        if bits & CONNECTION:
            named = tokens(headers[b"connection"].lower())
            kept = without(kept, named)
            bits |= CLOSE if b"close" in named else 0
        if bits & CHUNKED:
            if bits & LENGTH or data.startswith(b"HTTP/1.0"):
                raise malformed("the answer is framed in two ways", 502, "upstream")
            length = -1
        else:
            length = int(headers[b"content-length"]) if bits & LENGTH else -2
        found = Answer(status, headers, kept, length, bits)
        if end <= LONGEST_HEAD:
            remember(self._heads, head, found, HEADS)
        return found

    def _read_first(self, line: bytes) -> tuple[int, int]:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise malformed("no status line", 502, "upstream")
        found = int(match[2]), CLOSE if match[1] == b"0" else 0
        if len(line) <= LONGEST_REMEMBERED:
            remember(self._first, line, found)
        return found

    def _repeated(self) -> Refused:
        return malformed(REPEATED.reason, 502, "upstream")

    def _read_line(self, line: bytes) -> Line:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not TOKEN.fullmatch(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise malformed("a header of the answer is malformed", 502, "upstream")
        low = name.lower()
        meaning = 0
        if low == b"content-length":
            if NUMBER.fullmatch(value) is None:
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
        elif low in _OURS or _STEERING.fullmatch(low) or (low == b"server" and not self._server):
            meaning = DROPPED
        return low, value, name + b": " + value, meaning
