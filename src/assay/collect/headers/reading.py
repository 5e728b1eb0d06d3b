"""What the readers of model formats share: bounded reading, strict JSON, and strings fit for a document.

Every byte that passes here may be an attacker's. Nothing here may allocate by a length that only the file
claims.
"""

from __future__ import annotations

import io
import itertools
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from assay.collect.headers.interface import ModelFile, Tensor
from assay.errors import DocumentError

MAX_TENSORS = 200_000
"""Tensors listed for one file; the largest published models have a few tens of thousands a file."""

MAX_NAME = 1024
"""Characters of a tensor's name."""

MAX_VALUE = 300
"""Characters of one metadata value; longer ones are described by their length."""

MAX_METADATA = 200
"""Metadata entries kept of one file."""

MAX_DIRECTORY = 16 * 1024 * 1024
"""Bytes that zipfile may read at once: its central directory, about 150,000 entries."""

ZIP_ERRORS: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    RuntimeError,  # an encrypted member; NotImplementedError, an unknown compression, is one too
    OverflowError,
)
"""What reading a hostile archive's member can raise."""

_MAX_JSON_PARTS = 5_000_000
"""Brackets, braces and commas in a JSON document: what bounds the objects it becomes."""


def clean(text: str) -> str:
    """``text`` with lone surrogates replaced, which JSON escapes and pickles can carry and no document
    can hold.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def short(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Metadata fit for a model file: strings, of bounded length and number, sorted by nothing but their
    order.
    """
    kept: dict[str, str] = {}
    for key, value in pairs:
        if len(kept) >= MAX_METADATA:
            break
        if isinstance(value, bool):
            value = "true" if value else "false"
        written = clean(value if isinstance(value, str) else str(value))
        kept[clean(key)[:MAX_NAME]] = written if len(written) <= MAX_VALUE else f"({len(written)} characters)"
    return kept


def total(tensors: Sequence[Tensor]) -> int | None:
    """Elements of all tensors together, which is what model hubs call the number of parameters; None
    without any.
    """
    return sum(tensor.parameters for tensor in tensors) if tensors else None


def checked_shape(dimensions: Sequence[object]) -> tuple[int, ...]:
    """A tensor's shape; `DocumentError` unless it is at most 64 integers of 0 to 2**63-1."""
    if len(dimensions) > 64:
        raise DocumentError(f"a tensor has {len(dimensions)} dimensions")
    for length in dimensions:
        if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length < 1 << 63:
            raise DocumentError("a tensor's shape is not made of non-negative integers")
    return tuple(dimensions)  # type: ignore[arg-type]  # checked one by one


def failed(path: str, format: str, reason: str, **known: Any) -> ModelFile:
    """The answer of a reader that gave up."""
    return ModelFile(path, format, warnings=(clean(f"{path}: {reason}"[:1000]),), **known)


def strict_json(data: bytes, what: str) -> tuple[Any, list[str]]:
    """A JSON document and the keys that some object has twice (the last one wins, as in Python's json
    module).

    Refuses what is no JSON (NaN, trailing bytes, not UTF-8), nested too deeply, or made of too many parts.
    """
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > _MAX_JSON_PARTS:
        raise DocumentError(f"{what} has too many parts")
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items) and len(twice) < 10:
            keys = sorted(key for key, _ in items)
            twice.extend(sorted({clean(a) for a, b in itertools.pairwise(keys) if a == b}))
        return result

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant), twice[:10]
    except RecursionError:
        raise DocumentError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise DocumentError(f"{what} is not JSON: {clean(str(error))[:200]}") from None


def read_at(file: BinaryIO, offset: int, length: int, what: str) -> bytes:
    """Exactly ``length`` bytes at ``offset``; `DocumentError` when the file ends before."""
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise DocumentError(f"the file ends within {what}")
    return data


class _Bounded(io.RawIOBase):
    """A file that refuses large reads: zipfile reads whatever length a central directory claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            # zipfile searches the end record in at most the last 64 KiB this way.
            size = MAX_DIRECTORY
        if size > MAX_DIRECTORY:
            raise DocumentError(f"the zip archive's directory is larger than {MAX_DIRECTORY} bytes")
        return self._file.read(size)


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """A zip archive with a bounded directory. `DocumentError` when it is broken. The file itself stays
    open.
    """
    try:
        return zipfile.ZipFile(_Bounded(file))
    except ZIP_ERRORS as error:
        raise DocumentError(f"broken zip archive: {clean(str(error))[:200]}") from None


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A whole archive member of at most ``limit`` bytes once unpacked; `DocumentError` else or when it is
    broken.
    """
    try:
        info = archive.getinfo(name)
        if info.file_size > limit:
            raise DocumentError(f"{clean(name)} has {info.file_size} bytes, more than {limit}")
        with archive.open(info) as member:
            data = member.read(limit + 1)
    except DocumentError:
        raise
    except ZIP_ERRORS as error:
        raise DocumentError(f"{clean(name)} cannot be unpacked: {clean(str(error))[:200]}") from None
    if len(data) > limit:
        raise DocumentError(f"{clean(name)} unpacks to more than {limit} bytes")
    return data
