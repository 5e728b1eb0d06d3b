"""A zip writer that lies on request: every field of the local header and of the central directory can be set alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One member; the ``local_`` and ``central_`` values replace the true ones in one place."""

    name: str
    data: bytes
    deflate: bool = False
    local_name: str | None = None
    central_name: str | None = None
    local_flags: int = 0
    central_flags: int = 0
    local_method: int | None = None
    central_method: int | None = None
    local_size: int | None = None
    central_size: int | None = None
    local_crc: int | None = None
    central_crc: int | None = None
    extra: bytes = b""
    listed: bool = True
    """In the central directory."""
    zip64: bool = False
    offset: int | None = None
    """What the central directory says; None for the truth."""


def zip_of(
    entries: Sequence[Entry], *, prefix: bytes = b"", comment: bytes = b"", suffix: bytes = b"", shifted: bool = True
) -> bytes:
    """The archive. With ``shifted`` offsets count the prefix, as when a tool wrote it behind one."""
    out, central, count = bytearray(prefix), bytearray(), 0
    for entry in entries:
        body = _deflated(entry.data) if entry.deflate else entry.data
        method, crc, size = 8 if entry.deflate else 0, zlib.crc32(entry.data), len(entry.data)
        start = len(out) - (0 if shifted else len(prefix))
        offset = start if entry.offset is None else entry.offset
        local_name = (entry.local_name if entry.local_name is not None else entry.name).encode()
        name = (entry.central_name if entry.central_name is not None else entry.name).encode()
        out += (
            b"PK\x03\x04"
            + struct.pack(
                "<HHHHHIIIHH",
                20,
                entry.local_flags,
                _first(entry.local_method, method),
                0,
                0x21,
                _first(entry.local_crc, crc),
                len(body),
                _first(entry.local_size, size),
                len(local_name),
                len(entry.extra),
            )
            + local_name
            + entry.extra
            + body
        )
        if not entry.listed:
            continue
        count += 1
        extra, sizes, at = b"", (len(body), _first(entry.central_size, size)), offset
        if entry.zip64:
            extra = struct.pack("<HHQQQ", 1, 24, sizes[1], sizes[0], offset)
            sizes, at = (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF
        central += (
            b"PK\x01\x02"
            + struct.pack(
                "<HHHHHHIIIHHHHHII",
                20,
                20,
                entry.central_flags,
                _first(entry.central_method, method),
                0,
                0x21,
                _first(entry.central_crc, crc),
                *sizes,
                len(name),
                len(extra),
                0,
                0,
                0,
                0,
                at,
            )
            + name
            + extra
        )
    at = len(out) - (0 if shifted else len(prefix))
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), at, len(comment)) + comment
    return bytes(out + central + end) + suffix


def _first(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def torch_entries(pickle_: bytes, folder: str = "archive", **lies: object) -> list[Entry]:
    """The members of a ``torch.save`` archive; the lies are about its ``data.pkl``."""
    return [
        Entry(f"{folder}/data.pkl", pickle_, **lies),  # type: ignore[arg-type]
        Entry(f"{folder}/byteorder", b"little"),
        Entry(f"{folder}/version", b"3\n"),
    ]
