"""From the layers of an artifact to files: which layer is which file, and what is in a layer that is a tar.

No path on this machine is ever made from a name in a layer: what is unpacked gets a number as its name. Links, devices,
names that lead out, names that stand twice and anything beyond the bounds are errors, never left out.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

from assay.errors import TargetError
from assay.targets.names import shown
from assay.targets.oci.blobs import CHUNK, Blob, Source, create, put
from assay.targets.oci.documents import Descriptor, Manifest
from assay.targets.oci.tarstream import TarStream
from assay.targets.tree import MAX_DEPTH, check_name, check_names

MAX_FILES = 200_000
"""Files of one artifact."""

MAX_NAME = 4096
"""Bytes of a name (PATH_MAX)."""

MAX_NAMES = 64 << 20
"""Characters of all names of one artifact, which are held in memory."""

RATIO = 200
"""How much larger than its layer an unpacked layer may be. Text packs to a tenth, deflate can reach a thousandth."""

RATIO_FROM = 64 << 20
"""Bytes that a layer may always unpack to."""

_TITLE = "org.opencontainers.image.title"  # annotations.md of the image specification
_UNPACK = "io.deis.oras.content.unpack"  # ORAS: a folder that was pushed as one tar
_FILE_PATH = "org.cncf.model.filepath"  # ModelPack specification, annotations
_EMPTY = "application/vnd.oci.empty.v1+json"
_TAR = re.compile(r"[./+-](?:x-)?tar(?:[.+-][A-Za-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and what to do with it."""

    descriptor: Descriptor
    label: str
    """For messages."""
    name: str | None
    """The file that it is; None for a tar."""
    folder: str = ""
    """What all names in the tar must begin with."""


def layers_of(manifest: Manifest, what: str) -> list[Layer]:
    """What each layer is. Raises `TargetError` for one without a name that is no tar either."""
    found = []
    for number, descriptor in enumerate(manifest.layers):
        if descriptor.media_type == _EMPTY:
            continue
        label = f"layer {number} of {what}"
        title, path = descriptor.annotations.get(_TITLE), descriptor.annotations.get(_FILE_PATH)
        # ORAS calls every file a tar unless told otherwise, so a title counts more than the media type.
        if title and descriptor.annotations.get(_UNPACK) == "true":
            found.append(Layer(descriptor, label, None, "" if title == "." else checked(title, label) + "/"))
        elif title:
            found.append(Layer(descriptor, label, checked(title, label)))
        elif _TAR.search(descriptor.media_type):
            found.append(Layer(descriptor, label, None))
        elif path:
            found.append(Layer(descriptor, label, checked(path, label)))
        else:
            raise TargetError(f"{label} has no file name and is no tar: {shown(descriptor.media_type, 100)}")
    return found


def checked(name: str, label: str) -> str:
    """A file's name with ``./`` taken off the front. Raises `TargetError` for one that leads out or is ambiguous."""
    parts = name.removeprefix("./").split("/")
    long = len(parts) > MAX_DEPTH or len(name.encode(errors="replace")) > MAX_NAME
    if long or not all(parts) or "." in parts or ".." in parts:
        raise TargetError(f"{label} has a file of the name {shown(name)}, which is not a path inside the target")
    for part in parts:
        check_name(part, name)
        if part.startswith(".wh."):
            raise TargetError(f"{label} has {shown(name)}, which for some readers removes another file")
    return "/".join(parts)


def check_all(names: list[str], what: str) -> None:
    """Raise `TargetError` for names that stand twice, differ only in case, or are both a file and a folder."""
    folders: dict[tuple[int, str], int] = {}  # by number of the folder above and name; the root is 0
    files: set[tuple[int, str]] = set()
    inner: dict[int, list[str]] = {0: []}
    for name in names:
        *above, last = name.split("/")
        at = 0
        for part in above:
            if (at, part) not in folders:
                folders[at, part] = len(folders) + 1
                inner[len(folders)] = []
                inner[at].append(part)
            at = folders[at, part]
        if (at, last) in files:
            raise TargetError(f"{what} has the file {shown(name)} twice")
        files.add((at, last))
        inner[at].append(last)
    if both := files.intersection(folders):
        raise TargetError(f"{what} has {shown(min(both)[1])} as a file and as a folder")
    for found in inner.values():
        check_names("", found)


