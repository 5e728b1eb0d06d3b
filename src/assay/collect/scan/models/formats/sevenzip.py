"""7z archives: every member by content, with the methods that Python itself can unpack.

Whatever else 7z can do (encryption, PPMd, BCJ2, several volumes) is told of and never counts as looked at. Members are
never written anywhere; what a folder unpacks to is paid for before it is read.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.compressed import (
    DICTIONARY,
    Stepwise,
    charging,
    lzma_filter,
    maker,
    member_decoder,
    raw_deflate,
)
from assay.collect.scan.models.formats.sevenzip_header import Coder, Folder, Item, Reader, read
from assay.collect.scan.models.formats.tars import link_stays
from assay.collect.scan.models.formats.telling import APPENDED, HIDING, SUPPLY, hand_on, leads_out, shown, tell
from assay.collect.scan.models.formats.views import Decoder, part, unpack
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError, MissingExtraError

MAGIC = b"7z\xbc\xaf\x27\x1c"

MAX_HEADER = 32 << 20
"""Bytes of a header, unpacked."""

_START = 32
_ENCODINGS = 4
"""Headers may be packed, and so may the header that says how."""

_MAX_PATH = 4096
_NATIVE = {
    b"\x04": lzma.FILTER_X86, b"\x03\x03\x01\x03": lzma.FILTER_X86, b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64, b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB, b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
}  # fmt: skip
_NAMES = {
    b"\x06\xf1\x07\x01": "AES encryption", b"\x03\x04\x01": "PPMd", b"\x03\x03\x01\x1b": "BCJ2",
    b"\x04\x01\x09": "deflate64", b"\x04\xf7\x11\x04": "lz4", b"\x04\xf7\x11\x02": "brotli",
}  # fmt: skip


class SevenZip:
    """``.7z``."""

    name = "7z"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the mark at the beginning."""
        return head.startswith(MAGIC)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What is in it, and what could not be unpacked."""
        folders, items, end = _header(file, size, scan)
        for item in items:
            if why := leads_out(item.name):
                yield _at(item, scan, "7z/path", Tier.MALICIOUS, f"its name {why}: unpacking writes elsewhere")
        full = iter([item for item in items if not item.empty])
        for folder in folders:
            members = [(next(full, Item("(unnamed)", link=False, empty=False)), length) for length in folder.parts]
            yield from _members(folder, members, file, size, scan)
        if end < size:
            yield tell(
                scan, "7z/appended", Tier.UNKNOWN, Severity.MEDIUM, f"{size - end:,} bytes follow the archive",
                offset=end, atlas=HIDING,
            )  # fmt: skip
            yield from hand_on(file, end, size, APPENDED, scan)


def _header(file: BinaryIO, size: int, scan: Scan) -> tuple[list[Folder], list[Item], int]:
    """Folders, members and where the archive ends. Raises `DocumentError`."""
    file.seek(0)
    start = file.read(_START)
    if len(start) < _START or zlib.crc32(start[12:]) != int.from_bytes(start[8:12], "little"):
        raise DocumentError("the beginning of the 7z archive is broken")
    offset, length = int.from_bytes(start[12:20], "little"), int.from_bytes(start[20:28], "little")
    end = _START + offset + length
    if end > size:
        raise DocumentError(f"the 7z archive is cut off: its header ends at byte {end:,}")
    if length > MAX_HEADER:
        raise DocumentError(f"the 7z header has {length:,} bytes, more than the {MAX_HEADER:,} that are read")
    file.seek(_START + offset)
    data = file.read(length)
    if zlib.crc32(data) != int.from_bytes(start[28:32], "little"):
        raise DocumentError("the 7z header is broken: its checksum is wrong")
    for _ in range(_ENCODINGS):
        if not data:
            return [], [], end
        folders, items, encoded = read(Reader(data, scan.limits.members))
        if not encoded:
            return folders, items, end
        if len(folders) != 1 or folders[0].size > MAX_HEADER:
            raise DocumentError("the packed 7z header is too large, or none")
        inside, unpacked, problem = _unpacked(folders[0], file, size, scan)
        if problem:
            raise DocumentError(f"the packed 7z header is broken: {problem}")
        inside.seek(0)
        data = inside.read(unpacked)
    raise DocumentError("the 7z header is packed over and over")


def _members(
    folder: Folder, members: list[tuple[Item, int]], file: BinaryIO, size: int, scan: Scan
) -> Iterator[Finding]:
    names = shown(", ".join(item.name for item, _ in members[:5]), 200)
    try:
        data, unpacked, problem = _unpacked(folder, file, size, scan)
    except (DocumentError, MissingExtraError) as error:
        yield tell(
            scan, "7z/not-unpacked", Tier.UNREADABLE, Severity.HIGH,
            f"{len(members):,} members ({names}) were not looked at: {error.message}", atlas=SUPPLY,
            mitigation=error.hint or "Unpack it in a place where nothing loads it, and scan what comes out.",
        )  # fmt: skip
        return
    if problem:
        yield tell(scan, "7z/broken", Tier.UNREADABLE, Severity.HIGH, f"{names}: {problem}", atlas=SUPPLY)
    at = 0
    for item, length in members:
        have = min(length, max(0, unpacked - at))
        if item.link:
            data.seek(at)
            target = data.read(min(have, _MAX_PATH)).decode("utf-8", "replace")
            if have >= _MAX_PATH or not link_stays(item.name, target):
                why = f"it is a link, and its target {shown(target, 100)} lies outside"
                yield _at(item, scan, "7z/link", Tier.MALICIOUS, why)
        if have:
            yield from scan.inner(part(data, at, have), f"{item.name} (link)" if item.link else item.name, have)
        at += length


def _unpacked(folder: Folder, file: BinaryIO, size: int, scan: Scan) -> tuple[BinaryIO, int, str | None]:
    """What a folder unpacks to, as far as it does. Raises `DocumentError` where the method is not known here."""
    end = folder.start + folder.packed
    if folder.packed_streams != 1 or not folder.coders:
        raise DocumentError("they were packed with BCJ2 or another method of several streams")
    if end > size:
        raise DocumentError("their data go on beyond the file's end")
    if all(coder.method == b"\0" for coder in folder.coders):
        held = min(folder.packed, folder.size)
        return part(file, folder.start, held), held, None if held == folder.size else "their data end early"
    make, kind = _machine(folder.coders)

    def start() -> Decoder:
        return _Measured(member_decoder(file, folder.start, end, make), folder.size)

    return unpack(start, charging(kind, scan))


def _machine(coders: tuple[Coder, ...]) -> tuple[Callable[[], Stepwise], str]:
    """Makes decompressors, and what they cost."""
    last = coders[-1]
    if len(coders) == 1 and last.method in (b"\x04\x01\x08", b"\x04\x02\x02", b"\x04\xf7\x11\x01"):
        kind = {b"\x08": "deflate", b"\x02": "bz2", b"\x01": "zst"}[last.method[-1:]]
        return (raw_deflate if kind == "deflate" else maker(kind)), kind
    filters = [_filter(coder, coder is last) for coder in coders]
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), "lzma"


def _filter(coder: Coder, last: bool) -> dict[str, int]:
    if last and coder.method == b"\x03\x01\x01":
        return lzma_filter(coder.properties)
    if last and coder.method == b"\x21" and len(coder.properties) == 1 and coder.properties[0] <= 40:
        power = coder.properties[0]
        size = (2 | power & 1) << (power // 2 + 11)
        if size > DICTIONARY:
            raise DocumentError("they need more memory to be unpacked than is given")
        return {"id": lzma.FILTER_LZMA2, "dict_size": size}
    if not last and coder.method == b"\x03" and len(coder.properties) == 1:
        return {"id": lzma.FILTER_DELTA, "dist": coder.properties[0] + 1}
    if not last and coder.method in _NATIVE:
        return {"id": _NATIVE[coder.method]}
    name = _NAMES.get(coder.method, coder.method.hex() or "none")
    raise DocumentError(f"they were packed with the method {name}, which cannot be unpacked here")


class _Measured:
    """Ends where the header says, since a raw stream may not: LZMA has no mark of its own there."""

    def __init__(self, decoder: Decoder, left: int) -> None:
        self._decoder, self._left = decoder, left

    def copy(self) -> Decoder | None:
        """One that goes on from here."""
        made = self._decoder.copy()
        return None if made is None else _Measured(made, self._left)

    def __call__(self, size: int) -> bytes:
        if self._left <= 0:
            return b""
        data = self._decoder(min(size, self._left))[: self._left]
        self._left -= len(data)
        if not data:
            raise DocumentError(f"the data end {self._left:,} bytes early")
        return data


def _at(item: Item, scan: Scan, rule: str, tier: Tier, message: str) -> Finding:
    return tell(scan, rule, tier, Severity.HIGH, f"{shown(item.name, 200)}: {message}", atlas=SUPPLY)
