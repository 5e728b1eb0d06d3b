"""A bounded walker over Universal Binary JSON, as XGBoost writes its models (``.ubj``).

It builds only what is asked for and seeks over the rest; arrays of numbers are counted, never read. It must not trust
a length, a count or a depth from the file. Source: the UBJSON specification, draft 12 (https://ubjson.org).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO

from assay.errors import DocumentError

Wanted = Mapping[str, "Wanted | None"]
"""Keys to keep of an object. None keeps the member as it is; a mapping keeps only these keys of it."""

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
"""What is built. An array of numbers or of objects becomes its length; an array of texts a list."""

_NUMBERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_WIDTHS = {marker[0]: struct.calcsize(form) for marker, form in _NUMBERS.items()} | {ord("C"): 1}
_CONSTANTS: Mapping[bytes, bool | None] = {b"Z": None, b"T": True, b"F": False}


class Walker:
    """One walk over one file."""

    def __init__(self, file: BinaryIO, size: int, *, values: int = 5_000_000, depth: int = 64) -> None:
        self._file = file
        self._size = size
        self._values = values
        self._depth = depth

    def read(self, wanted: Wanted) -> dict[str, Value]:
        """The wanted part of the object that the file holds. Raises `DocumentError` for anything else."""
        self._file.seek(0)
        if self._take(1) != b"{":
            raise DocumentError("UBJSON file holds no object")
        return self._object(wanted, 0)

    def _object(self, wanted: Wanted | None, depth: int) -> dict[str, Value]:
        """An object whose marker was read. ``wanted`` None keeps every member."""
        kind, count = self._container(depth)
        found: dict[str, Value] = {}
        while True:
            if count is None:
                marker = self._marker()
                if marker == b"}":
                    return found
                length = self._integer(marker)
            else:
                if count == 0:
                    return found
                count -= 1
                length = self._length()
            self._spend()
            key = self._text(length, 1024)
            marker = kind or self._marker()
            if wanted is None or key in wanted:
                found[key] = self._value(marker, wanted[key] if wanted is not None else None, depth + 1)
            else:
                self._skip(marker, depth + 1)

    def _value(self, marker: bytes, wanted: Wanted | None, depth: int) -> Value:
        if marker in _NUMBERS:
            number: int | float = struct.unpack(_NUMBERS[marker], self._take(_WIDTHS[marker[0]]))[0]
            return number
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in (b"S", b"H"):
            return self._text(self._length(), 1 << 20)
        if marker == b"C":
            return self._take(1).decode("latin-1")
        if marker == b"{":
            return self._object(wanted, depth)
        if marker == b"[":
            return self._array(depth)
        raise DocumentError(f"UBJSON marker {marker!r} is not known")

    def _array(self, depth: int, *, keep: bool = True) -> Value:
        """An array whose marker was read: its texts or small numbers, or its length if it holds anything else."""
        kind, count = self._container(depth)
        if kind and kind[0] in _WIDTHS and count is not None:
            width = _WIDTHS[kind[0]]
            if keep and count <= 16 and kind in _NUMBERS:
                return [self._value(kind, None, depth) for _ in range(count)]
            self._seek(count * width)
            return count
        if kind in _CONSTANTS:
            return count
        texts: list[Value] = []
        done = 0
        while count is None or done < count:
            self._spend()
            marker = kind or self._marker()
            if count is None and marker == b"]":
                break
            done += 1
            if keep and (marker in (b"S", b"C") or (marker in _NUMBERS and done <= 16)):
                texts.append(self._value(marker, None, depth + 1))
            else:
                self._skip(marker, depth + 1)
        return texts if keep and len(texts) == done else done

    def _skip(self, marker: bytes, depth: int) -> None:
        if marker[0] in _WIDTHS:
            self._seek(_WIDTHS[marker[0]])
        elif marker in (b"S", b"H"):
            self._seek(self._length())
        elif marker == b"{":
            self._object({}, depth)
        elif marker == b"[":
            self._array(depth, keep=False)
        elif marker not in _CONSTANTS:
            raise DocumentError(f"UBJSON marker {marker!r} is not known")

    def _container(self, depth: int) -> tuple[bytes | None, int | None]:
        """The optional type and count in front of a container's contents."""
        if depth >= self._depth:
            raise DocumentError("UBJSON is nested too deeply")
        at = self._file.tell()
        kind, marker = None, self._take(1)
        if marker == b"$":
            kind, marker = self._take(1), self._take(1)
            if marker != b"#":
                raise DocumentError("UBJSON container has a type without a count")
        if marker == b"#":
            return kind, self._length()
        self._file.seek(at)
        return None, None

    def _marker(self) -> bytes:
        while (marker := self._take(1)) == b"N":  # a no-op, allowed between values
            self._spend()
        return marker

    def _length(self) -> int:
        return self._integer(self._take(1))

    def _integer(self, marker: bytes) -> int:
        if marker not in (b"i", b"U", b"I", b"l", b"L"):
            raise DocumentError(f"UBJSON length has the marker {marker!r}")
        number: int = struct.unpack(_NUMBERS[marker], self._take(_WIDTHS[marker[0]]))[0]
        if number < 0:
            raise DocumentError("UBJSON length is negative")
        return number

    def _text(self, length: int, limit: int) -> str:
        if length > limit:
            raise DocumentError(f"UBJSON text has {length} bytes, more than {limit}")
        return self._take(length).decode("utf-8", "replace")

    def _take(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise DocumentError("UBJSON file ends early")
        return data

    def _seek(self, length: int) -> None:
        to = self._file.tell() + length
        if to > self._size:
            raise DocumentError("UBJSON file ends early")
        self._file.seek(to)

    def _spend(self) -> None:
        self._values -= 1
        if self._values < 0:
            raise DocumentError("UBJSON file has too many values")
