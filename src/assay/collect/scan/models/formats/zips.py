"""Zip archives of any purpose: what is wrong with the archive itself, and everything inside it, scanned by content.

A member that two readers would read differently is scanned in both ways. Stored members are handed on as views of the
file, so that gigabytes of weights cost nothing; checksums are compared where a member is small enough to be read.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.compressed import (
    Stepwise,
    charging,
    lzma_filter,
    maker,
    member_decoder,
    raw_deflate,
)
from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.tars import is_tar, link_stays
from assay.collect.scan.models.formats.telling import (
    APPENDED,
    DENIAL,
    HIDING,
    SUPPLY,
    UNUSED,
    hand_on,
    leads_out,
    shown,
    tell,
)
from assay.collect.scan.models.formats.views import part, unpack
from assay.collect.scan.models.formats.zip_entries import Archive, Entry
from assay.collect.scan.models.formats.zip_reading import REFUSED, looks_like_zip, read_zip
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError, MissingExtraError

CHECKED = 1 << 20
"""Bytes of a stored member up to which its checksum is compared, unless it is a raw tensor, which runs nothing."""

_CHECKED_ALL = 64 << 20
_OVERLAPPING = 32
_MAX_GAPS = 16
_MAX_PATH = 4096
_STRONG = (
    b"PK", b"\x80", b"\x93NUMPY", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
    b"\x7fELF", b"MZ", b"#!", b"\x89HDF", b"GGUF", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa", b"\xca\xfe\xba\xbe",
    b"{", b"<",
)  # fmt: skip


class ZipScanner:
    """Any zip archive."""

    name = "zip"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its first local header or by its directory at the end; not where it is a member of a tar archive."""
        return is_zip(head, tail, file, size)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What is wrong with the archive, and what is in it."""
        from assay.collect.scan.models.formats.skops import schema_findings
        from assay.collect.scan.models.formats.torch import checkpoint, is_script, is_source, package

        archive = read_zip(file, size, scan.limits.members)
        yield from _problems(archive, scan)
        yield from _edges(archive, file, size, scan)
        overlaps = any(problem.rule == "zip/overlap" for problem in archive.problems)
        for own in (checkpoint, package, schema_findings):
            try:
                yield from own(archive, file, scan)
            except DocumentError as error:
                yield tell(scan, "zip/unreadable", Tier.UNREADABLE, Severity.HIGH, error.message, atlas=SUPPLY)
        script = is_script(archive)
        roots = storage_roots(archive)
        checked = 0
        for number, entry in enumerate(archive.entries):
            if overlaps and number >= _OVERLAPPING:
                yield tell(
                    scan, "zip/not-read", Tier.UNREADABLE, Severity.HIGH,
                    f"{len(archive.entries) - number:,} members were not read, since members overlap", atlas=DENIAL,
                )  # fmt: skip
                return
            yield from _named(entry, scan)
            if entry.packed == 0 and entry.size == 0:
                continue
            name = f"{entry.name} (TorchScript)" if script and is_source(entry.name) else entry.name
            if entry.link:
                yield from _link(entry, file, scan)
                name += " (link)"  # what it holds is a path, whatever loader its name asks for
            if entry.method == 0:
                storage = _in_root(entry.name, roots)
                small = not storage and entry.packed <= CHECKED and checked < _CHECKED_ALL
                checked += entry.packed if small else 0
                yield from _stored(entry, file, scan, name, small, storage)
            else:
                yield from _packed(entry, file, scan, name)


def is_zip(head: bytes, tail: bytes, file: BinaryIO, size: int) -> bool:
    """Whether some reader takes the file for a zip archive."""
    return looks_like_zip(head, tail, file, size) and not is_tar(head)


def unpacker(method: int) -> Callable[[], Stepwise]:
    """Makes decompressors for a method of compression. Raises `DocumentError` for those that cannot be unpacked."""
    if method == 8:
        return raw_deflate
    if method == 12:
        return maker("bz2")
    if method == 93:
        try:
            return maker("zst")
        except MissingExtraError as error:
            raise DocumentError(error.message, hint=error.hint) from None
    names = {9: "deflate64", 14: "lzma", 95: "xz", 96: "jpeg", 97: "wavpack", 98: "ppmd", 99: "AES encryption"}
    if method == 95:
        return maker("xz")
    raise DocumentError(f"the method {method} ({names.get(method, 'unknown')}) cannot be unpacked")


def member(file: BinaryIO, entry: Entry, scan: Scan) -> tuple[BinaryIO, int, str | None]:
    """A member's data, their size, and why they end early. Raises `DocumentError` where they cannot be unpacked."""
    if entry.method == 0:
        return part(file, entry.start, entry.packed), entry.packed, None
    if entry.method == 14:
        make, skip = _lzma(file, entry)
        return unpack(lambda: member_decoder(file, entry.start + skip, entry.end, make), charging("lzma", scan))
    make = unpacker(entry.method)
    charge = charging({12: "bz2", 95: "xz"}.get(entry.method, ""), scan)
    return unpack(lambda: member_decoder(file, entry.start, entry.end, make), charge)


