"""Zip archives as all their readers see them together: every directory, and the local header of every entry.

Readers disagree about which directory counts, which of two entries of one name, and whether the local header or the
directory is right. So nothing is chosen here: whatever one of them could read is an `Entry`, and every disagreement a
`Problem`. Sources: PKWARE's APPNOTE 6.3.10; CPython's zipfile; miniz as torch uses it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.zip_entries import LOCAL, WIDE, Archive, Entry, local, name_of, widened
from assay.collect.scan.models.formats.zip_layout import check_layout
from assay.collect.scan.models.interface import Severity, Tier
from assay.collect.scan.models.pickle.nested import holds
from assay.errors import DocumentError

END = b"PK\x05\x06"
CENTRAL = b"PK\x01\x02"

REFUSED = 0x2061
"""Flags on which readers give up: encryption of three kinds, and patched data."""

MAX_DIRECTORY = 64 << 20
"""Bytes of one directory that are read."""

_END64 = b"PK\x06\x06"
_LOCATOR = b"PK\x06\x07"
_TAIL = 22 + 65535
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_VERSION = 63  # the newest that zipfile reads


@dataclass(frozen=True, slots=True)
class _End:
    at: int
    """Offset of the end record."""
    count: int
    size: int
    offset: int
    """Of the directory, as claimed."""
    begin: int
    """Offset of the first of the records that end the archive: the directory ends here."""
    comment: bytes


def ends(tail: bytes, start: int) -> list[int]:
    """Offsets of what could be end records, last first; ``start`` is the offset of ``tail``."""
    found, at = [], len(tail)
    while (at := tail.rfind(END, 0, at + 3 if at < len(tail) else at)) >= 0:
        if at + 22 <= len(tail):
            found.append(start + at)
        if at == 0:
            break
    return found


def looks_like_zip(head: bytes, tail: bytes, file: BinaryIO, size: int) -> bool:
    """By a local header or an end record at the beginning, or an end record near the end that has a directory.

    An archive in a byte string of a pickle does not make the pickle one: whoever runs the pickle looks into it.
    """
    if head.startswith((LOCAL, END)):
        return True
    for at in _own(file, size, tail):
        record = tail[at - (size - len(tail)) :][:22]
        length, offset = struct.unpack_from("<LL", record, 12)
        if length == offset == WIDE or (length and length + offset <= at):
            begin = at - length - (size - len(tail))
            if length == WIDE or begin < 0 or tail[begin : begin + 4] == CENTRAL:
                return True
    return False


def _own(file: BinaryIO, size: int, tail: bytes) -> Iterator[int]:
    """The `ends` of the file, but for those of archives that are byte strings of a pickle."""
    pickled: bool | None = None
    for at in ends(tail, size - len(tail)):
        length, offset, comment = struct.unpack_from("<LLH", tail, at - (size - len(tail)) + 12)
        if holds(file, at - length - offset, at + 22 + comment):
            pickled = plausible(file, size) if pickled is None else pickled
            if pickled:
                continue
        yield at


def read_zip(file: BinaryIO, size: int, limit: int) -> Archive:
    """Every entry that some reader could see, at most ``limit``. `DocumentError` where there is no archive at all."""
    archive = Archive(directory=size)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    seen: set[tuple[int, int]] = set()
    for at in _own(file, size, tail):
        if any(entry.header <= at < entry.end for entry in archive.entries):
            continue  # the end of an archive inside this one
        for end in _end_records(file, size, at, archive):
            for where in _directories(file, end, archive):
                if (where, end.count) not in seen:
                    seen.add((where, end.count))
                    _directory(file, size, end, where, archive, limit)
    if len({where for where, _ in seen}) > 1:
        first = archive.begins == 0  # else whatever has archives among its data, as a table of documents has
        archive.complain(
            "two-directories", Tier.MALICIOUS if first else Tier.UNKNOWN, Severity.HIGH,
            "it has more than one directory: readers see different members",
        )  # fmt: skip
    if not seen and archive.ends == 0:
        archive.complain("no-directory", Tier.UNREADABLE, Severity.HIGH, "its directory is missing or broken")
    check_layout(file, size, archive, limit)
    if not archive.entries and archive.ends == 0:
        raise DocumentError("it is no zip archive that can be read: it has neither directory nor members")
    return archive


def _end_records(file: BinaryIO, size: int, at: int, archive: Archive) -> Iterator[_End]:
    file.seek(at)
    record = file.read(22)
    disk, first, _, count, length, offset, comment = struct.unpack("<4H2LH", record[4:])
    text = file.read(comment)
    plain = _End(at, count, length, offset, at, text)
    behind = at + 22 + comment
    real = length != 0 or count == 0 or offset == WIDE
    if archive.ends == 0 and real:
        archive.ends, archive.comment = min(behind, size), text
    if (disk or first) and disk != 0xFFFF:
        archive.complain("disks", Tier.UNREADABLE, Severity.MEDIUM, "it says that it is one of several disks")
    wide = _end64(file, size, at)
    if wide is None:
        if WIDE in (length, offset):
            archive.complain("zip64", Tier.UNREADABLE, Severity.MEDIUM, "its 64-bit end record is missing or broken")
            return
        yield plain
        return
    yield wide
    same = (count in (0xFFFF, wide.count)) and length in (WIDE, wide.size) and offset in (WIDE, wide.offset)
    if not same:
        archive.complain(
            "zip64", Tier.MALICIOUS, Severity.HIGH,
            "its 32-bit and 64-bit end records contradict each other: readers see different members",
        )  # fmt: skip
        yield plain


def _end64(file: BinaryIO, size: int, at: int) -> _End | None:
    if at < 20:
        return None
    file.seek(at - 20)
    locator = file.read(20)
    if not locator.startswith(_LOCATOR):
        return None
    claimed = int.from_bytes(locator[8:16], "little")
    for where in (claimed, at - 76):
        if not 0 <= where <= size - 56:
            continue
        file.seek(where)
        record = file.read(56)
        if record.startswith(_END64):
            count, length, offset = struct.unpack("<3Q", record[32:])
            return _End(at, count, length, offset, where, b"")
    return None


def _directories(file: BinaryIO, end: _End, archive: Archive) -> list[int]:
    """Where the directory is: where the record says, and right before the record where that is another place."""
    if end.count == 0 and end.size == 0:
        return []
    found = []
    for where in dict.fromkeys((end.offset, end.begin - end.size)):
        if 0 <= where <= end.begin - 46:
            file.seek(where)
            if file.read(4) == CENTRAL:
                found.append(where)
    if not found:
        archive.complain("no-directory", Tier.UNREADABLE, Severity.HIGH, "its directory is not where its end says")
    elif found == [end.offset] and end.offset != end.begin - end.size:
        archive.complain(
            "directory-size", Tier.UNKNOWN, Severity.MEDIUM,
            f"its directory is said to have {end.size:,} bytes, which is wrong: some readers fail",
        )  # fmt: skip
    return found


def _directory(file: BinaryIO, size: int, end: _End, where: int, archive: Archive, limit: int) -> None:
    """Add the entries of one directory."""
    shift = where - end.offset  # bytes before the archive, for readers that allow for them
    length = end.begin - where
    if length > MAX_DIRECTORY:
        archive.complain("directory-size", Tier.UNREADABLE, Severity.HIGH, f"its directory has {length:,} bytes")
        length = MAX_DIRECTORY
    file.seek(where)
    data = file.read(length)
    at, count = 0, 0
    listed = []
    while data[at : at + 4] == CENTRAL and at + 46 <= len(data):
        if len(archive.entries) + count >= limit:
            raise DocumentError(f"there are more than {limit:,} members")
        needed = data[at + 6]
        entry, at = _central(data, at)
        if needed > _VERSION:
            archive.complain(
                "version", Tier.UNKNOWN, Severity.LOW, f"it asks for version {needed / 10} of the format", entry
            )
        count += 1
        listed.append(replace(entry, header=entry.header + shift))
        if shift and entry.header + 30 <= size:
            file.seek(entry.header)
            if file.read(4) == LOCAL:
                listed.append(entry)  # for readers that do not allow for bytes before the archive
    if count != end.count:
        archive.complain(
            "count", Tier.UNKNOWN if count > end.count else Tier.UNREADABLE, Severity.MEDIUM,
            f"its directory has {count:,} members and says {end.count:,}",
        )  # fmt: skip
    if at != len(data) and not (count == 0 and not data):
        archive.complain(
            "directory",
            Tier.UNREADABLE,
            Severity.MEDIUM,
            "its directory has bytes that are no entries, or an entry that goes on beyond it",
        )
    archive.directory = min(archive.directory, where)
    views = [view for entry in listed for view in _views(file, size, entry, archive)]
    archive.entries = list(dict.fromkeys(archive.entries + views))


def _central(data: bytes, at: int) -> tuple[Entry, int]:
    """One entry and where the next begins; what goes on beyond the end is cut off, as zipfile does."""
    part = _CENTRAL.unpack_from(data, at)
    (_, _, _, flags, method, _, _, crc, packed, size) = part[:10]
    name_size, extra_size, comment_size, _, _, attributes, header = part[10:]
    begin = at + 46
    after = begin + name_size + extra_size + comment_size
    extra = data[begin + name_size : begin + name_size + extra_size]
    size, packed, header = widened(extra, size, packed, header)
    return Entry(
        name_of(data[begin : begin + name_size], flags), method, flags, crc, packed, size, header, attributes=attributes
    ), after


def _views(file: BinaryIO, size: int, entry: Entry, archive: Archive) -> Iterator[Entry]:
    """The entry as the directory describes it, and as its local header does where that differs."""
    found = local(file, size, entry.header)
    if found is None:
        archive.complain(
            "local-header", Tier.UNREADABLE, Severity.HIGH, "its directory names a member that is not there", entry
        )
        return
    begun = replace(entry, start=found.start)
    descriptor = found.flags & 8 and found.crc == found.packed == found.size == 0
    differs = list(_differences(entry, found, bool(descriptor)))
    for what, honest, there, here in differs:
        archive.complain(
            f"{what}-mismatch",
            Tier.UNKNOWN if honest else Tier.MALICIOUS,
            Severity.MEDIUM if honest else Severity.HIGH,
            f"the directory says {what} {there!r} and the local header {here!r}: readers see different things",
            entry,
        )
    if begun.end > size:
        archive.complain("cut-off", Tier.UNREADABLE, Severity.HIGH, "a member goes on beyond the file's end", entry)
        begun = replace(begun, packed=size - begun.start)
    if begun.method == 0 and begun.packed != begun.size:
        archive.complain(
            "stored-size", Tier.MALICIOUS, Severity.HIGH,
            f"a stored member has {begun.packed:,} bytes and claims {begun.size:,}: readers see different data", entry,
        )  # fmt: skip
        yield replace(begun, packed=min(max(begun.packed, begun.size), size - begun.start))
    yield begun
    if differs and not descriptor:
        yield replace(found, packed=min(found.packed, size - found.start), listed=True)
    elif differs:
        yield replace(begun, name=found.name, method=found.method, flags=found.flags)


def _differences(entry: Entry, found: Entry, descriptor: bool) -> Iterator[tuple[str, bool, object, object]]:
    """What directory and local header disagree about, and whether careless writers do so too."""
    if (found.flags ^ entry.flags) & REFUSED:
        yield "encryption", False, entry.flags & REFUSED, found.flags & REFUSED
    elif (found.flags ^ entry.flags) & 0x0808:
        yield "flags", True, entry.flags & 0x0808, found.flags & 0x0808
    if found.name != entry.name:
        yield "name", found.name.replace("\\", "/") == entry.name.replace("\\", "/"), entry.name, found.name
    if found.method != entry.method:
        yield "method", False, entry.method, found.method
    if descriptor:
        return
    for what in ("size", "packed", "crc"):
        there, here = getattr(entry, what), getattr(found, what)
        if there != here and not (found.flags & 8 and not here):
            yield what, what == "crc" or not here, there, here
