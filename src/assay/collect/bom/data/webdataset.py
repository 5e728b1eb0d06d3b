"""Reads WebDataset archives: the number of samples and the parts that they are made of, from tar headers alone.

A sample is a run of files whose names agree up to the first dot of the base name. Bodies are passed over.
Source: https://github.com/webdataset/webdataset#the-webdataset-format; POSIX.1-2001 for ustar and pax headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.bom.data.facts import columns
from assay.collect.bom.interface import DataFile
from assay.errors import DocumentError

_BLOCK = 512
_MAX_EXTENDED = 1 << 20
"""Bytes of a header that extends another: a long name."""

_MAX_FILES = 20_000_000
_PARTS = re.compile(
    r"(?:[\w-]+\.)*(?:jpe?g|png|webp|gif|bmp|ppm|pgm|tiff?|cls\d?|index|id|json|txt|text|npy|npz|pyd|pkl|pickle|pth"
    r"|cbor|msgpack|mp|wav|flac|mp3|ogg|m4a|mp4|avi|mkv|webm|h5|ten|tb|inp|out)",
    re.IGNORECASE,
)
_PATH = re.compile(rb"(?:\A|\n)\d+ path=([^\n]*)\n")


class WebDatasetReader:
    """Tar archives of samples."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By a first file that is named like a part of a sample."""
        if len(head) < _BLOCK or head[257:262] != b"ustar":
            return False
        if head[156:157] in (b"x", b"g", b"L"):
            match = _PATH.search(head[_BLOCK:])
            name = match[1] if match else head[_BLOCK : 2 * _BLOCK].rstrip(b"\0")
        else:
            name = _name(head)
        return _PARTS.fullmatch(_split(name)[1]) is not None

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Samples, and one column for each kind of part."""
        rows, last = 0, None
        parts: dict[str, None] = {}
        warnings = []
        try:
            for name in _files(file, size):
                sample, part = _split(name)
                if sample.rsplit("/", 1)[-1].startswith("__"):
                    continue  # "__key__" and the like describe the archive
                rows += sample != last
                last = sample
                if len(parts) < 1000:
                    parts[part] = None
        except DocumentError as error:
            warnings.append(error.message)
        listed, more = columns((part or "(none)", "bytes") for part in parts)
        text = tuple(f"{path}: {warning}" for warning in [*warnings, *more])
        return DataFile(path, "webdataset", None if warnings else rows, listed, {}, text)


def _split(name: bytes) -> tuple[str, str]:
    """The sample's key and the part: everything up to the first dot of the base name, and what follows."""
    folder, slash, base = name.decode("utf-8", "replace").rpartition("/")
    key, _, part = base.partition(".")
    return folder + slash + key, part


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].rstrip(b"\0"), b""
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0")[0]
    name = name.split(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _files(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Names of the regular files in the archive."""
    at, long_name = 0, None
    for _ in range(_MAX_FILES):
        file.seek(at)
        header = file.read(_BLOCK)
        if not header.strip(b"\0"):
            return
        if len(header) < _BLOCK or header[257:262] != b"ustar":
            raise DocumentError("it is cut off, or no tar archive from some point on")
        length = _number(header[124:136])
        body, at = at + _BLOCK, at + _BLOCK + (length + _BLOCK - 1) // _BLOCK * _BLOCK
        if body + length > size:
            raise DocumentError("it is cut off within a file")
        kind = header[156:157]
        if kind in (b"x", b"L"):
            if length > _MAX_EXTENDED:
                raise DocumentError("a file's name is too long")
            file.seek(body)
            data = file.read(length)
            match = _PATH.search(data) if kind == b"x" else None
            long_name = match[1] if match else (data.rstrip(b"\0") if kind == b"L" else None)
        elif kind in (b"0", b"\0", b"7"):
            yield long_name or _name(header)
            long_name = None
        elif kind != b"g":
            long_name = None
    raise DocumentError(f"it has more than {_MAX_FILES} files")


def _number(field: bytes) -> int:
    """A size: octal digits, or base 256 when the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not re.fullmatch(rb"[0-7]{1,11}", digits):
        raise DocumentError("a file's size is no number")
    return int(digits, 8)
