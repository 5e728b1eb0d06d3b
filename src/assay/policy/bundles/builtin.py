"""The policies and rules that ship with assay. They are as trusted as the program that they are part of."""

from __future__ import annotations

import os
from functools import cache

from assay.errors import UsageError
from assay.files import read_file
from assay.policy.sources import MAX_FILE, Packed

BUILTIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "builtin")
"""Folder of the package data: ``NAME.yaml`` for each policy, and folders that all of them share (``rules/``)."""

_ENDING = ".yaml"


def names() -> tuple[str, ...]:
    """The policies that there are."""
    return tuple(sorted(name.removesuffix(_ENDING) for name in _files() if name.endswith(_ENDING) and "/" not in name))


def builtin(name: str) -> tuple[Packed, str]:
    """A policy with everything that it may use, and its file. Raises `UsageError` that lists what there is."""
    if name not in names():
        raise UsageError(
            f"no policy {name[:100]!r} ships with assay", hint=f"there are: {', '.join(names()) or 'none'}"
        )
    entry = name + _ENDING
    files = _files()
    # Other policies are left out: the digest in a verdict changes with what decided, and with nothing else.
    return Packed(f"builtin:{name}", {key: files[key] for key in files if key == entry or "/" in key}), entry


def catalogue() -> Packed:
    """The rules alone, for policies that lie elsewhere."""
    return Packed("builtin:rules", {name: data for name, data in _files().items() if "/" in name})


@cache
def _files() -> dict[str, bytes]:
    found = {}
    for folder, folders, inner in os.walk(BUILTIN):
        folders[:] = sorted(item for item in folders if item != "__pycache__")
        for name in inner:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, BUILTIN).replace(os.sep, "/")] = read_file(path, MAX_FILE)
    return dict(sorted(found.items()))
