"""Digests of some of a target's files as bytes, and many such pieces as one: for engines that know neither.

A piece is a manifest of a part. It comes from other machines: it is read strictly, and the same file in two pieces is
an error. It must never be taken for the manifest of the whole before somebody has compared it with the whole list.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from assay.errors import DocumentError
from assay.targets.digest.engine import digest
from assay.targets.digest.plan import segments_of
from assay.targets.interface import DIGEST, SEGMENT, Manifest
from assay.targets.listing import Listing

MAGIC = b"assay-digests\x01"
"""What a piece begins with; the last byte is the version."""


class Piece(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A manifest of some files, by columns."""

    names: list[str]
    """Unique, sorted by code point."""
    sizes: list[int]
    """Bytes."""
    sha256: bytes
    """32 bytes a file."""
    blake3: bytes
    """32 bytes a file, zeros where ``segments`` has it."""
    segments: list[tuple[int, bytes]]
    """Place of a large file, ascending, and its segments' digests."""


@dataclass(frozen=True, slots=True)
class Files:
    """What a task does: digest the files that its tables name in the columns ``name``, ``size`` and ``path``."""

    root: str
    """The folder, on the worker; no file is opened but beneath it, and none through a link."""

    def __call__(self, tables: Iterable[Any]) -> bytes | None:
        """The piece; None where no file was named. Raises `TargetError` and `ChangedError` as `digest` does."""
        rows: list[tuple[str, int, str]] = []
        for table in tables:
            columns = [_values(table[column]) for column in ("name", "size", "path")]
            rows += zip(*columns, strict=True)
        return partial(self.root, rows) if rows else None


def partial(root: str, files: Sequence[tuple[str, int, str]]) -> bytes:
    """The piece of these files: name in the target, size when listed, path beneath ``root``."""
    ordered = sorted(files)
    listing = Listing(
        root,
        [name for name, _, _ in ordered],
        array("Q", (size for _, size, _ in ordered)),
        {i: path for i, (name, _, path) in enumerate(ordered) if path != name},
    )
    # One thread: the engine has a task for each core.
    return _write(digest(listing, sha256=True, blake3=True, workers=1))


def merge(*pieces: bytes) -> bytes:
    """All files of some pieces, in any order. Raises `DocumentError` for a file that is in two of them."""
    read_ones = [read(piece) for piece in pieces]
    places = sorted((name, which, i) for which, one in enumerate(read_ones) for i, name in enumerate(one.names))
    parts = [(read_ones[which], i) for _, which, i in places]
    return _write(
        Manifest(
            [name for name, _, _ in places],
            array("Q", (one.sizes[i] for one, i in parts)),
            b"".join(one.sha256[i * DIGEST : (i + 1) * DIGEST] for one, i in parts),
            b"".join(one.blake3[i * DIGEST : (i + 1) * DIGEST] for one, i in parts),
            {at: one.segments[i] for at, (one, i) in enumerate(parts) if i in one.segments},
        )
    )


def read(piece: bytes) -> Manifest:
    """What a piece says. Raises `DocumentError` for everything that `partial` and `merge` do not write."""
    if not piece.startswith(MAGIC):
        raise DocumentError("these are no digests that assay can read", hint="they may be of another version")
    try:
        found = msgspec.msgpack.decode(piece[len(MAGIC) :], type=Piece)
        sizes = array("Q", found.sizes)
    except (msgspec.DecodeError, OverflowError) as error:
        raise DocumentError(f"these digests cannot be read: {error}") from None
    for one, other in pairwise(found.names):
        if one >= other:
            raise DocumentError(f"the file {other!r} is listed twice, or out of order")
    large = dict(found.segments)
    fits = (
        len(found.names) == len(sizes)
        and len(found.sha256) == len(found.blake3) == len(sizes) * DIGEST
        and [i for i, _ in found.segments] == [i for i, size in enumerate(sizes) if size > SEGMENT]
        and all(len(digests) == segments_of(sizes[i]) * DIGEST for i, digests in large.items())
    )
    if not fits:
        raise DocumentError("these digests are more or fewer than their files")
    return Manifest(found.names, sizes, found.sha256, found.blake3, large)


def _write(manifest: Manifest) -> bytes:
    segments = sorted(manifest.segments.items())
    piece = Piece(list(manifest.names), list(manifest.sizes), manifest.sha256, manifest.blake3, segments)
    for one, other in pairwise(piece.names):
        if one == other:
            raise DocumentError(f"the file {one!r} was digested twice", hint="give each file to the cluster once")
    return MAGIC + msgspec.msgpack.encode(piece)


def _values(column: Any) -> list[Any]:
    """Python values of a column of pyarrow or pandas."""
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column.tolist())
