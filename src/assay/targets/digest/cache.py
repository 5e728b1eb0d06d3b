"""The trusted digest cache: digests of files whose stat is unchanged are taken instead of computed. Off by default.

Whom it does not stop, and so what a result from it may never be used for (admission, strict policies): **root** and
whoever writes to the disk beneath the file system, since they can change a file and its timestamps; **a process that
holds a writable shared mapping** of a file, whose later stores through an already dirty page change no timestamp;
**this same user**, who can read the key and write a cache of their own. It stops nobody of these; it notices
accidents, and changes by other users through the file system.

A row counts only for the same device, inode, size, mtime and ctime in nanoseconds (ctime cannot be set from user
space). A file whose ctime is within two seconds of the cache's writing is read again, since on kernels with coarse
timestamps a later write may have left the same ctime; so is one with a ctime in the future, and one on another
device than the target's root.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from stat import S_ISREG

from msgspec import Struct

from assay.targets.digest.beneath import Beneath
from assay.targets.digest.cachefile import (
    HAS_BLAKE3,
    HAS_SHA256,
    Refused,
    Rows,
    cache_folder,
    check_file_system,
    load,
    save,
)
from assay.targets.digest.engine import digest_columns
from assay.targets.digest.plan import IDENTITY, Columns, identity_of
from assay.targets.interface import DIGEST, Manifest, Progress
from assay.targets.listing import Listing

RACY = 2_000_000_000
"""Nanoseconds around the cache's writing within which a file's ctime proves nothing."""

_NONE = bytes(IDENTITY)


class CachedManifest(Struct, frozen=True):
    """A manifest, and how much of it was believed instead of read."""

    manifest: Manifest
    """As from the engine."""
    from_cache: int
    """Files that were not read."""
    note: str | None
    """Why the cache was not used (everything was read), or not written; None where all went well."""
    identities: bytes = b""
    """Which file each digest belongs to: `IDENTITY` bytes a file."""


def digest_cached(
    listing: Listing,
    *,
    scope: str,
    sha256: bool,
    blake3: bool,
    fresh: bool = False,
    single: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CachedManifest:
    """As `engine.digest`, but files that are as the cache remembers them are not read.

    ``scope`` distinguishes this target from others. With ``fresh`` the listing's own identities count, which must then
    be of this very moment; else every file is looked at again. No trouble with the cache is an error: everything is
    then read, and the note says why.
    """
    note: str | None = None
    rows: Rows | None = None
    folder: str | None = None
    try:
        check_file_system(listing.root)
        folder = cache_folder()
        rows = load(folder, scope)
    except Refused as refused:
        note = str(refused)
    wanted = sha256 * HAS_SHA256 | blake3 * HAS_BLAKE3
    count = len(listing.names)
    places: Sequence[int] = [-1] * count
    if rows is not None:
        device = os.stat(listing.root).st_dev
        places = _places(rows, (fresh and listing.identities) or _stat_all(listing), device, wanted)
    misses = [i for i, row in enumerate(places) if row < 0]
    columns = digest_columns(
        listing,
        misses,
        sha256=sha256,
        blake3=blake3,
        workers=workers,
        progress=progress,
        identities=True,
    )
    merged = _merge(columns, rows, places, wanted)
    if folder is not None and (rows is None or misses or len(rows.known) != count):
        try:
            save(folder, scope, merged)
        except Refused as refused:
            note = note or str(refused)
    manifest = Manifest(
        listing.names,
        listing.sizes,
        merged.sha256 if sha256 else b"",
        merged.blake3 if blake3 else b"",
        merged.segments if blake3 else {},
        single,
    )
    return CachedManifest(manifest, count - len(misses), note, merged.identities)


def _stat_all(listing: Listing) -> bytes:
    """Identities of all files as they are now; zeros for one that is not as listed."""
    identities: list[bytes] = []
    beneath = Beneath(listing.root)
    try:
        for i, size in enumerate(listing.sizes):
            try:
                status = beneath.stat(listing.path(i))
            except OSError:
                status = None  # the engine reads it next, and says what is wrong with it
            good = status is not None and status.st_size == size and S_ISREG(status.st_mode)
            identities.append(identity_of(status) if status is not None and good else _NONE)
    finally:
        beneath.close()
    return b"".join(identities)


def _places(rows: Rows, identities: bytes, device: int, wanted: int) -> Sequence[int]:
    """For each file the row that holds its digests, or -1 where it must be read."""
    count = len(identities) // IDENTITY
    if not count:
        return ()
    settled = rows.written - RACY
    devices, ctimes = array("Q", identities)[::5], array("q", identities)[4::5]
    enough = bytes(known for known in range(256) if known & wanted == wanted)
    if (
        identities == rows.identities
        and not rows.known.translate(None, enough)
        and max(ctimes) < settled
        and devices.count(device) == count
    ):
        return range(count)
    by_identity = {
        rows.identities[k * IDENTITY : (k + 1) * IDENTITY]: k
        for k, known in enumerate(rows.known)
        if known & wanted == wanted
    }
    by_identity.pop(_NONE, None)
    return [
        by_identity.get(identities[i * IDENTITY : (i + 1) * IDENTITY], -1)
        if ctimes[i] < settled and devices[i] == device
        else -1
        for i in range(count)
    ]


def _merge(columns: Columns, rows: Rows | None, places: Sequence[int], wanted: int) -> Rows:
    """New rows, in the listing's order: what was read, and what was believed."""
    count = len(places)
    known = bytearray([wanted]) * count
    identities = bytearray(columns.identities)
    sha256 = bytearray(columns.sha256 or count * DIGEST)
    blake3 = bytearray(columns.blake3 or count * DIGEST)
    segments = dict(columns.segments)
    if rows is not None:
        if list(places) == list(range(len(rows.known))):
            return rows
        for i, row in enumerate(places):
            if row < 0:
                continue
            known[i] = rows.known[row]
            for new, old, width in (
                (identities, rows.identities, IDENTITY),
                (sha256, rows.sha256, DIGEST),
                (blake3, rows.blake3, DIGEST),
            ):
                new[i * width : (i + 1) * width] = old[row * width : (row + 1) * width]
            if row in rows.segments:
                segments[i] = rows.segments[row]
    return Rows(0, bytes(identities), bytes(known), bytes(sha256), bytes(blake3), segments)
