"""Digests of files anywhere on the machine, in parallel, once each.

The digest engine refuses a listing in which one file changes or cannot be read. A run's files do that: those are then
digested one by one, and the ones that cannot be pinned down are told instead of losing all others.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable

from msgspec import Struct

from assay.collect.trace.interface import Stat
from assay.errors import AssayError
from assay.targets.digest.engine import digest_columns
from assay.targets.digest.plan import IDENTITY
from assay.targets.interface import DIGEST, Progress
from assay.targets.listing import Listing

_unpack = struct.Struct("=QQQqq").unpack


class Digested(Struct, frozen=True):
    """One file's digest, and which file it was."""

    sha256: str
    """Hex."""
    stat: Stat
    """Its ``mode`` is 0: the engine opens regular files only."""
    cached: bool = False


def digest_files(
    paths: Iterable[str], *, trusted: str | None = None, progress: Progress | None = None
) -> dict[str, Digested | str]:
    """By path (absolute, links resolved, regular files): the digest, or why there is none, as words.

    ``trusted`` names a digest cache that is believed for files whose stat has not changed since
    (`assay.targets.digest.cache` says whom that does not stop).
    """
    listed: list[tuple[str, int]] = []
    made: dict[str, Digested | str] = {}
    for path in sorted(set(paths), key=lambda path: path[1:]):
        try:
            listed.append((path, os.stat(path, follow_symlinks=False).st_size))
        except OSError as error:
            made[path] = error.strerror or "unreadable"
    try:
        return made | _all(listed, trusted, progress)
    except AssayError:
        for one in listed:
            try:
                made |= _all([one], None, None)
            except AssayError as error:
                made[one[0]] = str(error)
    return made


def _all(listed: list[tuple[str, int]], trusted: str | None, progress: Progress | None) -> dict[str, Digested | str]:
    names = [path[1:] for path, _ in listed]
    listing = Listing("/", names, array("Q", (size for _, size in listed)))
    if trusted is not None:
        from assay.targets.digest.cache import digest_cached

        known = digest_cached(listing, scope=f"assay run\0{trusted}", sha256=True, blake3=False, progress=progress)
        sha256, identities, cached = known.manifest.sha256, known.identities, known.from_cache > 0
    else:
        columns = digest_columns(
            listing, range(len(names)), sha256=True, blake3=False, progress=progress, identities=True
        )
        sha256, identities, cached = columns.sha256, columns.identities, False
    made: dict[str, Digested | str] = {}
    for i, (path, _) in enumerate(listed):
        device, inode, size, mtime, ctime = _unpack(identities[i * IDENTITY : (i + 1) * IDENTITY])
        stat = Stat(device, inode, size, mtime, ctime, 0)
        made[path] = Digested(sha256[i * DIGEST : (i + 1) * DIGEST].hex(), stat, cached)
    return made
