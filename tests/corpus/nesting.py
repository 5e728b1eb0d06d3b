"""Archives in archives, compressed streams in compressed streams, and archives that exhaust whoever opens them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

from corpus.carrying import lz4_frame, object_npy, tar_of, zstd_frame
from corpus.opcodes import EVIL, POP, SYSTEM, literal, program
from corpus.sample import Draft, container
from corpus.zip_making import Entry, torch_entries, zip_of

WRAPS: dict[str, Callable[[bytes], bytes]] = {
    "zip": lambda data: zip_of([Entry("inner.bin", data, deflate=True)]),
    "zip-stored": lambda data: zip_of([Entry("inner.bin", data)]),
    "tar": lambda data: tar_of({"inner.bin": data}),
    "tar-pax": lambda data: tar_of({"ä" * 120: data}, format_=tarfile.PAX_FORMAT),
    "tar-gnu": lambda data: tar_of({"x" * 200: data}, format_=tarfile.GNU_FORMAT),
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "lz4": lz4_frame,
}
EXTENSIONS = {
    "zip": "zip",
    "zip-stored": "zip",
    "tar": "tar",
    "tar-pax": "tar",
    "tar-gnu": "tar",
    "gz": "gz",
    "bz2": "bz2",
    "xz": "xz",
}


def drafts() -> Iterator[Draft]:
    """All of them."""
    payloads = {"pickle": EVIL, "torch": zip_of(torch_entries(EVIL)), "npy": object_npy(EVIL)}
    for way, wrap in WRAPS.items():
        archived = way.startswith(("zip", "tar")) and way != "zlib"
        extension = EXTENSIONS.get(way, "bin")
        for kind, data in payloads.items():
            loader = ""
            if kind == "pickle":
                loader = "archive" if archived else "decompressed" if way in ("gz", "bz2", "xz", "lzma") else ""
            yield container(f"nested-{way}-{kind}", f"model.{extension}", wrap(data), loader)
    for chain in (
        ("gz", "gz"),
        ("tar", "gz"),
        ("tar", "bz2"),
        ("tar", "xz"),
        ("zip", "zip", "zip"),
        ("zip", "tar", "gz"),
        ("bz2", "xz", "gz"),
    ):
        data = EVIL
        for way in chain:
            data = WRAPS[way](data)
        loader = "archive" if chain[0] == "tar" or chain[-1] == "zip" else "decompressed" if "zip" not in chain else ""
        extension = f"tar.{chain[1]}" if chain[0] == "tar" else EXTENSIONS[chain[-1]]
        yield container(f"nested-{'-in-'.join(chain)}", f"model.{extension}", data, loader)
    yield container(
        "gzip-second-member", "model.gz", gzip.compress(b"", mtime=0) + gzip.compress(EVIL, mtime=0), "decompressed"
    )
    yield container("gzip-with-name", "model.gz", _named_gzip(EVIL), "decompressed")
    yield container("tar-double", "model.tar", tar_of({"a": program(b"}")})[:1024] + tar_of({"a": EVIL}), "")
    yield container("tar-behind-zeros", "model.tar", tar_of({"a": program(b"}")}) + tar_of({"b": EVIL}), "")
    yield Draft(
        "nested-zst",
        {"model.zst": zstd_frame(program(SYSTEM + POP + literal("x" * 400)))},
        family="container",
    )
    yield Draft("nested-7z", {"model.7z": seven_zip(EVIL)}, family="container", cve="nullifAI")
    yield Draft(
        "torch-named-7z",
        {"pytorch_model.bin": seven_zip(zip_of(torch_entries(EVIL)))},
        family="container",
        cve="nullifAI",
    )
    yield from bombs()


def _named_gzip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile("weights.safetensors", "wb", fileobj=buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def seven_zip(data: bytes) -> bytes:
    """A 7z archive of one file by the Copy method, written by its specification."""

    def number(value: int) -> bytes:
        return (
            bytes([value])
            if value < 0x80
            else bytes([0x80 | value >> 8, value & 0xFF])
            if value < 0x4000
            else b"\xff" + struct.pack("<Q", value)
        )

    streams = b"\x06" + number(0) + number(1) + b"\x09" + number(len(data)) + b"\x00"
    folders = b"\x07\x0b" + number(1) + b"\x00" + number(1) + b"\x01\x00" + b"\x0c" + number(len(data)) + b"\x00"
    digests = b"\x08\x0a\x01" + struct.pack("<I", zlib.crc32(data)) + b"\x00"
    names = b"\x00" + "model.pkl".encode("utf-16-le") + b"\0\0"
    files = b"\x05" + number(1) + b"\x11" + number(len(names)) + names + b"\x00"
    header = b"\x01\x04" + streams + folders + digests + b"\x00" + files + b"\x00"
    start = struct.pack("<QQI", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + data + header


def bombs() -> Iterator[Draft]:
    """Little files that unpack to very much; a limit must end them with a finding."""

    def bomb(technique: str, name: str, data: bytes) -> Draft:
        return Draft(f"bomb-{technique}", {name: data}, family="container", harm="denial")

    zeros = bytes(1 << 20)

    def deflated(megabytes: int) -> tuple[bytes, int]:
        machine, crc, parts = zlib.compressobj(9, zlib.DEFLATED, -15), 0, []
        for _ in range(megabytes):
            parts.append(machine.compress(zeros))
            crc = zlib.crc32(zeros, crc)
        return b"".join(parts) + machine.flush(), crc

    body, crc = deflated(200)
    lying = Entry(
        "data.pkl",
        body,
        local_method=8,
        central_method=8,
        central_crc=crc,
        local_crc=crc,
        central_size=200 << 20,
        local_size=200 << 20,
    )
    yield bomb("zip-ratio", "model.pt", zip_of([lying]))
    yield bomb(
        "zip-size-lies",
        "model.pt",
        zip_of([Entry("data.pkl", body, local_method=8, central_method=8, central_crc=crc, central_size=100)]),
    )
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    inner = b"".join(machine.compress(zeros) for _ in range(200)) + machine.flush()
    yield bomb("gzip", "model.gz", gzip.compress(inner, mtime=0))
    machine = zlib.compressobj(9)
    yield bomb("zlib", "model.joblib", b"".join(machine.compress(zeros) for _ in range(200)) + machine.flush())
    packer = bz2.BZ2Compressor()
    yield bomb("bz2", "model.bz2", b"".join(packer.compress(zeros) for _ in range(100)) + packer.flush())
    packed = lzma.LZMACompressor()
    yield bomb("xz", "model.xz", b"".join(packed.compress(zeros) for _ in range(200)) + packed.flush())
    data = EVIL
    for _ in range(40):
        data = zip_of([Entry("inner.zip", data)])
    yield bomb("zip-depth", "model.zip", data)
    data = EVIL
    for _ in range(60):
        data = gzip.compress(data, mtime=0)
    yield bomb("gzip-depth", "model.gz", data)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"{i}"), b"")
    yield bomb("zip-members", "model.zip", buffer.getvalue())
    kernel = _raw(zeros[: 1 << 16])
    overlapped = [
        Entry(f"{i}.pkl", b"", offset=0, central_method=8, central_size=1 << 30, zip64=True) for i in range(2000)
    ]
    yield bomb(
        "zip-overlapping", "model.zip", zip_of([Entry("kernel", kernel, local_method=8, central_method=8), *overlapped])
    )
    yield bomb("npy-shape", "data.npy", object_npy(b"", "(1000000000000,)").replace(b"|O", b"u1"))
    yield bomb("tar-size", "model.tar", tar_of({"a": b"x"}).replace(b"00000000001\0", b"77777777777\0", 1))


def _raw(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()
