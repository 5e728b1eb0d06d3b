"""The header of a 7z archive as values: which stretches of the file unpack in which way to which members.

Every count in it is held against a limit before anything is made of it. Source: 7zFormat.txt of the LZMA SDK.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.errors import DocumentError

_END, _HEADER, _STREAMS, _FILES, _PACK, _FOLDERS_INFO, _SUBSTREAMS = 0x00, 0x01, 0x04, 0x05, 0x06, 0x07, 0x08
_SIZES, _DIGESTS, _FOLDER, _UNPACK_SIZES, _COUNTS = 0x09, 0x0A, 0x0B, 0x0C, 0x0D
_EMPTY, _NAMES, _ATTRIBUTES, _ENCODED = 0x0E, 0x11, 0x15, 0x17
_UNIX = 0x8000


@dataclass(frozen=True, slots=True)
class Coder:
    """One step of unpacking."""

    method: bytes
    """Its id: 00 copies, 21 is LZMA2, …"""
    properties: bytes


@dataclass(slots=True)
class Folder:
    """Members that were packed as one stream."""

    coders: tuple[Coder, ...]
    """From the unpacked side to the packed one; none where its coders are no simple chain."""
    packed_streams: int
    sizes: list[int] = field(default_factory=list)
    """What each coder gives, in the order of the header."""
    main: int = 0
    """Which of them is the folder's own output."""
    start: int = 0
    """Offset of its packed data in the file."""
    packed: int = 0
    """Bytes of them."""
    parts: list[int] = field(default_factory=list)
    """Sizes of the members in it."""

    @property
    def size(self) -> int:
        """Bytes that it unpacks to, as claimed."""
        return self.sizes[self.main]


@dataclass(frozen=True, slots=True)
class Item:
    """One member."""

    name: str
    link: bool
    """A symbolic link, whose data are the target."""
    empty: bool
    """It has no data."""


