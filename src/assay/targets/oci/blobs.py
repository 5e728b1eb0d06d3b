"""Reading blobs: every one is held against the digest and size of its descriptor while it is read.

A blob's bytes reach a file of ours, or whoever unpacks them, in bounded pieces; whoever uses them before `Blob.finish`
was called must be ready to throw away what was made of them.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from assay.errors import TargetError
from assay.targets.oci.documents import Descriptor

CHUNK = 1 << 20


class Source(Protocol):
    """Where an artifact lies."""

    what: str
    """What the user called it, for messages; without a login."""

    def top(self, tag: str | None, digest: str | None) -> tuple[bytes, str, str]:
        """The document that is named: its bytes, verified, its digest and its media type (may be empty)."""
        ...

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest's bytes, verified."""
        ...

    def blob(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO]:
        """A blob's bytes, not verified."""
        ...

    def place(self, descriptor: Descriptor) -> str | None:
        """The file on this disk, absolute and without links, that is the blob; None where there is none."""
        ...


class Blob:
    """A stream that counts and hashes what goes through it, and gives no byte beyond the descriptor's size."""

    def __init__(self, stream: BinaryIO, descriptor: Descriptor, what: str) -> None:
        self._stream, self._descriptor, self._what = stream, descriptor, what
        self._hash = hashlib.sha256()
        self._size = 0

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, never more than a chunk; none at the end."""
        wanted = CHUNK if count < 0 else min(count, CHUNK)
        data = self._stream.read(min(wanted, self._descriptor.size + 1 - self._size))
        self._size += len(data)
        if self._size > self._descriptor.size:
            raise TargetError(f"{self._what} is longer than the {self._descriptor.size:,} bytes that its manifest says")
        self._hash.update(data)
        return data

    def finish(self) -> None:
        """Read what is left. Raises `TargetError` unless the whole had the right size and digest."""
        while self.read():
            pass
        if self._size != self._descriptor.size:
            raise TargetError(
                f"{self._what} has {self._size:,} bytes in place of the {self._descriptor.size:,} of its manifest"
            )
        if self._hash.digest() != self._descriptor.sha256:
            raise TargetError(f"{self._what} has other contents than its manifest says ({self._descriptor.digest})")


def save(source: Source, descriptor: Descriptor, path: str, what: str) -> None:
    """Copy a verified blob to a new file."""
    with source.blob(descriptor) as stream, create(path) as file:
        blob = Blob(stream, descriptor, what)
        while data := blob.read():
            put(file, data, what)
        blob.finish()


def create(path: str) -> BinaryIO:
    """A new file of ours."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def put(file: BinaryIO, data: bytes, what: str) -> None:
    """Write, with a sentence for a full disk."""
    try:
        file.write(data)
    except OSError as error:
        raise TargetError(f"{what} cannot be kept in the temporary folder: {error.strerror}") from None
