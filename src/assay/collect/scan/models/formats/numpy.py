"""NumPy's ``.npy`` and ``.npz``: an array of objects is a pickle, whatever else its header says.

The header is read as NumPy reads it where that is safe. One that is not understood is not trusted: what lies behind it
is scanned as if it were a pickle.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.pickle_walk import plausible
from assay.collect.scan.models.formats.pickles import ENCODING
from assay.collect.scan.models.formats.telling import APPENDED, HIDING, SUPPLY, hand_on, shown, tell
from assay.collect.scan.models.formats.zips import is_zip
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAGIC = b"\x93NUMPY"

MAX_HEADER = 10_000
"""Bytes; NumPy itself refuses longer ones where pickles are not allowed, since parsing a literal is not safe."""

_PLAIN = re.compile(r"[<>|=]?([?bBhHiIlLqQefdgFDGmMSUVauc])(\d{0,9})(?:\[[^\[\]]{1,20}\])?")
_SIZES = {"?": 1, "b": 1, "B": 1}
_MAX_DEPTH = 40


class NumpyArray:
    """One array."""

    name = "npy"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the magic number."""
        return head.startswith(MAGIC)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What its objects would do, and whether it is as long as it says."""
        start = _data_offset(file, size)
        try:
            objects, length = read_header(file, start)
        except DocumentError as error:
            yield tell(scan, "npy/header", Tier.UNREADABLE, Severity.MEDIUM, error.message, atlas=SUPPLY)
            if start < size and plausible(file, size, start):
                file.seek(start)
                yield from scan.pickle(file, size, exact=False, encoding=ENCODING)
            return
        if objects:
            yield tell(
                scan, "npy/objects", Tier.NONE, Severity.INFO,
                "it is an array of Python objects, which is a pickle", mitigation="Save it with a numeric dtype.",
            )  # fmt: skip
            file.seek(start)
            yield from scan.pickle(file, size, exact=False, encoding=ENCODING)
            end = file.tell()
        elif length is None:
            return
        else:
            end = start + length
        if end > size:
            yield tell(
                scan, "npy/cut-off", Tier.UNREADABLE, Severity.MEDIUM,
                f"its data end {end - size:,} bytes before the header's claim",
            )  # fmt: skip
        elif start <= end < size:
            yield tell(
                scan, "npy/appended", Tier.NONE, Severity.LOW, f"{size - end:,} bytes follow the array",
                offset=end, atlas=HIDING,
            )  # fmt: skip
            yield from hand_on(file, end, size, APPENDED, scan)


class NumpyArchive:
    """A zip archive of arrays, whose members are scanned by `zips` like those of any other."""

    name = "npz"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """A zip archive whose first member is an array."""
        length = int.from_bytes(head[26:28], "little")
        return is_zip(head, tail, file, size) and head[30 : 30 + length].endswith(b".npy")

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """None: this is only the name of what `zips` scans."""
        return iter(())


def _data_offset(file: BinaryIO, size: int) -> int:
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[6] not in (1, 2, 3):
        raise DocumentError("it is no .npy file of version 1, 2 or 3")
    wide = head[6] > 1
    start = (12 if wide else 10) + int.from_bytes(head[8:12] if wide else head[8:10], "little")
    if start > size:
        raise DocumentError("its header goes on beyond the file's end")
    return start


def read_header(file: BinaryIO, start: int) -> tuple[bool, int | None]:
    """Whether elements are objects, and how many bytes they take where they are not (None: not known).

    Raises `DocumentError` for whatever NumPy could read in another way than it is read here.
    """
    file.seek(0)
    raw = file.read(min(start, MAX_HEADER + 13))
    begin = 10 if raw[6] == 1 else 12
    if start - begin > MAX_HEADER:
        raise DocumentError(f"its header has {start - begin:,} bytes, more than NumPy thinks safe")
    try:
        text = raw[begin:start].decode("utf-8" if raw[6] == 3 else "latin1")
    except UnicodeDecodeError:
        raise DocumentError("its header is not UTF-8") from None
    if sum(map(text.count, "([{")) > 4 * _MAX_DEPTH * 100 or _depth(text) > _MAX_DEPTH or re.search(r"[-+~]{4}", text):
        raise DocumentError("its header is nested too deeply")
    text = re.sub(r"(\d)L\b", r"\1", text)  # NumPy reads headers that Python 2 wrote
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise DocumentError("its header is not a Python literal") from None
    if not isinstance(header, dict) or {"descr", "fortran_order", "shape"} != set(header):
        raise DocumentError("its header must have descr, fortran_order and shape")
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise DocumentError("its shape is not made of non-negative integers")
    objects, width = element(header["descr"])
    return objects, None if width is None else math.prod(shape) * width


def element(descr: object, depth: int = 0) -> tuple[bool, int | None]:
    """Whether a dtype holds objects, and its width in bytes; `DocumentError` for what is not understood."""
    if depth > _MAX_DEPTH:
        raise DocumentError("its dtype is nested too deeply")
    if isinstance(descr, str):
        if re.fullmatch(r"[<>|=]?O[48]?", descr):
            return True, None
        match = _PLAIN.fullmatch(descr)
        if match is None:
            raise DocumentError(f"its dtype {shown(descr, 40)!r} is not one that NumPy writes")
        kind, digits = match[1], match[2]
        if not digits:
            return False, _SIZES.get(kind)
        return False, int(digits) * (4 if kind == "U" else 1)
    if isinstance(descr, tuple) and len(descr) == 2:
        objects, width = element(descr[0], depth + 1)
        return objects, _times(width, descr[1])
    if not isinstance(descr, list):
        raise DocumentError("its dtype is neither a name nor a list of fields")
    found, total = False, 0
    known = True
    for field in descr:
        if not isinstance(field, tuple) or len(field) not in (2, 3):
            raise DocumentError("its dtype has a broken field")
        objects, width = element(field[1], depth + 1)
        width = _times(width, field[2]) if len(field) == 3 else width
        found = found or objects
        known = known and width is not None
        total += width or 0
    return found, total if known and not found else None


def _times(width: int | None, shape: object) -> int | None:
    lengths = shape if isinstance(shape, tuple) else (shape,)
    if not all(type(length) is int and length >= 0 for length in lengths):
        raise DocumentError("its dtype has a broken shape")
    return None if width is None else width * math.prod(lengths)


def _depth(text: str) -> int:
    depth = deepest = 0
    for mark in text:
        if mark in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in ")]}":
            depth -= 1
    return deepest
