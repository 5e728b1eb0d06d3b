"""Reads the headers of NumPy's ``.npy`` and ``.npz`` files: dtype and shape of each array, never its
elements.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math
import re
import zipfile
from typing import Any, BinaryIO

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.reading import (
    MAX_NAME,
    ZIP_ERRORS,
    checked_shape,
    clean,
    failed,
    open_zip,
    total,
)
from assay.errors import DocumentError

MAX_HEADER = 10_000
"""Characters; numpy itself refuses longer ones, since parsing a literal is not safe at any length."""

MAX_ARRAYS = 10_000
"""Arrays listed of one ``.npz``."""

_MAGIC = b"\x93NUMPY"

_KINDS = {"f": "f", "i": "i", "u": "u", "c": "c"}
_OTHERS = {
    "S": "bytes",
    "a": "bytes",
    "U": "str",
    "V": "struct",
    "O": "object",
    "M": "datetime64",
    "m": "timedelta64",
}
_TYPE = re.compile(r"[<>|=]?([a-zA-Z?])(\d{0,9})(\[[^\]]{1,20}\])?")


def element(code: str) -> tuple[str, int | None]:
    """The field's name and the bytes of one element for a dtype's short form: ``<f8`` gives ``f64`` and 8.

    The size is None where the code does not say it or where elements are Python objects. `DocumentError`
    for others.
    """
    match = _TYPE.fullmatch(code)
    if not match:
        raise DocumentError(f"unknown NumPy dtype {clean(code)[:40]!r}")
    kind, digits = match[1], match[2]
    size = int(digits) if digits else None
    if kind in _KINDS and size in (1, 2, 4, 8, 16, 32):
        return f"{_KINDS[kind]}{size * 8}", size
    if kind in ("b", "?"):
        return "bool", 1
    if kind not in _OTHERS:
        raise DocumentError(f"unknown NumPy dtype {clean(code)[:40]!r}")
    if kind == "U" and size is not None:
        size *= 4
    return _OTHERS[kind], None if kind == "O" else size


class NumpyReader:
    """``.npy`` and ``.npz``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By the magic number, or a zip archive whose first member is an array."""
        if head.startswith(_MAGIC):
            return True
        length = int.from_bytes(head[26:28], "little")
        return head.startswith(b"PK\x03\x04") and (path.endswith(".npz") or head[30 : 30 + length].endswith(b".npy"))

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Arrays by name; a ``.npy`` file's one array has none."""
        tensors: list[Tensor] = []
        warnings: list[str] = []
        try:
            if file.read(2) == b"PK":
                _members(path, file, tensors, warnings)
            else:
                file.seek(0)
                array, start, width = _header(file, "")
                tensors.append(array)
                if width is not None and start + width * array.parameters != size:
                    warnings.append(f"{path}: the file does not have the size that its header says")
                warnings += _objects(path, array)
        except DocumentError as error:
            if not tensors:
                return failed(path, "numpy", error.message)
            warnings.append(f"{path}: {error.message}")
        return ModelFile(path, "numpy", tensors=tensors, parameters=total(tensors), warnings=tuple(warnings))


def _members(path: str, file: BinaryIO, tensors: list[Tensor], warnings: list[str]) -> None:
    with open_zip(file) as archive:
        for info in archive.infolist():
            if len(tensors) >= MAX_ARRAYS or len(warnings) >= 20:
                raise DocumentError(f"there are more than {len(tensors)} arrays, the others were not read")
            name = clean(info.filename)[:MAX_NAME]
            if not name.endswith(".npy"):
                warnings.append(f"{path}: {name!r} is not an array")
                continue
            try:
                tensors.append(_member(archive, info, name.removesuffix(".npy")))
                warnings += _objects(path, tensors[-1])
            except DocumentError as error:
                warnings.append(f"{path}: {name!r}: {error.message}")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Tensor:
    try:
        with archive.open(info) as member:
            array, start, width = _header(member, name)
    except DocumentError:
        raise
    except ZIP_ERRORS as error:
        raise DocumentError(f"cannot be unpacked: {clean(str(error))[:200]}") from None
    if width is not None and start + width * array.parameters != info.file_size:
        raise DocumentError("does not have the size that its header says")
    return array


def _objects(path: str, array: Tensor) -> list[str]:
    return [f"{path}: array {array.name!r} holds pickled Python objects"] if array.dtype == "object" else []


def _header(file: Any, name: str) -> tuple[Tensor, int, int | None]:
    """The array, the offset of its data, and the bytes of one element where they are known."""
    start = _exactly(file, 8)
    if not start.startswith(_MAGIC) or start[6] not in (1, 2, 3):
        raise DocumentError("not a .npy file of version 1, 2 or 3")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(_exactly(file, width), "little")
    if length > MAX_HEADER:
        raise DocumentError(f"the array's header has {length} bytes, more than {MAX_HEADER}")
    text = _exactly(file, length).decode("utf-8" if start[6] == 3 else "latin-1", "replace")
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise DocumentError("the array's header is not a Python literal") from None
    if not isinstance(header, dict) or sorted(map(str, header)) != ["descr", "fortran_order", "shape"]:
        raise DocumentError("the array's header must have descr, fortran_order and shape")
    shape = header["shape"]
    if not isinstance(shape, tuple):
        raise DocumentError("the array's shape is not a tuple")
    dtype, size = _described(header["descr"])
    return Tensor(name, dtype, checked_shape(shape)), 8 + width + length, size


def _described(descr: object) -> tuple[str, int | None]:
    if isinstance(descr, str):
        return element(descr)
    if not isinstance(descr, list):
        raise DocumentError("the array's dtype is neither a string nor a list of fields")
    size: int | None = 0
    for part in descr:
        if not isinstance(part, tuple) or len(part) not in (2, 3):
            raise DocumentError("the array's dtype has a malformed field")
        name, width = _described(part[1])
        if name == "object":
            return "object", None
        repeat = part[2] if len(part) == 3 else ()
        count = math.prod(checked_shape(repeat if isinstance(repeat, tuple) else (repeat,)))
        size = None if size is None or width is None else size + width * count
    return "struct", size


def _exactly(file: Any, length: int) -> bytes:
    data: bytes = file.read(length)
    if len(data) != length:
        raise DocumentError("the array's header is cut off")
    return data
