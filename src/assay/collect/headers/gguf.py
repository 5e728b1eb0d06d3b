"""Reads the metadata and tensor list of GGUF files, version 1 to 3, in both byte orders.

It never reads a tensor, passes over arrays without making them (a vocabulary has hundreds of thousands of
entries), and checks that every tensor lies inside the file. Source:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from itertools import pairwise
from typing import BinaryIO

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.reading import MAX_NAME, MAX_TENSORS, checked_shape, failed, short, total
from assay.collect.headers.streams import Stream
from assay.errors import DocumentError

MAX_KEYS = 10_000
"""Metadata entries; real files have under a hundred."""

MAX_ELEMENTS = 10_000_000
"""Array elements with a length of their own (strings, arrays) that are passed over, in all of a file."""

MAX_STRING = 1024 * 1024
"""Bytes of a metadata value that is read; chat templates have some ten thousand. Longer ones are skipped."""

TYPES = {
    0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20),
    6: ("q5_0", 32, 22), 7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34), 9: ("q8_1", 32, 40),
    10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110), 12: ("q4_k", 256, 144), 13: ("q5_k", 256, 176),
    14: ("q6_k", 256, 210), 15: ("q8_k", 256, 292), 16: ("iq2_xxs", 256, 66), 17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50), 20: ("iq4_nl", 32, 18), 21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136), 24: ("i8", 1, 1), 25: ("i16", 1, 2),
    26: ("i32", 1, 4), 27: ("i64", 1, 8), 28: ("f64", 1, 8), 29: ("iq1_m", 256, 56), 30: ("bf16", 1, 2),
    34: ("tq1_0", 256, 54), 35: ("tq2_0", 256, 66), 39: ("mxfp4", 32, 17), 40: ("nvfp4", 64, 36),
    41: ("q1_0", 128, 18),
}  # fmt: skip
"""ggml's tensor types: name, elements per block, bytes per block (the gguf package's GGML_QUANT_SIZES)."""

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
"""``general.file_type`` (llama.cpp's ``llama_ftype``): what most of the tensors are quantised to."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_WHOLE = ("f32", "f16", "bf16", "f64", "i8", "i16", "i32", "i64")


class GgufReader:
    """``.gguf``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By the magic number."""
        return head.startswith(b"GGUF")

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Metadata, and tensors with their shape in the order of other frameworks (ggml's is reversed)."""
        metadata: list[tuple[str, object]] = []
        try:
            header = _Header(Stream(file, seekable=file, size=size))
            tensors_count = header.count("tensors", MAX_TENSORS)
            keys = header.count("metadata entries", MAX_KEYS)
            metadata += [("gguf.version", header.version)]
            for _ in range(keys):
                metadata.append(header.entry())
            tensors, spans = [], []
            for _ in range(tensors_count):
                tensor, offset, length = header.tensor()
                tensors.append(tensor)
                spans.append((offset, length))
        except DocumentError as error:
            return failed(path, "gguf", error.message, metadata=short(metadata))
        values = dict(metadata)
        problems = _misplaced(tensors, spans, header.offset, values.get("general.alignment", 32), size)
        if len(values) != len(metadata):
            problems.append("the same metadata key is there twice")
        if len({tensor.name for tensor in tensors}) != len(tensors):
            problems.append("the same tensor name is there twice")
        architecture = values.get("general.architecture")
        return ModelFile(
            path,
            "gguf",
            architecture=architecture if isinstance(architecture, str) else None,
            tensors=tensors,
            parameters=total(tensors),
            quantisation=_quantisation(values.get("general.file_type"), tensors),
            metadata=short(metadata),
            warnings=tuple(f"{path}: {problem}" for problem in problems),
        )


class _Header:
    """The header of one file, read forwards."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._elements = MAX_ELEMENTS
        self.offset = 8
        """Bytes read and passed over so far."""
        stream.read(4)
        raw = stream.read(4)
        self.version = int.from_bytes(raw, "little")
        self._order = "<"
        if self.version > 0xFFFF:
            # The version is small, so a large one is the other byte order: there is no other mark of it.
            self._order, self.version = ">", int.from_bytes(raw, "big")
        if self.version not in (1, 2, 3):
            raise DocumentError(f"GGUF version {self.version} is not known")
        self._length = "I" if self.version == 1 else "Q"

    def _number(self, code: str) -> int | float | bool:
        size = struct.calcsize("<" + code)
        self.offset += size
        number: int | float | bool = struct.unpack(self._order + code, self._stream.read(size))[0]
        return number

    def _skip(self, length: int) -> None:
        self._stream.skip(length)
        self.offset += length

    def count(self, what: str, limit: int) -> int:
        """A count, which may not be larger than ``limit``."""
        count = int(self._number(self._length))
        if count > limit:
            raise DocumentError(f"the header claims {count} {what}, more than {limit}")
        return count

    def _string(self, limit: int) -> str | None:
        """A string, or None for a skipped one that is longer than ``limit``."""
        length = int(self._number(self._length))
        if length > limit:
            self._skip(length)
            return None
        self.offset += length
        return self._stream.read(length).decode("utf-8", "replace")

    def _name(self) -> str:
        name = self._string(MAX_NAME)
        if name is None:
            raise DocumentError(f"a name is longer than {MAX_NAME} bytes")
        return name

    def entry(self) -> tuple[str, object]:
        """One metadata entry; a long string or an array is described instead of kept."""
        key = self._name()
        kind = int(self._number("I"))
        if kind in _SCALARS:
            return key, self._number(_SCALARS[kind])
        if kind == _STRING:
            value = self._string(MAX_STRING)
            return key, "(too long)" if value is None else value
        if kind == _ARRAY:
            return key, self._array(0, key.startswith("general."))
        raise DocumentError(f"metadata key {key!r} has the unknown type {kind}")

    def _array(self, depth: int, keep: bool) -> str:
        """Pass over an array and describe it; a short one of strings is kept, joined by commas."""
        kind, count = int(self._number("I")), int(self._number(self._length))
        if kind in _SCALARS:
            self._skip(count * struct.calcsize("<" + _SCALARS[kind]))
            return f"({count} numbers)"
        self._elements -= count
        if kind not in (_STRING, _ARRAY) or depth > 8 or self._elements < 0:
            raise DocumentError("an array has an unknown type, too many elements or is nested too deeply")
        if kind == _STRING and keep and count <= 64:
            return ", ".join(self._string(MAX_NAME) or "" for _ in range(count))
        for _ in range(count):
            if kind == _ARRAY:
                self._array(depth + 1, False)
            else:
                self._skip(int(self._number(self._length)))
        return f"({count} {'strings' if kind == _STRING else 'arrays'})"

    def tensor(self) -> tuple[Tensor, int, int]:
        """One entry of the tensor list, its offset in the data and its bytes there."""
        name = self._name()
        dimensions = int(self._number("I"))
        if dimensions > 8:
            raise DocumentError(f"tensor {name!r} has {dimensions} dimensions")
        shape = checked_shape([int(self._number(self._length)) for _ in range(dimensions)][::-1])
        kind, offset = int(self._number("I")), int(self._number("Q"))
        dtype, elements, width = TYPES.get(kind, (f"ggml-{kind}", 1, 0))
        return Tensor(name, dtype, shape), offset, -(-math.prod(shape) // elements) * width


def _misplaced(
    tensors: list[Tensor], spans: list[tuple[int, int]], end: int, alignment: object, size: int
) -> list[str]:
    """What is wrong with where the tensors lie."""
    if not isinstance(alignment, int) or isinstance(alignment, bool) or not 0 < alignment <= 1 << 20:
        return ["general.alignment is not a sensible number"]
    data = -(-end // alignment) * alignment
    problems = []
    unknown = [tensor.name for tensor in tensors if tensor.dtype.startswith("ggml-")]
    if unknown:
        problems.append(f"tensor {unknown[0]!r} and {len(unknown) - 1} more have an unknown type")
    outside = [t.name for t, (at, length) in zip(tensors, spans, strict=True) if data + at + length > size]
    if outside:
        problems.append(f"tensor {outside[0]!r} and {len(outside) - 1} more lie beyond the end of the file")
    crooked = [t.name for t, (at, _) in zip(tensors, spans, strict=True) if at % alignment]
    if crooked:
        problems.append(f"tensor {crooked[0]!r} and {len(crooked) - 1} more are not aligned")
    ordered = sorted(spans)
    if any(a + length > b for (a, length), (b, _) in pairwise(ordered)):
        problems.append("tensors overlap in the file")
    return problems


def _quantisation(file_type: object, tensors: list[Tensor]) -> str | None:
    """What the file says of itself, else the type that holds most of its elements; None for plain floats."""
    if isinstance(file_type, int) and file_type in FILE_TYPES:
        name = FILE_TYPES[file_type]
        return None if name.lower() in _WHOLE else name
    held: Counter[str] = Counter()
    for tensor in tensors:
        held[tensor.dtype] += tensor.parameters
    most = max(held, key=lambda dtype: held[dtype], default="f32")
    return None if most in _WHOLE else most.upper()
