"""GGUF: metadata, chat templates and tensors of llama.cpp's format, version 1 to 3, in both byte orders.

The loaders are C and C++, so counts and sizes that overflow are attacks and not just mistakes; no length is allocated
because the file says so. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.headers.gguf import TYPES
from assay.collect.scan.models.formats.telling import DENIAL, EXECUTION, SUPPLY, shown, tell
from assay.collect.scan.models.formats.templates import examine_template, looks_like_template
from assay.collect.scan.models.formats.weights import Span, examine_weights
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_KEYS = 100_000
MAX_TENSORS = 200_000
MAX_ELEMENTS = 4_000_000
"""Array elements with a length of their own that are passed over, in all of a file."""

MAX_STRING = 16 << 20
"""Bytes of a text that is kept to be examined."""

_OVERFLOW = 1 << 56
"""A count or length from which on its product with any element's size wraps around in 64 bits."""

_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class Gguf:
    """``.gguf``, also where it lies inside another file."""

    name = "gguf"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the magic number, or by name."""
        return head.startswith(b"GGUF") or path.endswith(".gguf")

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Sizes that overflow, templates that escape, tensors that lie elsewhere."""
        try:
            yield from _examine(_Reader(file, size), file, size, scan)
        except _OverflowError as error:
            yield tell(
                scan,
                "gguf/overflow",
                Tier.MALICIOUS,
                Severity.CRITICAL,
                f"{error.message}: a loader that multiplies it in 64 bits allocates too little and writes beyond",
                atlas=EXECUTION,
            )


class _OverflowError(DocumentError):
    """A number that only an attack on the loader's arithmetic has."""


