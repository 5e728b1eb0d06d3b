"""fs-verity: a file that the kernel lets nobody change any more, and each page of which it checks when it is read.

Its measurement, the root of a Merkle tree over the content, stands for the bytes for good, whatever writes to the
disk beneath. What SHA-256 and BLAKE3 these bytes have is remembered by it; a file system that only claims to have
fs-verity is not believed.

Source: Documentation/filesystems/fsverity.rst in the Linux kernel.
"""

from __future__ import annotations

import struct

import msgspec

from assay.guard.kept import kept

_MEASURE = 0xC0046686  # FS_IOC_MEASURE_VERITY: _IOWR('f', 134, struct fsverity_digest)
_HEADER = struct.Struct("=HH")  # algorithm, size of the digest (in: of the space for it)
_LARGEST = 64  # FS_VERITY_MAX_DIGEST_SIZE
_SIZES = {1: 32, 2: 64}  # SHA-256, SHA-512
_FILE_SYSTEMS = frozenset({"ext4", "f2fs", "btrfs"})
"""Those in the kernel that implement it. A FUSE server could answer the call with anything."""


class Digests(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a measured file."""

    sha256: bytes = b""
    """Empty where it was not made."""
    blake3: tuple[bytes, ...] = ()
    """Of each segment; empty where it was not made."""


def measure(descriptor: int) -> bytes | None:
    """The kernel's measurement of an open file, with its algorithm; None for a file without fs-verity."""
    import fcntl

    buffer = bytearray(_HEADER.pack(0, _LARGEST) + bytes(_LARGEST))
    try:
        fcntl.ioctl(descriptor, _MEASURE, buffer)
    except OSError:  # ENODATA: not enabled; ENOTTY, EOPNOTSUPP: neither by file system nor kernel
        return None
    algorithm, size = _HEADER.unpack_from(buffer)
    if _SIZES.get(algorithm) != size or file_system(descriptor) not in _FILE_SYSTEMS:
        return None
    return bytes(buffer[: _HEADER.size + size])


def file_system(descriptor: int) -> str | None:
    """Type of the file system that an open file lies on, by its mount and not by a path; None where /proc says not."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            mount = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.split(" ", 1)[0] == mount:
                    return line.partition(" - ")[2].split(" ")[0]
    except (OSError, StopIteration, IndexError):
        pass
    return None


def known(measurement: bytes, size: int) -> Digests:
    """What earlier processes found of the bytes with this measurement."""
    entries = kept("verity")
    data = entries.read(_name(measurement, size)) if entries is not None else None
    return msgspec.msgpack.decode(data, type=Digests) if data is not None else Digests()


def learn(measurement: bytes, size: int, digests: Digests) -> None:
    """Remember what these bytes' digests are."""
    if (entries := kept("verity")) is not None:
        entries.write(_name(measurement, size), msgspec.msgpack.encode(digests))


def _name(measurement: bytes, size: int) -> str:
    return f"{measurement.hex()} {size}"
