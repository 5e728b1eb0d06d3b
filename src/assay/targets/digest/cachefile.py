"""The file that remembers digests by stat: where it lies, who may have written it, and its authenticated columns.

It must never be believed when anybody but this user could have written it, its key, or the folder; when it comes
from another machine; or when the clock has been set since. Each refusal is a sentence for the user.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import struct
import time
from contextlib import suppress

from msgspec import Struct

from assay.config import cache_home
from assay.files import write_atomic
from assay.targets.digest.plan import IDENTITY
from assay.targets.interface import DIGEST

MAGIC = b"assay digest cache 1\n"

HAS_SHA256, HAS_BLAKE3 = 1, 2
"""Bits of a row's ``known``."""

CLOCK_STEP = 2_000_000_000
"""Nanoseconds by which clock and uptime may disagree before the clock counts as set. Slewing moves both alike."""

LOCAL_FILE_SYSTEMS = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "tmpfs", "overlay"}
)
"""Those whose kernel here sets ctime itself on every change. Network, FUSE and FAT ones do not."""

_KEY_BYTES = 32
_HEADER = struct.Struct("<QQ36sQQ")  # wall clock and uptime in ns and boot id when written, rows, bytes of segments
_LIMIT = 4 * 1024**3


class Refused(Exception):
    """The cache must not be used; the text says why."""


class Rows(Struct, frozen=True):
    """What is remembered, by columns; row ``i`` is one file."""

    written: int
    """Wall clock in nanoseconds when these rows were written."""
    identities: bytes
    """`IDENTITY` bytes a row."""
    known: bytes
    """One byte a row: which digests are there."""
    sha256: bytes
    """32 bytes a row, zeros where not known."""
    blake3: bytes
    """32 bytes a row, zeros where not known or where ``segments`` has the file."""
    segments: dict[int, bytes]
    """By row: segment digests of larger files."""


