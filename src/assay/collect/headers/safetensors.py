"""Reads the header of safetensors files. It never reads a tensor's bytes, but checks that the header
accounts for all of them, as the format demands: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
from typing import Any, BinaryIO

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.reading import (
    MAX_NAME,
    MAX_TENSORS,
    checked_shape,
    clean,
    failed,
    read_at,
    short,
    strict_json,
    total,
)
from assay.errors import DocumentError

MAX_HEADER = 100_000_000
"""Bytes; the limit of the reference implementation."""

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits per element, from the reference implementation's ``Dtype``."""


class SafetensorsReader:
    """``.safetensors``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By a plausible header length followed by ``{``, or by name."""
        if path.endswith(".safetensors"):
            return True
        return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= MAX_HEADER

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Tensors and ``__metadata__``."""
        try:
            length = int.from_bytes(read_at(file, 0, 8, "the header's length"), "little")
            if length > MAX_HEADER:
                raise DocumentError(f"the header claims {length} bytes, more than {MAX_HEADER}")
            if length > size - 8:
                raise DocumentError("the header reaches beyond the file")
            header, twice = strict_json(read_at(file, 8, length, "the header"), "the header")
            if not isinstance(header, dict):
                raise DocumentError("the header is not a JSON object")
            warnings = [f"{path}: the header has the key {key!r} twice" for key in twice]
            tensors, problems = _tensors(header, size - 8 - length)
        except DocumentError as error:
            return failed(path, "safetensors", error.message)
        metadata = header.get("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            problems.append("__metadata__ is not a map of strings")
            metadata = {}
        return ModelFile(
            path,
            "safetensors",
            architecture=short(metadata.items()).get("modelspec.architecture"),
            tensors=tensors,
            parameters=total(tensors),
            metadata=short(metadata.items()),
            warnings=(*warnings, *(f"{path}: {problem}" for problem in problems)),
        )


def _tensors(header: dict[str, Any], data: int) -> tuple[list[Tensor], list[str]]:
    """The tensors, and what is wrong with how they fill the ``data`` bytes behind the header."""
    tensors: list[Tensor] = []
    problems: list[str] = []
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if len(tensors) >= MAX_TENSORS:
            raise DocumentError(f"the header lists more than {MAX_TENSORS} tensors")
        shown = clean(name)[:MAX_NAME]
        try:
            dtype, shape, (begin, end) = entry["dtype"], checked_shape(entry["shape"]), entry["data_offsets"]
            if not (
                isinstance(dtype, str) and type(begin) is int and type(end) is int and isinstance(entry["shape"], list)
            ):
                raise TypeError
        except (TypeError, KeyError, ValueError, DocumentError):
            problems.append(f"tensor {shown!r} has no valid dtype, shape and data_offsets")
            continue
        tensors.append(Tensor(shown, clean(dtype)[:40].lower(), shape))
        spans.append((begin, end))
        if dtype not in _BITS:
            problems.append(f"tensor {shown!r} has the unknown dtype {clean(dtype)[:40]!r}")
        elif (math.prod(shape) * _BITS[dtype] + 7) // 8 != end - begin:
            problems.append(f"tensor {shown!r} claims {end - begin} bytes, not what its shape and dtype need")
        if len(problems) > 20:
            raise DocumentError(f"too many invalid tensors: {problems[0]}")
    if not problems and not _fill(spans, data):
        problems.append("the tensors do not cover the data exactly: there are holes, overlaps or extra bytes")
    return tensors, problems


def _fill(spans: list[tuple[int, int]], data: int) -> bool:
    at = 0
    for begin, end in sorted(spans):
        if begin != at or end < begin:
            return False
        at = end
    return at == data