@dataclass(slots=True)
class Budget:
    """What may still be unpacked."""

    files: int
    """Files and folders."""
    size: int | None
    """Bytes; None for no bound but each layer's ratio."""
    names: int = MAX_NAMES
    """Characters of all names."""

    def take(self, name: str, size: int, label: str) -> None:
        """Count a file of ``size`` bytes. Raises `TargetError` when it is too much."""
        self.files -= 1
        self.names -= len(name)
        if self.files < 0 or self.names < 0:
            raise TargetError(f"{label} has more files than are read")
        if self.size is not None:
            self.size -= size
            if self.size < 0:
                raise TargetError(f"{label} holds more bytes than are read")


def unpack(
    source: Source, layer: Layer, new_path: Callable[[], str], wanted: Callable[[str], bool], budget: Budget
) -> list[tuple[str, int, str | None]]:
    """Name, size and file of everything in a tar layer; no file for what is not ``wanted``.

    ``new_path`` gives a path for each file. Nothing of it may be used when this raises `TargetError`.
    """
    label = layer.label
    found: list[tuple[str, int, str | None]] = []
    folders: set[str] = set()
    with source.blob(layer.descriptor) as stream:
        blob = Blob(stream, layer.descriptor, label)
        tar = TarStream(_plain(blob, _bound(layer.descriptor.size, budget), label), label)
        for member in tar:
            if member.kind == "folder" and member.name.strip("./") == "":
                continue
            name = checked(member.name.rstrip("/") if member.kind == "folder" else member.name, label)
            if member.kind not in ("file", "folder"):
                raise TargetError(f"{label} has a {member.kind} in it, {shown(name)}; only files and folders are read")
            if not (name + "/").startswith(layer.folder):
                raise TargetError(f"{label} has {shown(name)}, which lies outside of the folder that it is called")
            keep = member.kind == "file" and wanted(name)
            budget.take(name, member.size if keep else 0, label)
            if member.kind == "folder":
                folders.add(name)
                continue
            if not keep:
                found.append((name, member.size, None))
                continue
            path = new_path()
            with create(path) as file:
                for data in tar.data():
                    put(file, data, label)
            found.append((name, member.size, path))
        blob.finish()
    if both := folders.intersection(name for name, _, _ in found):
        raise TargetError(f"{label} has {shown(min(both))} as a file and as a folder")
    return found


def _bound(packed: int, budget: Budget) -> int:
    """Bytes that a compressed layer may unpack to, with the headers and with what is not wanted."""
    bound = max(RATIO_FROM, packed * RATIO)
    return bound if budget.size is None else min(bound, 2 * budget.size + (8 << 20))


def _plain(blob: Blob, left: int, label: str) -> Callable[[int], bytes]:
    """Reads the tar itself, whatever its media type says of compression: the first bytes can't be mistaken."""
    peeked = _Peeked(blob)
    if peeked.head[:4] == b"\x28\xb5\x2f\xfd":
        raise TargetError(f"{label} is compressed with zstd, which is not read", hint="push it as tar or as tar+gzip")
    if peeked.head[:2] != b"\x1f\x8b":
        return peeked.read
    stream = gzip.GzipFile(fileobj=cast(BinaryIO, peeked), mode="rb")

    def read(count: int) -> bytes:
        nonlocal left
        try:
            data = stream.read(min(count, CHUNK))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TargetError(f"{label} is damaged: {shown(str(error))[1:-1]}") from None
        left -= len(data)
        if left < 0:
            raise TargetError(f"{label} unpacks to more than is read of a layer of its size")
        return data

    return read


class _Peeked:
    """A blob of which the first bytes were looked at."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.head = blob.read(4)
        while len(self.head) < 4 and (more := blob.read(4 - len(self.head))):
            self.head += more

    def read(self, count: int = -1) -> bytes:
        """As `Blob.read`."""
        if self.head and count:
            data, self.head = (self.head[:count], self.head[count:]) if count > 0 else (self.head, b"")
            return data
        return self._blob.read(count)
