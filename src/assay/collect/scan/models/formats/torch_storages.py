"""The tensors of a torch archive, looked at as weights: where each storage lies, and bytes that no tensor uses.

Which type a storage has stands in the archive's program, which is run without resolving anything, as it is for its
findings. Nothing here says whether loading runs code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import HIDING, UNUSED, hand_on, shown, tell
from assay.collect.scan.models.formats.views import part
from assay.collect.scan.models.formats.weights import Span, entropy, examine_numbers
from assay.collect.scan.models.formats.zip_entries import Archive, Entry
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.collect.scan.models.pickle.arrays import NeedExactError
from assay.collect.scan.models.pickle.machine import Settings, run
from assay.collect.scan.models.pickle.reader import PeekReader
from assay.collect.scan.models.pickle.stubs import PERSISTENT

MAX_PROGRAM = 4 << 20
"""Bytes of a program that is run once more for its storages; those of checkpoints have some hundred kilobytes."""

_STORAGE = re.compile(r"\('storage', torch\.(?:storage\.)?(\w+)Storage, '([^']{1,200})', '[^']*', (\d{1,15})[,)]")
_TYPES = {
    "Float": ("f32", 4), "Double": ("f64", 8), "Half": ("f16", 2), "BFloat16": ("bf16", 2), "Long": ("i64", 8),
    "Int": ("i32", 4), "Short": ("i16", 2), "Char": ("i8", 1), "Byte": ("u8", 1), "Bool": ("bool", 1),
    "ComplexFloat": ("c64", 8), "ComplexDouble": ("c128", 16), "QInt8": ("qi8", 1), "QUInt8": ("qu8", 1),
    "QInt32": ("qi32", 4), "QUInt4x2": ("qu4", 1), "QUInt2x4": ("qu2", 1), "Untyped": ("bytes", 1),
}  # fmt: skip
"""Classes of storages (torch/storage.py) and how many bytes their elements have."""

_TOLD = 20


def examine_storages(archive: Archive, root: str, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    """What is odd about the tensors of the checkpoint in the folder ``root``; nothing where they are compressed."""
    members = {entry.name: entry for entry in archive.entries}
    program = members.get(f"{root}data.pkl")
    folder = f"{root}data/"
    stored = {name: entry for name, entry in members.items() if name.startswith(folder) and entry.method == 0}
    if program is None or program.method != 0 or program.packed > MAX_PROGRAM or not stored:
        return
    ids = _storages(file, program)
    spans: list[Span] = []
    unused: list[tuple[Entry, int]] = []
    for text in ids:
        match = _STORAGE.match(text)
        entry = stored.pop(folder + match[2], None) if match else None
        if match is None or entry is None or match[1] not in _TYPES:
            continue
        dtype, width = _TYPES[match[1]]
        used = min(int(match[3]) * width, entry.packed)
        spans.append(Span(entry.name, dtype, entry.start, entry.start + used))
        if used < entry.packed:
            unused.append((entry, used))
    if len(ids) < PERSISTENT:  # else not all of them are known
        unused += [(entry, 0) for entry in stored.values() if entry.packed]
    for entry, used in unused[:_TOLD]:
        yield from _unused(entry, used, file, scan)
    order = members.get(f"{root}byteorder")
    yield from examine_numbers(file, spans, scan, big=order is not None and _read(file, order, 16) == b"big")


def _storages(file: BinaryIO, program: Entry) -> list[str]:
    """Persistent ids of the program, as texts; none where it has to be read in another way."""
    try:
        view = part(file, program.start, program.packed)
        return list(dict.fromkeys(run(PeekReader, view, program.packed, Settings("latin1")).recorder.persistent))
    except NeedExactError:
        return []


def _unused(entry: Entry, used: int, file: BinaryIO, scan: Scan) -> Iterator[Finding]:
    sample = _read(file, entry, 1 << 20, used)
    yield tell(
        scan, "weights/unused-bytes", Tier.NONE, Severity.MEDIUM if sample.strip(b"\0") else Severity.LOW,
        f"{entry.packed - used:,} bytes of {shown(entry.name, 100)} belong to no tensor "
        f"(entropy {entropy(sample):.1f} bits per byte): room to hide something",
        offset=entry.start + used, atlas=HIDING, mitigation="write the file anew from its tensors",
    )  # fmt: skip
    yield from hand_on(file, entry.start + used, entry.end, UNUSED, scan)


def _read(file: BinaryIO, entry: Entry, most: int, skip: int = 0) -> bytes:
    file.seek(entry.start + skip)
    return file.read(min(most, entry.packed - skip))
