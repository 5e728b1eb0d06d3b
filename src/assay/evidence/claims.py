"""What a statement claims about a target's files, whatever kind of document it stands in.

Claims are plain columns that the comparison works on. Building them checks the document's shape and its inner
consistency; whether the claims are true is found by reading the files, whether they count by checking the signer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import DocumentError
from assay.targets.interface import Manifest

UNKNOWN_SIZE = 2**64 - 1
"""Stands in a claimed manifest's sizes where the document does not give one (other tools' model signatures)."""


@dataclass(frozen=True, slots=True)
class Range:
    """A claimed digest of some bytes of a file, for documents that do not digest whole files with SHA-256."""

    name: str
    start: int
    stop: int | None
    """Exclusive; None means to the end of the file."""
    algorithm: str
    """``sha256``, ``blake2b`` or ``blake3``."""
    digest: bytes


@dataclass(frozen=True, slots=True)
class Claims:
    """The files that a statement claims, in one of two forms."""

    manifest: Manifest | None
    """Whole files with SHA-256 and, from us, sizes and BLAKE3."""
    ranges: Sequence[Range] = ()
    """Otherwise: byte ranges with digests of another kind."""
    ignored: tuple[str, ...] = ()
    """Paths that the signer left out: anything may lie there, unsigned."""
    followed_links: bool = False
    part: tuple[str, ...] = ()
    """The globs, when the signer attested only a part of the target."""
    anonymous: bool = False
    """The one file has no name of its own in the document (older model signatures of a single file)."""

    @property
    def names(self) -> Sequence[str]:
        """The files spoken of."""
        return self.manifest.names if self.manifest is not None else [item.name for item in self.ranges]


def check_names(names: Sequence[str], what: str) -> None:
    """Refuse names that could reach outside a target or mean two things; the first bad one is named.

    Raises `DocumentError`.
    """
    joined = "\0".join(names)
    # One scan of all names finds nearly every harmless document harmless; only a suspicious one is looked at by name.
    if (
        ".." in joined
        or "//" in joined
        or "\0/" in joined
        or "\0\0" in joined
        or "/\0" in joined
        or "./" in joined
        or "\0.\0" in joined
        or joined[:1] in "/\0"
        or joined[-1:] in "/\0"
        or joined == "."
        or joined.startswith(".\0")
        or joined.endswith("\0.")
        or joined.count("\0") != len(names) - 1
    ):
        for name in names:
            parts = name.split("/")
            if "\0" in name or "" in parts or "." in parts or ".." in parts:
                raise DocumentError(f"{what}: {name[:200]!r} is not a path inside a target")


def check_unique(names: Sequence[str], what: str) -> None:
    """Refuse a document that speaks of one file twice: the reader would choose, not the signer."""
    if len(set(names)) != len(names):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise DocumentError(f"{what} lists {name[:200]!r} twice")
            seen.add(name)
