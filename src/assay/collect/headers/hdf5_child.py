"""Lists the datasets and the text attributes of an HDF5 file; runs as a program of its own, started by `hdf5`.

The HDF5 library is written in C and crashes on some broken files, so it never runs inside assay's own process. This
program reads attributes, types and shapes, never data; it follows no soft or external link and opens no other file.
"""

from __future__ import annotations

import encodings.ascii  # h5py needs it later, when nothing can be opened any more
import encodings.latin_1  # noqa: F401
import io
import json
import os
import resource
import sys
from typing import Any

import h5py
import numpy as np

MAX_OBJECTS = 200_000
MAX_DEPTH = 64
MAX_NAME = 1024
MAX_ATTRIBUTE = 16 << 20
MAX_WARNINGS = 20
MEMORY = 2 << 30
OUTPUT = 64 << 20
SECONDS = 60

ATTRIBUTES = ("model_config", "training_config", "keras_version", "backend")
"""Attributes of the root group that are read. Keras writes them."""

_STORED_AS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4")
"""What a dataset's own ``dtype`` attribute may say: types that HDF5 lacks and Keras stores as others."""


class Part(io.RawIOBase):
    """A part of an open file: what the HDF5 library gets to see."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        self._descriptor, self._start, self._length, self._at = descriptor, start, length, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; see `io.IOBase.seek`."""
        self._at = max(0, offset + (0, self._at, self._length)[whence])
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read; see `io.RawIOBase.readinto`."""
        wanted = min(len(buffer), max(0, self._length - self._at))
        data = os.pread(self._descriptor, wanted, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Listing:
    """What is found, in the form in which it is printed."""

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.tensors: list[tuple[str, str, list[int]]] = []
        self.warnings: list[str] = []
        self.objects = 0

    def warn(self, text: str) -> None:
        """Note what was not read."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text[: 2 * MAX_NAME])

    def attribute(self, owner: Any, name: str, limit: int) -> str | None:
        """A text attribute of at most ``limit`` bytes."""
        if name not in owner.attrs:
            return None
        handle = owner.attrs.get_id(name)
        if handle.shape not in ((), (1,)) or handle.get_storage_size() > limit:
            self.warn(f"attribute {name} is too large or no single text")
            return None
        value = owner.attrs[name]
        if isinstance(value, np.ndarray):
            value = value.flat[0]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or len(value) > limit:
            self.warn(f"attribute {name} is too large or no text")
            return None
        return value

    def walk(self, root: Any) -> None:
        """Every dataset that hard links reach, each object once."""
        seen = {h5py.h5o.get_info(root.id).addr}
        stack: list[tuple[Any, str, int]] = [(root, "", 0)]
        while stack:
            group, prefix, depth = stack.pop()
            inner = []
            for name in group:
                self.objects += 1
                if self.objects > MAX_OBJECTS:
                    raise ValueError(f"has more than {MAX_OBJECTS} objects")
                path = f"{prefix}{name}"
                if len(path) > MAX_NAME:
                    raise ValueError(f"has a name of more than {MAX_NAME} characters")
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
                    self.warn(f"{path} is {kind} link and was not followed")
                    continue
                item = h5py.h5o.open(group.id, name.encode("utf-8", "surrogateescape"))
                address = h5py.h5o.get_info(item).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.h5g.GroupID):
                    if depth >= MAX_DEPTH:
                        raise ValueError("its groups are nested too deeply")
                    inner.append((h5py.Group(item), f"{path}/", depth + 1))
                elif isinstance(item, h5py.h5d.DatasetID):
                    self.dataset(path, item)
            stack.extend(reversed(inner))

    def dataset(self, path: str, item: Any) -> None:
        """Type and shape of one dataset."""
        properties = item.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL:
            # Even asking such a dataset for its shape may open the files that it is made of.
            self.warn(f"{path} is made of datasets in other files and was not read")
            return
        if properties.get_external_count():
            self.warn(f"{path} keeps its data outside of this file")
        dataset = h5py.Dataset(item)
        kind = dataset.dtype.name if dataset.dtype.names is None else "compound"
        stored_as = self.attribute(dataset, "dtype", 64)
        if stored_as in _STORED_AS:
            kind = stored_as
        if dataset.shape is None:
            self.warn(f"{path} is empty")
        else:
            self.tensors.append((path, kind[:MAX_NAME], [int(length) for length in dataset.shape]))


def main(start: int, length: int) -> None:
    """List the HDF5 file that lies in standard input at ``start``, as JSON on standard output."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
        (
            resource.RLIMIT_NOFILE,
            3,
        ),  # the three that are open: whatever the file names, nothing else can be opened
    ):
        resource.setrlimit(limit, (value, value))
    found = Listing()
    try:
        with h5py.File(Part(0, start, length), "r") as file:
            for name in ATTRIBUTES:
                text = found.attribute(file, name, MAX_ATTRIBUTE)
                if text is not None:
                    found.attributes[name] = text
            found.walk(file)
    except Exception as error:
        # Whatever the library finds wrong is told, with what was listed until then; h5py raises nearly everything.
        found.warn(f"could not be read to its end: {error}")
    print(
        json.dumps({"attributes": found.attributes, "tensors": found.tensors, "warnings": found.warnings}),
        flush=True,
    )
    os._exit(0)  # closing what a broken file left behind can crash the library after everything was said


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
