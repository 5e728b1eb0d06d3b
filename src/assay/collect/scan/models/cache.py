"""What earlier scans found, so that an unchanged file is not scanned again. One authenticated file for each target.

A row counts for one path, for the same bytes (their SHA-256) or, where the caller trusts time stamps, for the same
stat; only while rules, limits, scanner, Python and the target's list of files are the same. The trust in time stamps
is that of the digest cache (`assay.targets.digest.cache` says whom it does not stop): evidence must not rest on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import struct
import sys
from array import array
from dataclasses import dataclass
from importlib.util import find_spec

import msgspec

import assay
from assay.collect.scan.models.interface import Finding, Limits
from assay.files import write_atomic
from assay.targets.digest import cachefile
from assay.targets.digest.beneath import Beneath
from assay.targets.digest.cache import RACY
from assay.targets.digest.cachefile import Refused
from assay.targets.digest.plan import identity_of
from assay.targets.interface import DIGEST, Manifest, Target

_HEADER = struct.Struct("<QQ36s32s")
"""Wall clock and uptime in nanoseconds and boot id when written, and the key of everything that results depend on."""

_OPTIONAL = ("h5py", "lz4", "numpy", "zstandard", "py7zr")
"""Libraries without which some formats cannot be seen through."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of one file."""

    path: str
    """Name in the target."""
    identity: bytes
    """What stat said of it; empty where it has none."""
    sha256: bytes | None
    """Of its bytes; None where nobody asked for it."""
    format: str | None
    """What it was recognised as."""
    findings: tuple[Finding, ...]
    """What was found in it."""


_rows = msgspec.msgpack.Decoder(list[Row])


@dataclass(frozen=True, slots=True)
class Cached:
    """What is known before a scan."""

    by_position: tuple[Row | None, ...]
    """By position in the target: the row of the file of this name, as it was then."""
    same: tuple[bool, ...]
    """By position: the file is unchanged, as far as its stat tells."""
    note: str | None
    """Why the cache could not be used."""


def key_of(target: Target, rules: str, limits: Limits) -> bytes:
    """Digest of everything that a file's result depends on beside its bytes: 32 bytes."""
    files = Manifest(target.names, target.sizes, b"", b"").shape()  # a format may look at a file's neighbours
    parts = (
        assay.__version__,
        rules,
        repr(limits),
        sys.version,
        _own_code(),
        repr([find_spec(name) is not None for name in _OPTIONAL]),
    )
    return hashlib.sha256("\0".join(parts).encode() + files).digest()


def load(target: Target, key: bytes, *, trust_stat: bool) -> Cached:
    """What is known of the target's files. No trouble is an error: then nothing is known, and the note says why."""
    count = len(target.names)
    rows: list[Row] = []
    written, note = 0, None
    try:
        written, rows = _read(target, key)
    except Refused as refused:
        note = str(refused)
    by_name = {row.path: row for row in rows}
    found = tuple(by_name.get(name) for name in target.names)
    same = [False] * count
    if trust_stat and any(row is not None for row in found):
        try:
            same = _unchanged(target, found, written)
        except Refused as refused:
            note = note or str(refused)
    return Cached(found, tuple(same), note)


def save(target: Target, key: bytes, rows: list[Row]) -> str | None:
    """Remember the rows instead of those that were there; why it was not possible, or None."""
    try:
        folder = cachefile.cache_folder()
        scope = _scope(target)
        body = _HEADER.pack(*cachefile.clock(), cachefile.boot_id(), key) + msgspec.msgpack.encode(rows)
        data = body + cachefile.tag(cachefile.key(folder), scope, body)
        write_atomic(cachefile.cache_path(folder, scope), data, mode=0o600)
    except Refused as refused:
        return str(refused)
    except OSError as error:
        return f"the cache of scans cannot be written: {error.strerror}"
    return None


def _read(target: Target, key: bytes) -> tuple[int, list[Row]]:
    """When the rows were written, and the rows; none where they were made by other rules. Raises `Refused`."""
    folder = cachefile.cache_folder()
    scope = _scope(target)
    path = cachefile.cache_path(folder, scope)
    data = cachefile.read_own(path)
    if data is None:
        return 0, []
    body, tag = memoryview(data)[:-DIGEST], data[-DIGEST:]
    if len(body) < _HEADER.size or not hmac.compare_digest(cachefile.tag(cachefile.key(folder), scope, body), tag):
        raise Refused(f"{path!r} was not written by this user on this machine, or is damaged")
    written, uptime, boot, made_with = _HEADER.unpack_from(body)
    if made_with != key:
        return 0, []
    now, now_uptime = cachefile.clock()
    same_boot = boot == cachefile.boot_id() and boot.strip(b"\0")
    if now < written or (same_boot and abs((now - written) - (now_uptime - uptime)) > cachefile.CLOCK_STEP):
        raise Refused("the clock has been set since the cache was written")
    try:
        return written, _rows.decode(body[_HEADER.size :])
    except msgspec.MsgspecError:
        raise Refused(f"{path!r} is damaged") from None


def _unchanged(target: Target, rows: tuple[Row | None, ...], written: int) -> list[bool]:
    """For each file whether its stat is that of its row, and proves something. Raises `Refused`."""
    listing = getattr(target, "listing", None)
    if listing is None:
        return [False] * len(rows)
    cachefile.check_file_system(listing.root)
    device, settled = os.stat(listing.root).st_dev, written - RACY
    same = []
    beneath = Beneath(listing.root)
    try:
        for i, row in enumerate(rows):
            identity = b""
            if row is not None and row.identity:
                with contextlib.suppress(OSError):  # it is opened next, and then it is known what is wrong with it
                    identity = identity_of(beneath.stat(listing.path(i)))
            fields = array("q", identity)
            same.append(
                row is not None and bool(fields) and identity == row.identity
                and fields[0] == device and fields[4] < settled
            )  # fmt: skip
    finally:
        beneath.close()
    return same


def _scope(target: Target) -> str:
    """What distinguishes this target's file from others, and from the digest cache's for the same target."""
    reference = target.reference
    local = reference.scheme in ("dir", "file", "git", "oci") and os.path.exists(reference.name)
    name = os.path.abspath(reference.name) if local else reference.name
    return "\0".join(("scan", reference.scheme, name, *target.facts.part))


def _own_code() -> str:
    """Digest of names, sizes and times of the scanner's own files: an upgrade, or a developer's edit, changes it."""
    made = hashlib.sha256()
    for folder, folders, files in os.walk(os.path.dirname(os.path.abspath(__file__))):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            status = os.stat(os.path.join(folder, name))
            made.update(f"{name} {status.st_size} {status.st_mtime_ns}\0".encode())
    return made.hexdigest()
