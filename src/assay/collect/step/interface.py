"""What a step read and wrote, with digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field

from assay.collect.trace.interface import Stat


class Origin(StrEnum):
    """Where a material belongs, nearest to the user first."""

    INPUT = "input"
    """Beneath a declared input."""
    CODE = "code"
    """Beneath the folder that the step ran in: its scripts and modules."""
    OUTPUT = "output"
    """Beneath a declared output: it was there before, and was read."""
    INSTALLATION = "installation"
    """The interpreter, its packages and their libraries."""
    SYSTEM = "system"
    """The operating system's."""
    OTHER = "other"
    """Anything else: what nobody declared."""


class Material(Struct, frozen=True):
    """A file that the step read, executed or mapped."""

    path: str
    """Absolute, links resolved; bytes that are no UTF-8 as ``\\xNN``."""
    name: str
    """As the evidence calls it: relative to its input, code folder or installation, without a path of this machine."""
    origin: Origin
    size: int | None
    """Bytes; None when it is gone."""
    sha256: str | None
    """Hex; None when it is gone or could not be read."""
    changed: str | None = None
    """Why the digest is not certainly that of what the step read: ``modified during the run``, ``gone``, …"""
    executed: bool = False
    mediated: bool = False
    """The monitor opened it for the step: no thread can have swapped the path."""
    cached: bool = False
    """Its digest was believed, because nothing about the file has changed since it was computed."""


class Product(Struct, frozen=True):
    """A file that the step wrote and left."""

    path: str
    name: str
    """Relative to its declared output folder, with that folder's base name; else absolute."""
    output: int | None
    """Index of the declared output that it lies in; None: it was declared nowhere."""
    size: int
    sha256: str | None
    """Hex; None when it could not be read."""


class Folder(Struct, frozen=True):
    """A declared input or output as a whole."""

    path: str
    """Absolute, links resolved."""
    name: str
    """Base name, or the name of the file."""
    files: int
    size: int
    """Bytes."""
    contents: str
    """`assay.targets.interface.Manifest.contents`, hex: what all other evidence about it names."""
    used: int = 0
    """Files in it that the step read (input), or wrote (output)."""
    attestations: Sequence[Mapping[str, str]] = ()
    """Verified evidence about these contents: ``digest``, ``predicateType``, ``by``."""


class Aggregate(Struct, frozen=True):
    """Many materials beneath one folder, as one."""

    name: str
    origin: Origin
    files: int
    size: int
    contents: str
    """Digest (hex) over names, sizes and digests of those files, as `Manifest.contents` makes it."""
    manifest: bytes
    """The list itself, one line a file; its SHA-256 is ``contents``."""


class Files(Struct, frozen=True):
    """Everything that a step did to files."""

    materials: Sequence[Material]
    products: Sequence[Product]
    inputs: Sequence[Folder]
    outputs: Sequence[Folder]
    deleted: Sequence[str] = ()
    """Files that were there before, and are gone."""
    ephemeral: int = 0
    """Files that the step made and removed."""
    special: int = 0
    """Devices, pipes, ``/proc`` and ``/sys``: read, but no material."""
    aggregates: Sequence[Aggregate] = ()
    warnings: Sequence[str] = ()
    unseen: Sequence[str] = ()
    """Names of products that no monitor saw the step open, rename or link: it, or somebody else, wrote them unseen."""
    stats: Mapping[str, Stat] = field(default_factory=dict)
    """By path of a material: the file that was digested."""
