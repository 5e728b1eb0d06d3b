"""``.npy`` and ``.npz``: the header and then raw numbers, row by row. Arrays of Python objects are pickles and refused.

Source: NumPy enhancement proposal 1 (the .npy format).
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from assay.collect.scan.poisoning.readers.limits import MAX_WIDTH
from assay.errors import DocumentError

_MAX_MEMBERS = 256
_MAX_WHOLE = 1 << 30
"""Bytes of an array in Fortran order, which has to be read as a whole."""
_MAX_ROW = 16 << 20
"""Bytes of one row."""
_RATIO = 1000
"""How many times larger than the archive its arrays may be, beyond the first 64 MiB."""
_CHUNK = 4 << 20
_SPLIT = re.compile(r"^(.*?)[_.-]?(train|test|valid|validation|val|dev)[_.-]?(.*?)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Array:
    """An array whose header was read."""

    name: str
    file: IO[bytes]
    """At its first number."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    path: str
    """For messages."""

    def rows(self) -> Iterator[Any]:
        """A number, a text or a flat vector for each position of the first axis."""
        width = 1
        for size in self.shape[1:]:
            width *= size
        step = width * self.dtype.itemsize
        if not self.shape[0]:
            return
        if not 0 < step <= _MAX_ROW or width > MAX_WIDTH:
            raise DocumentError(f"{self.path}: a row of {width:,} numbers is nothing that can be analysed")
        if self.fortran and len(self.shape) > 1:
            yield from self._whole(width, step)
            return
        at_once = max(1, _CHUNK // step)
        for start in range(0, self.shape[0], at_once):
            count = min(at_once, self.shape[0] - start)
            block = np.frombuffer(self._bytes(count * step), self.dtype).reshape(count, width)
            yield from (block if len(self.shape) > 1 else block[:, 0].tolist())

    def _whole(self, width: int, step: int) -> Iterator[Any]:
        if self.shape[0] * step > _MAX_WHOLE:
            raise DocumentError(f"{self.path} is in Fortran order and larger than {_MAX_WHOLE:,} bytes")
        flat = np.frombuffer(self._bytes(self.shape[0] * step), self.dtype)
        yield from flat.reshape(self.shape, order="F").reshape(self.shape[0], width)

    def _bytes(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                more = self.file.read(min(size - len(data), _CHUNK))
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
                raise DocumentError(f"{self.path} cannot be unpacked: {error}") from None
            if not more:
                raise DocumentError(f"{self.path} is cut off: its header promises more numbers than it has")
            data += more
        return bytes(data)


def array(file: IO[bytes], name: str, path: str) -> Array:
    """Read a header. Raises `DocumentError` for what is no array of numbers, truth values or text."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=10_000)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file, max_header_size=10_000)
        else:
            raise DocumentError(f"{path}: version {version[0]}.{version[1]} of the array format is not read")
    except DocumentError:
        raise
    except Exception as error:  # the header is a Python literal: its parser has many ways to fail
        raise DocumentError(f"{path} is no array: {str(error)[:200]}") from None
    if dtype.hasobject:
        raise DocumentError(
            f"{path} holds Python objects, which is a pickle inside an array",
            hint="save it as numbers or text; `assay scan --models` says what the pickle would run",
        )
    if dtype.kind not in "biufUS" or not shape or any(type(size) is not int or size < 0 for size in shape):
        raise DocumentError(f"{path}: an array of {dtype} and shape {shape} is no table")
    return Array(name, file, tuple(shape), np.dtype(dtype), bool(fortran), path)


def members(file: IO[bytes], path: str, size: int) -> list[Array]:
    """The arrays of an ``.npz``. Two members of one name are an error: readers differ on which one counts."""
    try:
        archive = zipfile.ZipFile(file)
        listed = archive.infolist()
        if len(listed) > _MAX_MEMBERS:
            raise DocumentError(f"{path} has more than {_MAX_MEMBERS} members")
        if len({member.filename for member in listed}) != len(listed):
            raise DocumentError(f"{path} has two members of one name")
        if sum(member.file_size for member in listed) > (64 << 20) + _RATIO * size:
            raise DocumentError(f"{path} unpacks to more than {_RATIO} times its size")
        made = []
        for member in listed:
            name = member.filename.removesuffix(".npy")
            made.append(array(archive.open(member), name, f"{path}!/{member.filename}"))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise DocumentError(f"{path} is no archive of arrays: {str(error)[:200]}") from None
    return made


def tables(arrays: list[Array]) -> list[tuple[str, list[Array]]]:
    """Arrays that belong together: those of one length and of one split (``x_train`` with ``y_train``)."""
    made: dict[tuple[str, int], list[Array]] = {}
    for item in arrays:
        made.setdefault((_split(item.name)[1], item.shape[0]), []).append(item)
    return [(split, listed) for (split, _), listed in made.items()]


def rows(arrays: list[Array]) -> Iterator[Mapping[str, Any]]:
    """The arrays side by side; a column is called after its array, without the split."""
    names = [_split(item.name)[0] for item in arrays]
    if len(set(names)) != len(names):
        raise DocumentError(f"{arrays[0].path}: two arrays become the column {names[0][:60]!r}")
    for cells in zip(*(item.rows() for item in arrays), strict=True):
        yield dict(zip(names, cells, strict=True))


def _split(name: str) -> tuple[str, str]:
    """``("x", "train")`` for ``x_train``, ``train_x``, ``train/x`` alike; ``(name, "")`` for others."""
    stem = PurePosixPath(name).name
    found = _SPLIT.match(stem)
    rest = found and (found[1] + found[3])
    return (rest, found[2].lower()) if found and rest else (stem, "")
