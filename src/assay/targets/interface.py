"""What a target is to everything above: a reference, a manifest of sorted resources by columns, and a way to read.

The columns hold one list or byte string per attribute instead of one object per file: a data set of a million files
must neither cost a gigabyte nor a second for objects alone. Nothing here reads a file.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

SEGMENT = 4 * 1024 * 1024
"""Bytes that one BLAKE3 segment digest covers. 4 MiB: large enough for full speed, 64 hex digits a segment."""

DIGEST = 32
"""Bytes in a SHA-256 and in a BLAKE3 digest."""

Progress = Callable[[int, int], None]
"""Called now and then with (bytes done, bytes in all); must return quickly."""


@dataclass(frozen=True, slots=True)
class Reference:
    """``scheme:name@revision``, as written by the user."""

    scheme: str
    """One of the registry's schemes: ``dir``, ``file``, ``git``, ``hf``, ``env``."""
    name: str
    """A path, URL, repository id or environment."""
    revision: str | None = None
    """Branch, tag or commit, where the scheme has such a thing."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True)
class Resource:
    """One file of a target."""

    name: str
    """Path inside the target, with ``/``; the base name for a target that is one file."""
    size: int
    """Bytes."""
    sha256: bytes | None
    """32 bytes, or None where it was not computed."""
    blake3: bytes | None
    """32 bytes: the whole file's BLAKE3 (what ``b3sum`` prints); only for files of at most one segment."""
    segments: bytes
    """Larger files: the BLAKE3 digests of each ``SEGMENT`` bytes, concatenated. Empty otherwise."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The resources of a target, sorted by name (code points), held by columns. Position ``i`` is one resource."""

    names: Sequence[str]
    """Unique, sorted."""
    sizes: array[int]
    """Bytes, type code ``Q``."""
    sha256: bytes
    """32 bytes a resource in order; empty when SHA-256 was not computed."""
    blake3: bytes
    """32 bytes a resource in order, zeros where ``segments`` has the file; empty when BLAKE3 was not computed."""
    segments: Mapping[int, bytes] = field(default_factory=dict)
    """By position: segment digests of files larger than ``SEGMENT``."""
    single: bool = False
    """The target is one file and not a folder."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Resource:
        at = slice(i * DIGEST, (i + 1) * DIGEST)
        segments = self.segments.get(i, b"")
        return Resource(
            self.names[i],
            self.sizes[i],
            self.sha256[at] or None,
            None if segments else (self.blake3[at] or None),
            segments,
        )

    def __iter__(self) -> Iterator[Resource]:
        return (self[i] for i in range(len(self.names)))

    @property
    def size(self) -> int:
        """Bytes of all resources together."""
        return sum(self.sizes)

    def contents(self) -> bytes:
        """Digest that identifies the target's contents: SHA-256 over one line per resource, in order of name.

        A line is ``<sha256 hex> <size> <bytes of the name>:<name>\\n``. Unlike the root digest of OpenSSF Model
        Signing (3.2 of its specification), it binds names and sizes, so that swapping two files' names changes it.
        For a target that is one file it is the file's own SHA-256, which is what every other tool calls its digest.
        """
        if self.single:
            return self.sha256
        return contents_digest(self.names, self.sizes, self.sha256)

    def shape(self) -> bytes:
        """Digest of names and sizes alone: finds evidence that may concern a target before any byte of it is read."""
        lines = [f"{size} {name}" for size, name in zip(self.sizes, self.names, strict=True)]
        return hashlib.sha256("\0".join(lines).encode()).digest()

    def oms_root(self) -> bytes:
        """Root digest of OpenSSF Model Signing v1.0: SHA-256 over the raw file digests in order of name."""
        return hashlib.sha256(self.sha256).digest()


def contents_digest(names: Sequence[str], sizes: Sequence[int], sha256: bytes) -> bytes:
    """See `Manifest.contents`."""
    hexes = sha256.hex()
    lengths = [len(name) if name.isascii() else len(name.encode()) for name in names]
    lines = [
        f"{hexes[i * 64 : i * 64 + 64]} {sizes[i]} {length}:{name}\n"
        for i, (name, length) in enumerate(zip(names, lengths, strict=True))
    ]
    return hashlib.sha256("".join(lines).encode()).digest()


@dataclass(frozen=True, slots=True)
class Options:
    """How a target is read. Recorded in the evidence, since two different readings are two different statements."""

    paths: tuple[str, ...] = ()
    """Globs that limit the target to a part (``weights/*.safetensors``, ``tokenizer/``); empty means all of it."""
    ignore: tuple[str, ...] = ()
    """Globs to leave out, beside the defaults."""
    default_ignores: bool = True
    """Leave out version control, editor and cache litter."""
    follow_links: bool = False
    """Follow symbolic links that stay inside the target. Links out of it are an error in any case."""
    workers: int | None = None
    """Processes or threads for digests; None means two per core: one computes while another waits."""
    trust_cache: bool = False
    """Take digests of files whose stat is unchanged from the authenticated local cache."""
    offline: bool = False
    """Reach for no network."""
    lenient: bool = False
    """List what cannot be a resource in `Facts.refused` instead of refusing the whole folder: for those who look at
    files, never for those who make or verify evidence about all of them.
    """
    progress: Progress | None = None
    """Told how far the digests are."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a target beside its files."""

    origin: str | None = None
    """URL or URI that it came from, without credentials."""
    revision: str | None = None
    """The resolved, immutable revision: a full commit id."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Further in-toto digests of the whole: ``gitCommit``, ``gitTree``. SHA-1 ones never count as proof."""
    ignored: tuple[str, ...] = ()
    """Names that were left out, folders with a trailing slash, sorted."""
    ignore_rules: tuple[str, ...] = ()
    """The globs in force."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """With `Options.lenient`: names that are there and are no resources (pipes, links, unsafe names), and why."""
    followed_links: bool = False
    """Some resource was reached through a symbolic link."""
    part: tuple[str, ...] = ()
    """The globs that made this a part of the target; empty for the whole."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """What only this kind of target has (an environment's distributions, for example), JSON-like."""


class Target(Protocol):
    """A resolved target: its files are listed, none of them has been read yet. Use it as a context manager."""

    reference: Reference
    """Pinned: the revision is the resolved one."""
    name: str
    """What a statement calls it: a base name, never a path of this machine."""
    facts: Facts
    names: Sequence[str]
    """Of its resources, sorted."""
    sizes: array[int]
    """Of its resources; for planning, the digests' sizes are those that were read."""
    single: bool

    def open(self, name: str) -> BinaryIO:
        """A seekable binary file for one resource; the bytes that the manifest's digest would be over."""
        ...

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """Read every file and digest it. Raises `ChangedError` for a file that changes while it is read."""
        ...

    def __enter__(self) -> Target: ...

    def __exit__(self, *exc: object) -> None: ...
