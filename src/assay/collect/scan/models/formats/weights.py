"""Looks at weights themselves: numbers that no training gives, bytes that belong to no tensor, tensors that alias.

These are findings, not verdicts: none of it runs. Only a bounded sample is read, spread over the tensors, and what
was left out is said. Everything is plain Python, since no framework may be imported here.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import mul
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import APPENDED, HIDING, SUPPLY, UNUSED, hand_on, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

SAMPLE = 2 << 20
"""Bytes of one file's tensors that are read."""

PIECE = 32 << 10
"""Bytes that are read at once: the beginning, the middle and the end of a tensor."""

GAP_SAMPLE = 1 << 20
"""Bytes of one gap that are read."""

ABSURD = 1e6
"""Root mean square of a tensor's sample beyond which it is told of; trained weights stay below some thousands."""

_PROGRAMS = (b"\x7fELF", b"This program cannot be run", b"\xcf\xfa\xed\xfe")
"""What `_EXECUTABLE` begins with: looking for plain bytes costs half as much."""

_EXECUTABLE = re.compile(
    rb"\x7fELF[\x01\x02][\x01\x02]\x01[\0-\x12]|This program cannot be run in DOS mode|"
    rb"\xcf\xfa\xed\xfe[\x07\x0c]\0\0\x01"
)

_TOLD = 20


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor's bytes lie in a file."""

    name: str
    dtype: str
    """Lower-case: ``f32``, ``bf16``, ``q4_k``, …"""
    start: int
    """Offset in the file."""
    end: int
    """Offset behind it."""