def clock() -> tuple[int, int]:
    """Wall clock and time since boot (sleep included), in nanoseconds."""
    return time.time_ns(), time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _first_line(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(64).strip()
    except OSError:
        return b""


def boot_id() -> bytes:
    """Distinguishes this boot, where the kernel says so: 36 bytes."""
    return _first_line("/proc/sys/kernel/random/boot_id")[:36].ljust(36, b"\0")


def file_system(path: str) -> str:
    """Type of the file system that ``path`` (resolved) lies on. Raises `Refused` where the kernel does not say."""
    best, kind = -1, ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields, _, rest = line.partition(" - ")
                point = fields.split(" ")[4]
                for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
                    point = point.replace(code, char)
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= best:  # of two at the same place the later one hides the earlier
                    best, kind = len(point), rest.split(" ")[0]
    except (OSError, IndexError):
        pass
    if best < 0:
        raise Refused(f"it is not known what file system {path!r} is on")
    return kind


def check_file_system(path: str) -> None:
    """Raise `Refused` unless ``path`` lies on a file system whose timestamps can be believed."""
    kind = file_system(path)
    if kind not in LOCAL_FILE_SYSTEMS:
        raise Refused(f"{path!r} is on a file system ({kind}) whose timestamps this machine does not control")


def check_owner(path: str, status: os.stat_result, *, private: bool = False) -> None:
    """Raise `Refused` unless only this user (and root) can write ``path``, or with ``private`` read it."""
    if status.st_uid != os.geteuid():
        raise Refused(f"{path!r} belongs to another user")
    if status.st_mode & (0o077 if private else 0o022):
        raise Refused(
            f"{path!r} can be {'read or ' if private else ''}written by others (mode {status.st_mode & 0o777:o})"
        )


def cache_folder() -> str:
    """``$XDG_CACHE_HOME/assay/digests``, made if missing. Raises `Refused`."""
    folder = os.path.join(cache_home(), "digests")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for path in (os.path.dirname(folder), folder):
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                raise Refused(f"{path!r} is not a folder")
            check_owner(path, status)
    except OSError as error:
        raise Refused(f"{folder!r} cannot be used: {error.strerror}") from None
    check_file_system(os.path.realpath(folder))
    return folder


def read_own(path: str, *, private: bool = False) -> bytes | None:
    """A file that nobody else may have written; None where there is none. Raises `Refused`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path!r} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path!r} is not a regular file")
        check_owner(path, status, private=private)
        if status.st_size > _LIMIT:
            raise Refused(f"{path!r} is too large to be a cache of ours")
        return file.read(status.st_size)  # a larger number would be allocated first


def key(folder: str) -> bytes:
    """The local key, made at first use."""
    path = os.path.join(folder, "key")
    key = read_own(path, private=True)
    if key is None:
        with suppress(FileExistsError):  # another process was first: its key counts
            write_atomic(path, os.urandom(_KEY_BYTES), mode=0o600, exclusive=True)
        key = read_own(path, private=True)
    if key is None or len(key) != _KEY_BYTES:
        raise Refused(f"{path!r} is not a key; delete it, and a new one is made")
    return key


def cache_path(folder: str, scope: str) -> str:
    """The file for one target; ``scope`` is what distinguishes it from others."""
    return os.path.join(folder, hashlib.sha256(os.fsencode(scope)).hexdigest()[:40])


def tag(key: bytes, scope: str, body: memoryview | bytes) -> bytes:
    """What authenticates a cache's body for one scope on this machine (HMAC-SHA256)."""
    mac = hmac.new(key, digestmod="sha256")
    # A home folder may be shared by machines, whose device and inode numbers mean different files.
    for part in (MAGIC, _first_line("/etc/machine-id"), os.fsencode(scope)):
        mac.update(len(part).to_bytes(8, "little") + part)
    mac.update(body)
    return mac.digest()


def load(folder: str, scope: str) -> Rows | None:
    """The rows for ``scope``; None where there are none that can be used. Raises `Refused`."""
    path = cache_path(folder, scope)
    try:
        data = read_own(path)
        if data is None:
            return None
        view = memoryview(data)
        if len(data) < DIGEST + _HEADER.size or not hmac.compare_digest(
            tag(key(folder), scope, view[:-DIGEST]), view[-DIGEST:]
        ):
            raise Refused(f"{path!r} was not written by this user on this machine, or is damaged")
    except OSError as error:
        raise Refused(f"{path!r} cannot be read: {error.strerror}") from None
    written, uptime, boot, count, segments_size = _HEADER.unpack_from(data)
    now, now_uptime = clock()
    same_boot = boot == boot_id() and boot.strip(b"\0")
    if now < written or (same_boot and abs((now - written) - (now_uptime - uptime)) > CLOCK_STEP):
        raise Refused("the clock has been set since the cache was written")
    at = _HEADER.size
    columns = []
    for width in (IDENTITY, 1, DIGEST, DIGEST):
        columns.append(data[at : at + width * count])
        at += width * count
    identities, known, sha256, blake3 = columns
    segments: dict[int, bytes] = {}
    end = at + segments_size
    while at < end:
        row, length = struct.unpack_from("<QQ", data, at)
        segments[row] = data[at + 16 : at + 16 + length]
        at += 16 + length
    return Rows(written, identities, known, sha256, blake3, segments)


def save(folder: str, scope: str, rows: Rows) -> None:
    """Replace the file for ``scope``, with the present time for ``rows.written``. Raises `Refused`."""
    segments = b"".join(struct.pack("<QQ", row, len(value)) + value for row, value in rows.segments.items())
    header = _HEADER.pack(*clock(), boot_id(), len(rows.known), len(segments))
    body = b"".join([header, rows.identities, rows.known, rows.sha256, rows.blake3, segments])
    path = cache_path(folder, scope)
    try:
        write_atomic(path, body + tag(key(folder), scope, body), mode=0o600)
    except OSError as error:
        raise Refused(f"{path!r} cannot be written: {error.strerror}") from None
