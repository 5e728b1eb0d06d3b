"""safetensors: holds nothing that could run, if it is what its header says it is.

Whatever the reference implementation refuses is refused here too, since two readers would see two files otherwise; no
tensor is trusted to lie where it claims. Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

from assay.collect.scan.models.formats.telling import DENIAL, SUPPLY, read_json, shown, tell, tell_twice
from assay.collect.scan.models.formats.templates import examine_template, looks_like_template
from assay.collect.scan.models.formats.weights import Span, examine_weights
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_HEADER = 100_000_000
"""Bytes; the limit of the reference implementation."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits per element, from the reference implementation's ``Dtype``."""


class Safetensors:
    """``.safetensors``."""

    name = "safetensors"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By a plausible header length followed by ``{``, or by name."""
        length = int.from_bytes(head[:8], "little")
        return path.endswith(".safetensors") or (head[8:9] == b"{" and 2 <= length <= size - 8)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Whether header and data account for each other, and what is odd in the data."""
        file.seek(0)
        raw = file.read(8)
        length = int.from_bytes(raw, "little")
        if len(raw) < 8 or length > size - 8:
            raise DocumentError(f"the header claims {length:,} bytes, more than the file has")
        if length > MAX_HEADER:
            yield tell(
                scan,
                "safetensors/header",
                Tier.UNREADABLE,
                Severity.HIGH,
                f"the header claims {length:,} bytes, more than {MAX_HEADER:,}",
                atlas=DENIAL,
            )
            return
        text = file.read(length)
        if not text.startswith(b"{"):
            raise DocumentError("the header does not begin with '{'")
        header, twice = read_json(text, "the header")
        if not isinstance(header, dict):
            raise DocumentError("the header is not a JSON object")
        if twice:
            yield _refused(scan, f"the header has the key {shown(twice[0], 60)!r} twice")
        yield from tell_twice(scan, twice, "the header")
        yield from _metadata(header.get("__metadata__"), scan)
        spans: list[Span] = []
        for name, entry in header.items():
            if name != "__metadata__":
                span = _span(name, entry, 8 + length)
                if isinstance(span, str):
                    yield _refused(scan, f"tensor {shown(name, 80)!r} {span}")
                    return
                spans.append(span)
        ordered = sorted(spans, key=lambda span: (span.start, span.end))
        end = max((span.end for span in spans), default=8 + length)
        if end > size:
            yield _refused(scan, f"a tensor reaches {end - size:,} bytes beyond the end of the file")
            return
        if any(b.start < a.end for a, b in pairwise(ordered)):
            yield _refused(scan, "tensors overlap")
        elif (
            end != size
            or any(b.start != a.end for a, b in pairwise(ordered))
            or (ordered and ordered[0].start != 8 + length)
        ):
            yield _refused(scan, "there are bytes that belong to no tensor")
        yield from examine_weights(file, spans, 8 + length, size, scan)


def _refused(scan: Scan, why: str) -> Finding:
    return tell(
        scan,
        "safetensors/invalid",
        Tier.UNREADABLE,
        Severity.HIGH,
        f"{why}, which the format forbids: a lenient reader would see something else than a strict one",
        atlas=SUPPLY,
    )


def _metadata(metadata: Any, scan: Scan) -> Iterator[Finding]:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        yield _refused(scan, "__metadata__ is not a map of texts")
        return
    for key, value in metadata.items():
        if looks_like_template(value) and "template" in key.lower():
            yield from examine_template(value, scan, f"__metadata__.{key}")


def _span(name: str, entry: Any, data: int) -> Span | str:
    """Where a tensor lies, or what is wrong with its entry."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        return "has no valid dtype, shape and data_offsets"
    whole = [begin, end, *shape] if isinstance(shape, list) and len(shape) <= 64 else [None]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in whole) or not isinstance(dtype, str):
        return "has no valid dtype, shape and data_offsets"
    if dtype not in BITS:
        return f"has the unknown dtype {shown(dtype, 40)!r}"
    if begin > end or math.prod(shape) * BITS[dtype] != (end - begin) * 8:
        return f"claims {end - begin:,} bytes, not what its shape and dtype need"
    return Span(name, dtype.lower(), data + begin, data + end)
