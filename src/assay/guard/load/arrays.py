"""`.npy` and `.npz` files. Arrays of numbers are read by NumPy, those of objects through the gated unpickler."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from typing import Any

from assay.collect.scan.models.interface import Rules
from assay.errors import DocumentError, MissingLibraryError
from assay.guard.load.gate import Admitted, admitted
from assay.guard.load.interface import Guard
from assay.guard.load.pickles import guarded, unpickler


def numpy(guard: Guard, path: str | os.PathLike[str], *, target: str | None = None, allow: Iterable[str] = ()) -> Any:
    """The array of an ``.npy`` file, or a dictionary of an ``.npz``'s arrays."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise MissingLibraryError("loading NumPy files", "numpy") from None
    with admitted(guard, path, target=target, allow=allow) as found:
        return guarded(lambda: _load(found), found.where)


def _load(found: Admitted) -> Any:
    with found.file.open() as file:
        if file.read(2) != b"PK":
            file.seek(0)
            return _array(file, found.rules, found.where)
        file.seek(0)
        made = {}
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                key = name.removesuffix(".npy")
                if key in made:
                    raise DocumentError(f"{found.where} has two arrays called {key!r}")
                with archive.open(name) as member:
                    made[key] = _array(member, found.rules, f"{found.where}!/{name}")
        return made


def _array(file: Any, rules: Rules, where: str) -> Any:
    from numpy.lib import format as npy

    start = file.tell()
    version = npy.read_magic(file)
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    shape, _, dtype = header(file) if header else ((), False, None)
    if dtype is None or not dtype.hasobject:
        file.seek(start)
        return npy.read_array(file, allow_pickle=False)
    made = unpickler(rules, where)(file).load()
    if (type(made).__module__, type(made).__name__) != ("numpy", "ndarray"):
        raise DocumentError(f"{where} says that it is an array and holds something else")
    made.shape = shape
    return made
