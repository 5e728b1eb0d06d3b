"""Reading a tar from a stream, member by member, in bounded memory; for archives by strangers.

Only what every reader understands alike is read: ustar, pax with ``path`` and ``size``, GNU long names. The standard
library's reader takes a whole header of any declared size into memory and knows sparse files, whose map costs it time
without bounds; this one has neither. It writes nothing and judges no name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from assay.errors import TargetError
from assay.targets.names import shown

BLOCK = 512
MAX_HEADER = 64 * 1024
"""Bytes of an extended header: a path of PATH_MAX and what else tools put there."""

_CHUNK = 256 * 1024
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ")
_KINDS = {b"0": "file", b"\0": "file", b"5": "folder", b"1": "hard link", b"2": "symbolic link", b"6": "FIFO"}
_KINDS |= {b"3": "character device", b"4": "block device"}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry."""

    name: str
    """As written."""
    size: int
    """Bytes."""
    kind: str
    """``file``, ``folder``, or what else it is, in words."""


class TarStream:
    """Members in order. ``read`` gives at most as many bytes as asked for, and none at the end."""

    def __init__(self, read: Callable[[int], bytes], what: str, *, skip: Callable[[int], object] | None = None) -> None:
        self._read, self._what = read, what
        self._skip = skip
        self._left = 0  # of the current member's data
        self.offset = 0
        """Where the next byte comes from; of the data when a member was just given out."""

    def __iter__(self) -> Iterator[Member]:
        """Raises `TargetError` for a tar that is cut off, damaged, or has something in it that readers differ on."""
        pending: dict[str, str] = {}  # what an extended header says of the next member
        while True:
            header = self._exactly(BLOCK)
            if not header.strip(b"\0"):
                return self._end(bool(pending))
            magic, flag = header[257:265], header[156:157]
            if magic not in (b"ustar\x0000", b"ustar  \0"):
                raise self._bad("is not a tar in the form that is read (ustar)")
            if self._number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32:
                raise self._bad("has a header whose checksum is wrong")
            length = self._number(header[124:136])
            if flag in (b"x", b"g", b"L"):
                found = self._extended(length, flag)
                if (flag == b"g" and found) or pending:
                    raise self._bad("gives a file's name or size twice, or to all its files")
                pending = found
                continue
            length = int(pending.get("size", length))
            written = pending.get("path") or self._name(header, magic)
            pending = {}
            kind = _KINDS.get(flag, "something of an unknown kind")
            if kind == "folder" and length:
                raise self._bad(f"has a folder {shown(written)} with contents of its own")
            self._left = length
            yield Member(written, length, kind)
            self._pass(self._left + -length % BLOCK)
            self._left = 0

    def data(self) -> Iterator[bytes]:
        """The current file's bytes, in pieces."""
        while self._left:
            piece = self._some(min(self._left, _CHUNK))
            self._left -= len(piece)
            yield piece

    def _pass(self, count: int) -> None:
        if self._skip is not None:
            self._skip(count)
            self.offset += count
            return
        while count:
            count -= len(self._some(min(count, _CHUNK)))

    def _some(self, count: int) -> bytes:
        piece = self._read(count)
        if not piece:
            raise self._bad("ends too early")
        self.offset += len(piece)
        return piece

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            parts.append(self._some(count))
            count -= len(parts[-1])
        return b"".join(parts)

    def _end(self, pending: bool) -> None:
        """Nothing but zeros may follow: some readers go on behind the end."""
        if pending:
            raise self._bad("ends after the name of a file")
        while piece := self._read(_CHUNK):
            if piece.strip(b"\0"):
                raise self._bad("has something behind its end")

    def _extended(self, length: int, flag: bytes) -> dict[str, str]:
        if length > MAX_HEADER:
            raise self._bad(f"has a header of {length:,} bytes")
        data = self._exactly(length)
        self._exactly(-length % BLOCK)
        if flag == b"L":
            return {"path": self._text(data.split(b"\0")[0])}
        found: dict[str, str] = {}
        while data:
            match = _RECORD.match(data)
            end = int(match[1]) if match else 0
            key, equals, value = data[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
            if not equals or data[end - 1 : end] != b"\n":
                raise self._bad("has an extended header that is malformed")
            data = data[end:]
            if key.startswith(b"GNU.sparse") or key == b"hdrcharset":
                raise self._bad("has a sparse file or names of another character set in it")
            if key in (b"path", b"size"):
                if key.decode() in found or not re.fullmatch(rb"[0-9]{1,18}" if key == b"size" else rb"[^\0]+", value):
                    raise self._bad("has an extended header that is malformed")
                found[key.decode()] = self._text(value)
        return found

    def _name(self, header: bytes, magic: bytes) -> str:
        name = header[:100].split(b"\0")[0]
        prefix = header[345:500].split(b"\0")[0] if magic == b"ustar\x0000" else b""
        return self._text(prefix + b"/" + name if prefix else name)

    def _text(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise self._bad("has a name that is not UTF-8") from None

    def _number(self, field: bytes) -> int:
        """Octal digits, or GNU's binary form for what does not fit."""
        if field[0] == 0x80:
            number = int.from_bytes(field[1:], "big")
            if number < 1 << 62:
                return number
        elif re.fullmatch(rb" *[0-7]*[ \0]*", field):
            return int(field.strip(b" \0") or b"0", 8)
        raise self._bad("has a header with a number that is malformed")

    def _bad(self, problem: str) -> TargetError:
        return TargetError(f"{self._what} {problem}")