def examine_weights(
    file: BinaryIO, spans: Sequence[Span], data: int, size: int, scan: Scan, *, alignment: int = 1, big: bool = False
) -> Iterator[Finding]:
    """What is odd about the tensors at ``spans`` in a file whose tensor data begin at ``data`` and end at ``size``.

    Gaps shorter than ``alignment`` are padding. Unused bytes that are not zero are handed on to be scanned. ``big``:
    the numbers are big-endian.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    yield from _unused(file, ordered, data, size, scan, alignment)
    yield from _aliases(ordered, scan)
    yield from examine_numbers(file, ordered, scan, big=big)


def entropy(data: bytes) -> float:
    """Shannon entropy in bits per byte, 0 to 8."""
    total = len(data)
    return -sum(n / total * math.log2(n / total) for n in Counter(data).values()) if total else 0.0


def _unused(
    file: BinaryIO, ordered: Sequence[Span], data: int, size: int, scan: Scan, alignment: int
) -> Iterator[Finding]:
    at, told = data, 0
    for start, end in [*((span.start, span.end) for span in ordered), (size, size)]:
        if start > at and told < _TOLD:
            last = start == size and end == size
            file.seek(at)
            content = file.read(min(start - at, GAP_SAMPLE))
            used = content.strip(b"\0") != b"" or start - at > len(content)
            if used or start - at >= max(alignment, 4096):
                told += 1
                yield tell(
                    scan,
                    "weights/appended" if last else "weights/unused-bytes",
                    Tier.NONE,
                    Severity.MEDIUM if used else Severity.LOW,
                    f"{start - at:,} bytes {'behind the last tensor' if last else 'between tensors'} belong to none of "
                    f"them (entropy {entropy(content):.1f} bits per byte): room to hide something",
                    offset=at,
                    atlas=HIDING,
                    mitigation="write the file anew from its tensors",
                )
                if used:
                    yield from hand_on(file, at, start, APPENDED if last else UNUSED, scan)
        at = max(at, end)


def _aliases(ordered: Sequence[Span], scan: Scan) -> Iterator[Finding]:
    same = partly = 0
    example = ""
    before: Span | None = None
    for span in ordered:
        if span.end <= span.start:
            continue
        if before is not None and span.start < before.end:
            example = example or f"{shown(before.name, 60)} and {shown(span.name, 60)}"
            if (span.start, span.end) == (before.start, before.end):
                same += 1
            else:
                partly += 1
        if before is None or span.end > before.end:
            before = span
    if same or partly:
        yield tell(
            scan,
            "weights/alias",
            Tier.NONE,
            Severity.MEDIUM if partly else Severity.INFO,
            f"{same + partly} tensors share their bytes with others ({example}): changing one changes the other",
            atlas=SUPPLY,
        )


def examine_numbers(file: BinaryIO, ordered: Sequence[Span], scan: Scan, *, big: bool = False) -> Iterator[Finding]:
    """What is odd about the numbers themselves, in a sample of at most `SAMPLE` bytes spread over all tensors."""
    spans = [span for span in ordered if span.end > span.start]
    total = sum(span.end - span.start for span in spans)
    budget = SAMPLE
    per = max(64, min(3 * PIECE, SAMPLE // max(1, len(spans)))) if total > SAMPLE else SAMPLE
    odd: dict[str, list[str]] = {"nan": [], "inf": [], "absurd": [], "executable": []}
    for span in spans[:: max(1, len(spans) * 64 // SAMPLE)]:
        for start, length in _pieces(span, min(per, budget)):
            file.seek(start)
            data = file.read(length)
            budget -= len(data)
            if any(mark in data for mark in _PROGRAMS) and _EXECUTABLE.search(data):
                odd["executable"].append(span.name)
            what = judge_numbers(data, span.dtype, big=big)
            if what:
                odd[what].append(span.name)
        if budget <= 0:
            break
    read = SAMPLE - budget
    for kind, severity, tier, says in (
        ("nan", Severity.MEDIUM, Tier.NONE, "hold values that are not numbers (NaN)"),
        ("inf", Severity.LOW, Tier.NONE, "hold infinite values"),
        (
            "absurd",
            Severity.LOW,
            Tier.NONE,
            f"have a root mean square beyond {ABSURD:,.0f}, which training does not give",
        ),
        ("executable", Severity.HIGH, Tier.UNKNOWN, "hold what looks like the beginning of a program"),
    ):
        if names := list(dict.fromkeys(odd[kind])):
            yield tell(
                scan,
                f"weights/{kind}",
                tier,
                severity,
                f"{len(names)} tensors {says}, {shown(names[0], 80)!r} first "
                f"({read:,} of {total:,} bytes were looked at)",
                atlas=HIDING if kind == "executable" else SUPPLY,
            )
    if read < total:
        yield tell(
            scan, "weights/sampled", Tier.NONE, Severity.INFO, f"{read:,} of {total:,} bytes of weights were looked at"
        )


def _pieces(span: Span, budget: int) -> list[tuple[int, int]]:
    """Where to read: all of a small tensor, else its beginning, middle and end; on 16-byte boundaries of the tensor."""
    length = span.end - span.start
    if length <= budget:
        return [(span.start, length)]
    piece = budget // 3 // 16 * 16
    if piece < 16:
        return [(span.start, budget // 16 * 16)] if budget >= 16 else []
    middle = (length // 2) // 16 * 16
    last = (length - piece) // 16 * 16
    return [(span.start, piece), (span.start + middle, piece), (span.start + last, length - last)]


def judge_numbers(data: bytes, dtype: str, *, big: bool = False) -> str | None:
    """``nan``, ``inf`` or ``absurd`` for bytes of floating-point numbers, None for what is ordinary or no float."""
    if not _suspect(data, dtype, big=big):
        return None
    values: Sequence[float]
    swap = big != (sys.byteorder == "big")
    if dtype in ("f32", "f64"):
        width = 4 if dtype == "f32" else 8
        numbers = array("f" if width == 4 else "d")
        numbers.frombytes(data[: len(data) // width * width])
        if swap:
            numbers.byteswap()
        values = numbers
    elif dtype == "f16":
        values = struct.unpack(f"{'>' if big else '<'}{len(data) // 2}e", data[: len(data) // 2 * 2])
    elif dtype == "bf16":
        count = len(data) // 2
        wide = bytearray(4 * count)
        low, high = (1, 0) if big else (0, 1)
        wide[2::4], wide[3::4] = data[low : 2 * count : 2], data[high : 2 * count : 2]
        numbers = array("f")
        numbers.frombytes(bytes(wide))
        if sys.byteorder == "big":
            numbers.byteswap()
        values = numbers
    else:
        return None
    if not values:
        return None
    squares = sum(map(mul, values, values))
    if math.isfinite(squares):
        # A few constants (masks, counters) may be large; only a tensor of large numbers is odd.
        return "absurd" if len(values) >= 64 and math.sqrt(squares / len(values)) > ABSURD else None
    if math.isnan(sum(values)) and any(map(math.isnan, values)):
        return "nan"
    if any(map(math.isinf, values)):
        return "inf"
    return "absurd" if len(values) >= 64 else None


_HIGH = {"f32": (4, 0x49), "f64": (8, 0x41), "bf16": (2, 0x49), "f16": (2, 0x7C)}
"""Width, and the least highest byte (without the sign) of what can be odd: 2**19 or more, for f16 infinity or NaN."""

_ORDINARY = {limit: bytes(byte for byte in range(256) if byte & 0x7F < limit) for _, limit in _HIGH.values()}


def _suspect(data: bytes, dtype: str, *, big: bool) -> bool:
    """Whether any of the numbers needs a closer look: by their highest bytes, which costs a fiftieth of that."""
    if dtype not in _HIGH:
        return False
    width, limit = _HIGH[dtype]
    highest = data[: len(data) // width * width][0 if big else width - 1 :: width]
    return bool(highest.translate(None, _ORDINARY[limit]))


class NumpyWeights:
    """The numbers of an ``.npy`` file; whether it carries pickles is asked by another scanner."""

    name = "npy"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the magic number."""
        return head.startswith(b"\x93NUMPY")

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """NaN, infinities, absurd values, and bytes behind the array."""
        file.seek(6)
        width = 2 if file.read(2)[:1] == b"\x01" else 4
        length = int.from_bytes(file.read(width), "little")
        data = 8 + width + length
        header = file.read(min(length, 64 << 10))
        kind = re.search(rb"'descr':\s*'([<>|=])([a-z])(\d{1,2})'", header)
        shape = re.search(rb"'shape':\s*\(([\d, ]{0,500})\)", header)
        if kind is None or shape is None:
            return  # structured and pickled arrays are not numbers alone
        dtype = {b"f2": "f16", b"f4": "f32", b"f8": "f64"}.get(kind[2] + kind[3], "other")
        wide = int(kind[3]) * (4 if kind[2] == b"U" else 1)
        end = data + math.prod(int(n) for n in shape[1].replace(b" ", b"").split(b",") if n) * wide
        if end <= size:
            span = Span("array", dtype, data, end)
            yield from examine_weights(file, [span], data, size, scan, big=kind[1] == b">")
