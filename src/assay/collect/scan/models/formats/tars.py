"""Tar archives (v7, ustar, GNU, pax), uncompressed: every member by content, links and names that lead out.

Python's tarfile stops silently at the first header that is broken; other readers go on. Here whatever looks like a
member is scanned, and what lies behind the archive's end is said.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from assay.collect.scan.models.formats.tar_sparse import BLOCK, Pieces, of_header, of_records, whole
from assay.collect.scan.models.formats.telling import APPENDED, HIDING, SUPPLY, hand_on, leads_out, shown, tell
from assay.collect.scan.models.formats.views import part
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

_MAX_EXTENDED = 1 << 20
_ZEROS = bytes(BLOCK)
_RECORD = re.compile(rb"(\d{1,10}) ([^=\n]{1,200})=")


@dataclass(frozen=True, slots=True)
class Member:
    """One member."""

    name: str
    kind: bytes
    """The type flag: ``0`` file, ``1`` hard link, ``2`` symbolic link, ``5`` folder, …"""
    start: int
    """Offset of its data."""
    size: int
    """Bytes of data in the archive."""
    target: str
    """What a link leads to."""
    pieces: Pieces | None = ()
    """Of a sparse file; None where they are broken, empty for all others."""
    real: int = -1
    """Bytes of a sparse file when it is unpacked; -1 for all others."""


@dataclass(slots=True)
class Walk:
    """Where a walk over an archive has come to."""

    ends: int = 0
    """Offset behind the blocks of zeros that end the archive, or where it stops being one."""
    problem: str | None = None
    """Why it could not be read to its end."""


def is_tar(head: bytes) -> bool:
    """Whether the bytes begin with a header whose checksum is right; that is all that tarfile asks for."""
    return len(head) >= BLOCK and head[0] != 0 and _checked(head[:BLOCK])


def walk(file: BinaryIO, size: int, limit: int, state: Walk) -> Iterator[Member]:
    """The members in order, at most ``limit``; ``state`` tells how it ended. Raises `DocumentError` at the limit."""
    at, count = 0, 0
    name = target = wide = None
    general: dict[bytes, bytes] = {}
    own: list[tuple[bytes, bytes]] = []
    while True:
        file.seek(at)
        block = file.read(BLOCK)
        state.ends = at
        if len(block) < BLOCK:
            state.problem = "it ends in the middle of a block" if block or at > size else None
            state.ends = min(at, size)
            return
        if block == _ZEROS:
            state.ends = _behind_zeros(file, at, size)
            return
        if not _checked(block):
            state.problem = f"the header at byte {at:,} is broken"
            return
        length, kind = _number(block[124:136]), block[156:157]
        if length is None or length < 0:
            state.problem = f"the size in the header at byte {at:,} is broken"
            return
        start = at + BLOCK
        if kind in (b"x", b"X", b"g", b"L", b"K"):
            data = _extended(file, start, length)
            if kind in (b"L", b"K"):
                text = _text(data)
                name, target = (text, target) if kind == b"L" else (name, text)
            else:
                listed = list(_records(data))
                records = dict(listed)
                if kind == b"g":
                    general |= records
                else:
                    own += listed
                for key in (b"path", b"GNU.sparse.name"):
                    name = _text(records[key]) if key in records else name
                target = _text(records[b"linkpath"]) if b"linkpath" in records else target
                wide = _decimal(records.get(b"size")) if b"size" in records else wide
            at = start + -(-length // BLOCK) * BLOCK
            continue
        count += 1
        if count > limit:
            raise DocumentError(f"there are more than {limit:,} members")
        if wide is None and b"size" in general:
            wide = _decimal(general[b"size"])
        held = length if wide is None else wide
        empty = kind in (b"1", b"2", b"3", b"4", b"5", b"6") and wide is None
        held = 0 if empty else held
        data_at, real = start, -1
        pieces: Pieces | None = ()
        sparse = of_header(file, block, start, _number) if kind == b"S" else of_records(file, own, start, held)
        if sparse is not None:
            pieces, real, data_at = sparse
            start = data_at if kind == b"S" else start  # blocks of the map do not count as data there
        yield Member(
            name or (_text(general[b"path"]) if b"path" in general else _name(block)),
            kind,
            min(data_at, size),
            max(0, min(start + held, size) - data_at),
            target or _text(block[157:257]),
            pieces,
            real,
        )
        if held > size - start:
            state.ends, state.problem = size, "its last member goes on beyond the file's end"
            return
        name = target = wide = None
        own = []
        at = start + -(-held // BLOCK) * BLOCK


class TarScanner:
    """Any tar archive."""

    name = "tar"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the checksum of the first header, or by its mark where that is broken."""
        return is_tar(head) or head[257:262] == b"ustar"

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What is wrong with the archive, and what is in it."""
        state = Walk()
        seen: set[str] = set()
        for item in walk(file, size, scan.limits.members, state):
            yield from _about(item, seen, scan)
            if item.pieces != () or item.real >= 0:
                yield from _sparse(item, file, scan)
            elif item.size and item.kind not in (b"2", b"5"):
                yield from scan.inner(part(file, item.start, item.size), item.name, item.size)
        if state.problem:
            yield tell(
                scan, "tar/broken", Tier.UNREADABLE, Severity.HIGH, state.problem, offset=state.ends, atlas=SUPPLY
            )
        if 0 < state.ends < size:
            yield tell(
                scan, "tar/appended", Tier.UNKNOWN, Severity.MEDIUM,
                f"{size - state.ends:,} bytes follow the end of the archive", offset=state.ends, atlas=HIDING,
            )  # fmt: skip
            start = _next_header(file, state.ends, size) if state.problem else state.ends
            yield from hand_on(file, start, size, APPENDED, scan)


def _about(item: Member, seen: set[str], scan: Scan) -> Iterator[Finding]:
    where = shown(item.name, 200)
    if why := leads_out(item.name):
        yield tell(
            scan, "tar/path", Tier.MALICIOUS, Severity.HIGH,
            f"{where}: its name {why}: unpacking writes elsewhere", atlas=SUPPLY,
        )  # fmt: skip
    out = leads_out(item.target) if item.kind in (b"1", b"2") else None
    if out and (item.kind == b"1" or not link_stays(item.name, item.target)):
        yield tell(
            scan, "tar/link", Tier.MALICIOUS, Severity.HIGH,
            f"{where}: it is a link, and its target {shown(item.target, 200)} {out}", atlas=SUPPLY,
        )  # fmt: skip
    if item.kind in (b"3", b"4", b"6"):
        yield tell(scan, "tar/device", Tier.UNKNOWN, Severity.HIGH, f"{where}: it is a device or a pipe", atlas=SUPPLY)
    if item.kind != b"5" and item.name in seen:
        yield tell(
            scan, "tar/duplicate", Tier.UNKNOWN, Severity.MEDIUM,
            f"{where}: its name is there twice: some loaders read the first and some the last", atlas=SUPPLY,
        )  # fmt: skip
    seen.add(item.name)


def _sparse(item: Member, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    """Scan a sparse file as it is unpacked; where that cannot be done, its pieces as they lie."""
    data = None if item.pieces is None else whole(file, item.start, item.start + item.size, item.pieces, item.real)
    if data is not None:
        scan.charge(len(data))
        if data:
            yield from scan.inner(cast(BinaryIO, io.BytesIO(data)), item.name, len(data))
        return
    yield tell(
        scan, "tar/sparse", Tier.UNREADABLE, Severity.MEDIUM,
        f"{shown(item.name, 200)}: it is a sparse file that cannot be put together: what is unpacked was not seen",
        atlas=SUPPLY,
    )  # fmt: skip
    if item.size:
        yield from scan.inner(part(file, item.start, item.size), item.name, item.size)


def _next_header(file: BinaryIO, at: int, size: int) -> int:
    """Where an archive goes on behind a broken header, for readers that pass over it; ``at`` where it does not."""
    for begin in range(at + BLOCK, min(size, at + _MAX_EXTENDED), BLOCK):
        file.seek(begin)
        if is_tar(file.read(BLOCK)):
            return begin
    return at


def link_stays(name: str, target: str) -> bool:
    """Whether a symbolic link stays inside the archive."""
    if leads_out(target) not in (None, "leads out of the folder"):
        return False
    depth = name.strip("/").removeprefix("./").count("/")
    for step in target.split("/"):
        depth += -1 if step == ".." else 0 if step in ("", ".") else 1
        if depth < 0:
            return False
    return True


def _checked(block: bytes) -> bool:
    stated = _number(block[148:156])
    if stated is None:
        return False
    plain = sum(block[:148]) + 256 + sum(block[156:])
    return stated in (plain, plain - 256 * (sum(byte > 127 for byte in block[:148] + block[156:])))


def _number(field: bytes) -> int | None:
    """Octal, or base 256 where the first bit is set; None where it is neither."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0x80 else value - (1 << 8 * (len(field) - 1))
    text = field.split(b"\0")[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        return None


def _decimal(text: bytes | None) -> int | None:
    return int(text) if text and len(text) <= 20 and text.isdigit() else None


def _name(block: bytes) -> str:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:262] == b"ustar" and block[263:265] != b" \0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace")


def _extended(file: BinaryIO, start: int, length: int) -> bytes:
    if length > _MAX_EXTENDED:
        raise DocumentError(f"an extended header has {length:,} bytes")
    file.seek(start)
    return file.read(length)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while match := _RECORD.match(data, at):
        length = int(match[1])
        if length < match.end() - at or at + length > len(data) or length == 0:
            return
        yield match[2], data[match.end() : at + length - 1]
        at += length


def _behind_zeros(file: BinaryIO, at: int, size: int) -> int:
    """Offset behind the zeros that fill an archive up."""
    file.seek(at)
    while data := file.read(64 * 1024):
        rest = data.lstrip(b"\0")
        if rest:
            return at + len(data) - len(rest)
        at += len(data)
    return size
