"""The parts of a zip archive as values: members, what is wrong with them, and what a local header says.

Nothing here decides which of two contradicting statements is right.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from assay.collect.scan.models.interface import Severity, Tier

LOCAL = b"PK\x03\x04"
WIDE = 0xFFFFFFFF
"""What stands for a number that the zip64 extra field has."""

_LOCAL = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that readers of the archive do not agree about, or that keeps one from reading it."""

    rule: str
    tier: Tier
    severity: Severity
    message: str
    member: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One way in which one reader sees one member."""

    name: str
    """As Python's zipfile decodes it, up to a NUL."""
    method: int
    """0 stored, 8 deflated, …"""
    flags: int
    crc: int
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes when unpacked, as claimed."""
    header: int
    """Offset of the local header in the file."""
    start: int = 0
    """Offset of its data in the file."""
    listed: bool = True
    """In a directory; False for what only a local header knows."""
    attributes: int = 0
    """External attributes, which on Unix say what kind of file it is."""

    @property
    def end(self) -> int:
        """Offset behind its data."""
        return self.start + self.packed

    @property
    def link(self) -> bool:
        """A symbolic link."""
        return self.attributes >> 28 == 0xA


@dataclass(slots=True)
class Archive:
    """What is in a zip archive."""

    entries: list[Entry] = field(default_factory=list)
    """All views of all members, in the order of the directories."""
    problems: list[Problem] = field(default_factory=list)
    comment: bytes = b""
    ends: int = 0
    """Offset behind its last byte."""
    directory: int = 0
    """Offset of its first directory; the file's size where there is none."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Stretches before, between and behind its members that no member is in, larger than a data descriptor."""

    @property
    def begins(self) -> int:
        """Offset of its first member."""
        return min((entry.header for entry in self.entries), default=0)

    def complain(self, rule: str, tier: Tier, severity: Severity, message: str, entry: Entry | None = None) -> None:
        """Add a problem."""
        where = None if entry is None else entry.header
        self.problems.append(Problem(f"zip/{rule}", tier, severity, message, entry.name if entry else None, where))


def local(file: BinaryIO, size: int, header: int) -> Entry | None:
    """What a local header says, or None where there is none."""
    if not 0 <= header <= size - 30:
        return None
    file.seek(header)
    data = file.read(30)
    if not data.startswith(LOCAL):
        return None
    _, _, flags, method, _, _, crc, packed, unpacked, name_size, extra_size = _LOCAL.unpack(data)
    rest = file.read(name_size + extra_size)
    start = header + 30 + name_size + extra_size
    if start > size:
        return None
    unpacked, packed, _ = widened(rest[name_size:], unpacked, packed, 0)
    return Entry(name_of(rest[:name_size], flags), method, flags, crc, packed, unpacked, header, start, listed=False)


def name_of(raw: bytes, flags: int) -> str:
    """As zipfile decodes it."""
    try:
        return raw.decode("utf-8" if flags & 0x800 else "cp437")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def widened(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The sizes and the offset with those of the zip64 extra field in place of what did not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            size = next(values, size) if size == WIDE else size
            packed = next(values, packed) if packed == WIDE else packed
            header = next(values, header) if header == WIDE else header
            break
        at += 4 + length
    return size, packed, header
