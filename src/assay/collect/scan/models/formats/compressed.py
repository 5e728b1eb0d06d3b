"""Streams that were compressed as a whole: gzip, zlib, bzip2, xz, lzma, and with their libraries zstandard and lz4.

What comes out is scanned by its content, as far as it comes out. An archive that nothing here can open is said to be
one: it never counts as looked at.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, BinaryIO, Protocol

from assay.collect.scan.models.formats.telling import APPENDED, SUPPLY, hand_on, shown, tell
from assay.collect.scan.models.formats.views import Charge, Decoder, unpack
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError, MissingExtraError

DICTIONARY = 256 << 20
"""Bytes of memory that an xz, lzma or zstandard stream may ask for; ``xz -9`` needs 65 MiB."""

COST = {"bz2": 8, "xz": 3, "lzma": 3}
"""How many bytes of the budget one byte costs that a slow method unpacks."""

_PIECE = 64 << 10

_MARKS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",
}
_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""Frames that zstandard and lz4 pass over (RFC 8878, 3.1.2); pzstd writes one before each frame."""


class Stepwise(Protocol):
    """The decompressors of bz2, lzma and zstandard."""

    @property
    def eof(self) -> bool:
        """The stream was read to its end."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end."""
        ...

    @property
    def needs_input(self) -> bool:
        """Nothing more comes out before something is put in."""
        ...

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        """At most ``max_length`` bytes."""
        ...


def kind_of(head: bytes) -> str | None:
    """Which compression a file that begins so has; zlib and lzma have weak marks and are tried."""
    kind = kind_of_start(head)
    if kind == "lzma":
        return kind if _unpacks(lambda: lzma.LZMADecompressor(memlimit=DICTIONARY), head) else None
    if kind is not None:
        return kind
    weak = len(head) > 2 and head[0] & 15 == 8 and head[0] <= 0x78 and not (head[0] << 8 | head[1]) % 31
    return "zlib" if weak and _unpacks(lambda: _Deflate(15), head) else None


def _unpacks(make: Callable[[], Any], head: bytes) -> bool:
    try:
        return bool(make().decompress(head[:4096], 256))
    except lzma.LZMAError as error:
        return "emory" in str(error)  # it is one, and asks for more than it gets
    except (zlib.error, EOFError):
        return False


def is_stream(file: BinaryIO, size: int, scan: Scan) -> bool:
    """Whether bytes out of nowhere are to be taken for what they begin like. The marks of zlib and lzma are so weak
    that random bytes have them: of those only a stream that unpacks to its end counts. Raises `DocumentError` where
    the budget is spent.
    """
    file.seek(0)
    kind = kind_of(file.read(_PIECE))
    if kind not in ("zlib", "lzma"):
        return True
    return unpack(lambda: _Stream(file, 0, size, maker(kind), None), charging(kind, scan))[2] is None


class CompressedScanner:
    """One stream."""

    name = "compressed"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the mark at the beginning."""
        return kind_of(head) is not None

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What is inside, and what is wrong with the stream itself."""
        file.seek(0)
        kind = kind_of(file.read(_PIECE)) or "gzip"
        seen: list[_Stream] = []

        def start() -> Decoder:
            seen[:] = [_Stream(file, 0, size, maker(kind), None if kind == "zlib" else kind)]
            return seen[0]

        try:
            data, unpacked, problem = unpack(start, charging(kind, scan))
        except MissingExtraError as error:
            yield not_installed(kind, error, scan)
            return
        end = seen[0].end
        if unpacked:
            yield from scan.inner(data, inside_name(scan.path), unpacked)
        if problem is not None:
            yield tell(scan, "archive/broken", Tier.UNREADABLE, Severity.HIGH, f"{kind}: {problem}", atlas=SUPPLY)
        elif end < size:
            yield tell(
                scan,
                "archive/appended",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"{size - end:,} bytes follow the {kind} stream",
                offset=end,
                atlas=SUPPLY,
            )
            yield from hand_on(file, end, size, APPENDED, scan)


def inside_name(path: str) -> str:
    """What a stream's content is called: the file's name without the compression's."""
    name = path.rsplit("/", 1)[-1]
    stem, dot, end = name.rpartition(".")
    if dot and end.lower() in ("gz", "gzip", "bz2", "xz", "lzma", "zst", "lz4", "z", "zlib"):
        return stem
    return f"{stem}.tar" if end.lower() in ("tgz", "tbz2", "txz", "nemo") else name


def maker(kind: str) -> Callable[[], Stepwise]:
    """Makes decompressors of a kind. Raises `MissingExtraError` where its library is not installed."""
    if kind in ("gzip", "zlib"):
        return lambda: _Deflate(31 if kind == "gzip" else 15)
    if kind == "bz2":
        return bz2.BZ2Decompressor
    if kind in ("xz", "lzma"):
        return lambda: lzma.LZMADecompressor(memlimit=DICTIONARY)
    try:
        module = import_module({"zst": "zstandard", "lz4": "lz4.frame"}[kind])
    except ImportError:
        raise MissingExtraError(f"looking into what {kind} has compressed", "archives") from None
    if kind == "lz4":
        return lambda: module.LZ4FrameDecompressor()
    return lambda: _Zstandard(module)


def not_installed(kind: str, error: MissingExtraError, scan: Scan) -> Finding:
    """The finding for what a missing library leaves unseen."""
    return tell(
        scan,
        "archive/not-installed",
        Tier.UNREADABLE,
        Severity.MEDIUM,
        f"{error.message}: nothing inside was looked at",
        atlas=SUPPLY,
        mitigation=error.hint or "",
    )


