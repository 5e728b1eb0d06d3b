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
        self.elsewhere: list[tuple[str, str, str]] = []
        self.cut = False
        self.objects = 0

    def warn(self, text: str) -> None:
        """Note what was not read."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text[: 2 * MAX_NAME])
        else:
            self.cut = True

    def outside(self, path: str, kind: str, names: list[str]) -> None:
        """Note what lies in another file, and in which."""
        for name in names or [""]:
            if len(self.elsewhere) < MAX_WARNINGS:
                self.elsewhere.append((path[:MAX_NAME], kind, name[:MAX_NAME]))
            else:
                self.cut = True

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
                if isinstance(link, h5py.SoftLink):
                    self.warn(f"{path} is a soft link and was not followed")
                    continue
                if not isinstance(link, h5py.HardLink):
                    external = isinstance(link, h5py.ExternalLink)
                    self.outside(path, "link", [printable(link.filename)] if external else [])
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
            count = min(properties.get_virtual_count(), MAX_WARNINGS)
            names = {printable(properties.get_virtual_filename(i)) for i in range(count)}
            if names - {"."}:  # a full stop is this very file
                self.outside(path, "virtual", sorted(names - {"."}))
            else:
                self.warn(f"{path} is made of other datasets of this file and was not read")
            return
        if count := properties.get_external_count():
            first = [printable(properties.get_external(i)[0]) for i in range(min(count, MAX_WARNINGS))]
            self.outside(path, "data", first)
        dataset = h5py.Dataset(item)
        kind = dataset.dtype.name if dataset.dtype.names is None else "compound"
        stored_as = self.attribute(dataset, "dtype", 64)
        if stored_as in _STORED_AS:
            kind = stored_as
        if dataset.shape is None:
            self.warn(f"{path} is empty")
        else:
            self.tensors.append((path, kind[:MAX_NAME], [int(length) for length in dataset.shape]))


def printable(name: Any) -> str:
    """A file's name as text."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def limit(which: int, wanted: int) -> None:
    """Lower a limit to ``wanted``, or to what this process was started with: it may be in a worker that has limits."""
    value = min([wanted, *(given for given in resource.getrlimit(which) if given != resource.RLIM_INFINITY)])
    resource.setrlimit(which, (value, value))


def main(start: int, length: int) -> None:
    """List the HDF5 file that lies in standard input at ``start``, as JSON on standard output."""
    limit(resource.RLIMIT_AS, MEMORY)
    limit(resource.RLIMIT_CPU, SECONDS)
    limit(resource.RLIMIT_FSIZE, OUTPUT)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, 3)  # the three that are open: whatever the file names, nothing else can be opened
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
    answer = {name: getattr(found, name) for name in ("attributes", "tensors", "warnings", "elsewhere", "cut")}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # closing what a broken file left behind can crash the library after everything was said


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