def _lzma(file: BinaryIO, entry: Entry) -> tuple[Callable[[], Stepwise], int]:
    """As zipfile does: version, length of the properties, properties of a raw stream (APPNOTE 5.8.8)."""
    file.seek(entry.start)
    head = file.read(9)
    length = int.from_bytes(head[2:4], "little")
    if len(head) < 9 or length != 5:
        raise DocumentError("the lzma properties of a member are broken")
    filters = [lzma_filter(head[4:9])]
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), 9


def storage_roots(archive: Archive) -> frozenset[str]:
    """The folders in which torch keeps raw tensors: ``data/`` beside each ``data.pkl``."""
    return frozenset(
        entry.name[: -len("data.pkl")] + "data/" for entry in archive.entries if entry.name.endswith("data.pkl")
    )


def _in_root(name: str, roots: frozenset[str]) -> bool:
    return name[: name.rfind("/") + 1] in roots


def _stored(entry: Entry, file: BinaryIO, scan: Scan, name: str, small: bool, storage: bool) -> Iterator[Finding]:
    view = part(file, entry.start, entry.packed)
    if small:
        file.seek(entry.start)
        data = file.read(entry.packed)
        if zlib.crc32(data) != entry.crc and entry.listed:
            yield _checksum(entry, scan)
    if storage:
        file.seek(entry.start)
        head = file.read(512)
        if not head.startswith(_STRONG) and not plausible(view, entry.packed):
            scan.count()  # raw tensors: nothing in them that any loader runs
            return
    yield from scan.inner(view, name, entry.packed)


def _packed(entry: Entry, file: BinaryIO, scan: Scan, name: str) -> Iterator[Finding]:
    try:
        data, size, problem = member(file, entry, scan)
    except DocumentError as error:
        yield _at(entry, scan, "zip/not-unpacked", Tier.UNREADABLE, Severity.HIGH, error.message, hint=error.hint or "")
        return
    if size:
        yield from scan.inner(data, name, size)
    if problem:
        yield _at(entry, scan, "zip/broken-member", Tier.UNREADABLE, Severity.HIGH, problem)
    elif entry.listed and size != entry.size:
        yield _at(
            entry, scan, "zip/size", Tier.UNREADABLE, Severity.HIGH, f"it unpacks to {size:,} and claims {entry.size:,}"
        )
    elif entry.listed and size <= CHECKED:
        data.seek(0)
        if zlib.crc32(data.read(size)) != entry.crc:
            yield _checksum(entry, scan)