def charging(kind: str, scan: Scan) -> Charge:
    """Pays for what a method unpacks."""
    cost = COST.get(kind, 1)
    return lambda size: scan.charge(size, cost)


def zlib_decoder(file: BinaryIO, start: int, end: int) -> Decoder:
    """A decoder of one zlib stream in a stretch of a file."""
    return _Stream(file, start, end, maker("zlib"), None)


def member_decoder(file: BinaryIO, start: int, end: int, make: Callable[[], Stepwise]) -> Decoder:
    """A decoder of one stream of any kind in a stretch of a file."""
    return _Stream(file, start, end, make, None)


def raw_deflate() -> Stepwise:
    """What zip calls method 8."""
    return _Deflate(-15)


def lzma_filter(properties: bytes) -> dict[str, int]:
    """What lzma needs for a raw stream, by the five bytes that zip and 7z keep of it. Raises `DocumentError`."""
    if len(properties) != 5 or properties[0] >= 225:
        raise DocumentError("the lzma properties are broken")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    size = int.from_bytes(properties[1:], "little")
    if size > DICTIONARY or lc + lp > 4:
        raise DocumentError("the lzma properties ask for too much memory")
    return {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": lc, "lp": lp, "pb": pb}


class _Stream:
    """Reads a stretch of a file through decompressors, one for each stream where several follow each other."""

    def __init__(self, file: BinaryIO, start: int, end: int, make: Callable[[], Stepwise], kind: str | None) -> None:
        """``kind`` where more streams of it may follow the first."""
        self._file, self._at, self._stop, self._make, self._kind = file, start, end, make, kind
        self._machine = make()
        self._kept = b""
        self.end = start
        """Behind the last stream that was read to its end."""

    def copy(self) -> Decoder | None:
        """Only zlib's machine can be copied."""
        if not isinstance(self._machine, _Deflate):
            return None
        made = _Stream(self._file, self._at, self._stop, self._make, self._kind)
        made._machine, made._kept, made.end = self._machine.copy(), self._kept, self.end
        return made

    def __call__(self, size: int) -> bytes:
        while True:
            if self._machine.eof and not self._next():
                return b""
            packed = self._kept or self._more() if self._machine.needs_input else b""
            self._kept = b""
            ended = self._machine.needs_input and not packed
            try:
                data = self._machine.decompress(packed, size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError, MemoryError) as error:
                raise DocumentError(f"broken data: {shown(error, 100)}") from None
            if data:
                return data
            if ended and not self._machine.eof:
                raise DocumentError("the data end in the middle of the stream")

    def _next(self) -> bool:
        """Go to the next stream, if there is one."""
        rest = self._machine.unused_data or b""
        self.end = self._at - len(rest)
        if self._kind is None:
            return False
        while not (plain := rest.lstrip(b"\0")) or len(plain) < 8:
            more = self._more()
            if not more:
                break
            rest = plain + more
        if not plain:
            self.end = self._stop  # zeros behind a stream are padding
        if kind_of_start(plain) != self._kind:
            return False
        self._machine, self._kept = self._make(), plain
        return True

    def _more(self) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(min(_PIECE, self._stop - self._at))
        self._at += len(data)
        return data


def kind_of_start(head: bytes) -> str | None:
    """Like `kind_of`, by the strong marks only; of frames that are passed over, by what follows them."""
    at = 0
    while _SKIPPED.match(head, at) and at + 8 <= len(head):
        at += 8 + int.from_bytes(head[at + 4 : at + 8], "little")
    if at:
        return next((kind for kind in ("zst", "lz4") for mark in _marks(kind) if head.startswith(mark, at)), "zst")
    return next((kind for mark, kind in _MARKS.items() if head.startswith(mark)), None)


def _marks(kind: str) -> list[bytes]:
    return [mark for mark, of in _MARKS.items() if of == kind]


class _Deflate:
    """zlib with the manners of bz2 and lzma."""

    def __init__(self, bits: int) -> None:
        self._machine = zlib.decompressobj(bits)

    def copy(self) -> _Deflate:
        """One that goes on from here."""
        made = _Deflate(15)
        made._machine = self._machine.copy()
        return made

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._machine.unconsumed_tail

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        return self._machine.decompress(self._machine.unconsumed_tail + data, max(0, max_length))


class _Zstandard:
    """The library zstandard with the same manners; it unpacks what it is given at once, so that it is given little."""

    needs_input = True

    def __init__(self, module: Any) -> None:
        self._machine = module.ZstdDecompressor(max_window_size=DICTIONARY).decompressobj()
        self._error: type[Exception] = module.ZstdError
        self.eof = False
        self.unused_data = b""
        self._waiting = b""
        self._ready = b""

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        """At most 512 bytes of input a step, which the format unpacks to a bounded amount."""
        self._waiting += data
        while not self._ready and self._waiting and not self.eof:
            step, self._waiting = self._waiting[:512], self._waiting[512:]
            try:
                self._ready = self._machine.decompress(step)
            except self._error as error:
                raise ValueError(str(error)) from None
            self.eof = bool(self._machine.eof)
            if self.eof:
                self.unused_data = self._machine.unused_data + self._waiting
        self.needs_input = not self._waiting and not self._ready
        out, self._ready = self._ready, b""
        return out
