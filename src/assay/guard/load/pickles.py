"""Pickle and joblib files through an unpickler that resolves allowed names only.

The C unpickler does the work; only its `find_class` is ours. Both are bound when this module is imported, so that a
later change of `pickle.Unpickler` does not change what loads here.
"""

from __future__ import annotations

import os
from _pickle import Unpickler
from collections.abc import Iterable
from importlib import import_module
from typing import Any, BinaryIO

from assay.collect.scan.models.interface import Rules
from assay.errors import AssayError, DocumentError, MissingLibraryError
from assay.guard.load.gate import Admitted, admitted
from assay.guard.load.interface import Guard
from assay.guard.load.names import check_name
from assay.targets.names import shown


def unpickler(rules: Rules, where: str) -> type[Unpickler]:
    """A class of unpicklers that resolve only what ``rules`` find safe; ``where`` is for messages."""

    class Gated(Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            check_name(rules, module, name, where)
            return super().find_class(module, name)

    return Gated


def load_stream(rules: Rules, file: BinaryIO, where: str, **options: Any) -> Any:
    """One pickle from ``file``'s position. Whatever is wrong with it is an `AssayError`."""
    return guarded(lambda: unpickler(rules, where)(file, **options).load(), where)


def guarded(load: Any, where: str) -> Any:
    """What ``load`` returns; its failure as one sentence, since a broken file can raise anything."""
    try:
        return load()
    except AssayError:
        raise
    except ModuleNotFoundError as error:
        raise DocumentError(f"{shown(where)} needs the module {error.name!r}, which is not installed") from error
    except Exception as error:
        text = shown(f"{type(error).__name__}: {error}")
        raise DocumentError(f"{shown(where)} cannot be loaded: {text}") from error


def pickle(
    guard: Guard,
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    allow: Iterable[str] = (),
    encoding: str = "ASCII",
    errors: str = "strict",
) -> Any:
    """The object in a pickle file. ``encoding`` and ``errors`` are for strings of Python 2, as in `pickle.load`."""
    return pickle_at(guard, path, 0, target=target, allow=allow, encoding=encoding, errors=errors)[0]


def pickle_at(
    guard: Guard,
    path: str | os.PathLike[str],
    offset: int,
    *,
    target: str | None = None,
    allow: Iterable[str] = (),
    encoding: str = "ASCII",
    errors: str = "strict",
) -> tuple[Any, int]:
    """The object in a file's pickle that starts at ``offset``, and the offset where it ends."""
    with admitted(guard, path, target=target, allow=allow) as found, found.file.open() as file:
        file.seek(offset)
        made = load_stream(found.rules, file, found.where, encoding=encoding, errors=errors)
        return made, file.tell()


def joblib(guard: Guard, path: str | os.PathLike[str], *, target: str | None = None, allow: Iterable[str] = ()) -> Any:
    """The object in a joblib file, compressed or not. Arrays are read into memory (no ``mmap_mode``)."""
    try:
        numpy_pickle, utils = import_module("joblib.numpy_pickle"), import_module("joblib.numpy_pickle_utils")
    except ImportError:
        raise MissingLibraryError("loading joblib files", "joblib") from None
    with admitted(guard, path, target=target, allow=allow) as found:
        return guarded(lambda: _joblib(numpy_pickle, utils, found), found.where)


def _joblib(numpy_pickle: Any, utils: Any, found: Admitted) -> Any:
    rules, where = found.rules, found.where

    class Array(numpy_pickle.NumpyArrayWrapper):  # type: ignore[misc]
        """Arrays of objects are a pickle inside the pickle, which joblib before 1.6 gives to `pickle.load`."""

        def read_array(self, opened: Any, *rest: Any) -> Any:
            if not self.dtype.hasobject:
                return super().read_array(opened, *rest)
            return unpickler(rules, where)(opened.file_handle).load()

    class Gated(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            check_name(rules, module, name, where)
            found_class = super().find_class(module, name)
            if found_class is numpy_pickle.NumpyArrayWrapper:
                return Array
            if getattr(found_class, "__name__", "") in ("NDArrayWrapper", "ZNDArrayWrapper"):
                raise DocumentError(f"{where} was written by joblib before 0.10 and reads other files by their names")
            return found_class

    with found.file.open() as raw:
        opener = getattr(utils, "_validate_fileobject_and_memmap", None) or utils._read_fileobject
        with opener(raw, found.file.path, None) as opened:
            file = opened[0] if isinstance(opened, tuple) else opened
            if isinstance(file, str):
                raise DocumentError(
                    f"{where} was written by joblib before 0.10: load and save it once with a newer one"
                )
            try:
                return Gated("", file, True).load()
            except TypeError:
                if file.tell():
                    raise
                return Gated("", file).load()  # before joblib 1.5