def _link(entry: Entry, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    """Where a symbolic link leads; one that cannot be read is told of where its member is scanned."""
    try:
        data, _, _ = member(file, entry, scan)
    except DocumentError:
        return
    data.seek(0)
    target = data.read(_MAX_PATH).decode("utf-8", "replace")
    if len(target) == _MAX_PATH or not link_stays(entry.name, target):
        yield _at(
            entry, scan, "zip/link", Tier.MALICIOUS, Severity.HIGH,
            f"it is a link, and its target {shown(target, 100)} lies outside",
        )  # fmt: skip


def _checksum(entry: Entry, scan: Scan) -> Finding:
    return _at(
        entry, scan, "zip/checksum", Tier.UNKNOWN, Severity.MEDIUM,
        "its checksum is wrong: some loaders refuse it and some load it",
    )  # fmt: skip


def _named(entry: Entry, scan: Scan) -> Iterator[Finding]:
    """What is wrong with a name, and what the flags say."""
    if why := leads_out(entry.name):
        yield _at(entry, scan, "zip/path", Tier.MALICIOUS, Severity.HIGH, f"its name {why}: unpacking writes elsewhere")
    if entry.flags & REFUSED:
        yield _at(
            entry, scan, "zip/encrypted", Tier.UNREADABLE, Severity.MEDIUM,
            "it says that it is encrypted or patched: tools give up on it, and some loaders ignore the flag",
        )  # fmt: skip


def _problems(archive: Archive, scan: Scan) -> Iterator[Finding]:
    for problem in archive.problems:
        message = problem.message if problem.member is None else f"{shown(problem.member, 200)}: {problem.message}"
        atlas = DENIAL if problem.rule == "zip/overlap" else SUPPLY
        yield tell(scan, problem.rule, problem.tier, problem.severity, message, offset=problem.offset, atlas=atlas)
    seen: dict[str, Entry] = {}
    for entry in archive.entries:
        first = seen.setdefault(entry.name.casefold(), entry)
        if first.header != entry.header:
            same = (first.crc, first.size, first.name) == (entry.crc, entry.size, entry.name)
            yield _at(
                entry, scan, "zip/duplicate", Tier.UNKNOWN if same else Tier.MALICIOUS, Severity.HIGH,
                "its name is there twice: some loaders read the first and some the last", place=True,
            )  # fmt: skip


def _edges(archive: Archive, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
    """Bytes that belong to no member."""
    if archive.comment:
        yield tell(
            scan, "zip/comment", Tier.NONE, Severity.LOW, f"the archive has a comment of {len(archive.comment):,} bytes"
        )
    if 0 < archive.ends < size:
        file.seek(archive.ends)
        yield tell(
            scan, "zip/appended", Tier.UNKNOWN, Severity.MEDIUM, f"{size - archive.ends:,} bytes follow the archive",
            offset=archive.ends, atlas=HIDING,
        )  # fmt: skip
        yield from hand_on(file, archive.ends, size, APPENDED, scan)
    for begin, end in archive.gaps[:_MAX_GAPS]:
        prefix = begin == 0
        yield tell(
            scan, "zip/prefix" if prefix else "zip/gap", Tier.UNKNOWN if prefix else Tier.NONE,
            Severity.MEDIUM if prefix else Severity.LOW,
            f"{end - begin:,} bytes lie {'before the archive' if prefix else 'between its members'}",
            offset=begin, atlas=HIDING,
        )  # fmt: skip
        if not prefix:  # what begins at the file's beginning is found there
            yield from hand_on(file, begin, end, UNUSED, scan)


def _at(
    entry: Entry,
    scan: Scan,
    rule: str,
    tier: Tier,
    severity: Severity,
    message: str,
    *,
    place: bool = False,
    hint: str = "",
) -> Finding:
    """A finding about a member, which the archive's own scan tells."""
    offset = entry.header if place or not entry.listed else None
    text = f"{shown(entry.name, 200)}: {message}"
    return tell(scan, rule, tier, severity, text, offset=offset, atlas=SUPPLY, mitigation=hint)
