"""Git LFS pointers: telling them from content. Source: ``docs/spec.md`` of the git-lfs project."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

POINTER_LIMIT = 1024
"""Bytes; a pointer is shorter (specification, "The Pointer")."""

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?P<extensions>(?:ext-[0-9]-[A-Za-z0-9.-]+ sha256:[0-9a-f]{64}\n)*)"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\n"
    rb"size (?P<size>0|[1-9][0-9]{0,17})\n"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands in the repository in place of a large file."""

    oid: str
    """SHA-256 of the content, 64 lower-case hex digits."""
    size: int
    """Bytes of the content."""
    extended: bool = False
    """Written by an LFS extension: a program would have to run to get the file from the object."""


def parse_pointer(data: bytes) -> Pointer | None:
    """The pointer that ``data`` is, or None where it is not exactly one and so is content like any other."""
    if len(data) >= POINTER_LIMIT:
        return None
    found = _POINTER.fullmatch(data)
    if found is None:
        return None
    return Pointer(found["oid"].decode(), int(found["size"]), bool(found["extensions"]))


def resembles_pointer(data: bytes) -> bool:
    """Whether ``data`` starts like a pointer: git-lfs may read it as one even where `parse_pointer` does not."""
    return len(data) < POINTER_LIMIT and data.lstrip().startswith(b"version https://git-lfs.github.com/spec/")


def object_path(store: str, oid: str) -> str:
    """Where an object lies in a store (the ``lfs/objects`` folder of a git folder, or our cache)."""
    return os.path.join(store, oid[:2], oid[2:4], oid)