class Reader:
    """Takes values off a header. Whatever goes on beyond its end raises `DocumentError`."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._at = 0
        self._limit = limit

    def take(self, count: int) -> bytes:
        """Bytes."""
        if count > len(self._data) - self._at:
            raise DocumentError("the 7z header is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """One to nine bytes: the first one's leading ones say how many follow."""
        first, value = self.byte(), 0
        for index in range(8):
            mask = 0x80 >> index
            if not first & mask:
                return value | (first & (mask - 1)) << 8 * index
            value |= self.byte() << 8 * index
        return value

    def count(self) -> int:
        """A number of things, which must not be many."""
        found = self.number()
        if found > self._limit:
            raise DocumentError(f"the 7z header has {found:,} entries, more than the {self._limit:,} that are read")
        return found

    def bits(self, count: int) -> list[bool]:
        """One bit for each."""
        data = self.take(-(-count // 8))
        return [bool(data[index // 8] & 0x80 >> index % 8) for index in range(count)]

    def defined(self, count: int) -> list[bool]:
        """The same, or one byte that says all."""
        return [True] * count if self.byte() else self.bits(count)

    def skip_digests(self, count: int) -> None:
        """Checksums are not compared: what they are wrong for is scanned all the same."""
        self.take(4 * sum(self.defined(count)))


def folders_of(reader: Reader) -> list[Folder]:
    """The streams of a header or of an encoded header, from behind its mark."""
    starts: list[tuple[int, int]] = []
    folders: list[Folder] = []
    while (kind := reader.byte()) != _END:
        if kind == _PACK:
            starts = _packed(reader)
        elif kind == _FOLDERS_INFO:
            folders = _folders(reader)
        elif kind == _SUBSTREAMS:
            _substreams(reader, folders)
        else:
            raise DocumentError("the 7z header has streams of an unknown kind")
    if sum(folder.packed_streams for folder in folders) > len(starts):
        raise DocumentError("the 7z header has fewer packed streams than folders need")
    following = iter(starts)
    for folder in folders:
        mine = [next(following) for _ in range(folder.packed_streams)]
        folder.start, folder.packed = mine[0][0], sum(length for _, length in mine)
        folder.parts = folder.parts or [folder.size]
    return folders


def _packed(reader: Reader) -> list[tuple[int, int]]:
    at, count = 32 + reader.number(), reader.count()
    sizes: list[int] = []
    while (kind := reader.byte()) != _END:
        if kind == _SIZES:
            sizes = [reader.number() for _ in range(count)]
        elif kind == _DIGESTS:
            reader.skip_digests(count)
        else:
            raise DocumentError("the 7z header describes packed streams in an unknown way")
    starts = []
    for size in sizes:
        starts.append((at, size))
        at += size
    return starts


def _folders(reader: Reader) -> list[Folder]:
    if reader.byte() != _FOLDER:
        raise DocumentError("the 7z header has no folders where they should be")
    count = reader.count()
    if reader.byte():
        raise DocumentError("the 7z header keeps its folders elsewhere")
    made = [_one_folder(reader) for _ in range(count)]
    while (kind := reader.byte()) != _END:
        if kind == _UNPACK_SIZES:
            for folder in made:
                folder.sizes = [reader.number() for _ in folder.sizes]
        elif kind == _DIGESTS:
            reader.skip_digests(count)
        else:
            raise DocumentError("the 7z header describes folders in an unknown way")
    return made


def _one_folder(reader: Reader) -> Folder:
    coders, simple, inputs, outputs = [], True, 0, 0
    many = reader.number()
    if not 1 <= many <= 32:
        raise DocumentError("a 7z folder has no sensible number of coders")
    for _ in range(many):
        flags = reader.byte()
        method = reader.take(flags & 15)
        ins, outs = (reader.number(), reader.number()) if flags & 0x10 else (1, 1)
        simple = simple and ins == outs == 1
        if not (1 <= ins <= 32 and 1 <= outs <= 32) or flags & 0x80:
            raise DocumentError("a 7z coder is of an unknown kind")
        inputs, outputs = inputs + ins, outputs + outs
        coders.append(Coder(method, reader.take(reader.number()) if flags & 0x20 else b""))
    fed = {reader.number(): reader.number() for _ in range(outputs - 1)}  # input: output
    streams = inputs - (outputs - 1)
    if streams < 1:
        raise DocumentError("a 7z folder has no packed stream")
    if streams > 1:
        for _ in range(streams):
            reader.number()
    free = [out for out in range(outputs) if out not in fed.values()]
    main = free[0] if free else 0
    chain: list[Coder] = []
    at: int | None = main
    while simple and at is not None and at < many and len(chain) < many:
        chain.append(coders[at])
        at = fed.get(at)
    whole = simple and len(chain) == many and at is None
    return Folder(tuple(chain) if whole else (), streams, [0] * outputs, main)


def _substreams(reader: Reader, folders: list[Folder]) -> None:
    counts = [1] * len(folders)
    kind = reader.byte()
    if kind == _COUNTS:
        counts = [reader.count() for _ in folders]
        kind = reader.byte()
    for folder, count in zip(folders, counts, strict=True):
        sizes = [reader.number() for _ in range(count - 1)] if kind == _SIZES else []
        last = folder.size - sum(sizes)
        if last < 0 or (count > 1 and kind != _SIZES):
            raise DocumentError("the members of a 7z folder are larger than it is")
        folder.parts = [*sizes, last] if count else []
    if kind == _SIZES:
        kind = reader.byte()
    while kind != _END:  # digests, which nothing here needs: up to the mark that ends them
        if kind != _DIGESTS:
            raise DocumentError("the 7z header describes members in an unknown way")
        reader.skip_digests(sum(counts))
        kind = reader.byte()


def read(reader: Reader) -> tuple[list[Folder], list[Item], bool]:
    """Folders and members of a header, or the one folder of an encoded one, which is what the third value says."""
    kind = reader.byte()
    if kind == _ENCODED:
        return folders_of(reader), [], True
    if kind != _HEADER:
        raise DocumentError("the 7z header is of an unknown kind")
    folders: list[Folder] = []
    items: list[Item] = []
    while (kind := reader.byte()) != _END:
        if kind == _STREAMS:
            folders = folders_of(reader)
        elif kind == _FILES:
            items = list(_items(reader))
        else:
            raise DocumentError("the 7z header has parts that are not understood")
    return folders, items, False


def _items(reader: Reader) -> Iterator[Item]:
    count = reader.count()
    empty, names, attributes = [False] * count, [""] * count, [0] * count
    while (kind := reader.number()) != _END:
        inner = Reader(reader.take(reader.number()), count)
        if kind == _EMPTY:
            empty = inner.bits(count)
        elif kind == _NAMES:
            if inner.byte():
                raise DocumentError("the 7z header keeps its names elsewhere")
            names = [_name(inner) for _ in range(count)]
        elif kind == _ATTRIBUTES:
            have = inner.defined(count)
            if inner.byte():
                raise DocumentError("the 7z header keeps its attributes elsewhere")
            attributes = [struct.unpack("<L", inner.take(4))[0] if one else 0 for one in have]
    for name, none, bits in zip(names, empty, attributes, strict=True):
        yield Item(name, bool(bits & _UNIX) and bits >> 28 == 0xA, none)


def _name(reader: Reader) -> str:
    parts = []
    while (unit := reader.take(2)) != b"\0\0":
        parts.append(unit)
    return b"".join(parts).decode("utf-16-le", "replace")
