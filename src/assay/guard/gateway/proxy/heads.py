"""What heads of requests and of answers have in common: RFC 9112, narrowed to what every reader reads alike.

Written by hand because the grammar is the point: measured as fast as httptools, which accepts more. Nothing is
repaired; readers have no state but a memory of what they have seen before.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Generic, TypeAlias, TypeVar

from assay.guard.gateway.headers import SINGLE
from assay.guard.gateway.refusing import Refused

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

LONE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What no head has: lone line ends and control characters."""
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""

Line: TypeAlias = "tuple[bytes, bytes, bytes, int]"
"""A header: name in lower case, value, the line to pass on, meaning."""
_T = TypeVar("_T")


class HeadReader(ABC, Generic[_T]):
    """Reads heads of one kind."""

    def __init__(self, single: frozenset[bytes] = SINGLE) -> None:
        """``single`` are the headers that may come once."""
        self._single = single
        self._lines: dict[bytes, Line] = {}
        self._heads: dict[bytes, _T] = {}

    @abstractmethod
    def _read_line(self, line: bytes) -> Line:
        """What a header line means. Raises `Refused`."""

    @abstractmethod
    def _repeated(self) -> Refused:
        """Why a header of `_single` that comes twice is refused."""

    def _collect(self, lines: list[bytes]) -> tuple[dict[bytes, bytes], list[bytes], int]:
        """The headers, the lines to pass on, and all meanings. Raises `Refused`."""
        headers: dict[bytes, bytes] = {}
        kept: list[bytes] = []
        known = self._lines
        bits = 0
        for line in lines:
            found = known.get(line)
            if found is None:
                found = self._read_line(line)
                if len(line) <= LONGEST_REMEMBERED:
                    remember(known, line, found)
            name, value, clean, meaning = found
            if name in headers:
                if name in self._single:
                    raise self._repeated()
                headers[name] += b", " + value
            else:
                headers[name] = value
            if meaning:
                bits |= meaning
            else:
                kept.append(clean)
        return headers, kept, bits


def remember(memory: dict[bytes, _T], key: bytes, found: _T, most: int = REMEMBERED) -> None:
    """Strangers fill these memories: all is forgotten when there is too much."""
    if len(memory) >= most:
        memory.clear()
    memory[key] = found


def tokens(value: bytes) -> set[bytes]:
    """The parts of a list such as ``Connection`` has (RFC 9110, 5.6.1), each once."""
    found = {part.strip(b" \t") for part in value.split(b",")}
    found.discard(b"")
    return found


def without(kept: list[bytes], names: set[bytes]) -> list[bytes]:
    """The lines of other headers. Looked through once, however many names a stranger lists."""
    return [line for line in kept if line.partition(b":")[0].lower() not in names]
