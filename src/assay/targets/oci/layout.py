"""An OCI image layout on this disk: a folder, or a plain tar of one (image-layout.md of the image specification 1.1).

A folder's blobs are opened beneath it without following links; a tar is indexed once and read by offsets, never
unpacked by its names.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from assay.errors import TargetError
from assay.targets.digest.beneath import open_beneath, open_root
from assay.targets.names import shown
from assay.targets.oci.documents import (
    MAX_DOCUMENT,
    REF_NAME,
    Descriptor,
    Index,
    check_document,
    described,
    only,
    parse,
)
from assay.targets.oci.tarstream import TarStream

_MAX_MEMBERS = 100_000
_MAX_NAME = 200


class _Layout(ABC):
    """What both forms share: from a tag or digest to a document."""

    what: str

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """A file of the layout, at most ``limit`` bytes. Raises `TargetError`."""

    def top(self, tag: str | None, digest: str | None) -> tuple[bytes, str, str]:
        """See `Source.top`. A digest alone decides; without one the index must leave no choice."""
        if digest is not None:
            return self._verified(digest, "the manifest"), digest, ""
        what = f"the index of {self.what}"
        index = parse(self.read("index.json", MAX_DOCUMENT), what)
        if not isinstance(index, Index):
            raise TargetError(f"{what} is a manifest, not an index")
        if tag is not None:
            found = [item for item in index.manifests if item.annotations.get(REF_NAME) == tag]
            if not found:
                there = "; ".join(described(item) for item in index.manifests[:20]) or "nothing"
                raise TargetError(f"{what} has no tag {shown(tag)}", hint=f"it lists {there}")
            index = Index(2, found)
        descriptor = only(index, what)
        return self.document(descriptor), descriptor.digest, descriptor.media_type

    def document(self, descriptor: Descriptor) -> bytes:
        """See `Source.document`."""
        data = self._verified(descriptor.digest, "a manifest")
        if len(data) != descriptor.size:
            raise TargetError(f"a manifest of {self.what} has another size than its descriptor says")
        return data

    def _verified(self, digest: str, word: str) -> bytes:
        data = self.read(blob_name(digest), MAX_DOCUMENT)
        check_document(data, digest, f"{word} of {self.what}")
        return data


class LayoutFolder(_Layout):
    """A layout as a folder."""

    def __init__(self, path: str) -> None:
        self.what = shown(path)
        self._root = os.path.realpath(path)
        _check_version(self.read("oci-layout", 4096), self.what)

    def read(self, name: str, limit: int) -> bytes:
        """See `_Layout.read`."""
        with self._open(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TargetError(f"{name} of {self.what} is larger than the {limit:,} bytes that are read")
        return data

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """See `Source.blob`."""
        with self._open(blob_name(descriptor.digest)) as file:
            yield file

    def place(self, descriptor: Descriptor) -> str | None:
        """See `Source.place`."""
        name = blob_name(descriptor.digest)
        with self._open(name) as file:
            size = os.fstat(file.fileno()).st_size
        if size != descriptor.size:
            raise TargetError(f"{name} of {self.what} has {size:,} bytes in place of {descriptor.size:,}")
        return os.path.join(self._root, name)

    def _open(self, name: str) -> BinaryIO:
        root = open_root(self._root)
        try:
            descriptor = open_beneath(root, name)
        except OSError as error:
            raise TargetError(f"{self.what} has no file {name} that can be read: {error.strerror}") from None
        finally:
            os.close(root)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise TargetError(f"{name} of {self.what} is not a regular file")
        return os.fdopen(descriptor, "rb")


class LayoutTar(_Layout):
    """A layout in a tar that is not compressed."""

    def __init__(self, path: str) -> None:
        self.what = shown(path)
        self._path = path
        self._members: dict[str, tuple[int, int]] = {}
        with self._open() as file:
            tar = TarStream(file.read, self.what, skip=lambda count: file.seek(count, os.SEEK_CUR))
            for member in tar:
                name = member.name.removeprefix("./")
                if member.kind != "file" or len(name) > _MAX_NAME:
                    continue  # nothing of a layout is called like this; whatever else lies in the tar is never read
                if name in self._members:
                    raise TargetError(f"{self.what} has the file {shown(name)} twice")
                self._members[name] = (tar.offset, member.size)
                if len(self._members) > _MAX_MEMBERS:
                    raise TargetError(f"{self.what} has more than {_MAX_MEMBERS:,} files")
        _check_version(self.read("oci-layout", 4096), self.what)

    def read(self, name: str, limit: int) -> bytes:
        """See `_Layout.read`."""
        with self._file(name) as part:
            if part.left > limit:
                raise TargetError(f"{name} of {self.what} is larger than the {limit:,} bytes that are read")
            return part.read(part.left)

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """See `Source.blob`."""
        with self._file(blob_name(descriptor.digest)) as part:
            yield cast(BinaryIO, part)

    def place(self, descriptor: Descriptor) -> str | None:
        """See `Source.place`: inside a tar nothing is a file of its own."""
        return None

    @contextmanager
    def _file(self, name: str) -> Iterator[_Part]:
        if name not in self._members:
            raise TargetError(f"{self.what} has no file {name}", hint="an OCI image layout is a tar or folder with one")
        offset, size = self._members[name]
        with self._open() as file:
            file.seek(offset)
            yield _Part(file, size)

    def _open(self) -> BinaryIO:
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise TargetError(f"{self.what} cannot be read: {error.strerror}") from None
        if file.read(2) == b"\x1f\x8b":
            file.close()
            raise TargetError(f"{self.what} is compressed", hint="unpack it with gunzip; the tar itself is read")
        file.seek(0)
        return file


class _Part:
    """A range of a file, for reading."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.left = size
        """Bytes that were not read yet."""

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(self.left if count < 0 else min(count, self.left))
        self.left -= len(data)
        return data


def open_layout(path: str) -> LayoutFolder | LayoutTar:
    """The layout at ``path``. Raises `TargetError` when it is none."""
    if os.path.isdir(path):
        return LayoutFolder(path)
    if not os.path.isfile(path):
        raise TargetError(f"{shown(path)} is neither a folder nor a regular file")
    return LayoutTar(path)


def blob_name(digest: str) -> str:
    """Where a layout keeps the blob of a checked digest."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _check_version(data: bytes, what: str) -> None:
    import json

    try:
        version = json.loads(data)["imageLayoutVersion"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TargetError(f"the file oci-layout of {what} does not say which version it has") from None
    if version != "1.0.0":
        raise TargetError(f"{what} is an image layout of version {shown(str(version))}, only 1.0.0 is read")