class _Reader:
    """Reads forwards through a window."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._window, self._base = b"", 0
        self.at = 0
        self.elements = MAX_ELEMENTS
        if self.take(4) != b"GGUF":
            raise DocumentError("it does not begin with GGUF")
        raw = self.take(4)
        self.version = int.from_bytes(raw, "little")
        # The version is small, so a large one is the other byte order: there is no other mark of it.
        self.order = ">" if self.version > 0xFFFF else "<"
        if self.order == ">":
            self.version = int.from_bytes(raw, "big")
        if self.version not in (1, 2, 3):
            raise DocumentError(f"GGUF version {self.version} is not known")
        self._length = "I" if self.version == 1 else "Q"

    def take(self, length: int) -> bytes:
        """Exactly ``length`` bytes, which the caller has bounded."""
        begin = self.at - self._base
        if begin + length > len(self._window):
            self._file.seek(self.at)
            self._window, self._base, begin = self._file.read(max(length, 64 << 10)), self.at, 0
        data = self._window[begin : begin + length]
        if len(data) != length:
            raise DocumentError("the file ends within its header")
        self.at += length
        return data

    def number(self, code: str) -> int:
        """One whole number."""
        value = struct.unpack(self.order + code, self.take(struct.calcsize("<" + code)))[0]
        return int(value)

    def length(self, what: str) -> int:
        """A length or count."""
        value = self.number(self._length)
        if value >= _OVERFLOW:
            raise _OverflowError(f"{what} claims {value:,}")
        return value

    def skip(self, length: int) -> None:
        """Pass over bytes."""
        if length > self._size - self.at:
            raise DocumentError("a value reaches beyond the end of the file")
        self.at += length

    def text(self, what: str, limit: int) -> str | None:
        """A text; None for one that is longer than ``limit`` and was passed over."""
        length = self.length(what)
        if length > self._size - self.at:
            raise DocumentError(f"{what} reaches beyond the end of the file")
        if length > limit:
            self.skip(length)
            return None
        return self.take(length).decode("utf-8", "replace")

    def name(self, what: str) -> str:
        """A short text."""
        text = self.text(what, 65_535)
        if text is None:
            raise DocumentError(f"{what} is too long")
        return text

    def value(self, key: str, kind: int, depth: int = 0) -> Iterator[object]:
        """A value: its number, its text (None for one too long), the texts of an array."""
        if kind in _SCALARS:
            yield struct.unpack(self.order + _CODES[kind], self.take(_SCALARS[kind]))[0]
        elif kind == _STRING:
            yield self.text(key, MAX_STRING)
        elif kind == _ARRAY and depth < 8:
            inner = self.number("I")
            count = self.length(f"the array {shown(key, 60)!r}")
            if inner in _SCALARS:
                self.skip(count * _SCALARS[inner])
                return
            self.elements -= count
            if self.elements < 0:
                raise DocumentError("its arrays have too many elements")
            keep = "template" in key
            for _ in range(count):
                if inner == _STRING and not keep:
                    self.skip(self.length("a text"))
                else:
                    yield from self.value(key, inner, depth + 1)
        else:
            raise DocumentError(f"metadata key {shown(key, 60)!r} has the unknown type {kind} or is nested too deeply")


def _examine(reader: _Reader, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
    tensors, keys = reader.length("the number of tensors"), reader.length("the number of metadata entries")
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise DocumentError(f"the header claims {tensors:,} tensors and {keys:,} metadata entries")
    alignment: object = 32
    seen: set[str] = set()
    for _ in range(keys):
        key = reader.name("a metadata key")
        if key in seen:
            yield tell(
                scan,
                "gguf/duplicate-key",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"the metadata key {shown(key, 60)!r} is there twice: two readers may see different values",
                atlas=SUPPLY,
            )
        seen.add(key)
        for value in reader.value(key, reader.number("I")):
            if value is None:
                yield tell(
                    scan,
                    "gguf/long-text",
                    Tier.UNKNOWN,
                    Severity.MEDIUM,
                    f"{shown(key, 60)!r} is longer than {MAX_STRING:,} bytes and was not examined",
                )
            elif isinstance(value, str) and ("template" in key or looks_like_template(value)):
                yield from examine_template(value, scan, key)
            elif key == "general.alignment":
                alignment = value
    if not isinstance(alignment, int) or isinstance(alignment, bool) or not 0 < alignment <= 1 << 20:
        raise DocumentError("general.alignment is not a sensible number")
    places: list[tuple[str, str, int, int]] = []
    unknown: list[str] = []
    for _ in range(tensors):
        name, dtype, offset, length = _tensor(reader)
        if dtype is None:
            unknown.append(name)
        else:
            places.append((name, dtype, offset, length))
    data = -(-reader.at // alignment) * alignment
    yield from _place(places, unknown, file, data, size, scan, alignment, big=reader.order == ">")


def _tensor(reader: _Reader) -> tuple[str, str | None, int, int]:
    """Name, type (None for an unknown one), offset in the data and length of a tensor."""
    name = reader.name("a tensor's name")
    dimensions = reader.number("I")
    if dimensions > 8:
        raise DocumentError(f"tensor {shown(name, 60)!r} has {dimensions} dimensions")
    shape = [reader.length(f"a dimension of tensor {shown(name, 60)!r}") for _ in range(dimensions)]
    kind, offset = reader.number("I"), reader.number("Q")
    elements = math.prod(shape)
    if elements >= _OVERFLOW or offset >= 1 << 62:
        raise _OverflowError(f"tensor {shown(name, 60)!r} claims {elements:,} elements at {offset:,}")
    if kind not in TYPES:
        return name, None, offset, 0
    dtype, block, width = TYPES[kind]
    return name, dtype, offset, -(-elements // block) * width


def _place(
    places: list[tuple[str, str, int, int]],
    unknown: list[str],
    file: BinaryIO,
    data: int,
    size: int,
    scan: Scan,
    alignment: int,
    *,
    big: bool,
) -> Iterator[Finding]:
    if unknown:
        yield tell(
            scan,
            "gguf/unknown-type",
            Tier.UNKNOWN,
            Severity.MEDIUM,
            f"{len(unknown)} tensors have a type that is not known, {shown(unknown[0], 60)!r} first",
        )
    names = [name for name, *_ in places]
    if len(set(names)) != len(names):
        yield tell(
            scan, "gguf/duplicate-key", Tier.UNKNOWN, Severity.MEDIUM, "a tensor's name is there twice", atlas=SUPPLY
        )
    spans = [Span(name, dtype, data + offset, data + offset + length) for name, dtype, offset, length in places]
    outside = [span.name for span in spans if span.end > size]
    if outside:
        yield tell(
            scan,
            "gguf/out-of-bounds",
            Tier.UNREADABLE,
            Severity.HIGH,
            f"{len(outside)} tensors lie beyond the end of the file, {shown(outside[0], 60)!r} first",
            atlas=DENIAL,
        )
        return
    if any(span.start % alignment for span in spans):
        yield tell(scan, "gguf/unaligned", Tier.UNREADABLE, Severity.MEDIUM, "tensors are not aligned as the file says")
    if not unknown:
        yield from examine_weights(file, spans, min(data, size), size, scan, alignment=alignment, big=big)
