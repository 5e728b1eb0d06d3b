"""Writers of what carries pickles, for the parts that attack and for those that nest."""

from __future__ import annotations

import io
import struct
import tarfile


def tar_of(members: dict[str, bytes], mode: str = "w", format_: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format_) as archive:  # type: ignore[call-overload]
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def lz4_frame(data: bytes) -> bytes:
    """One uncompressed block, no checksums; the header's own checksum is that of the two bytes before it."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + (len(data) | 1 << 31).to_bytes(4, "little") + data + bytes(4)


def zstd_frame(data: bytes) -> bytes:
    """One raw block, no checksum."""
    header = b"\x28\xb5\x2f\xfd\x60" + (len(data) - 256).to_bytes(2, "little")
    return header + (len(data) << 3 | 1).to_bytes(3, "little") + data


def object_npy(data: bytes, shape: str = "(1,)") -> bytes:
    """A ``.npy`` file of objects, whose data is this pickle."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
