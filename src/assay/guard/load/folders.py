"""Formats whose libraries insist on opening paths themselves: Keras, ONNX with external data, model folders.

They get a private folder of links to the held bytes. The folder is readable and writable by this user alone, and is
gone afterwards; somebody who is this user already needs no model file to do harm.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from assay.errors import ChangedError, DocumentError, MissingLibraryError, RejectedError, TargetError
from assay.guard.load.gate import Admitted, admitted, inspected, judged
from assay.guard.load.held import Held, hand, take_back
from assay.guard.load.interface import Guard
from assay.guard.load.names import Allowing
from assay.guard.load.pickles import guarded
from assay.guard.load.target import HeldTarget, hold


@dataclass(frozen=True, slots=True)
class View:
    """A folder of held files."""

    path: str
    """Absolute; valid inside of the block."""
    names: Sequence[str]
    """Files in it."""


@contextmanager
def view(thing: HeldTarget, names: Iterable[str]) -> Iterator[View]:
    """A private folder in which ``names`` lead to the held bytes.

    HDF5 resolves every link to a file's real name, and held bytes have none: such files are copied into the folder.
    """
    chosen = list(names)
    with tempfile.TemporaryDirectory(prefix="assay-") as root:
        for name in chosen:
            place = os.path.join(root, name)
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            held = thing.held(name)
            if _is_hdf5(held):
                _write(held, place)
            else:
                # By the process and not by "self": libraries may open files from processes of their own.
                os.symlink(held.path.replace("self", str(os.getpid()), 1), place)
        hand(root)
        try:
            yield View(root, chosen)
        finally:
            take_back(root)


def _is_hdf5(held: Held) -> bool:
    """By the signature at one of the offsets that the format allows: 0, 512, 1024, … (its specification, II.A)."""
    at = 0
    with held.open() as file:
        while at < held.size:
            file.seek(at)
            if file.read(8) == b"\x89HDF\r\n\x1a\n":
                return True
            at = at * 2 or 512
    return False


def _write(held: Held, place: str) -> None:
    with held.open() as file, open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


@contextmanager
def admitted_folder(guard: Guard, path: str | os.PathLike[str], allow: Iterable[str] = ()) -> Iterator[View]:
    """A folder all of whose files are judged, inspected and held, as a private view of it."""
    given = os.fspath(path)
    if not os.path.isdir(given):
        raise TargetError(f"{given!r} is not a folder on this machine")
    with admitted_target(guard, f"dir:{given}", allow) as made:
        yield made


@contextmanager
def admitted_target(guard: Guard, reference: str, allow: Iterable[str] = ()) -> Iterator[View]:
    """As `admitted_folder`, for a target by its reference: a folder, or a hub repository in the hub's cache."""
    with hold(reference, guard.options, lambda names: names) as thing:
        judgement = judged(guard, thing)
        thing.copy_all()
        rules = Allowing(guard.rules, [*guard.allow, *allow])
        inspected(guard, rules, thing, thing.names, judgement)
        with view(thing, thing.names) as made:
            yield made


@contextmanager
def admitted_file(
    guard: Guard, path: str | os.PathLike[str], *, target: str | None = None, allow: Iterable[str] = ()
) -> Iterator[str]:
    """A file to load, as a path with its own name that leads to the held bytes."""
    with admitted(guard, path, target=target, allow=allow) as found, view(found.target, [found.file.name]) as made:
        yield os.path.join(made.path, found.file.name)


def transformers(
    guard: Guard,
    repo_or_path: str | os.PathLike[str],
    *,
    cls: Any = None,
    revision: str | None = None,
    allow: Iterable[str] = (),
    **options: Any,
) -> Any:
    """What ``cls.from_pretrained`` returns (`transformers.AutoModel` without one) for a folder or hub repository.

    Code in the repository is never run (``trust_remote_code`` is refused). A repository id is the target ``hf:ID``: all
    of its files, in the hub's local cache, downloaded first if need be; ``revision`` should be a full commit id.
    """
    if options.pop("trust_remote_code", False):
        raise RejectedError("trust_remote_code runs code that no list allows", hint="install the code as a package")
    try:
        model = cls if cls is not None else import_module("transformers").AutoModel
    except ImportError:
        raise MissingLibraryError("loading transformers models", "transformers") from None
    reference = model_reference(os.fspath(repo_or_path), revision)
    with admitted_target(guard, reference, allow) as found:
        return guarded(lambda: model.from_pretrained(found.path, trust_remote_code=False, **options), reference)


def model_reference(name: str, revision: str | None = None) -> str:
    """The target that ``from_pretrained`` means: a folder where there is one, else a repository on the hub."""
    if os.path.isdir(name):
        return f"dir:{name}"
    return f"hf:{name}" + (f"@{revision}" if revision else "")


def keras(
    guard: Guard,
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    allow: Iterable[str] = (),
    **options: Any,
) -> Any:
    """What `keras.models.load_model` returns, always in safe mode. ``options`` are its own (``compile``, …)."""
    if options.pop("safe_mode", True) is not True:
        raise RejectedError("safe_mode=False runs code that the file brings along")
    try:
        models = import_module("keras.models")
    except ImportError:
        raise MissingLibraryError("loading Keras models", "keras") from None
    with admitted_file(guard, path, target=target, allow=allow) as place:
        return guarded(lambda: models.load_model(place, safe_mode=True, **options), os.fspath(path))


def onnx(
    guard: Guard,
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    allow: Iterable[str] = (),
) -> Any:
    """The `onnx.ModelProto` of a file. Where weights lie in other files, ``target`` names the folder of them all."""
    try:
        import onnx as library
    except ImportError:
        raise MissingLibraryError("loading ONNX files", "onnx") from None
    with admitted(guard, path, target=target, allow=allow, whole=True) as found:
        found.file.copy(blake3=True)
        return guarded(lambda: _onnx(library, found, guard, target), found.where)


def _onnx(library: Any, found: Admitted, guard: Guard, target: str | None) -> Any:
    with found.file.open() as file:
        model = library.load_model_from_string(file.read())
    from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

    places = {
        entry.value
        for tensor in _get_all_tensors(model)
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    if not places:
        return model
    if target is None:
        raise DocumentError(
            f"{found.where} has weights in other files, which evidence about it alone does not cover",
            hint="sign its folder, and load it with target='dir:FOLDER'",
        )
    folder = os.path.dirname(found.file.name)
    names = {os.path.normpath(os.path.join(folder, place)) for place in places}
    if missing := sorted(names.difference(found.target.names)):  # absolute paths and those out of it are missing too
        raise RejectedError(f"{found.where} refers to {missing[0]!r}, which is no file of {target}")
    wanted = {*names, found.file.name}
    with hold(str(found.target.reference), guard.options, lambda listed: [n for n in listed if n in wanted]) as thing:
        judged(guard, thing)
        thing.copy_all()
        if thing.held(found.file.name).blake3() != found.file.blake3():
            raise ChangedError(f"{found.where} changed while it was loaded")
        for tensor in _get_all_tensors(model):
            if uses_external_data(tensor):
                info = ExternalDataInfo(tensor)
                with thing.held(os.path.normpath(os.path.join(folder, info.location))).open() as file:
                    file.seek(info.offset or 0)
                    tensor.raw_data = file.read(info.length) if info.length else file.read()
                tensor.data_location = library.TensorProto.DEFAULT
                del tensor.external_data[:]
    return model
